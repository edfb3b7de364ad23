"""Non-linear dipole inversion."""

import torch
from numpy.typing import ArrayLike

from .. import krylov
from ..checks import check_positive, check_stopping, report_unsettled
from ..geometry import DEFAULT_PAD, FloatArray, Triple
from ..units import radians_per_ppm
from .problem import DipoleProblem


def ndi(
    local_field: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    b0_dir: Triple,
    *,
    regularisation: float = 1e-3,
    step: float = 3.5,
    b0: float = 3.0,
    delta_te: float = 0.005,
    noise: ArrayLike | None = None,
    tolerance: float = 5e-3,
    max_iterations: int = 200,
    pad: float = DEFAULT_PAD,
    device: str = "cpu",
) -> FloatArray:
    """Susceptibility by gradient descent on a non-linear data term (NDI).

    Goes down ½‖m·(exp(i·D∗χ) − exp(i·φ))‖² + ½λ‖χ‖² from χ = 0, where φ is the phase of the
    local field and m weighs the data: χ ← χ − τ·(D∗(m²·sin(D∗χ − φ)) + λχ).

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
        λ, in front of ‖χ‖², where m is at most 1; no unit.
    step : float
        τ, less than 4: twice as much as in the paper takes half the steps.
    b0 : float
        Field strength in tesla of the phase φ. It need not be that of the scan.
    delta_te : float
        Echo time in seconds of the phase φ, beyond half a turn of which data count little.
    noise : (X, Y, Z) array_like, optional
        Standard deviation of the field in any units; uniform when not given. Voxels where
        it is zero or negative get no weight.
    tolerance : float
        Relative change of χ in a step that ends the descent.
    max_iterations : int
        Most steps.
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
    Polak et al., NMR Biomed 33:e4271 (2020).
    """
    check_positive(regularisation=regularisation, b0=b0, delta_te=delta_te)
    check_stopping(tolerance, max_iterations=max_iterations)
    if not 0 < step < 4:
        raise ValueError(f"step must lie between 0 and 4, not {step}")
    problem = DipoleProblem.create(local_field, mask, voxel_size, b0_dir, pad, device)
    weight = problem.data_weight(noise).square_()
    weight /= weight.max()
    to_radians = radians_per_ppm(b0, delta_te)
    phase = problem.near(problem.field).mul_(to_radians)

    chi = torch.zeros_like(problem.field)
    for _ in range(max_iterations):
        model = problem.invert_near(problem.transform(chi).mul_(problem.kernel))
        mismatch = problem.transform(model.sub_(phase).sin_().mul_(weight))
        descent = problem.invert(mismatch.mul_(problem.kernel))
        descent.add_(chi, alpha=regularisation).mul_(step)
        chi.sub_(descent)
        if krylov.norm(descent) <= tolerance * krylov.norm(chi):
            break
    else:
        report_unsettled("NDI", f"{max_iterations} steps", "max_iterations")
    return problem.result(chi / to_radians)
