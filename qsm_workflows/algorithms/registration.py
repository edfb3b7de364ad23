"""Rigid registration of images of one head that moved between scans.

Written here because it takes a page: the images have the same contrast, so that a
correlation of smoothed intensities does. The libraries that do it bring far more than that.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from .geometry import FloatArray, MaskArray, check_mask, check_volume, voxel_size

Affine = NDArray[np.float64]

_LEVELS = (6.0, 3.0, 1.5)
"""Standard deviation in mm of the smoothing, from coarse to fine."""

_POINTS = 20_000
"""Most voxels that are compared."""

_STEPS = 30
"""Most evaluations of a search."""

_LEVER = 50.0
"""Millimetres that stand for a turn by one radian, about those a point of the head moves."""

_TURNS = np.deg2rad((-40, -20, 0, 20, 40))
"""Turns about each axis from which a search starts."""


def register_rigid(
    fixed: ArrayLike,
    fixed_affine: ArrayLike,
    mask: ArrayLike,
    moving: ArrayLike,
    moving_affine: ArrayLike,
    *,
    least_correlation: float = 0.5,
) -> Affine:
    """Find how a head lay in one image, from how it lies in another of the same contrast.

    Maximises the correlation of both images in the mask over rotations and shifts: from a
    grid of turns by up to 40° at first, then from coarse to fine by least squares.

    Parameters
    ----------
    fixed, moving : (X, Y, Z) array_like
        Magnitudes, in any units.
    fixed_affine, moving_affine : (4, 4) array_like
        Voxel-to-world matrices, in mm.
    mask : (X, Y, Z) array_like
        What is compared, on the grid of `fixed`.
    least_correlation : float
        Below this the images do not match.

    Returns
    -------
    (4, 4) ndarray of float64
        Takes a point of the world of `fixed` to where the same tissue is in that of `moving`.

    Raises
    ------
    ValueError
        If the inputs do not fit together or no position makes the images match.
    """
    reference = check_volume("fixed", fixed)
    inside = check_mask(mask, reference.shape)
    other = check_volume("moving", moving)
    affines = np.asarray(fixed_affine, float), np.asarray(moving_affine, float)
    voxels = np.argwhere(inside)
    voxels = voxels[:: max(1, len(voxels) // _POINTS)]
    points = _apply(affines[0], voxels)
    centre = points.mean(axis=0)

    best = _starts(reference, inside, other, *affines, centre)
    for sigma in _LEVELS:
        target = _normalised(_smooth(reference, affines[0], sigma)[tuple(voxels.T)])
        matching = _Matching(target, points, centre, _smooth(other, affines[1], sigma), affines[1])
        solutions = [
            least_squares(matching.residual, start, matching.jacobian, max_nfev=_STEPS)
            for start in best
        ]
        best = [min(solutions, key=lambda solution: solution.cost).x]
    correlation = 1 - np.mean(matching.residual(best[0]) ** 2) / 2
    if not correlation >= least_correlation:
        raise ValueError(
            f"the magnitudes do not match in any position (correlation {correlation:.2f}); "
            "are they of one head, and is the mask that of the first?"
        )
    return _matrix(best[0], centre)


def resample(
    volume: ArrayLike,
    affine: ArrayLike,
    shape: tuple[int, ...],
    onto: ArrayLike,
    transform: ArrayLike,
    *,
    order: int = 3,
) -> FloatArray:
    """Bring a volume onto another grid; zero where it has no data.

    Parameters
    ----------
    volume : (X, Y, Z) array_like
    affine : (4, 4) array_like
        Its voxel-to-world matrix.
    shape : tuple of int
        Shape of the other grid.
    onto : (4, 4) array_like
        Voxel-to-world matrix of the other grid.
    transform : (4, 4) array_like
        As found by :func:`register_rigid`, from the other's world to that of the volume.
    order : int
        Of the splines that interpolate.
    """
    matrix = np.linalg.inv(np.asarray(affine, float)) @ np.asarray(transform) @ np.asarray(onto)
    result: FloatArray = ndimage.affine_transform(
        check_volume("volume", volume), matrix, output_shape=shape, order=order
    )
    return result


def extend(volume: FloatArray, mask: MaskArray) -> FloatArray:
    """Volume with the nearest value of the mask outside it, to interpolate up to its edge."""
    nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    result: FloatArray = volume[tuple(nearest)]
    return result


class _Matching:
    """Difference of normalised intensities, as a function of a position.

    Parameters
    ----------
    target : (N,) ndarray
        Normalised intensities of the fixed image.
    points : (N, 3) ndarray
        Where they are, in the fixed world.
    centre : (3,) ndarray
        Point about which the head turns.
    moving : (X, Y, Z) ndarray
    affine : (4, 4) ndarray
        Of `moving`.
    """

    def __init__(
        self,
        target: NDArray[np.float64],
        points: NDArray[np.float64],
        centre: NDArray[np.float64],
        moving: FloatArray,
        affine: Affine,
    ) -> None:
        self.target, self.points, self.centre, self.moving = target, points, centre, moving
        self.to_voxels = np.linalg.inv(affine)
        self.slopes = np.gradient(moving)

    def _sample(self, position: NDArray[np.float64], volume: ArrayLike) -> NDArray[np.float64]:
        voxels = _apply(self.to_voxels @ _matrix(position, self.centre), self.points)
        return ndimage.map_coordinates(volume, voxels.T, order=1, output=float)

    def residual(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """Moving less fixed intensities, each of mean 0 and standard deviation 1."""
        return _normalised(self._sample(position, self.moving)) - self.target

    def jacobian(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """Its derivatives; those of a rotation are of one more about the axes of the world."""
        values = self._sample(position, self.moving)
        normalised, spread = _normalised(values), max(values.std(), np.finfo(np.float32).tiny)
        per_voxel = np.stack([self._sample(position, slope) for slope in self.slopes], axis=1)
        per_mm = per_voxel @ self.to_voxels[:3, :3]
        step = 1e-4
        motions = [
            (
                _apply(_matrix(position + step * unit, self.centre), self.points)
                - _apply(_matrix(position, self.centre), self.points)
            )
            / step
            for unit in np.eye(6)
        ]
        columns = np.stack([(per_mm * motion).sum(axis=1) for motion in motions], axis=1)
        columns -= columns.mean(axis=0)
        return (columns - np.outer(normalised, normalised @ columns / len(columns))) / spread


def _starts(
    fixed: FloatArray,
    mask: MaskArray,
    moving: FloatArray,
    fixed_affine: Affine,
    moving_affine: Affine,
    centre: NDArray[np.float64],
) -> list[NDArray[np.float64]]:
    """The most promising of a grid of turns, with the centres of intensity in one place."""
    sigma = _LEVELS[0]
    voxels = np.argwhere(mask)
    voxels = voxels[:: max(1, len(voxels) // 2000)]
    target = _normalised(_smooth(fixed, fixed_affine, sigma)[tuple(voxels.T)])
    points = _apply(fixed_affine, voxels)
    smoothed = _smooth(moving, moving_affine, sigma)
    matching = _Matching(target, points, centre, smoothed, moving_affine)
    middles = [
        _apply(affine, np.array([ndimage.center_of_mass(np.abs(volume))]))[0]
        for volume, affine in ((fixed, fixed_affine), (moving, moving_affine))
    ]
    candidates = []
    for turns in np.stack(np.meshgrid(_TURNS, _TURNS, _TURNS), axis=-1).reshape(-1, 3):
        turned = Rotation.from_rotvec(turns).apply(middles[0] - centre) + centre
        for shift in (np.zeros(3), middles[1] - turned):
            candidates.append(np.concatenate([turns * _LEVER, shift]))
    candidates.sort(key=lambda position: float(np.sum(matching.residual(position) ** 2)))
    return candidates[:3]


def _matrix(position: NDArray[np.float64], centre: NDArray[np.float64]) -> Affine:
    """Turn about a centre, then shift; the turn is in mm of a lever, see `_LEVER`."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(position[:3] / _LEVER).as_matrix()
    matrix[:3, 3] = centre + position[3:] - matrix[:3, :3] @ centre
    return matrix


def _apply(matrix: Affine, points: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(points) @ matrix[:3, :3].T + matrix[:3, 3]


def _smooth(volume: FloatArray, affine: Affine, sigma: float) -> FloatArray:
    result: FloatArray = ndimage.gaussian_filter(volume, sigma / voxel_size(affine))
    return result


def _normalised(values: ArrayLike) -> NDArray[np.float64]:
    """Mean 0 and standard deviation 1; zero where all are the same."""
    centred = np.array(values, float)
    centred -= centred.mean()
    return centred / max(centred.std(), np.finfo(np.float32).tiny)
