"""Dipole inversion in two rapid steps."""

import torch
from numpy.typing import ArrayLike

from .. import differences, krylov
from ..checks import check_positive, check_stopping, report_unsettled
from ..geometry import DEFAULT_PAD, FloatArray, Triple
from .problem import DipoleProblem
from .shrinkage import SlopeShrinkage


def rts(
    local_field: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    b0_dir: Triple,
    *,
    threshold: float = 0.15,
    least_squares_iterations: int = 8,
    regularisation: float = 3e-3,
    coupling: float = 30.0,
    tolerance: float = 1e-2,
    max_iterations: int = 40,
    pad: float = DEFAULT_PAD,
    device: str = "cpu",
) -> FloatArray:
    """Susceptibility in two rapid steps (RTS).

    First a few LSMR iterations on ‖m·(D∗χ − f)‖, with χ in the mask m, find the part of
    its spectrum where ``|D| > threshold``, which is well conditioned. Then total variation
    fills in the rest: with K that part of k-space and χ₁ what was found, minimise
    ½‖K·F(χ − χ₁)‖² + λ‖∇χ‖₁ by ADMM, which takes one pair of transforms a step.

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
        ``|D|`` above which the spectrum is taken from the first step, between 0 and 2/3.
    least_squares_iterations : int
        LSMR iterations of the first step; their number regularises it.
    regularisation : float
        λ, in ppm·mm. Fields are in ppm, so it means the same at every field strength.
    coupling : float
        Penalty of ADMM over λ, in mm/ppm.
    tolerance : float
        Relative change of χ in a step that ends the second step.
    max_iterations : int
        Most iterations of the second step.
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
        If the inputs do not fit together or a parameter is out of range.

    References
    ----------
    Kames et al., NeuroImage 167:276 (2018).
    """
    if not 0 < threshold < 2 / 3:
        raise ValueError(f"threshold must lie between 0 and 2/3, not {threshold}")
    check_positive(regularisation=regularisation, coupling=coupling)
    check_stopping(
        tolerance,
        max_iterations=max_iterations,
        least_squares_iterations=least_squares_iterations,
    )
    problem = DipoleProblem.create(local_field, mask, voxel_size, b0_dir, pad, device)
    found = well_conditioned(problem, least_squares_iterations)
    return problem.result(
        _fill_in(problem, found, threshold, regularisation, coupling, tolerance, max_iterations)
    )


def well_conditioned(problem: DipoleProblem, iterations: int) -> torch.Tensor:
    """Step 1: χ in the mask, on its extent, by a few iterations of least squares."""
    inside = problem.near(problem.mask)

    def operator(volume: torch.Tensor) -> torch.Tensor:
        return problem.invert_near(problem.transform(volume).mul_(problem.kernel)).mul_(inside)

    # M·D·M is symmetric: its own adjoint.
    field = problem.near(problem.field)
    return krylov.lsmr(operator, operator, field, tolerance=0, max_iterations=iterations)


def _fill_in(
    problem: DipoleProblem,
    found: torch.Tensor,
    threshold: float,
    regularisation: float,
    coupling: float,
    tolerance: float,
    max_iterations: int,
) -> torch.Tensor:
    """Step 2: χ that has the spectrum found before and else small gradients."""
    size = problem.voxel_size
    known = (problem.kernel.abs() > threshold).to(torch.float32)
    target = problem.transform(found).mul_(known)
    power = differences.gradient_power(problem.grid.shape, size, found.device)
    penalty = coupling * regularisation
    inverse = power.mul_(penalty).add_(known)
    inverse[0, 0, 0] = 1  # where both are zero
    inverse.reciprocal_()
    gradients = SlopeShrinkage(problem.grid.shape, size, 1 / coupling, found.device)
    chi = torch.zeros(problem.grid.shape, device=found.device)
    x, y, z = found.shape
    chi[:x, :y, :z] = found
    for _ in range(max_iterations):
        spectrum = problem.transform(gradients.update(chi)).mul_(penalty)
        previous, chi = chi, problem.invert(spectrum.add_(target).mul_(inverse))
        change = krylov.norm(previous.sub_(chi))
        if change <= tolerance * krylov.norm(chi):
            break
    else:
        report_unsettled("RTS", f"{max_iterations} iterations", "max_iterations")
    return chi
