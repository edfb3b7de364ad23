"""The image grid of an acquisition, and the finer grid on which physics is done."""

from dataclasses import dataclass

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from qsm_workflows.algorithms.geometry import Triple, check_geometry

Shape3 = tuple[int, int, int]
Affine = NDArray[np.float64]

MAX_FINE_VOXELS = 2.5e8


@dataclass(frozen=True)
class FineGrid:
    """The image grid, every voxel cut into `factor` parts, with whole voxels added round it.

    Parameters
    ----------
    shape : tuple of int
    affine : (4, 4) ndarray
        Of the fine grid, mm.
    factor : tuple of int
        Fine voxels in one image voxel along each axis.
    start : tuple of int
        Fine voxel at which the image begins.
    image_shape : tuple of int
        Shape of the image.
    """

    shape: Shape3
    affine: Affine
    factor: Shape3
    start: Shape3
    image_shape: Shape3

    @property
    def image_slices(self) -> tuple[slice, slice, slice]:
        """The part of the fine grid that is imaged."""
        x, y, z = (
            slice(start, start + n * f)
            for start, n, f in zip(self.start, self.image_shape, self.factor, strict=True)
        )
        return x, y, z

    def slab_positions(self, start: int, stop: int) -> NDArray[np.float32]:
        """World positions, (3, N) in mm, of the planes from `start` to `stop` of axis 0."""
        axes = (np.arange(start, stop), np.arange(self.shape[1]), np.arange(self.shape[2]))
        columns = [
            (self.affine[:3, i, None] * axis).astype(np.float32) for i, axis in enumerate(axes)
        ]
        positions = (
            columns[0][:, :, None, None] + columns[1][:, None, :, None] + columns[2][:, None, None]
        )
        return positions.reshape(3, -1) + self.affine[:3, 3, None].astype(np.float32)


def image_affine(voxel_size: Triple, matrix: Shape3, tilt: Triple) -> Affine:
    """Affine of an image centred on the isocentre, turned by `tilt`.

    Parameters
    ----------
    voxel_size : (3,) sequence of float
        Voxel edge lengths, mm.
    matrix : tuple of int
        Number of voxels along each axis.
    tilt : (3,) sequence of float
        Rotation of the image about the world's x, y and z axes, in degrees and that
        order; B0 stays along the world's z, so that it becomes oblique in the image.

    Raises
    ------
    ValueError
        If a size is not positive or an angle not finite.
    """
    size, _ = check_geometry(voxel_size)
    shape = np.asarray(matrix)
    if shape.shape != (3,) or not np.issubdtype(shape.dtype, np.integer) or np.any(shape < 1):
        raise ValueError(f"matrix must be three positive numbers of voxels, not {matrix!r}")
    angles = np.asarray(tilt, dtype=float)
    if angles.shape != (3,) or not np.all(np.isfinite(angles)):
        raise ValueError(f"tilt must be three angles in degrees, not {tilt!r}")
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * size
    affine[:3, 3] = -affine[:3, :3] @ ((shape - 1) / 2)
    return affine


def fine_grid(
    affine: Affine, shape: Shape3, low: Triple, high: Triple, factor: Shape3 | None = None
) -> FineGrid:
    """Refine an image grid at least twofold and grow it to hold a box of the world.

    Parameters
    ----------
    affine, shape
        The image grid.
    low, high : (3,) sequence of float
        Corners of the box, mm.
    factor : tuple of int, optional
        Parts of a voxel along each axis; by default what makes the parts about cubes,
        two along an edge of 1 mm or less.

    Raises
    ------
    ValueError
        If the fine grid would need more than about 20 GB of memory.
    """
    size = np.linalg.norm(affine[:3, :3], axis=0)
    if factor is None:
        edge = max(size.min(), 1.0) / 2
        x, y, z = (int(n) for n in np.maximum(2, np.round(size / edge)))
        factor = (x, y, z)
    box = np.array(np.meshgrid(*np.transpose([low, high]))).reshape(3, -1).T
    corners = apply_affine(np.linalg.inv(affine), box)
    before = np.maximum(np.ceil(-0.5 - corners.min(axis=0)), 0).astype(int)
    after = np.maximum(np.ceil(corners.max(axis=0) + 0.5) - shape, 0).astype(int)
    parts = np.asarray(factor)
    if np.prod((before + shape + after) * parts, dtype=float) > MAX_FINE_VOXELS:
        raise ValueError(
            f"voxels of {size.round(3).tolist()} mm need too much memory: use larger ones"
        )
    fine = affine.copy()
    fine[:3, :3] = affine[:3, :3] / parts
    # The first part's centre, seen from the centre of the first voxel of the grown grid.
    fine[:3, 3] = apply_affine(affine, -before - 0.5 + 0.5 / parts)
    x, y, z = ((before + shape + after) * parts).tolist()
    sx, sy, sz = (before * parts).tolist()
    return FineGrid((x, y, z), fine, factor, (sx, sy, sz), shape)


def block_mean(fine: NDArray, factor: Shape3) -> NDArray[np.float32]:
    """Mean over blocks of `factor` voxels."""
    x, y, z = (n // f for n, f in zip(fine.shape, factor, strict=True))
    blocks = fine.reshape(x, factor[0], y, factor[1], z, factor[2])
    return blocks.mean(axis=(1, 3, 5), dtype=np.float32)


def block_majority(fine: NDArray[np.uint8], factor: Shape3) -> NDArray[np.uint8]:
    """Most frequent value but 0 of each block of `factor` voxels; the smaller of equals."""
    x, y, z = (n // f for n, f in zip(fine.shape, factor, strict=True))
    winner = np.zeros((x, y, z), dtype=np.uint8)
    most = np.zeros((x, y, z), dtype=np.float32)
    for value in np.unique(fine[fine > 0]):
        share = block_mean(fine == value, factor)
        better = share > most
        winner[better] = value
        most[better] = share[better]
    return winner


def repeat_blocks(coarse: NDArray, factor: Shape3) -> NDArray:
    """Each voxel repeated `factor` times along each axis."""
    fine = coarse
    for axis, times in enumerate(factor):
        fine = np.repeat(fine, times, axis=axis)
    return fine
