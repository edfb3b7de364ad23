"""Dipole inversion by iLSQR."""

import numpy as np
import torch
from numpy.typing import ArrayLike

from .. import differences, krylov, smv
from ..checks import check_stopping
from ..geometry import DEFAULT_PAD, FloatArray, Triple
from .direct import inverse_kernel
from .problem import DipoleProblem

_SMOOTHING_RADIUS = 3.0
"""Radius in mm of the sphere that FastQSM averages over."""


def ilsqr(
    local_field: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    b0_dir: Triple,
    *,
    tolerance: float = 0.01,
    max_iterations: int = 50,
    signed_slopes: bool = False,
    pad: float = DEFAULT_PAD,
    device: str = "cpu",
) -> FloatArray:
    """Susceptibility by iLSQR: weighted least squares less an estimate of its artefacts.

    The streaks of a least-squares solution come from the cone where ``|D| < 0.1``. They are
    found as the part of the solution that lies in that cone and changes across borders
    that a second, robust estimate (FastQSM) does not have, and are subtracted.

    The result is proportional to the field: all thresholds are percentiles.

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
    tolerance : float
        Relative residual that ends both least-squares solves.
    max_iterations : int
        Most iterations of each. The first one usually uses them all: it is the number
        of iterations that regularises it.
    signed_slopes : bool
        Judge borders by the signed slope along each axis, as QSM.m does, so that only those
        where χ rises count. Which these are depends on the direction of the axes: an image
        and its mirror image differ by a third, and errors are a quarter to twice as large.
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
    Li et al., NeuroImage 108:111 (2015); equation numbers below are from there.
    """
    check_stopping(tolerance, max_iterations=max_iterations)
    problem = DipoleProblem.create(local_field, mask, voxel_size, b0_dir, pad, device)
    chi = least_squares(problem, tolerance=tolerance, max_iterations=max_iterations)
    structure = fast_qsm(problem)
    artefact = streaks(
        problem,
        chi,
        structure,
        tolerance=tolerance,
        max_iterations=max_iterations,
        signed_slopes=signed_slopes,
    )
    return problem.result(chi - artefact)


def least_squares(problem: DipoleProblem, *, tolerance: float, max_iterations: int) -> torch.Tensor:
    """Step 1: least-squares χ, with less weight where the field is sharply peaked (eq. 6, 7).

    Solves D·F{w·F⁻¹(D·X)} = D·F(w·f) for the spectrum X by LSQR.
    """
    inside, kernel = problem.near(problem.mask), problem.kernel
    field = problem.near(problem.field)
    curvature = differences.laplacian_within(field, inside, problem.voxel_size)
    limits = _percentiles(curvature[inside], (60.0, 99.9))
    weight = _falling_weight(curvature, *limits)
    rhs = problem.transform(field.mul_(weight)).mul_(kernel)
    # Outside the mask this asks for no field, as in the published implementation. The weight
    # is one number there, so that only what differs from it in the mask need be transformed.
    around = float(_falling_weight(torch.zeros(()), *limits))
    weight.sub_(around).mul_(inside)
    scratch = torch.empty_like(rhs)

    def operator(spectrum: torch.Tensor) -> torch.Tensor:
        model = torch.mul(spectrum, kernel, out=scratch)
        weighted = problem.transform(problem.invert_near(model).mul_(weight))
        return weighted.add_(model, alpha=around).mul_(kernel)

    solution = krylov.cgls(
        operator,
        operator,
        rhs,
        tolerance=tolerance,
        max_iterations=max_iterations,
        product=problem.inner,
    )
    return problem.invert_near(solution).mul_(inside)


def fast_qsm(problem: DipoleProblem) -> torch.Tensor:
    """Step 2: a robust χ from the sign of D, scaled to that of TKD (eq. 8-14)."""
    magnitude = problem.kernel.double().abs() ** 0.001
    low, high = _percentiles(problem.full_grid(magnitude), (1.0, 30.0))
    trusted = ((magnitude - low) / (high - low)).clamp(0, 1).float()
    sphere = smv.ellipsoid(_SMOOTHING_RADIUS / np.asarray(problem.voxel_size))
    kernel = smv.mean_kernel(sphere, problem.voxel_size)
    smooth = smv.transfer(kernel, problem.grid.shape, problem.field.device)
    # Near the cone the spectrum is replaced by that of the smoothed volume.
    mixing = trusted + (1 - trusted) * smooth
    spectrum, inside = problem.transform(problem.field), problem.near(problem.mask)
    chi = problem.invert_near(spectrum * problem.kernel.sign() * mixing).mul_(inside)
    chi = problem.invert_near(problem.transform(chi).mul_(mixing)).mul_(inside)
    inverse = inverse_kernel(problem.kernel, 1 / 8)
    target = problem.invert_near(spectrum.mul_(inverse)).mul_(inside)
    slope, intercept = _fit_line(chi, target)
    return (slope * chi + intercept) * inside


def streaks(
    problem: DipoleProblem,
    chi: torch.Tensor,
    structure: torch.Tensor,
    *,
    tolerance: float,
    max_iterations: int,
    signed_slopes: bool = False,
) -> torch.Tensor:
    """Step 3: the part of χ that is confined to the cone and crosses no real border (eq. 3, 4, 15).

    Solves W·∇·F⁻¹(M·X) = W·∇χ for the spectrum X by LSMR, where M is 1 for ``|D| < 0.1`` and
    W is 1 where `structure` is smooth and 0 at its borders.
    """
    inside = problem.near(problem.mask)
    slopes = differences.gradient_within(structure, inside, problem.voxel_size)
    if not signed_slopes:
        slopes.abs_()
    weights = torch.stack(
        [
            _falling_weight(slope, *_percentiles(slope[inside], (50.0, 70.0))) * inside
            for slope in slopes
        ]
    )
    cone = (problem.kernel.abs() < 0.1).to(torch.float32)
    scale = problem.half_grid_scale()
    # Unitary on the scaled spectrum, so that `adjoint` is the adjoint of `operator`.
    count = problem.field.numel() ** 0.5
    before, after = cone / scale * count, cone * scale / count

    def operator(spectrum: torch.Tensor) -> torch.Tensor:
        volume = problem.invert_near(spectrum * before)
        return differences.gradient(volume, problem.voxel_size).mul_(weights)

    def adjoint(components: torch.Tensor) -> torch.Tensor:
        volume = differences.gradient_adjoint(components * weights, problem.voxel_size)
        return problem.transform(volume).mul_(after)

    rhs = differences.gradient(chi, problem.voxel_size).mul_(weights)
    solution = krylov.lsmr(
        operator, adjoint, rhs, tolerance=tolerance, max_iterations=max_iterations
    )
    return problem.invert_near(solution.mul_(before)).mul_(inside)


def _falling_weight(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """1 below `low`, falling to 0 at `high`."""
    return ((high - values) / max(high - low, torch.finfo(torch.float32).tiny)).clamp_(0, 1)


def _percentiles(values: torch.Tensor, percentiles: tuple[float, float]) -> tuple[float, float]:
    low, high = np.percentile(values.cpu().numpy(), percentiles, method="hazen")
    return float(low), float(high)


def _fit_line(x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    """Slope and intercept of the least-squares line y ≈ slope·x + intercept."""
    x, y = x.double(), y.double()
    centred = x - x.mean()
    slope = float((centred * y).sum() / (centred * centred).sum())
    return slope, float(y.mean()) - slope * float(x.mean())
