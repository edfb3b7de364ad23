"""Dipole inversion by MEDI."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike

from .. import differences, krylov, smv
from ..background.problem import check_extent, check_fit
from ..checks import check_positive, check_stopping, report_unsettled
from ..geometry import DEFAULT_PAD, FloatArray, Triple, check_volume
from ..units import radians_per_ppm
from ..weighting import data_weight
from .problem import DipoleProblem

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
    csf_mask: ArrayLike | None = None,
    csf_weight: float = 100.0,
    smv_radius: float = 0.0,
    merit: bool = False,
    edge_fraction: float = 0.9,
    pad: float = DEFAULT_PAD,
    max_outer: int = 10,
    outer_tolerance: float = 0.05,
    max_inner: int = 100,
    inner_tolerance: float = 0.1,
    precondition: bool = True,
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
    csf_mask : (X, Y, Z) array_like, optional
        Cerebrospinal fluid, within the mask, where χ shall be uniform and is set to zero
        (MEDI+0); see :func:`qsm_workflows.algorithms.csf.csf_mask`.
    csf_weight : float
        Weight of the squared deviation, in radians, from its mean there.
    smv_radius : float
        Take the mean over a sphere of so many mm from field and model, so that what is left
        of the background does no harm; the mask shrinks by the sphere. 0 leaves it out.
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
    precondition : bool
        Divide residuals by the mean Hessian. Without it conjugate gradients take three times
        the iterations and end less near the minimum of each step. Cornell's toolbox does
        without, with an `outer_tolerance` of 0.1 and an `inner_tolerance` of 0.01.
    device : str
        Torch device.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        χ in ppm, zero outside the mask, known up to a constant.

    Raises
    ------
    ValueError
        If the inputs do not fit together, no voxel of the mask has a positive `noise`, none
        is in `csf_mask`, no sphere fits into the mask, or a parameter is out of range.

    References
    ----------
    Liu et al., Magn Reson Med 66:777 (2011); Liu et al., NeuroImage 59:2560 (2012); Liu et
    al., Magn Reson Med 69:467 (2013) for the non-linear data term and MERIT; Liu et al.,
    Magn Reson Med 79:2795 (2018) for MEDI+0; Schweser et al., NeuroImage 54:2789 (2011) for
    spherical means.
    """
    check_positive(regularisation=regularisation, b0=b0, delta_te=delta_te)
    check_stopping(outer_tolerance, max_outer=max_outer)
    check_stopping(inner_tolerance, max_inner=max_inner)
    check_edges(edge_fraction)
    check_positive(csf_weight=csf_weight)
    if not 0 <= smv_radius < float("inf"):
        raise ValueError(f"smv_radius must be zero or a positive length in mm, not {smv_radius}")
    problem = DipoleProblem.create(local_field, mask, voxel_size, b0_dir, pad, device)
    anatomy = problem.embed("magnitude", magnitude)
    deviation = problem.deviation(noise)
    if smv_radius > 0:
        problem, deviation = _without_spherical_means(problem, deviation, smv_radius)
    fluid = None if csf_mask is None else _fluid(problem, csf_mask, csf_weight)
    smooth = smooth_differences(anatomy.mul_(problem.mask), problem, edge_fraction)
    inside = problem.near(problem.mask)
    to_radians = radians_per_ppm(b0, delta_te)
    phase = problem.near(problem.field).mul_(to_radians)
    weight = data_weight(deviation, inside)
    chi, model = torch.zeros_like(problem.field), torch.zeros_like(phase)
    for _ in range(max_outer):
        fidelity = weight.square().mul_(2 * regularisation)
        mismatch = torch.sin(phase - model).mul_(fidelity)
        spectrum = _gauss_newton_step(
            problem,
            chi,
            mismatch,
            fidelity,
            smooth,
            fluid,
            tolerance=inner_tolerance,
            max_iterations=max_inner,
            precondition=precondition,
        )
        size, step = krylov.norm(chi), problem.invert(spectrum)
        change = krylov.norm(step)
        chi += step
        del step
        model += problem.invert_near(spectrum.mul_(problem.kernel))
        if merit:
            deviation = _raise_outliers(model, phase, inside, weight, deviation)
            weight = data_weight(deviation, inside)
        del spectrum
        if change <= outer_tolerance * size:
            break
    else:
        report_unsettled("MEDI", f"{max_outer} Gauss-Newton steps", "max_outer")
    if fluid is not None:
        chi -= fluid.mean(chi)
    return problem.result(chi / to_radians)


