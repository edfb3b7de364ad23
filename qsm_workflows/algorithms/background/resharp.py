"""Background removal by RESHARP."""

import numpy as np
import torch
from numpy.typing import ArrayLike

from .. import krylov, smv
from ..checks import check_stopping
from ..geometry import FloatArray, MaskArray, Triple, check_geometry
from .problem import FieldProblem, check_extent, check_fit, check_radius, report_unfinished

_LEAST_DAMPING = 3e-4
"""Keeps the preconditioner from blowing up the longest waves when λ is small."""


def resharp(
    total_field: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    *,
    radius: float = 3.0,
    tikhonov: float = 1e-4,
    max_iterations: int = 200,
    tolerance: float = 1e-6,
    device: str = "cpu",
) -> tuple[FloatArray, MaskArray]:
    """Remove the background field by regularised spherical mean values (RESHARP).

    With C = δ − S, S the mean over a sphere, and M the mask eroded by that sphere, the
    local field is the x that minimises ‖M·C·(x − f)‖² + λ‖x‖². C annihilates fields
    that are harmonic in the mask. In place of the normal equations
    (Cᵀ·M·C + λ)·x = Cᵀ·M·C·f we solve the smaller (M·C·Cᵀ·M + λ)·y = M·C·f, which takes
    one convolution an iteration instead of two, and set x = Cᵀ·M·y.

    Parameters
    ----------
    total_field : (X, Y, Z) array_like
        Field shift in ppm; not used outside the mask.
    mask : (X, Y, Z) array_like
        Brain. Outside the image counts as outside the brain, so the end faces of a slab
        erode like any other surface.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    radius : float
        Radius of the sphere in mm, rounded to voxels along each axis and at least two.
    tikhonov : float
        λ. Larger values remove more noise and shrink the local field.
    max_iterations : int
        Most conjugate gradient iterations.
    tolerance : float
        Relative residual that ends them.
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
    Sun & Wilman, Magn Reson Med 71:1151 (2014).
    """
    size, _ = check_geometry(voxel_size)
    check_stopping(tolerance, max_iterations=max_iterations)
    check_radius(radius)
    if not 0 <= tikhonov < np.inf:
        raise ValueError(f"tikhonov must be zero or positive, not {tikhonov}")
    half_widths = np.maximum(np.floor(radius / size + 0.5), 2)
    sphere = smv.ellipsoid(half_widths)
    check_extent(sphere, mask, radius)
    # Zeros as wide as the sphere keep it from reaching across to the opposite face.
    pad = float((half_widths * size).max())
    problem = FieldProblem.create(total_field, mask, size, pad, device)
    eroded = problem.erode(sphere)
    check_fit(eroded, radius)

    high_pass = 1 - problem.mean(sphere)
    squared = high_pass**2
    approximate_inverse = 1 / (squared + max(tikhonov, _LEAST_DAMPING))

    def operator(y: torch.Tensor) -> torch.Tensor:
        return problem.convolve(y, squared).mul_(eroded).add_(y, alpha=tikhonov)

    dual, residual = krylov.conjugate_gradient(
        operator,
        problem.convolve(problem.field, high_pass).mul_(eroded),
        tolerance=tolerance,
        max_iterations=max_iterations,
        precondition=lambda y: problem.convolve(y, approximate_inverse).mul_(eroded),
    )
    report_unfinished("RESHARP", max_iterations, residual, tolerance)
    return problem.result(problem.convolve(dual, high_pass), eroded)
