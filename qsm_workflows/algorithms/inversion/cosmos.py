"""Susceptibility from several orientations of the head."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .. import fft, krylov
from ..checks import check_finite, check_positive, check_stopping
from ..dipole import dipole_kernel
from ..geometry import (
    DEFAULT_PAD,
    FloatArray,
    MaskArray,
    Triple,
    b0_direction,
    check_geometry,
    check_mask,
    check_volume,
)
from ..registration import extend, register_rigid, resample

_logger = logging.getLogger(__name__)


def cosmos(
    local_fields: Sequence[ArrayLike],
    masks: ArrayLike,
    voxel_size: Triple,
    b0_dirs: Sequence[Triple],
    *,
    shrinkage: float = 3e-3,
    tolerance: float = 1e-2,
    max_iterations: int = 30,
    pad: float = DEFAULT_PAD,
    device: str = "cpu",
) -> FloatArray:
    """Susceptibility from several orientations, by least squares (COSMOS).

    Minimises Σ‖m_t·(D_t∗χ − f_t)‖² + τ‖χ‖², where D_t has B0 as it lay in the head at
    orientation t and m_t is the mask of its field, by conjugate gradients. Were the fields
    known everywhere, and τ zero, the solution would be F⁻¹{Σ D_t·F f_t / Σ D_t²}. That
    formula takes them for zero outside their masks, which costs most of its accuracy.

    Parameters
    ----------
    local_fields : sequence of (X, Y, Z) array_like
        Local field of each orientation in ppm, all resampled to one grid, as
        :func:`align_orientations` does.
    masks : (X, Y, Z) or (T, X, Y, Z) array_like
        Where the fields are known: one mask, or one for each of T orientations.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm of the common grid.
    b0_dirs : sequence of (3,) sequence of float
        Unit vector of B0 in voxel axes of the common grid, for each orientation.
    shrinkage : float
        τ: keeps down the noise of what no orientation sees well, where Σ D_t² is small.
    tolerance : float
        Relative residual of the normal equations that ends the iterations.
    max_iterations : int
        Most conjugate gradient iterations.
    pad : float
        Millimetres of zeros around the masks; 0 works periodically on the image.
    device : str
        Torch device.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        χ in ppm, zero outside the intersection of the masks, known up to a constant.

    Raises
    ------
    ValueError
        If there are fewer than two orientations, the inputs do not fit together, or a
        parameter is out of range.

    References
    ----------
    Liu et al., Magn Reson Med 61:196 (2009).
    """
    if len(local_fields) < 2 or len(local_fields) != len(b0_dirs):
        raise ValueError(
            "COSMOS needs two or more orientations, each with its B0 direction; "
            f"got {len(local_fields)} fields and {len(b0_dirs)} directions"
        )
    check_positive(shrinkage=shrinkage)
    check_stopping(tolerance, max_iterations=max_iterations)
    given = np.asarray(masks)
    known = [check_mask(mask) for mask in given] if given.ndim == 4 else [check_mask(given)]
    if len(known) not in (1, len(local_fields)):
        raise ValueError(f"got {len(known)} masks for {len(local_fields)} local fields")
    inside = check_mask(np.all(known, axis=0))
    size, _ = check_geometry(voxel_size)
    grid = fft.PaddedGrid.around(np.any(known, axis=0), size, pad)

    def transform(volume: torch.Tensor) -> torch.Tensor:
        return fft.forward(volume, grid.shape)

    def invert(spectrum: torch.Tensor) -> torch.Tensor:
        return fft.inverse(spectrum, grid.shape, grid.shape)

    kernels = [dipole_kernel(grid.shape, size, b0_dir, device) for b0_dir in b0_dirs]
    known *= len(kernels) // len(known)
    weights = [grid.embed(mask, device) for mask in known]
    power, right = torch.zeros_like(kernels[0]), torch.zeros_like(transform(weights[0]))
    for number, (field, mask, kernel, weight) in enumerate(
        zip(local_fields, known, kernels, weights, strict=True), 1
    ):
        volume = grid.embed(check_volume(f"local field {number}", field, mask=mask), device)
        right += transform(volume.mul_(weight)).mul_(kernel)
        power += kernel**2

    def operator(chi: torch.Tensor) -> torch.Tensor:
        spectrum, result = transform(chi), torch.zeros_like(right)
        for kernel, weight in zip(kernels, weights, strict=True):
            result += transform(invert(spectrum * kernel).mul_(weight)).mul_(kernel)
        return invert(result).add_(chi, alpha=shrinkage)

    inverse = power.add_(shrinkage).reciprocal_()
    chi, residual = krylov.conjugate_gradient(
        operator,
        invert(right),
        tolerance=tolerance,
        max_iterations=max_iterations,
        precondition=lambda r: invert(transform(r).mul_(inverse)),
    )
    if not residual <= tolerance:
        _logger.warning(
            "COSMOS stopped after %d iterations at a relative residual of %.1e, not %.1e",
            max_iterations,
            residual,
            tolerance,
        )
    return check_finite(grid.extract(chi)) * inside


def align_orientations(
    local_fields: Sequence[ArrayLike],
    masks: Sequence[ArrayLike],
    magnitudes: Sequence[ArrayLike],
    affines: Sequence[ArrayLike],
) -> tuple[list[FloatArray], list[MaskArray], list[NDArray[np.float64]]]:
    """Bring fields of a head that turned between scans onto the grid of the first.

    The magnitudes are registered to the first. A field shift belongs to a place in the
    head: it moves with it, and keeps its value. B0 stays where the scanner is, so that it
    turns against the head: its direction in the first grid's axes comes from the matrix
    that takes that grid's voxels to where they were in the scanner.

    Parameters
    ----------
    local_fields : sequence of (X, Y, Z) array_like
        Local field of each orientation in ppm, each on a grid of its own.
    masks : sequence of (X, Y, Z) array_like
        Where each is known.
    magnitudes : sequence of (X, Y, Z) array_like
        Image of each orientation.
    affines : sequence of (4, 4) array_like
        Voxel-to-world matrix of each.

    Returns
    -------
    local_fields, masks : lists of (X, Y, Z) ndarray
        On the grid of the first.
    b0_dirs : list of (3,) ndarray
        Unit vector of B0 in its voxel axes.

    Raises
    ------
    ValueError
        If there is not one of each for every orientation, or magnitudes do not match.
    """
    count = len(local_fields)
    if not count == len(masks) == len(magnitudes) == len(affines):
        raise ValueError(
            f"each of {count} local fields needs its own mask and magnitude; "
            f"got {len(masks)} masks and {len(magnitudes)} magnitudes"
        )
    first, target = check_mask(masks[0]), np.asarray(affines[0], float)
    fields = [check_volume("local field 1", local_fields[0], mask=first)]
    known, b0_dirs = [first], [b0_direction(target)]
    for number in range(1, count):
        affine, mask = affines[number], check_mask(masks[number])
        field = check_volume(f"local field {number + 1}", local_fields[number], mask=mask)
        transform = register_rigid(magnitudes[0], target, first, magnitudes[number], affine)
        grid = first.shape, target, transform
        fields.append(resample(extend(field, mask), affine, *grid))
        known.append(resample(mask, affine, *grid, order=1) > 0.99)
        b0_dirs.append(b0_direction(transform @ target))
    return fields, known, b0_dirs
