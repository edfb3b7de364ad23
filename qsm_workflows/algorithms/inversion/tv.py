"""Dipole inversion with total variation, by ADMM."""

import logging

import torch
from numpy.typing import ArrayLike

from .. import differences, krylov
from ..checks import check_positive, check_stopping
from ..geometry import DEFAULT_PAD, FloatArray, Triple, check_volume
from ..weighting import data_weight
from .problem import DipoleProblem

_logger = logging.getLogger(__name__)


def tv(
    local_field: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    b0_dir: Triple,
    *,
    regularisation: float = 5e-4,
    coupling: float = 100.0,
    noise: ArrayLike | None = None,
    tolerance: float = 1e-2,
    max_iterations: int = 100,
    pad: float = DEFAULT_PAD,
    device: str = "cpu",
) -> FloatArray:
    """Susceptibility with a penalty on gradients, by ADMM (TV).

    Minimises ½‖m·(D∗χ − f)‖² + λ‖∇χ‖₁, where m weighs the data and is zero outside the mask:
    with z = ∇χ and v = D∗χ split off, each step is a division in k-space, a soft threshold
    and a weighted mean.

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
        λ, in ppm·mm; larger values give flatter maps. Fields are in ppm, so it means the
        same at every field strength.
    coupling : float
        Penalty on z ≠ ∇χ over λ, in mm/ppm. It changes the way to the solution, not the
        solution.
    noise : (X, Y, Z) array_like, optional
        Standard deviation of the field in any units; uniform when not given. Voxels where
        it is zero or negative get no weight.
    tolerance : float
        Relative change of χ in a step that ends the iterations.
    max_iterations : int
        Most iterations.
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
    Bilgic et al., Magn Reson Med 72:1444 (2014); Milovic et al., Magn Reson Med 80:814
    (2018) for the weighted data term.
    """
    check_positive(regularisation=regularisation, coupling=coupling)
    check_stopping(tolerance, max_iterations=max_iterations)
    problem = DipoleProblem.create(local_field, mask, voxel_size, b0_dir, pad, device)
    size, kernel = problem.voxel_size, problem.kernel
    deviation = torch.ones_like(problem.field)
    if noise is not None:
        checked = check_volume("noise", noise, problem.grid.image_shape)
        deviation = problem.grid.embed(checked, device)
    weight = data_weight(deviation, problem.mask).square_()
    weighted_field = weight * problem.field
    shrink = weight.add_(1).reciprocal_()

    penalty, limit = coupling * regularisation, 1 / coupling
    power = differences.gradient_power(problem.grid.shape, size, device)
    inverse = power.mul_(penalty).add_(kernel**2)
    inverse[0, 0, 0] = 1  # where both are zero
    inverse.reciprocal_()
    # Each variable less its scaled multiplier, as the next step needs it.
    slopes = torch.zeros((3, *problem.grid.shape), device=device)
    slope_multiplier = torch.zeros_like(slopes)
    model, model_multiplier = problem.field.clone(), torch.zeros_like(problem.field)
    chi = torch.zeros_like(problem.field)
    for _ in range(max_iterations):
        spectrum = problem.transform(model).mul_(kernel)
        divergence = differences.gradient_adjoint(slopes, size).mul_(penalty)
        spectrum.add_(problem.transform(divergence)).mul_(inverse)
        previous, chi = chi, problem.invert(spectrum)

        slopes = differences.gradient(chi, size).add_(slope_multiplier)
        torch.clamp(slopes, -limit, limit, out=slope_multiplier)
        slopes.sub_(slope_multiplier, alpha=2)

        model = problem.invert(spectrum.mul_(kernel)).add_(model_multiplier)
        known = (model + weighted_field).mul_(shrink)
        model_multiplier = model.sub_(known)
        model = known - model_multiplier
        change = krylov.norm(previous.sub_(chi))
        if change <= tolerance * krylov.norm(chi):
            break
    else:
        _logger.warning("TV stopped after %d iterations while χ still changed", max_iterations)
    return problem.result(chi)
