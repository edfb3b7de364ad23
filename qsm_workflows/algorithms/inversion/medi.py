"""Dipole inversion by MEDI."""

import logging

import torch
from numpy.typing import ArrayLike

from .. import differences, krylov
from ..checks import check_positive, check_stopping
from ..geometry import DEFAULT_PAD, FloatArray, Triple, check_volume
from ..units import radians_per_ppm
from ..weighting import data_weight
from .problem import DipoleProblem

_logger = logging.getLogger(__name__)

_SMOOTHING = 1e-6
"""Rounds off the absolute value of a gradient at zero, in (rad/mm)²."""


def medi(
    local_field: ArrayLike,
    mask: ArrayLike,
    magnitude: ArrayLike,
    voxel_size: Triple,
    b0_dir: Triple,
    *,
    regularisation: float = 1000.0,
    b0: float = 3.0,
    delta_te: float = 0.005,
    noise: ArrayLike | None = None,
    merit: bool = False,
    edge_fraction: float = 0.9,
    pad: float = DEFAULT_PAD,
    max_outer: int = 10,
    outer_tolerance: float = 0.1,
    max_inner: int = 100,
    inner_tolerance: float = 0.01,
    device: str = "cpu",
) -> FloatArray:
    """Susceptibility by morphology-enabled dipole inversion (MEDI).

    Minimises ‖W·∇χ‖₁ + λ·‖m·(exp(i·D∗χ) − exp(i·φ))‖², where W is zero at the edges of the
    magnitude, m weighs the data, and φ is the phase of the local field: by Gauss-Newton
    steps, each solved by conjugate gradients.

    λ acts on radians, so φ and χ are scaled by `b0` and `delta_te`. These define λ and need
    not be those of the scan: keep them, and λ means the same on every scanner.

    Parameters
    ----------
    local_field : (X, Y, Z) array_like
        In ppm; not used outside the mask.
    mask : (X, Y, Z) array_like
        Where the local field is known.
    magnitude : (X, Y, Z) array_like
        Anatomical image, in any units.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    b0_dir : (3,) sequence of float
        Unit vector of B0 in voxel axes.
    regularisation : float
        λ, in front of the data term: larger values follow the data more closely.
    b0 : float
        Field strength in tesla that λ refers to.
    delta_te : float
        Echo spacing in seconds that λ refers to.
    noise : (X, Y, Z) array_like, optional
        Standard deviation of the field in any units; uniform when not given. Voxels where
        it is zero or negative get no weight.
    merit : bool
        Lower the weight of voxels that the model does not explain, after each step.
    edge_fraction : float
        How many of the three differences of a voxel are edges, on average over the mask.
    pad : float
        Millimetres of zeros around the mask; 0 works periodically on the image.
    max_outer, outer_tolerance : int, float
        Gauss-Newton steps end after so many, or when χ changes by less than this fraction.
    max_inner, inner_tolerance : int, float
        The same for conjugate gradients, where the fraction is the relative residual.
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
    Liu et al., Magn Reson Med 66:777 (2011); Liu et al., NeuroImage 59:2560 (2012); Liu et
    al., Magn Reson Med 69:467 (2013) for the non-linear data term and MERIT.
    """
    check_positive(regularisation=regularisation, b0=b0, delta_te=delta_te)
    check_stopping(outer_tolerance, max_outer=max_outer)
    check_stopping(inner_tolerance, max_inner=max_inner)
    if not 0 < edge_fraction < 3:
        raise ValueError(f"edge_fraction must lie between 0 and 3, not {edge_fraction}")
    problem = DipoleProblem.create(local_field, mask, voxel_size, b0_dir, pad, device)
    shape = problem.grid.image_shape
    anatomy = problem.grid.embed(check_volume("magnitude", magnitude, shape), device)
    smooth = smooth_differences(anatomy * problem.mask, problem, edge_fraction)
    deviation = torch.ones_like(problem.field)
    if noise is not None:
        deviation = problem.grid.embed(check_volume("noise", noise, shape), device)

    to_radians = radians_per_ppm(b0, delta_te)
    phase = problem.field * to_radians
    weight = data_weight(deviation, problem.mask)
    chi = torch.zeros_like(phase)
    for _ in range(max_outer):
        step = _gauss_newton_step(
            problem, chi, phase, weight, smooth, regularisation, inner_tolerance, max_inner
        )
        size = krylov.norm(chi)
        chi += step
        if merit:
            deviation = _raise_outliers(problem, chi, phase, weight, deviation)
            weight = data_weight(deviation, problem.mask)
        if krylov.norm(step) <= outer_tolerance * size:
            break
    else:
        _logger.warning("MEDI stopped after %d Gauss-Newton steps while χ still changed", max_outer)
    return problem.result(chi / to_radians)


