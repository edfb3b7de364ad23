"""Background removal by iterative spherical mean values."""

import numpy as np
import torch
from numpy.typing import ArrayLike

from .. import krylov, smv
from ..checks import check_stopping
from ..geometry import FloatArray, MaskArray, Triple, check_geometry
from .problem import FieldProblem, check_extent, check_fit, check_radius, report_unfinished


def ismv(
    total_field: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    *,
    radius: float = 3.0,
    repetitions: int = 0,
    tolerance: float = 1e-3,
    max_iterations: int = 100,
    device: str = "cpu",
) -> tuple[FloatArray, MaskArray]:
    """Remove the background field by iterated spherical mean values (iSMV).

    The background b is the field that equals the total field in the rim of the mask and
    its own mean over a sphere, S∗b = b, in the eroded mask M; the local field is the rest.
    The iteration b ← S∗b converges to it slowly. With C = δ − S, its limit solves
    M·C·M·x = M·C∗f for the local field x, which conjugate gradients do in a few steps.
    `repetitions` asks for so many steps of the iteration itself instead.

    Parameters
    ----------
    total_field : (X, Y, Z) array_like
        Field shift in ppm; not used outside the mask.
    mask : (X, Y, Z) array_like
        Brain. Outside the image counts as outside the brain.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    radius : float
        Radius of the sphere in mm, at least one voxel along each axis. So much is eroded, also
        at the end faces of a slab. The local field of the rim that is eroded is taken for
        background.
    repetitions : int
        How often the mean is repeated; 0 for the limit. 38 is where QSM.m stops at its
        tolerance of 1e-4 and a radius of 3 voxels.
    tolerance : float
        Relative residual that ends the iterations.
    max_iterations : int
        Most conjugate gradient iterations.
    device : str
        Torch device.

    Returns
    -------
    local_field : (X, Y, Z) ndarray of float32
        In ppm, zero outside the eroded mask.
    eroded_mask : (X, Y, Z) ndarray of bool
        Where the sphere lies within the mask.

    Raises
    ------
    ValueError
        If the inputs do not fit together, or no sphere fits into the mask.

    References
    ----------
    Wen et al., Magn Reson Med 72:1065 (2014).
    """
    size, _ = check_geometry(voxel_size)
    check_stopping(tolerance, max_iterations=max_iterations)
    check_radius(radius)
    if repetitions < 0:
        raise ValueError(f"repetitions must be zero or positive, not {repetitions}")
    # A single voxel would be its own mean, and every field harmonic.
    sphere = smv.ellipsoid(np.maximum(radius / size, 1))
    check_extent(sphere, mask, radius)
    problem = FieldProblem.create(total_field, mask, size, radius, device)
    eroded = problem.erode(sphere)
    check_fit(eroded, radius)
    mean = problem.mean(sphere)
    if repetitions:
        background = problem.field
        for _ in range(repetitions):
            smoothed = problem.convolve(background, mean)
            background = torch.where(eroded > 0, smoothed, problem.field)
        return problem.result(problem.field - background, eroded)
    high_pass = 1 - mean
    approximate_inverse = 1 / high_pass.clamp(min=1e-2)

    def operator(x: torch.Tensor) -> torch.Tensor:
        return problem.convolve(x, high_pass).mul_(eroded)

    local, residual = krylov.conjugate_gradient(
        operator,
        operator(problem.field),
        tolerance=tolerance,
        max_iterations=max_iterations,
        precondition=lambda x: problem.convolve(x, approximate_inverse).mul_(eroded),
    )
    report_unfinished("iSMV", max_iterations, residual, tolerance)
    return problem.result(local, eroded)
