"""Dipole inversion by division in k-space."""

import torch
from numpy.typing import ArrayLike

from .. import differences
from ..checks import check_positive
from ..geometry import DEFAULT_PAD, FloatArray, Triple
from .problem import DipoleProblem


def tkd(
    local_field: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    b0_dir: Triple,
    *,
    threshold: float = 0.15,
    pad: float = DEFAULT_PAD,
    device: str = "cpu",
) -> FloatArray:
    """Susceptibility by thresholded k-space division (TKD).

    χ = F⁻¹{F f / D'}, where D' = D for ``|D| > threshold`` and sign(D)·threshold elsewhere.
    Susceptibility is underestimated, more so for a higher threshold; no correction factor
    is applied.

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
    threshold : float
        Smallest ``|D|`` that is divided by, between 0 and 2/3.
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
        If the inputs do not fit together or the threshold is out of range.

    References
    ----------
    Shmueli et al., Magn Reson Med 62:1510 (2009).
    """
    _check_threshold(threshold)
    problem = DipoleProblem.create(local_field, mask, voxel_size, b0_dir, pad, device)
    return _filter(problem, inverse_kernel(problem.kernel, threshold))


def tsvd(
    local_field: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    b0_dir: Triple,
    *,
    threshold: float = 0.15,
    pad: float = DEFAULT_PAD,
    device: str = "cpu",
) -> FloatArray:
    """Susceptibility by truncated k-space division (TSVD).

    χ = F⁻¹{F f / D} where ``|D| > threshold``; elsewhere the spectrum is zero.

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
    threshold : float
        Smallest ``|D|`` that is divided by, between 0 and 2/3.
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
        If the inputs do not fit together or the threshold is out of range.

    References
    ----------
    Wharton et al., Magn Reson Med 63:1292 (2010).
    """
    _check_threshold(threshold)
    problem = DipoleProblem.create(local_field, mask, voxel_size, b0_dir, pad, device)
    kernel = problem.kernel
    return _filter(problem, torch.where(kernel.abs() > threshold, 1 / kernel, 0.0))


def l2(
    local_field: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    b0_dir: Triple,
    *,
    regularisation: float = 5e-3,
    pad: float = DEFAULT_PAD,
    device: str = "cpu",
) -> FloatArray:
    """Susceptibility with a penalty on squared gradients, in closed form (L2).

    Minimises ‖D∗χ − f‖² + λ‖∇χ‖² over the whole grid, on which the field is zero outside
    the mask: χ = F⁻¹{D·F f / (D² + λ|∇|²)}.

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
        λ, in mm²; larger values give smoother maps.
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
        If the inputs do not fit together or λ is out of range.

    References
    ----------
    Bilgic et al., J Magn Reson Imaging 40:181 (2014).
    """
    check_positive(regularisation=regularisation)
    problem = DipoleProblem.create(local_field, mask, voxel_size, b0_dir, pad, device)
    kernel = problem.kernel
    power = differences.gradient_power(problem.grid.shape, problem.voxel_size, device)
    power[0, 0, 0] = 1  # where D is zero
    return _filter(problem, kernel / (kernel**2 + regularisation * power))


def inverse_kernel(kernel: torch.Tensor, threshold: float) -> torch.Tensor:
    """1/D where ``|D| > threshold``, sign(D)/threshold elsewhere; zero where D is zero."""
    return torch.where(kernel.abs() > threshold, 1 / kernel, kernel.sign() / threshold)


def _filter(problem: DipoleProblem, inverse: torch.Tensor) -> FloatArray:
    """Field, multiplied in k-space."""
    return problem.result(problem.invert_near(problem.transform(problem.field).mul_(inverse)))


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold < 2 / 3:
        raise ValueError(f"threshold must lie between 0 and 2/3, not {threshold}")
