"""Phase unwrapping by the Laplacian of the phase."""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from .geometry import FloatArray, MaskArray, Triple, bounding_box, check_geometry, check_mask
from .unwrapping import ConnectedParts, check_wrapped

_log = logging.getLogger(__name__)

_MAX_ITERATIONS = 100


def unwrap_laplacian(
    phase: ArrayLike, mask: ArrayLike, voxel_size: Triple, *, tolerance: float = 1e-4
) -> FloatArray:
    """Unwrap phase as the volume whose differences are nearest to the wrapped ones.

    The result u minimises Σ ((uᵢ − uⱼ − W(φᵢ − φⱼ)) / hᵢⱼ)² over all neighbours i, j that
    both lie in the mask; W wraps into [−π, π] and h is their distance. Its Laplacian is
    thus that of the phase. Where all neighbours differ by less than half a turn it is the
    unwrapped phase itself; else the faults are spread smoothly, and it is not a whole
    number of turns from the wrapped phase.

    Phase outside the mask has no influence and nothing is periodic or zero at the border,
    so that the background field comes out as it is, at the end faces of a slab too.

    Parameters
    ----------
    phase : (X, Y, Z) array_like
        Wrapped phase in radians.
    mask : (X, Y, Z) array_like
        Where to unwrap.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    tolerance : float
        Relative residual that ends the conjugate gradient iterations.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        In radians, zero outside the mask. Each connected part is shifted to be, in the
        mean, whole turns from the wrapped phase, with its median in [−π, π].

    Raises
    ------
    ValueError
        If the phase is not 3-D, not finite or beyond ±π, the mask does not fit, or the
        tolerance is not positive.

    References
    ----------
    Ghiglia & Romero, J Opt Soc Am A 11:107 (1994); Schofield & Zhu, Opt Lett 28:1194 (2003).
    """
    inside = check_mask(mask)
    wrapped = check_wrapped("phase", phase, inside)
    size, _ = check_geometry(voxel_size)
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, not {tolerance}")
    box = bounding_box(inside)
    solution = np.zeros(inside.shape, np.float32)
    solution[box] = _solve(wrapped[box], inside[box], size, tolerance)
    parts = ConnectedParts(inside)
    values, phases = solution[inside].astype(float), wrapped[inside]
    values -= np.angle(parts.mean(np.exp(1j * (values - phases))))
    return parts.volume(values - 2 * np.pi * parts.turns(values))


def _solve(
    wrapped: NDArray[np.float64], mask: MaskArray, size: Triple, tolerance: float
) -> FloatArray:
    """Preconditioned conjugate gradients for ∇ᵀM∇u = ∇ᵀM·W(∇φ)."""
    usable = [_along(np.logical_and, mask, axis) for axis in range(3)]
    steps = []
    for axis in range(3):
        step = np.diff(wrapped, axis=axis)
        steps.append((step - 2 * np.pi * np.rint(step / (2 * np.pi))).astype(np.float32))
    inverse = _inverse_laplacian(mask.shape, size)

    def divergence(differences: Sequence[FloatArray]) -> FloatArray:
        result = np.zeros(mask.shape, np.float32)
        for axis, (difference, use) in enumerate(zip(differences, usable, strict=True)):
            flow = difference * use * np.float32(1 / size[axis] ** 2)
            along = np.moveaxis(result, axis, 0)
            along[1:] += np.moveaxis(flow, axis, 0)
            along[:-1] -= np.moveaxis(flow, axis, 0)
        return result

    residual = divergence(steps)
    solution, direction = np.zeros_like(residual), np.zeros_like(residual)
    energy, first = 1.0, float(np.linalg.norm(residual))
    left = first
    for _ in range(_MAX_ITERATIONS):
        if left <= tolerance * first:
            break
        # The box with mirrored borders is near enough to the mask for a few iterations.
        descent = fft.idctn(fft.dctn(residual, norm="ortho") * inverse, norm="ortho") * mask
        previous, energy = energy, float(np.vdot(residual, descent))
        direction = descent + np.float32(energy / previous) * direction
        image = divergence([np.diff(direction, axis=axis) for axis in range(3)])
        length = np.float32(energy / float(np.vdot(direction, image)))
        solution += length * direction
        residual -= length * image
        left = float(np.linalg.norm(residual))
    else:
        _log.warning(
            "Laplacian unwrapping stopped after %d iterations at a residual of %.1e, not %.1e",
            _MAX_ITERATIONS,
            left / first,
            tolerance,
        )
    return solution


def _along(function: np.ufunc, volume: NDArray, axis: int) -> NDArray:
    """A function of each voxel and the next one along an axis."""
    along = np.moveaxis(volume, axis, 0)
    return np.moveaxis(function(along[1:], along[:-1]), 0, axis)


def _inverse_laplacian(shape: tuple[int, ...], size: Triple) -> FloatArray:
    """Eigenvalues of the inverse of ∇ᵀ∇ in a box with mirrored borders; 0 for the mean."""
    power = np.zeros(shape)
    for axis, (n, length) in enumerate(zip(shape, size, strict=True)):
        eigenvalues = (2 - 2 * np.cos(np.pi * np.arange(n) / n)) / length**2
        power += eigenvalues.reshape([n if i == axis else 1 for i in range(3)])
    power.flat[0] = np.inf
    return (1 / power).astype(np.float32)
