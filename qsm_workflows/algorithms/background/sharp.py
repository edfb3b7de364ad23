"""Background removal by SHARP and V-SHARP."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike

from .. import smv
from ..geometry import DEFAULT_PAD, FloatArray, MaskArray, Triple, check_geometry
from .problem import FieldProblem, check_fit, check_radius


def sharp(
    total_field: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    *,
    radius: float = 9.0,
    threshold: float = 0.05,
    covered: float = 0.999,
    pad: float = DEFAULT_PAD,
    device: str = "cpu",
) -> tuple[FloatArray, MaskArray]:
    """Remove the background field by spherical mean values and deconvolution (SHARP).

    With C = δ − S, S the mean over a sphere, and M the mask eroded by that sphere, the
    local field is M·F⁻¹{F(M·C∗f)/C}, where 1/C is zero for ``|C| < threshold``.

    Parameters
    ----------
    total_field : (X, Y, Z) array_like
        Field shift in ppm; not used outside the mask.
    mask : (X, Y, Z) array_like
        Brain. Outside the image counts as outside the brain.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    radius : float
        Radius of the sphere in mm. So much is eroded, also at the end faces of a slab.
    threshold : float
        Smallest ``|C|`` that is divided by.
    covered : float
        Part of a sphere that must lie in the mask: large ones may lack a few voxels of
        their surface.
    pad : float
        Millimetres of zeros around the mask; 0 works periodically on the image.
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
    Schweser et al., NeuroImage 54:2789 (2011).
    """
    return vsharp(
        total_field,
        mask,
        voxel_size,
        radii=[radius],
        threshold=threshold,
        covered=covered,
        pad=pad,
        device=device,
    )


def vsharp(
    total_field: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    *,
    radii: Sequence[float] = (9.0, 7.0, 5.0, 3.0),
    threshold: float = 0.05,
    covered: float = 0.999,
    pad: float = DEFAULT_PAD,
    device: str = "cpu",
) -> tuple[FloatArray, MaskArray]:
    """Remove the background field by spheres of varying radius (V-SHARP).

    As :func:`sharp`, but every voxel takes the mean over the largest sphere about it that
    lies in the mask; all are deconvolved as if by the largest.

    Parameters
    ----------
    total_field : (X, Y, Z) array_like
        Field shift in ppm; not used outside the mask.
    mask : (X, Y, Z) array_like
        Brain. Outside the image counts as outside the brain.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    radii : sequence of float
        Radii of the spheres in mm; those that fit nowhere into the mask are left out. The
        smallest is eroded, also at the end faces of a slab.
    threshold : float
        Smallest ``|C|`` that is divided by.
    covered : float
        Part of a sphere that must lie in the mask: large ones may lack a few voxels of
        their surface.
    pad : float
        Millimetres of zeros around the mask; 0 works periodically on the image.
    device : str
        Torch device.

    Returns
    -------
    local_field : (X, Y, Z) ndarray of float32
        In ppm, zero outside the eroded mask.
    eroded_mask : (X, Y, Z) ndarray of bool
        Where the smallest sphere lies within the mask.

    Raises
    ------
    ValueError
        If the inputs do not fit together, or no sphere fits into the mask.

    References
    ----------
    Wu et al., Magn Reson Med 67:137 (2012).
    """
    size, _ = check_geometry(voxel_size)
    if not len(radii):
        raise ValueError("radii must name at least one radius, in mm")
    for radius in radii:
        check_radius(radius)
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie between 0 and 1, not {threshold}")
    if not 0 < covered <= 1:
        raise ValueError(f"covered must be a part between 0 and 1, not {covered}")
    problem = FieldProblem.create(total_field, mask, size, pad, device)

    eroded = torch.zeros_like(problem.mask)
    filtered = torch.zeros_like(problem.field)
    inverse = torch.zeros(1)
    for radius in sorted(radii, reverse=True):
        sphere = smv.ellipsoid(radius / size)
        if np.any(np.array(sphere.shape) > problem.grid.shape):
            continue
        fits = problem.erode(sphere, covered)
        if not fits.any():
            continue
        high_pass = 1 - problem.mean(sphere)
        if not eroded.any():  # the largest that fits
            zero = torch.zeros_like(high_pass)
            inverse = torch.where(high_pass.abs() < threshold, zero, 1 / high_pass)
        filtered += problem.convolve(problem.field, high_pass).mul_(fits * (1 - eroded))
        eroded = torch.maximum(eroded, fits)
    check_fit(eroded, min(radii))
    return problem.result(problem.convolve(filtered, inverse), eroded)
