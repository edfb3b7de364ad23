"""Small changes to a mask, in mm."""

import math
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from .geometry import MaskArray, Triple, check_geometry, check_mask


def refine_mask(
    mask: ArrayLike,
    voxel_size: Triple,
    *,
    keep_largest: bool = True,
    closing: float = 0.0,
    fill_holes: bool = True,
    margin: float = 0.0,
) -> MaskArray:
    """Tidy a mask: largest part, closing, holes, then a margin, in this order.

    Lengths are those of spheres, whatever the voxels. Where a mask meets the edge of the
    image it is taken to go on outside, so that the ends of a slab are not eroded.

    Parameters
    ----------
    mask : (X, Y, Z) array_like
        Non-zero inside.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    keep_largest : bool
        Leave out what is not connected, face to face, to the largest part.
    closing : float
        Radius, in mm, of a sphere that must fit into every gap that stays open.
    fill_holes : bool
        Take in what is enclosed.
    margin : float
        Distance, in mm, by which the mask grows, or shrinks if it is negative.

    Returns
    -------
    (X, Y, Z) ndarray of bool

    Raises
    ------
    ValueError
        If the mask is empty or becomes so, or a length is not valid.
    """
    size, _ = check_geometry(voxel_size)
    inside = check_mask(mask)
    if not (closing >= 0 and math.isfinite(closing) and math.isfinite(margin)):
        raise ValueError(
            f"closing must not be negative and margin be finite, in mm, not {closing} and {margin}"
        )
    if keep_largest:
        inside = largest_part(inside)
    if closing:
        inside = inside | shrink(grow(inside, size, closing), size, closing)
    if fill_holes:
        inside = cast(MaskArray, ndimage.binary_fill_holes(inside))
    if margin > 0:
        inside = grow(inside, size, margin)
    elif margin < 0:
        inside = shrink(inside, size, -margin)
        if not inside.any():
            raise ValueError(f"nothing of the mask is left after {-margin:g} mm are taken away")
    return inside


def largest_part(mask: MaskArray) -> MaskArray:
    """Largest part whose voxels are connected by their faces; `mask` must not be empty."""
    parts, _ = ndimage.label(mask)
    return cast(MaskArray, parts == np.bincount(parts[mask]).argmax())


def grow(mask: MaskArray, voxel_size: NDArray[np.float64], distance: float) -> MaskArray:
    """Voxels no further than a distance, in mm, from those of a mask."""
    return cast(
        MaskArray, ndimage.distance_transform_edt(~mask, sampling=voxel_size) <= distance + 1e-6
    )


def shrink(mask: MaskArray, voxel_size: NDArray[np.float64], distance: float) -> MaskArray:
    """Voxels of a mask further than a distance, in mm, from any outside it."""
    if mask.all():
        return mask
    # The transform knows no voxels outside the image, so that its edge is no edge of the mask.
    depth = ndimage.distance_transform_edt(mask, sampling=voxel_size)
    return cast(MaskArray, depth > distance + 1e-6)
