"""Susceptibility from several orientations of the head."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike

from .. import fft
from ..dipole import dipole_kernel
from ..geometry import DEFAULT_PAD, FloatArray, Triple, check_geometry, check_mask, check_volume


def cosmos(
    local_fields: Sequence[ArrayLike],
    masks: ArrayLike,
    voxel_size: Triple,
    b0_dirs: Sequence[Triple],
    *,
    pad: float = DEFAULT_PAD,
    device: str = "cpu",
) -> FloatArray:
    """Susceptibility from several orientations, by least squares in k-space (COSMOS).

    χ = F⁻¹{Σ D_t·F f_t / Σ D_t²}, where D_t has B0 as it lay in the head at orientation t.

    Parameters
    ----------
    local_fields : sequence of (X, Y, Z) array_like
        Local field of each orientation in ppm, all resampled to one grid.
    masks : (X, Y, Z) or (T, X, Y, Z) array_like
        Where the fields are known: one mask, or one for each of T orientations, of which
        the intersection is used.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm of the common grid.
    b0_dirs : sequence of (3,) sequence of float
        Unit vector of B0 in voxel axes of the common grid, for each orientation.
    pad : float
        Millimetres of zeros around the mask; 0 works periodically on the image.
    device : str
        Torch device.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        χ in ppm, zero outside the intersection of the masks, known up to a constant.

    Raises
    ------
    ValueError
        If there are fewer than two orientations or the inputs do not fit together.

    References
    ----------
    Liu et al., Magn Reson Med 61:196 (2009).
    """
    if len(local_fields) < 2 or len(local_fields) != len(b0_dirs):
        raise ValueError(
            "COSMOS needs two or more orientations, each with its B0 direction; "
            f"got {len(local_fields)} fields and {len(b0_dirs)} directions"
        )
    known = np.asarray(masks)
    several = known if known.ndim == 4 else [known]
    inside = check_mask(np.all([check_mask(mask) for mask in several], axis=0))
    size, _ = check_geometry(voxel_size)
    grid = fft.PaddedGrid.around(inside, size, pad)

    denominator = torch.zeros_like(dipole_kernel(grid.shape, size, b0_dirs[0], device))
    numerator = torch.zeros_like(denominator, dtype=torch.complex64)
    for number, (field, b0_dir) in enumerate(zip(local_fields, b0_dirs, strict=True)):
        volume = check_volume(f"local field {number + 1}", field, inside.shape) * inside
        kernel = dipole_kernel(grid.shape, size, b0_dir, device)
        numerator += fft.forward(grid.embed(volume, device), grid.shape) * kernel
        denominator += kernel**2
    # Where no orientation sees χ, at k = 0 and where the cones meet, it stays zero.
    spectrum = torch.where(denominator > 1e-6, numerator / denominator, 0.0)
    return grid.extract(fft.inverse(spectrum, grid.shape, grid.shape)) * inside
