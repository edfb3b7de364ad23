"""Dipole inversion with total variation, by ADMM."""

import torch
from numpy.typing import ArrayLike

from .. import differences, krylov
from ..checks import check_positive, check_stopping, report_unsettled
from ..geometry import DEFAULT_PAD, FloatArray, Triple
from .problem import DipoleProblem
from .shrinkage import SlopeShrinkage

_MODEL_COUPLING = 0.2
"""Penalty on v ≠ D∗χ over the mean weight of the data. With 1 a head of 160³ voxels takes 50
iterations in place of 39 and ends 6 % from the minimum in place of 2 %; with 0.1 the slow parts
of thin slabs swing more."""


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
    weight = problem.data_weight(noise).square_()
    pull = weight.div_(weight + _MODEL_COUPLING)

    penalty = coupling * regularisation / _MODEL_COUPLING
    inverse = differences.gradient_power(problem.grid.shape, size, device).mul_(penalty)
    inverse.addcmul_(kernel, kernel)
    inverse[0, 0, 0] = 1  # where both are zero
    inverse.reciprocal_()
    gradients = SlopeShrinkage(problem.grid.shape, size, 1 / coupling, device)
    # v plus its scaled multiplier, which is zero outside the mask, is D∗χ plus the previous
    # multiplier: kept as a spectrum, nothing outside the mask need be transformed.
    field = problem.near(problem.field)
    multiplier = torch.zeros_like(field)
    total_spectrum = problem.transform(field)
    multiplier_spectrum = torch.zeros_like(total_spectrum)
    chi, divergence = torch.zeros_like(problem.field), torch.zeros_like(problem.field)
    for _ in range(max_iterations):
        spectrum = total_spectrum.sub_(multiplier_spectrum, alpha=2).mul_(kernel)
        spectrum.add_(problem.transform(divergence), alpha=penalty).mul_(inverse)
        previous, chi = chi, problem.invert(spectrum)
        divergence = gradients.update(chi)

        spectrum.mul_(kernel)
        multiplier.add_(problem.invert_near(spectrum)).sub_(field).mul_(pull)
        total_spectrum = spectrum.add_(multiplier_spectrum)
        multiplier_spectrum = problem.transform(multiplier)
        change = krylov.norm(previous.sub_(chi))
        if change <= tolerance * krylov.norm(chi):
            break
    else:
        report_unsettled("TV", f"{max_iterations} iterations", "max_iterations")
    return problem.result(chi)
