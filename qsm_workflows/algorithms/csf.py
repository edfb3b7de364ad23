"""Cerebrospinal fluid in the ventricles, found by its slow transverse relaxation."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from .checks import check_positive
from .geometry import MaskArray, Triple, check_geometry, check_mask, check_volume


def csf_mask(
    r2star: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    *,
    threshold: float = 5.0,
    radius: float = 30.0,
    depth: float = 10.0,
    regions: int = 3,
) -> MaskArray:
    """Ventricles, as a reference of zero susceptibility for MEDI+0.

    The largest connected regions of low R2* that lie in the middle of the brain and well
    within it, so that sulci are left out.

    Parameters
    ----------
    r2star : (X, Y, Z) array_like
        In 1/s; not used outside the mask. Zero, where a fit failed, does not count as low.
    mask : (X, Y, Z) array_like
        Brain.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    threshold : float
        R2* of cerebrospinal fluid is below this, 1/s.
    radius : float
        Of the sphere about the centre of the mask that is looked at, mm.
    depth : float
        Least distance from the surface of the brain, mm. End faces of a slab, where the mask
        ends with the image, are no surface.
    regions : int
        How many regions, the largest ones, are kept; voxels hang together by their faces.

    Returns
    -------
    (X, Y, Z) ndarray of bool

    Raises
    ------
    ValueError
        If the inputs do not fit together, a parameter is out of range, or there is no such
        region.

    References
    ----------
    Liu et al., Magn Reson Med 79:2795 (2018).
    """
    check_positive(threshold=threshold, radius=radius)
    if not (depth >= 0 and regions >= 1):
        raise ValueError(f"depth must not be negative and regions at least 1: {depth}, {regions}")
    size, _ = check_geometry(voxel_size)
    inside = check_mask(mask)
    rate = check_volume("r2star", r2star, mask=inside)
    centre = [float(i.mean()) for i in np.nonzero(inside)]
    axes = np.ogrid[tuple(slice(n) for n in inside.shape)]
    near = sum(((a - c) * s) ** 2 for a, c, s in zip(axes, centre, size, strict=True)) <= radius**2
    low = near & inside & (rate > 0) & (rate < threshold)
    if not inside.all():
        low &= ndimage.distance_transform_edt(inside, sampling=size) > depth
    labels, count = ndimage.label(low)
    if count == 0:
        raise ValueError(
            f"no voxel of R2* below {threshold:g}/s lies deep in the middle of the brain: is "
            "r2star in 1/s, and does the mask hold the ventricles?"
        )
    sizes = np.bincount(labels.ravel())[1:]
    largest = np.argsort(sizes, kind="stable")[::-1][:regions] + 1
    return np.isin(labels, largest)
