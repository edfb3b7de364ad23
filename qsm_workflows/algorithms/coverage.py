"""Slabs of reduced coverage: where they lie and how images are cut to them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .geometry import voxel_size

# Two grids are the same lattice when their voxel centres agree to this many voxels.
_LATTICE_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Slab:
    """A stack of neighbouring slices of an image.

    Attributes
    ----------
    axis : int
        Voxel axis across the slab.
    start, stop : int
        Half-open range of slices that lie in the image.
    thickness : float
        Thickness asked for, in mm.
    actual_thickness : float
        Thickness of the slices that lie in the image, in mm.
    """

    axis: int
    start: int
    stop: int
    thickness: float
    actual_thickness: float

    @property
    def is_clipped(self) -> bool:
        """Whether a slice or more of what was asked for lies outside the image."""
        slice_thickness = self.actual_thickness / (self.stop - self.start)
        return self.thickness - self.actual_thickness > 0.5 * slice_thickness + 1e-6


def slab_axis(affine: ArrayLike) -> int:
    """Voxel axis nearest to the world's inferior–superior direction."""
    matrix = np.asarray(affine, dtype=float)
    return int(np.argmax(np.abs(matrix[2, :3]) / voxel_size(matrix)))


def place_slab(
    shape: tuple[int, int, int],
    affine: ArrayLike,
    centre: ArrayLike,
    thickness: float,
    axis: int | None = None,
) -> Slab:
    """Find the slices of a slab about a point.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image.
    affine : (4, 4) array_like
        Voxel-to-world matrix, in mm.
    centre : (3,) array_like
        World position, in mm, that the slab is centred on.
    thickness : float
        Thickness of the slab in mm.
    axis : int, optional
        Voxel axis across the slab; by default :func:`slab_axis`.

    Returns
    -------
    Slab
        As many slices as come nearest to `thickness`, clipped to the image.

    Raises
    ------
    ValueError
        If there is no such axis, the thickness is not positive or the slab lies outside the
        image.
    """
    matrix = np.asarray(affine, dtype=float)
    if axis is None:
        axis = slab_axis(matrix)
    if axis not in range(3):
        raise ValueError(f"the axis across the slab must be 0, 1 or 2, not {axis}")
    if not (np.isfinite(thickness) and thickness > 0):
        raise ValueError(f"the slab's thickness must be positive, not {thickness} mm")
    slice_thickness = voxel_size(matrix)[axis]
    point = np.append(np.asarray(centre, dtype=float), 1.0)
    position = float((np.linalg.inv(matrix) @ point)[axis])
    count = max(1, round(thickness / slice_thickness))
    first = round(position + 0.5 - count / 2)
    start, stop = max(first, 0), min(first + count, shape[axis])
    if start >= stop:
        raise ValueError(
            f"a slab of {thickness:g} mm about slice {position:.1f} lies outside the image, "
            f"which has {shape[axis]} slices along axis {axis}; check the centre"
        )
    return Slab(axis, start, stop, float(thickness), float((stop - start) * slice_thickness))


def truncate(volume: NDArray, affine: ArrayLike, slab: Slab) -> tuple[NDArray, NDArray[np.float64]]:
    """Cut a volume to a slab.

    Parameters
    ----------
    volume : (X, Y, Z) ndarray
    affine : (4, 4) array_like
        Its voxel-to-world matrix, in mm.
    slab : Slab

    Returns
    -------
    volume : ndarray
        The slices of the slab, as a copy.
    affine : (4, 4) ndarray
        Voxel-to-world matrix that leaves every voxel where it was.

    Raises
    ------
    ValueError
        If the slab does not fit the volume.
    """
    if slab.stop > volume.shape[slab.axis]:
        raise ValueError(
            f"slices {slab.start} to {slab.stop} do not exist along axis {slab.axis} "
            f"of a volume of shape {volume.shape}"
        )
    slices = [slice(None)] * 3
    slices[slab.axis] = slice(slab.start, slab.stop)
    matrix = np.array(affine, dtype=float)
    matrix[:3, 3] += slab.start * matrix[:3, slab.axis]
    return np.ascontiguousarray(volume[tuple(slices)]), matrix


def extract(
    volume: NDArray, affine: ArrayLike, shape: tuple[int, int, int], target_affine: ArrayLike
) -> NDArray:
    """Take from a volume the voxels of a smaller grid that lies within it.

    Parameters
    ----------
    volume : (X, Y, Z) ndarray
    affine : (4, 4) array_like
        Its voxel-to-world matrix, in mm.
    shape : tuple of int
        Shape of the smaller grid.
    target_affine : (4, 4) array_like
        Its voxel-to-world matrix.

    Raises
    ------
    ValueError
        If the smaller grid is not a part of the larger one.
    """
    source, target = np.asarray(affine, dtype=float), np.asarray(target_affine, dtype=float)
    mapping = np.linalg.inv(source) @ target
    offset = np.rint(mapping[:3, 3]).astype(int)
    expected = np.eye(4)
    expected[:3, 3] = offset
    end = offset + np.asarray(shape)
    if (
        not np.allclose(mapping, expected, atol=_LATTICE_TOLERANCE)
        or np.any(offset < 0)
        or np.any(end > volume.shape[:3])
    ):
        raise ValueError(
            "the images do not share a grid: one is not a block of the other's voxels; "
            "resample it first"
        )
    return volume[tuple(slice(a, b) for a, b in zip(offset, end, strict=True))]
