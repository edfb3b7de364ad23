"""Background field removal."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from . import fft, krylov, smv
from .geometry import (
    FloatArray,
    MaskArray,
    Triple,
    bounding_box,
    check_geometry,
    check_mask,
    check_volume,
)

_LEAST_DAMPING = 3e-4
"""Keeps the preconditioner from blowing up the longest waves when λ is small."""


@dataclass(frozen=True)
class ResharpParameters:
    """Keywords of :func:`resharp` that go together."""

    radius: float
    tikhonov: float
    max_iterations: int


RESHARP_PRESETS = {
    "ge": ResharpParameters(radius=3.0, tikhonov=1e-4, max_iterations=200),
    "prisma": ResharpParameters(radius=3.0, tikhonov=1e-3, max_iterations=500),
    "study": ResharpParameters(radius=3.0, tikhonov=1e-4, max_iterations=200),
}
"""`ge` and `prisma` are the settings of the laboratory's scripts for those scanners. `study`,
the default, takes the weaker regularisation: on a head phantom it keeps 0.93 of the local
field where 1e-3 keeps 0.90 (0.92 and 0.89 for a slab of 32 mm), with less error as well, so
that a loss of susceptibility in a thin slab is due to the slab. A larger sphere would take
too much of the slab away.
"""


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
    inside = check_mask(mask)
    field = check_volume("total_field", total_field, inside.shape)
    if not radius > 0:
        raise ValueError(f"radius must be a positive length in mm, not {radius}")
    if not tikhonov >= 0:
        raise ValueError(f"tikhonov must be zero or positive, not {tikhonov}")
    box = bounding_box(inside)
    x, y, z = inside[box].shape
    half_widths = np.maximum(np.floor(radius / size + 0.5), 2)
    if np.any(2 * half_widths + 1 > (x, y, z)):
        raise ValueError(_too_large(radius, (x, y, z), size))
    # Zeros as wide as the sphere keep it from reaching across to the opposite face.
    grid = fft.padded_shape((x, y, z), (1.0, 1.0, 1.0), float(half_widths.max()))

    def filtered(volume: torch.Tensor, transfer: torch.Tensor) -> torch.Tensor:
        return fft.inverse(fft.forward(volume, grid).mul_(transfer), grid, grid)

    sphere = smv.ellipsoid(half_widths)
    covered = filtered(fft.to_tensor(inside[box], device), smv.transfer(sphere, grid, device))
    eroded = (covered > np.count_nonzero(sphere) - 0.5).to(torch.float32)
    if not eroded.any():
        raise ValueError(_too_large(radius, (x, y, z), size))

    high_pass = 1 - smv.transfer(smv.mean_kernel(sphere, size), grid, device)
    squared = high_pass**2
    approximate_inverse = 1 / (squared + max(tikhonov, _LEAST_DAMPING))

    masked_field = fft.to_tensor(np.where(inside[box], field[box], 0), device)
    dual = krylov.conjugate_gradient(
        lambda y: filtered(y, squared).mul_(eroded).add_(y, alpha=tikhonov),
        filtered(masked_field, high_pass).mul_(eroded),
        tolerance=tolerance,
        max_iterations=max_iterations,
        precondition=lambda y: filtered(y, approximate_inverse).mul_(eroded),
        name="RESHARP",
    )
    local = filtered(dual, high_pass).mul_(eroded)

    local_field = np.zeros(inside.shape, np.float32)
    local_field[box] = fft.to_array(local[:x, :y, :z])
    eroded_mask = np.zeros(inside.shape, bool)
    eroded_mask[box] = eroded[:x, :y, :z].cpu().numpy() > 0
    return local_field, eroded_mask


def _too_large(radius: float, shape: fft.Shape3, voxel_size: Triple) -> str:
    """Message for a sphere that fits nowhere."""
    extent = " × ".join(f"{n * s:.0f}" for n, s in zip(shape, voxel_size, strict=True))
    return (
        f"no sphere of {radius} mm fits into the mask, which spans {extent} mm; "
        "use a smaller radius or a thicker slab"
    )
