"""Background removal by a Laplacian boundary value problem."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.ndimage import binary_erosion, distance_transform_edt

from .. import differences, krylov
from ..checks import check_stopping
from ..geometry import FloatArray, MaskArray, Triple, check_geometry, check_mask
from .problem import FieldProblem, report_unfinished

_LONGEST = 1e-3
"""Keeps the preconditioner from blowing up waves longer than the head; per mm²."""


def lbv(
    total_field: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    *,
    boundary: Literal["inside", "outside"] = "inside",
    peel: float = 0.0,
    tolerance: float = 1e-5,
    max_iterations: int = 100,
    device: str = "cpu",
) -> tuple[FloatArray, MaskArray]:
    """Remove the background field as the solution of Laplace's equation (LBV).

    The local field u solves ∇²u = ∇²f in the mask, with u = 0 at its surface. It has all of
    the Laplacian of the total field f, so that f − u is harmonic, as a background must be.

    Taken as the surface are the outermost voxels of the mask, as in MEDI's toolbox: they are
    lost, and ∇²f is a central difference everywhere. With the surface just outside, as in
    QSM.m, nothing is lost, but ∇²f in the outermost voxels has values to one side only and
    multiplies what is wrong with the field there, partial volume and noise; on simulated
    heads that doubles the error of the whole.

    The local field is not zero at the end faces of a slab that was cut out of the brain:
    errors reach into the slab from there, and `peel` takes off the worst.

    Parameters
    ----------
    total_field : (X, Y, Z) array_like
        Field shift in ppm; not used outside the mask.
    mask : (X, Y, Z) array_like
        Brain. Outside the image counts as outside the brain.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    boundary : {"inside", "outside"}
        Whether the surface lies in the outermost voxels of the mask, or just outside them.
    peel : float
        Millimetres of the mask to take off afterwards, on all sides.
    tolerance : float
        Relative residual that ends the iterations.
    max_iterations : int
        Most conjugate gradient iterations.
    device : str
        Torch device.

    Returns
    -------
    local_field : (X, Y, Z) ndarray of float32
        In ppm, zero outside the mask that is left.
    eroded_mask : (X, Y, Z) ndarray of bool
        The mask without its outermost voxels, if they are the surface, and peeled.

    Raises
    ------
    ValueError
        If the inputs do not fit together, or nothing is left of the mask.

    References
    ----------
    Zhou et al., NMR Biomed 27:312 (2014).
    """
    size, _ = check_geometry(voxel_size)
    check_stopping(tolerance, max_iterations=max_iterations)
    inside = check_mask(mask)
    kept = peel_mask(inside, size, peel)
    if boundary not in ("inside", "outside"):
        raise ValueError(f"boundary must be inside or outside, not {boundary!r}")
    if boundary == "inside":
        unknown = binary_erosion(inside)
        kept &= unknown
        if not kept.any():
            raise ValueError("nothing is left of the mask without its outermost voxels")
    else:
        unknown = inside
    # Beyond the surface is a voxel of zeros; the transforms need be only approximate.
    problem = FieldProblem.create(total_field, mask, size, 2 * float(size.max()), device)
    interior = problem.grid.embed(unknown, device)
    inverse = 1 / (differences.gradient_power(problem.grid.shape, size, device) + _LONGEST)

    def operator(u: torch.Tensor) -> torch.Tensor:
        slopes = differences.gradient(u, size)
        return differences.gradient_adjoint(slopes, size).mul_(interior)

    if boundary == "inside":
        rhs = operator(problem.field)
    else:
        rhs = differences.laplacian_within(problem.field, problem.mask > 0, size).neg_()
    local, residual = krylov.conjugate_gradient(
        operator,
        rhs,
        tolerance=tolerance,
        max_iterations=max_iterations,
        precondition=lambda r: problem.convolve(r, inverse).mul_(interior),
    )
    report_unfinished("LBV", max_iterations, residual, tolerance)
    return problem.result(local, problem.grid.embed(kept, device))


def peel_mask(mask: MaskArray, voxel_size: Triple, depth: float) -> MaskArray:
    """Mask without what lies within `depth` mm of its surface; at depth 0 the mask itself.

    Outside the image counts as outside the mask.

    Raises
    ------
    ValueError
        If the depth is negative or nothing is left.
    """
    if not depth >= 0:
        raise ValueError(f"peel must be zero or a positive length in mm, not {depth}")
    distance = distance_transform_edt(np.pad(mask, 1), sampling=voxel_size)
    kept: MaskArray = distance[1:-1, 1:-1, 1:-1] > depth + 1e-6
    if not kept.any():
        raise ValueError(f"nothing is left of the mask after peeling {depth:g} mm; peel less")
    return kept
