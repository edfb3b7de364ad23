"""Voxel size, B0 direction and the checks every volume goes through."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float32]
MaskArray = NDArray[np.bool_]
Triple = Sequence[float] | NDArray[np.floating]

DEFAULT_PAD = 40.0
"""Zeros, in mm, between a volume and its periodic image along every axis."""


def voxel_size(affine: ArrayLike) -> NDArray[np.float64]:
    """Voxel edge lengths of an image, in mm.

    Parameters
    ----------
    affine : (4, 4) array_like
        Voxel-to-world matrix, in mm.

    Raises
    ------
    ValueError
        If the affine is singular or not finite.
    """
    matrix = np.asarray(affine, dtype=float)
    if matrix.shape != (4, 4) or not np.all(np.isfinite(matrix)):
        raise ValueError(f"the affine must be a finite 4 × 4 matrix, not {matrix!r}")
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.all(lengths > 0) or abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-3:
        raise ValueError(f"the affine is singular: {matrix[:3, :3].tolist()}")
    return lengths


def b0_direction(affine: ArrayLike) -> NDArray[np.float64]:
    """Unit vector of B0 in voxel axes.

    B0 is the scanner's bore, the third world axis; it becomes oblique in voxel
    axes when the acquisition was tilted.

    Parameters
    ----------
    affine : (4, 4) array_like
        Voxel-to-world matrix, in mm.

    Examples
    --------
    >>> b0_direction(np.diag([2.0, 2.0, 3.0, 1.0]))
    array([0., 0., 1.])
    """
    direction = np.asarray(affine, dtype=float)[2, :3] / voxel_size(affine)
    return direction / np.linalg.norm(direction)


def check_geometry(
    voxel_size: Triple, b0_dir: Triple | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Validate voxel size and B0 direction.

    Parameters
    ----------
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    b0_dir : (3,) sequence of float, optional
        B0 in voxel axes; the third axis when not given.

    Returns
    -------
    voxel_size, b0_dir : (3,) ndarray of float64

    Raises
    ------
    ValueError
        If a length is not positive or the direction is not a unit vector.
    """
    size = np.asarray(voxel_size, dtype=float)
    if size.shape != (3,) or not np.all(np.isfinite(size)) or np.any(size <= 0):
        raise ValueError(f"voxel_size must be three positive lengths in mm, not {voxel_size!r}")
    direction = np.asarray((0.0, 0.0, 1.0) if b0_dir is None else b0_dir, dtype=float)
    if direction.shape != (3,) or not abs(np.linalg.norm(direction) - 1) < 1e-3:
        raise ValueError(f"b0_dir must be a unit vector of three components, not {b0_dir!r}")
    return size, direction / np.linalg.norm(direction)


def _check_shape(name: str, shape: tuple[int, ...], expected: tuple[int, ...] | None) -> None:
    if len(shape) != 3 or (expected is not None and shape != expected):
        wanted = "(X, Y, Z)" if expected is None or len(shape) != 3 else expected
        raise ValueError(f"{name} has shape {shape}, expected {wanted}")


def check_volume(
    name: str,
    volume: ArrayLike,
    shape: tuple[int, ...] | None = None,
    *,
    mask: MaskArray | None = None,
) -> FloatArray:
    """Validate a real 3-D volume and return it as C-ordered float32.

    Parameters
    ----------
    name : str
        What the volume is called in error messages.
    volume : (X, Y, Z) array_like
    shape : tuple of int, optional
        Shape that it must have.
    mask : (X, Y, Z) ndarray of bool, optional
        Where it is known, instead of `shape`; NaN and infinite values elsewhere, which other
        programs leave there, become zero.

    Raises
    ------
    ValueError
        If it is not real or not 3-D, has another shape, or holds NaN or infinite values.
    """
    if np.iscomplexobj(volume):
        raise ValueError(f"{name} is complex; it must be real")
    array = np.ascontiguousarray(volume, dtype=np.float32)
    _check_shape(name, array.shape, shape)
    if mask is not None and array.shape != mask.shape:
        raise ValueError(f"mask has shape {mask.shape}, but {name} has shape {array.shape}")
    bad = ~np.isfinite(array)
    if mask is not None and bad.any():
        array = np.where(bad & ~mask, np.float32(0), array)
        bad &= mask
    if bad.any():
        place = "" if mask is None else " in the mask"
        raise ValueError(f"{name} holds {np.count_nonzero(bad)} NaN or infinite voxels{place}")
    return array


def check_mask(mask: ArrayLike, shape: tuple[int, ...] | None = None) -> MaskArray:
    """Validate a mask and return it as a bool array.

    Parameters
    ----------
    mask : (X, Y, Z) array_like
        Non-zero inside.
    shape : tuple of int, optional
        Shape that it must have.

    Raises
    ------
    ValueError
        If it has another shape, holds NaN or is empty.
    """
    values = np.asarray(mask)
    if values.dtype.kind in "fc" and np.isnan(values).any():
        raise ValueError(f"mask holds {np.count_nonzero(np.isnan(values))} NaN voxels")
    array = np.ascontiguousarray(values != 0)
    _check_shape("mask", array.shape, shape)
    if not array.any():
        raise ValueError("mask is empty")
    return array


def bounding_box(mask: MaskArray) -> tuple[slice, slice, slice]:
    """Smallest box that holds a mask, as slices of the three axes.

    Parameters
    ----------
    mask : (X, Y, Z) ndarray of bool
        Not empty.

    Examples
    --------
    >>> mask = np.zeros((5, 5, 5), bool)
    >>> mask[1:3, 2, 0:4] = True
    >>> bounding_box(mask)
    (slice(1, 3, None), slice(2, 3, None), slice(0, 4, None))
    """
    x, y, z = (
        slice(int(inside[0]), int(inside[-1]) + 1)
        for inside in (np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    )
    return x, y, z
