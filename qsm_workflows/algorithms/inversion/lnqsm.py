"""Susceptibility from the total field, of least norm."""

from functools import partial

import torch
from numpy.typing import ArrayLike

from .. import differences, krylov
from ..checks import check_positive, check_stopping, report_unsettled
from ..geometry import DEFAULT_PAD, FloatArray, Triple
from .problem import DipoleProblem

_OUTSIDE = 10.0
"""How much more susceptible the outside is taken to be; speeds up, leaves the minimum as it is."""

_BORDER = 0.02
"""Gradient at the border of a nucleus, in ppm/mm; what is assumed while none is known."""

_SMOOTHING = 1e-3
"""Rounds off the absolute value of a gradient at zero, in ppm/mm."""


def lnqsm(
    total_field: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    b0_dir: Triple,
    *,
    regularisation: float = 2.5e-4,
    shrinkage: float = 1e-3,
    noise: ArrayLike | None = None,
    pad: float = DEFAULT_PAD,
    max_outer: int = 8,
    outer_tolerance: float = 0.05,
    max_inner: int = 60,
    inner_tolerance: float = 0.01,
    device: str = "cpu",
) -> FloatArray:
    """Susceptibility of least norm from the total field, in one step (LN-QSM).

    Minimises ½‖m·(D∗χ − f)‖² + λ‖∇(Mχ)‖₁ + ½τ‖Mχ‖², where f is the field of everything, m
    weighs the data in the mask M, and χ is free outside it, in the padding too: whatever
    explains the background costs nothing there. Nothing is eroded.

    Each step replaces ‖∇(Mχ)‖₁ by squares weighted with the gradients found so far, and is
    solved by conjugate gradients for y, where χ = P·y with a large P outside the mask: sources
    of the background, which are strong, are then found in fewer iterations.

    Parameters
    ----------
    total_field : (X, Y, Z) array_like
        In ppm, background included; not used outside the mask.
    mask : (X, Y, Z) array_like
        Where the total field is known and χ is wanted.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    b0_dir : (3,) sequence of float
        Unit vector of B0 in voxel axes.
    regularisation : float
        λ, in ppm·mm; larger values give flatter maps.
    shrinkage : float
        τ, before the square of χ: keeps χ small where the field does not say what it is.
    noise : (X, Y, Z) array_like, optional
        Standard deviation of the field in any units; uniform when not given. Voxels where
        it is zero or negative get no weight.
    pad : float
        Millimetres around the mask that may hold sources; 0 works periodically on the image.
    max_outer, outer_tolerance : int, float
        Steps end after so many, or when χ in the mask changes by less than this fraction.
    max_inner, inner_tolerance : int, float
        The same for conjugate gradients, where the fraction is the relative residual. The
        first step takes all iterations: most of the field is background.
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
    Sun et al., NeuroImage 179:166 (2018).
    """
    check_positive(regularisation=regularisation, shrinkage=shrinkage)
    check_stopping(outer_tolerance, max_outer=max_outer)
    check_stopping(inner_tolerance, max_inner=max_inner)
    problem = DipoleProblem.create(
        total_field, mask, voxel_size, b0_dir, pad, device, name="total_field"
    )
    size, kernel = problem.voxel_size, problem.kernel
    x, y, z = problem.extent
    weight = problem.data_weight(noise).square_()
    inside = problem.near(problem.mask).to(torch.float32)
    scale = torch.where(problem.mask, 1.0, _OUTSIDE)

    def adjoint(field: torch.Tensor) -> torch.Tensor:
        return problem.invert(problem.transform(field).mul_(kernel)).mul_(scale)

    def hessian(sources: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
        spectrum = problem.transform(sources * scale).mul_(kernel)
        result = adjoint(problem.invert_near(spectrum).mul_(weight))
        # The scale is one where the mask is.
        chi = problem.near(sources).mul_(inside)
        flatter = differences.weighted_laplacian(chi, penalty, size)
        result[:x, :y, :z].add_(flatter.add_(chi, alpha=shrinkage).mul_(inside))
        return result

    rhs = adjoint(weight * problem.near(problem.field))
    sources = torch.zeros_like(rhs)
    for number in range(max_outer):
        chi = problem.near(sources).mul_(inside)
        least = _SMOOTHING if number else _BORDER
        penalty = differences.gradient(chi, size).square_().add_(least**2).rsqrt_()
        penalty.mul_(regularisation)
        step, _ = krylov.conjugate_gradient(
            partial(hessian, penalty=penalty),
            rhs - hessian(sources, penalty),
            tolerance=inner_tolerance if number else 0,
            max_iterations=max_inner,
        )
        sources += step
        change = krylov.norm(problem.near(step).mul_(inside))
        if change <= outer_tolerance * krylov.norm(problem.near(sources).mul_(inside)):
            break
    else:
        report_unsettled("LN-QSM", f"{max_outer} steps", "max_outer")
    return problem.result(sources)
