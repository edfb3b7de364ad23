"""Dipole inversion at two levels, strong sources first."""

import numpy as np
from numpy.typing import ArrayLike

from ..checks import check_levels, check_positive
from ..dipole import forward_field
from ..geometry import DEFAULT_PAD, FloatArray, Triple, check_mask
from .tv import tv


def star(
    local_field: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    b0_dir: Triple,
    *,
    regularisation: float = 5e-4,
    strong_regularisation: float = 5e-3,
    threshold: float = 0.15,
    noise: ArrayLike | None = None,
    tolerance: float = 1e-2,
    max_iterations: int = 100,
    pad: float = DEFAULT_PAD,
    device: str = "cpu",
) -> FloatArray:
    """Susceptibility with streaks of strong sources kept down (STAR-QSM).

    Two levels of the same total variation problem (:func:`tv`). A large λ leaves little but
    strong sources: voxels that differ by more than a threshold from the median. Their field
    is taken off, and what remains, of a much smaller range, is inverted with a small λ.
    The result is the sum of both. Without any strong source it is that of :func:`tv`.

    The published programs act on phase, so that their λ depends on echo time and field
    strength; here fields and λ are in ppm, and the same on every scanner.

    Parameters
    ----------
    local_field : (X, Y, Z) array_like
        In ppm; not used outside the mask.
    mask : (X, Y, Z) array_like
        Where the local field is known.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    b0_dir : (3,) sequence of float
        Unit vector of B0 in voxel axes.
    regularisation : float
        λ of the second level, in ppm·mm.
    strong_regularisation : float
        λ of the first level, in ppm·mm, larger than that of the second.
    threshold : float
        Difference from the median, in ppm, beyond which a source is strong.
    noise : (X, Y, Z) array_like, optional
        Standard deviation of the field in any units; uniform when not given. Voxels where
        it is zero or negative get no weight.
    tolerance : float
        Relative change of χ in a step that ends the iterations of a level.
    max_iterations : int
        Most iterations of a level.
    pad : float
        Millimetres of zeros around the mask; 0 works periodically on the image.
    device : str
        Torch device.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        χ in ppm, zero outside the mask, known up to a constant.

    Raises
    ------
    ValueError
        If the inputs do not fit together, no voxel of the mask has a positive `noise`, or a
        parameter is out of range.

    References
    ----------
    Wei et al., NMR Biomed 28:1294 (2015).
    """
    check_positive(regularisation=regularisation, threshold=threshold)
    check_levels(regularisation, strong_regularisation)

    def level(field: ArrayLike, weight: float) -> FloatArray:
        return tv(
            field,
            mask,
            voxel_size,
            b0_dir,
            regularisation=weight,
            noise=noise,
            tolerance=tolerance,
            max_iterations=max_iterations,
            pad=pad,
            device=device,
        )

    strong = level(local_field, strong_regularisation)
    inside = check_mask(mask)
    strong -= np.median(strong[inside])
    strong *= inside & (np.abs(strong) > threshold)
    rest = np.where(inside, local_field, 0)
    rest -= forward_field(strong, voxel_size, b0_dir, pad=pad, device=device)
    if not rest[inside].any():
        return strong
    return strong + level(rest, regularisation)