@dataclass(frozen=True)
class _Fluid:
    """The term λ·‖M·(χ − mean of χ over M)‖² of MEDI+0."""

    mask: torch.Tensor
    weight: float

    def mean(self, chi: torch.Tensor) -> torch.Tensor:
        return (chi * self.mask).sum() / self.mask.sum()

    def gradient(self, chi: torch.Tensor) -> torch.Tensor:
        return (chi - self.mean(chi)).mul_(self.mask).mul_(2 * self.weight)


def _fluid(problem: DipoleProblem, csf_mask: ArrayLike, weight: float) -> _Fluid:
    """MEDI+0's term.

    Raises
    ------
    ValueError
        If `csf_mask` is not on the grid of the field, or lies outside the mask.
    """
    fluid = problem.grid.embed(check_volume("csf_mask", csf_mask, problem.grid.image_shape) != 0)
    fluid = fluid.to(problem.field.device) * problem.mask
    if not fluid.any():
        raise ValueError("csf_mask has no voxel within the mask")
    return _Fluid(fluid, weight)


def _without_spherical_means(
    problem: DipoleProblem, deviation: torch.Tensor, radius: float
) -> tuple[DipoleProblem, torch.Tensor]:
    """Problem and deviation of its field after δ − S, S the mean over a sphere.

    Raises
    ------
    ValueError
        If no sphere fits into the mask.
    """
    semi_axes = np.maximum(radius / np.asarray(problem.voxel_size), 1)
    sphere = smv.ellipsoid(semi_axes)
    check_extent(sphere, problem.near(problem.mask).cpu().numpy(), radius)
    kernel = smv.mean_kernel(sphere, problem.voxel_size)
    mean = smv.transfer(kernel, problem.grid.shape, problem.field.device)

    def average(volume: torch.Tensor) -> torch.Tensor:
        return problem.invert(problem.transform(volume).mul_(mean))

    mask = problem.mask & (average(problem.mask.to(torch.float32)) > 0.999)
    check_fit(mask, radius)
    field = (problem.field - average(problem.field)).mul_(mask)
    variance = deviation.square()
    # Weights of the sphere may be negative where voxels are long; their squares are not meant.
    variance += problem.near(average(variance)).clamp_(min=0)
    kept = replace(problem, field=field, mask=mask, kernel=(1 - mean).mul_(problem.kernel))
    return kept, variance.sqrt_()


def check_edges(edge_fraction: float) -> None:
    """Refuse a number of edges that a voxel cannot have.

    Raises
    ------
    ValueError
        If it is not between none and all three.
    """
    if not 0 < edge_fraction < 3:
        raise ValueError(f"edge_fraction must lie between 0 and 3, not {edge_fraction}")


def smooth_differences(
    anatomy: torch.Tensor, problem: DipoleProblem, edge_fraction: float
) -> torch.Tensor:
    """W: False at the edges of a masked image, True elsewhere, for each direction.

    The threshold, searched for in steps of 5 % from 1 % of the largest value, is the first
    one that crosses `edge_fraction` edges for each voxel of the mask. An image without
    enough non-zero differences has all of these as edges.
    """
    slopes = differences.gradient(anatomy, problem.voxel_size).abs_()
    slopes_in_use = torch.cat([slope.masked_select(slope > 0) for slope in slopes])
    wanted = edge_fraction * int(problem.mask.sum())

    def too_many(threshold: float) -> bool:
        return int((slopes_in_use > threshold).sum()) > wanted

    if not too_many(0):
        return slopes == 0
    threshold = 0.01 * float(anatomy.abs().max())
    rising = too_many(threshold)
    while too_many(threshold) == rising:
        threshold *= 1.05 if rising else 0.95
    return slopes <= threshold