def smooth_differences(
    anatomy: torch.Tensor, problem: DipoleProblem, edge_fraction: float
) -> torch.Tensor:
    """W: 0 at the edges of a masked image, 1 elsewhere, for each direction.

    The threshold, searched for in steps of 5 % from 1 % of the largest value, is the first
    one that crosses `edge_fraction` edges for each voxel of the mask. An image without
    enough non-zero differences has all of these as edges.
    """
    slopes = differences.gradient(anatomy, problem.voxel_size).abs_()
    slopes_in_use = slopes[slopes > 0]
    wanted = edge_fraction * int(problem.mask.sum())

    def too_many(threshold: float) -> bool:
        return int((slopes_in_use > threshold).sum()) > wanted

    if not too_many(0):
        return (slopes == 0).to(torch.float32)
    threshold = 0.01 * float(anatomy.abs().max())
    rising = too_many(threshold)
    while too_many(threshold) == rising:
        threshold *= 1.05 if rising else 0.95
    return (slopes <= threshold).to(torch.float32)


def _gauss_newton_step(
    problem: DipoleProblem,
    chi: torch.Tensor,
    phase: torch.Tensor,
    weight: torch.Tensor,
    smooth: torch.Tensor,
    regularisation: float,
    tolerance: float,
    max_iterations: int,
) -> torch.Tensor:
    """Minimiser of the cost, linearised about `chi`, relative to `chi`."""
    slopes = differences.gradient(chi, problem.voxel_size).mul_(smooth)
    penalty = smooth / (slopes**2 + _SMOOTHING).sqrt_()
    fidelity = 2 * regularisation * weight**2

    def convolve(volume: torch.Tensor) -> torch.Tensor:
        return problem.invert(problem.transform(volume).mul_(problem.kernel))

    def hessian(volume: torch.Tensor) -> torch.Tensor:
        slopes = differences.gradient(volume, problem.voxel_size).mul_(penalty)
        result = differences.gradient_adjoint(slopes, problem.voxel_size)
        return result.add_(convolve(convolve(volume).mul_(fidelity)))

    mismatch = torch.sin(phase - convolve(chi)).mul_(fidelity)
    descent = convolve(mismatch).sub_(
        differences.gradient_adjoint(slopes.mul_(penalty), problem.voxel_size)
    )
    # Ends at the cap as often as not, which the next step makes up for.
    step, _ = krylov.conjugate_gradient(
        hessian, descent, tolerance=tolerance, max_iterations=max_iterations
    )
    return step


def _raise_outliers(
    problem: DipoleProblem,
    chi: torch.Tensor,
    phase: torch.Tensor,
    weight: torch.Tensor,
    deviation: torch.Tensor,
) -> torch.Tensor:
    """Deviation, multiplied where the residual exceeds six of its standard deviations (MERIT)."""
    model = problem.invert(problem.transform(chi).mul_(problem.kernel))[problem.mask]
    residual = torch.polar(weight[problem.mask], model)
    residual -= torch.polar(weight[problem.mask], phase[problem.mask])
    size = (residual - residual.mean()).abs()
    excess = (size / (6 * size.std())).clamp_(min=1)
    raised = deviation.clone()
    raised[problem.mask] *= excess**2
    return raised
