"""Dipole inversion by MEDI from the total field, in one step."""

import torch
from numpy.typing import ArrayLike

from .. import differences, krylov
from ..background.pdf import fit_outside
from ..checks import check_positive, check_stopping, report_unsettled
from ..geometry import DEFAULT_PAD, FloatArray, Triple
from ..units import radians_per_ppm
from .medi import check_edges, edge_penalty, inverse_mean_hessian, smooth_differences
from .problem import DipoleProblem

_OUTSIDE = 10.0
"""P outside the mask: how much more susceptible it is taken to be. Speeds up, no more."""


def total_field_medi(
    total_field: ArrayLike,
    mask: ArrayLike,
    magnitude: ArrayLike,
    voxel_size: Triple,
    b0_dir: Triple,
    *,
    regularisation: float = 1000.0,
    shrinkage: float = 2.5e-7,
    b0: float = 3.0,
    delta_te: float = 0.005,
    noise: ArrayLike | None = None,
    edge_fraction: float = 0.9,
    pad: float = DEFAULT_PAD,
    max_outer: int = 10,
    outer_tolerance: float = 0.05,
    max_inner: int = 60,
    inner_tolerance: float = 0.05,
    device: str = "cpu",
) -> FloatArray:
    """Susceptibility from the total field, with the edges of the magnitude as a prior.

    Minimises ‖W·∇χ‖₁ + λ·(‖m·(exp(i·D∗χ) − exp(i·φ))‖² + s·‖(1 − M)·χ‖²), where φ is the
    phase of the field of everything, W is zero at the edges of the magnitude and wherever a
    difference leaves the mask M, and m weighs the data in M. Sources may lie outside M, in the
    padding too. Nothing is eroded, and what the prior says of the inside helps to tell its
    field from the background.

    It starts from the sources outside that PDF finds: phases then differ by less than a turn.
    Gauss-Newton steps follow, each by conjugate gradients on the sources inside and outside
    together. Residuals inside are divided by the mean Hessian of MEDI, those outside multiplied
    by P²: sources of the background are strong.

    Parameters
    ----------
    total_field : (X, Y, Z) array_like
        In ppm, background included; not used outside the mask.
    mask : (X, Y, Z) array_like
        Where the total field is known and χ is wanted.
    magnitude : (X, Y, Z) array_like
        Anatomical image, in any units.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    b0_dir : (3,) sequence of float
        Unit vector of B0 in voxel axes.
    regularisation : float
        λ, in front of the data term: larger values follow the data more closely.
    shrinkage : float
        s, the square of the error of the field over the susceptibility outside. The larger,
        the more of the background has to be explained from inside the mask.
    b0 : float
        Field strength in tesla that λ refers to.
    delta_te : float
        Echo spacing in seconds that λ refers to.
    noise : (X, Y, Z) array_like, optional
        Standard deviation of the field in any units; uniform when not given. Voxels where
        it is zero or negative get no weight.
    edge_fraction : float
        How many of the three differences of a voxel are edges, on average over the mask.
    pad : float
        Millimetres around the mask that may hold sources; 0 works periodically on the image.
    max_outer, outer_tolerance : int, float
        Gauss-Newton steps end after so many, or when χ in the mask changes by less than this
        fraction.
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
        If the inputs do not fit together, the mask leaves no room for sources, no voxel of it
        has a positive `noise`, or a parameter is out of range.

    References
    ----------
    Liu et al., Magn Reson Med 78:303 (2017).
    """
    check_positive(regularisation=regularisation, shrinkage=shrinkage, b0=b0, delta_te=delta_te)
    check_stopping(outer_tolerance, max_outer=max_outer)
    check_stopping(inner_tolerance, max_inner=max_inner)
    check_edges(edge_fraction)
    problem = DipoleProblem.create(
        total_field, mask, voxel_size, b0_dir, pad, device, name="total_field"
    )
    anatomy = problem.embed("magnitude", magnitude)
    outside = (~problem.mask).to(torch.float32)
    weight = problem.data_weight(noise).square_()
    smooth = _smooth_inside(problem, anatomy, edge_fraction)
    to_radians = radians_per_ppm(b0, delta_te)
    phase = problem.near(problem.field).mul_(to_radians)
    chi = _sources_of_background(problem, weight, outside).mul_(to_radians)
    fidelity = weight.mul_(2 * regularisation)
    for _ in range(max_outer):
        step = _gauss_newton_step(
            problem,
            chi,
            phase,
            fidelity,
            smooth,
            outside,
            2 * regularisation * shrinkage,
            tolerance=inner_tolerance,
            max_iterations=max_inner,
        )
        size = krylov.norm(chi * problem.mask)
        chi += step
        if krylov.norm(step.mul_(problem.mask)) <= outer_tolerance * size:
            break
    else:
        report_unsettled("total-field MEDI", f"{max_outer} Gauss-Newton steps", "max_outer")
    return problem.result(chi / to_radians)


