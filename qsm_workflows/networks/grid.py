"""Bringing a volume to the voxels and the orientation that a network was trained on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..algorithms.fft import Shape3
from ..algorithms.geometry import FloatArray, MaskArray, Triple

SIZE_TOLERANCE = 0.1
"""Relative difference from the trained voxel size that needs no resampling.

The dipole convolution has no length of its own: isotropic voxels that are a little
larger only make the anatomy look a little smaller.
"""

ANISOTROPY_TOLERANCE = 0.02
"""Relative difference between the voxel edges that needs no resampling."""

TILT_TOLERANCE = 2.0
"""Degrees between B0 and the nearest array axis that need no rotation."""


@dataclass(frozen=True)
class TrainedGrid:
    """The way from an image to a network's grid and back.

    An image is turned by multiples of 90° until B0 is nearest to its last axis; this is
    exact. Only if the voxels or the rest of the tilt are beyond the tolerances is it
    interpolated (cubic splines) onto a grid of the trained voxel size along B0.
    """

    turn: NDArray[np.int64]
    """Signed permutation: row i holds the image axis that becomes axis i."""
    matrix: NDArray[np.float64] | None
    """Voxels of the trained grid to voxels of the turned image, about both centres."""
    image_shape: Shape3
    """Shape of the turned image."""
    shape: Shape3
    """Shape on the trained grid."""

    @classmethod
    def of(
        cls,
        shape: Shape3,
        voxel_size: Triple,
        b0_dir: Triple,
        trained_voxel_size: float,
    ) -> "TrainedGrid":
        """Plan the way for an image.

        Parameters
        ----------
        shape : tuple of int
        voxel_size : (3,) sequence of float
            Voxel edge lengths of the image in mm.
        b0_dir : (3,) sequence of float
            Unit vector of B0 in voxel axes.
        trained_voxel_size : float
            Edge of the trained grid's voxels in mm.
        """
        turn = _turn(np.asarray(b0_dir))
        order = np.abs(turn).argmax(axis=1)
        size = np.asarray(voxel_size)[order]
        b0 = turn @ np.asarray(b0_dir)
        turned = _shape(np.asarray(shape)[order])
        tilt = np.degrees(np.arccos(min(b0[2], 1.0)))
        if (
            np.ptp(size) <= ANISOTROPY_TOLERANCE * size.min()
            and np.all(np.abs(size / trained_voxel_size - 1) <= SIZE_TOLERANCE)
            and tilt <= TILT_TOLERANCE
        ):
            return cls(turn, None, turned, turned)
        # Columns: the trained axes in the turned image's, all in mm.
        axes = _rotation_from_z(b0) if tilt > TILT_TOLERANCE else np.eye(3)
        extent = np.abs(axes.T) @ (np.asarray(turned) * size)
        grid = _shape(np.ceil(extent / trained_voxel_size - 1e-6))
        return cls(turn, axes * trained_voxel_size / size[:, None], turned, grid)

    def forward(self, volume: FloatArray, mask: MaskArray) -> tuple[FloatArray, MaskArray]:
        """Bring a volume and its mask to the trained grid; zero outside the mask."""
        volume, mask = _apply_turn(self.turn, volume), _apply_turn(self.turn, mask)
        if self.matrix is None:
            return np.where(mask, volume, np.float32(0)), mask
        inside = _resample(mask.astype(np.float32), self.matrix, self.shape, order=1) > 0.5
        # Detail finer than the new voxels would otherwise turn up as false structure.
        steps = np.linalg.norm(self.matrix, axis=1)
        smooth = ndimage.gaussian_filter(
            _extended(volume, mask), np.maximum(steps - 1, 0) / 2, mode="nearest"
        )
        values = _resample(smooth, self.matrix, self.shape)
        return np.where(inside, values, np.float32(0)), inside

    def backward(self, volume: FloatArray, mask: MaskArray) -> FloatArray:
        """Bring a volume, known inside `mask` of the trained grid, back to the image."""
        if self.matrix is not None:
            # Not smoothed, even onto larger voxels: what was made of an image is as smooth as it.
            inverse = np.asarray(np.linalg.inv(self.matrix), np.float64)
            volume = _resample(_extended(volume, mask), inverse, self.image_shape)
        return _apply_turn(self.turn.T, volume)


def _shape(sides: np.ndarray) -> Shape3:
    x, y, z = (int(n) for n in sides)
    return x, y, z


def _turn(b0: NDArray[np.float64]) -> NDArray[np.int64]:
    """Proper rotation by multiples of 90° that brings `b0` nearest to +z."""
    axis = int(np.abs(b0).argmax())
    sign = 1 if b0[axis] > 0 else -1
    turn = np.eye(3, dtype=int)
    if axis == 2:
        # Upside down: half a turn about the first axis.
        return turn if sign > 0 else np.diag([1, -1, -1])
    turn[[axis, 2]] = turn[[2, axis]]
    turn[2] *= sign
    # A swap of two axes mirrors; reversing the one that left z makes it a rotation again.
    turn[axis] *= -sign
    return turn


def _apply_turn(turn: NDArray[np.int64], volume: np.ndarray) -> np.ndarray:
    order = np.abs(turn).argmax(axis=1)
    reversed_axes = tuple(i for i in range(3) if turn[i].sum() < 0)
    return np.ascontiguousarray(np.flip(volume.transpose(order), reversed_axes))


def _rotation_from_z(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smallest rotation that takes the z axis to `direction`, which is not −z."""
    x, y, z = direction
    cross = np.array([[0, 0, x], [0, 0, y], [-x, -y, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + z)


def _extended(volume: FloatArray, mask: MaskArray) -> FloatArray:
    """Continue the values at the edge of the mask outwards, so that none mixes with zero."""
    nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return volume[tuple(nearest)]


def _resample(
    volume: FloatArray, matrix: NDArray[np.float64], shape: Shape3, order: int = 3
) -> FloatArray:
    """Interpolate onto a grid whose voxels `matrix` takes to those of `volume`."""
    centre_out = (np.asarray(shape) - 1) / 2
    centre_in = (np.asarray(volume.shape) - 1) / 2
    return ndimage.affine_transform(
        volume,
        matrix,
        centre_in - matrix @ centre_out,
        output_shape=shape,
        order=order,
        mode="nearest" if order > 1 else "constant",
    )