def edge_penalty(chi: torch.Tensor, smooth: torch.Tensor, voxel_size: Triple) -> torch.Tensor:
    """Weights w of squares such that ``w·|∇χ|²`` stands for ``|W·∇χ|`` near χ."""
    penalty = torch.empty_like(smooth, dtype=torch.float32)
    for axis, length in enumerate(voxel_size):
        slopes = differences.difference(chi, axis, length, penalty[axis])
        slopes.square_().add_(_SMOOTHING).rsqrt_().mul_(smooth[axis])
    return penalty


def inverse_mean_hessian(
    problem: DipoleProblem, mean_penalty: float, fidelity: torch.Tensor
) -> torch.Tensor:
    """Transfer function to divide by the Hessian, its two weights replaced by their means."""
    kernel = problem.kernel
    hessian = differences.gradient_power(problem.grid.shape, problem.voxel_size, kernel.device)
    hessian.mul_(mean_penalty)
    hessian.addcmul_(kernel, kernel, value=float(fidelity[fidelity > 0].mean()))
    hessian[0, 0, 0] = 1  # where both are zero
    return hessian.reciprocal_()


def _gauss_newton_step(
    problem: DipoleProblem,
    chi: torch.Tensor,
    mismatch: torch.Tensor,
    fidelity: torch.Tensor,
    smooth: torch.Tensor,
    fluid: "_Fluid | None",
    *,
    tolerance: float,
    max_iterations: int,
    precondition: bool,
) -> torch.Tensor:
    """Spectrum of the step from `chi` to the minimiser of the cost, linearised there.

    Conjugate gradients work on spectra. There the Hessian with its two weights replaced by
    their means is a product, and dividing by it costs no transform.
    """
    size, kernel = problem.voxel_size, problem.kernel
    penalty = edge_penalty(chi, smooth, size)
    inverse = inverse_mean_hessian(problem, float(penalty.mean()), fidelity)
    # Memory kept: on a CPU, fresh memory takes longer than what is computed in it.
    scratch = torch.empty_like(kernel, dtype=torch.complex64)

    def gradient(volume: torch.Tensor, weighted_model: torch.Tensor) -> torch.Tensor:
        slopes = differences.weighted_laplacian(volume, penalty, size)
        if fluid is not None:
            slopes.add_(fluid.gradient(volume))
        return problem.transform(weighted_model).mul_(kernel).add_(problem.transform(slopes))

    def hessian(spectrum: torch.Tensor) -> torch.Tensor:
        model = problem.invert_near(torch.mul(spectrum, kernel, out=scratch)).mul_(fidelity)
        return gradient(problem.invert(spectrum), model)

    def divide(residual: torch.Tensor) -> torch.Tensor:
        return torch.mul(residual, inverse, out=scratch)

    # Ends at the cap as often as not, which the next step makes up for.
    step, _ = krylov.conjugate_gradient(
        hessian,
        gradient(chi, -mismatch).neg_(),
        tolerance=tolerance,
        max_iterations=max_iterations,
        precondition=divide if precondition else None,
        product=problem.inner,
    )
    return step


def _raise_outliers(
    model: torch.Tensor,
    phase: torch.Tensor,
    inside: torch.Tensor,
    weight: torch.Tensor,
    deviation: torch.Tensor,
) -> torch.Tensor:
    """Deviation, multiplied where the residual exceeds six of its standard deviations (MERIT)."""
    residual = torch.polar(weight[inside], model[inside])
    residual -= torch.polar(weight[inside], phase[inside])
    size = (residual - residual.mean()).abs()
    excess = (size / (6 * size.std())).clamp_(min=1)
    raised = deviation.clone()
    raised[inside] *= excess**2
    return raised