def _smooth_inside(
    problem: DipoleProblem, anatomy: torch.Tensor, edge_fraction: float
) -> torch.Tensor:
    """W on the extent: True where a difference lies in the mask and is no edge."""
    smooth = smooth_differences(anatomy.mul_(problem.mask), problem, edge_fraction)
    x, y, z = problem.extent
    smooth = smooth[:, :x, :y, :z]
    inside = problem.near(problem.mask)
    return torch.stack([w & inside & inside.roll(-1, axis) for axis, w in enumerate(smooth)])


def _sources_of_background(
    problem: DipoleProblem, weight: torch.Tensor, outside: torch.Tensor
) -> torch.Tensor:
    """χ outside the mask as PDF finds it, in ppm."""
    everywhere = torch.zeros_like(problem.field)
    x, y, z = problem.extent
    everywhere[:x, :y, :z] = weight
    # Stops where sources outside begin to take up the field of those inside, as PDF does.
    chi, _ = fit_outside(
        problem.field,
        everywhere,
        outside,
        lambda volume: problem.invert(problem.transform(volume).mul_(problem.kernel)),
        tolerance=1e-3,
        max_iterations=100,
    )
    return chi


def _gauss_newton_step(
    problem: DipoleProblem,
    chi: torch.Tensor,
    phase: torch.Tensor,
    fidelity: torch.Tensor,
    smooth: torch.Tensor,
    outside: torch.Tensor,
    shrinkage: float,
    *,
    tolerance: float,
    max_iterations: int,
) -> torch.Tensor:
    """Step from `chi` to the minimiser of the cost, linearised there."""
    size, kernel = problem.voxel_size, problem.kernel
    x, y, z = problem.extent
    inside = problem.near(problem.mask)
    penalty = edge_penalty(problem.near(chi), smooth, size)
    inverse = inverse_mean_hessian(problem, float(penalty[:, inside].mean()), fidelity)
    scale = _OUTSIDE**2 / float(fidelity[fidelity > 0].mean())

    def model(volume: torch.Tensor) -> torch.Tensor:
        return problem.invert_near(problem.transform(volume).mul_(kernel))

    def gradient(volume: torch.Tensor, weighted_model: torch.Tensor) -> torch.Tensor:
        result = problem.invert(problem.transform(weighted_model).mul_(kernel))
        slopes = differences.weighted_laplacian(problem.near(volume), penalty, size)
        result[:x, :y, :z].add_(slopes)
        return result.addcmul_(volume, outside, value=shrinkage)

    def divide(residual: torch.Tensor) -> torch.Tensor:
        spectrum = problem.transform(problem.near(residual).mul_(inside)).mul_(inverse)
        result = torch.mul(residual, outside).mul_(scale)
        result[:x, :y, :z].add_(problem.invert_near(spectrum).mul_(inside))
        return result

    # Ends at the cap as often as not, which the next step makes up for.
    step, _ = krylov.conjugate_gradient(
        lambda volume: gradient(volume, model(volume).mul_(fidelity)),
        gradient(chi, torch.sin(model(chi) - phase).mul_(fidelity)).neg_(),
        tolerance=tolerance,
        max_iterations=max_iterations,
        precondition=divide,
    )
    return step
