"""Susceptibility-weighted images."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from .checks import check_positive
from .geometry import FloatArray, Triple, check_geometry, check_mask, check_volume


@dataclass(frozen=True)
class SWI:
    """Result of :func:`susceptibility_weighted`.

    Attributes
    ----------
    image : (X, Y, Z) ndarray of float32
        Magnitude times phase mask, zero outside the brain.
    projection : (X, Y, Z) ndarray of float32
        Its minimum over a slab round each slice.
    """

    image: FloatArray
    projection: FloatArray


def susceptibility_weighted(
    unwrapped: ArrayLike,
    magnitude: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    *,
    darken: Literal["paramagnetic", "diamagnetic"] = "paramagnetic",
    smoothing: float = 4.0,
    power: float = 4.0,
    thickness: float = 14.0,
    axis: int = 2,
) -> SWI:
    """Darken a magnitude where its phase tells of susceptibility (SWI).

    The phase less its mean over a Gaussian, φ, makes a mask that falls from 1 at φ = 0 to
    0 at φ = π, and the magnitude is multiplied with it `power` times. Unwrapped phase needs
    no homodyne filter, which leaves wraps near air.

    Parameters
    ----------
    unwrapped : (X, Y, Z) array_like
        Unwrapped phase of one echo, in radians, positive where the field is raised.
    magnitude : (X, Y, Z) array_like
        Magnitude of that echo.
    mask : (X, Y, Z) array_like
        Brain mask.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    darken : {"paramagnetic", "diamagnetic"}
        What is made dark: veins and iron, whose phase is raised, or calcium.
    smoothing : float
        Standard deviation of the Gaussian, in mm; larger structures lose their contrast.
    power : float
        How often the mask is multiplied.
    thickness : float
        Slab of the minimum intensity projection, in mm.
    axis : int
        Voxel axis across that slab.

    Returns
    -------
    SWI

    Raises
    ------
    ValueError
        If the inputs do not fit together or an option makes no sense.

    References
    ----------
    Haacke et al., Magn Reson Med 52:612 (2004).
    """
    size, _ = check_geometry(voxel_size)
    inside = check_mask(mask)
    phase = check_volume("phase", unwrapped, mask=inside)
    bright = check_volume("magnitude", magnitude, mask=inside)
    check_positive(smoothing=smoothing, power=power, thickness=thickness)
    if darken not in ("paramagnetic", "diamagnetic"):
        raise ValueError(f"darken must be paramagnetic or diamagnetic, not {darken!r}")
    if axis not in (0, 1, 2):
        raise ValueError(f"axis must be 0, 1 or 2, not {axis}")
    share = ndimage.gaussian_filter(inside.astype(np.float32), smoothing / size, mode="constant")
    total = ndimage.gaussian_filter(phase * inside, smoothing / size, mode="constant")
    local = phase - np.divide(total, share, out=np.zeros_like(total), where=inside)
    if darken == "diamagnetic":
        local = -local
    weight = np.clip(1 - np.maximum(local, 0) / np.pi, 0, 1) ** np.float32(power)
    image = (bright * weight * inside).astype(np.float32)
    # The dark outside of the brain is not the minimum that is meant.
    within = np.where(inside, image, np.inf)
    slices = max(1, round(thickness / size[axis]))
    projection = ndimage.minimum_filter1d(within, slices, axis=axis, mode="nearest")
    return SWI(image, np.where(np.isfinite(projection), projection, 0).astype(np.float32))
