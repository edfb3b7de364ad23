"""What a background removal took off a mask."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..geometry import Triple, bounding_box, check_geometry, check_mask


@dataclass(frozen=True)
class Erosion:
    """Loss of a mask, by face and by volume.

    Parameters
    ----------
    faces : tuple of (float, float)
        Millimetres by which the mask's extent shrank at the low and at the high end of
        each voxel axis: for a slab, what its end faces lost.
    kept : float
        Fraction of the volume that is left.
    """

    faces: tuple[tuple[float, float], ...]
    kept: float

    def __str__(self) -> str:
        ends = ", ".join(
            f"{axis} {low:.1f} and {high:.1f}"
            for axis, (low, high) in zip("ijk", self.faces, strict=True)
        )
        return f"{100 * self.kept:.0f} % of the mask kept; mm lost along {ends}"


def erosion(mask: ArrayLike, eroded: ArrayLike, voxel_size: Triple) -> Erosion:
    """Compare a mask with what a background removal left of it.

    Parameters
    ----------
    mask : (X, Y, Z) array_like
    eroded : (X, Y, Z) array_like
        Part of it.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.

    Raises
    ------
    ValueError
        If either is empty, the shapes differ or the second reaches beyond the first.

    Examples
    --------
    >>> slab = np.ones((8, 8, 10), bool)
    >>> left = np.zeros_like(slab)
    >>> left[1:-1, 1:-1, 3:-3] = True
    >>> print(erosion(slab, left, (2, 2, 1)))
    22 % of the mask kept; mm lost along i 2.0 and 2.0, j 2.0 and 2.0, k 3.0 and 3.0
    """
    size, _ = check_geometry(voxel_size)
    before = check_mask(mask)
    after = check_mask(eroded, before.shape)
    if (after & ~before).any():
        raise ValueError("the eroded mask reaches beyond the mask")
    faces = tuple(
        ((now.start - was.start) * float(length), (was.stop - now.stop) * float(length))
        for was, now, length in zip(bounding_box(before), bounding_box(after), size, strict=True)
    )
    return Erosion(faces, np.count_nonzero(after) / np.count_nonzero(before))
