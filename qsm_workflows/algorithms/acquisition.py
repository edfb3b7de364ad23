"""What the phase itself tells of how it was acquired: its sign."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from .background.sharp import vsharp
from .dipole import forward_field
from .geometry import (
    FloatArray,
    MaskArray,
    Triple,
    check_geometry,
    check_mask,
    check_volume,
)
from .inversion.direct import tkd
from .phase_mask import phase_mask
from .unwrapping import unwrap_bestpath

# Susceptibility of tissue against air, in ppm.
_TISSUE = -9.05
# Voxels, in mm, that the sign is looked for in: the field of the head's air is smooth.
_COARSE = 4.0
# Shares of the highest magnitude: tissue against air, and signal that phase is read from.
_DARKEST_TISSUE = 0.1
_READABLE = 0.25
# Fewer voxels have no mean to speak of.
_FEWEST = 20


def sign_evidence(
    magnitudes: Sequence[ArrayLike],
    phases: Sequence[ArrayLike],
    voxel_size: Triple,
    b0_dir: Triple,
) -> float:
    """How well the phase agrees with the field that the air in and about the head causes.

    Tissue is diamagnetic against air, so the shape of the head alone, taken from the
    magnitude, predicts the large-scale field but for the shim, which is removed as a
    quadratic polynomial from prediction and measurement. Their correlation is positive
    when a raised field gives positive phase.

    Parameters
    ----------
    magnitudes, phases : sequence of (X, Y, Z) array_like
        First echo, or first two, whose phase difference is then used; phase in radians.
    voxel_size : (3,) sequence of float
        In mm.
    b0_dir : (3,) sequence of float
        B0 in voxel axes.

    Returns
    -------
    float
        Correlation from −1 to 1; 0 when there is too little signal to tell. Whole heads
        of two scanners and simulated ones gave 0.44 to 0.65 with the right sign.
    """
    size, direction = check_geometry(voxel_size, b0_dir)
    signal = _evolved(magnitudes, phases)
    factors = [max(1, round(_COARSE / length)) for length in size]
    signal, size = _block_mean(signal, factors), size * factors
    magnitude = np.sqrt(np.abs(signal))
    bright = float(np.percentile(magnitude, 99))
    head = _close(_largest(magnitude > _DARKEST_TISSUE * bright))
    readable = magnitude > _READABLE * bright
    core = _largest(ndimage.binary_opening(ndimage.binary_erosion(head, iterations=2) & readable))
    if np.count_nonzero(core) < 1000:
        return 0.0
    predicted = forward_field(_TISSUE * head.astype(np.float32), size, direction)
    measured = unwrap_bestpath(np.angle(signal).astype(np.float32), core)
    weights = magnitude[core]
    first, second = (_without_shim(field, core, weights) for field in (predicted, measured))
    norm = np.average(first**2, weights=weights) * np.average(second**2, weights=weights)
    return float(np.average(first * second, weights=weights) / np.sqrt(norm)) if norm > 0 else 0.0


def nuclei_evidence(
    magnitudes: Sequence[ArrayLike],
    phases: Sequence[ArrayLike],
    nuclei: ArrayLike,
    voxel_size: Triple,
    b0_dir: Triple,
) -> float:
    """How much more paramagnetic deep grey matter is than what is about it, by a quick map.

    Its iron raises susceptibility, so that the contrast is positive when a raised field
    gives positive phase. The map is made of the phase gained from the first to the last
    echo; a slab of 20 mm is enough.

    Parameters
    ----------
    magnitudes, phases : sequence of (X, Y, Z) array_like
        Of one echo or more; phase in radians.
    nuclei : (X, Y, Z) array_like
        Non-zero in nuclei that hold iron.
    voxel_size : (3,) sequence of float
        In mm.
    b0_dir : (3,) sequence of float
        B0 in voxel axes.

    Returns
    -------
    float
        Difference of the means in standard deviations of what is about the nuclei; 0 when
        too little of them has coherent phase to tell.
    """
    size, direction = check_geometry(voxel_size, b0_dir)
    angles = [check_volume("phase", phase) for phase in phases]
    inside = np.asarray(nuclei) != 0
    if np.count_nonzero(inside) < _FEWEST:
        return 0.0
    inside = check_mask(inside, angles[0].shape)
    try:
        mask = phase_mask(angles, magnitudes, size)
        gained = angles[-1] - angles[0] if len(angles) > 1 else angles[0]
        unwrapped = unwrap_bestpath(np.angle(np.exp(1j * gained)).astype(np.float32), mask)
        local, valid = vsharp(unwrapped, mask, size)
        chi = tkd(local, valid, size, direction)
    except ValueError:
        return 0.0
    within, about = chi[valid & inside], chi[valid & ~inside]
    if min(len(within), len(about)) < _FEWEST or not np.ptp(about) > 0:
        return 0.0
    return float((within.mean() - about.mean()) / about.std())


def _evolved(magnitudes: Sequence[ArrayLike], phases: Sequence[ArrayLike]) -> NDArray[np.complex64]:
    """Signal whose phase has gained over an echo spacing, or since excitation."""
    size = [check_volume("magnitude", magnitude) for magnitude in magnitudes[:2]]
    angle = [check_volume("phase", phase) for phase in phases[:2]]
    gained = angle[1] - angle[0] if len(angle) > 1 else angle[0]
    signal: NDArray[np.complex64] = (size[0] * size[-1] * np.exp(1j * gained)).astype(np.complex64)
    return signal


def _block_mean(volume: NDArray, factors: Sequence[int]) -> NDArray:
    """Mean over blocks of voxels; what is left over at the ends is dropped."""
    counts = [n // factor for n, factor in zip(volume.shape, factors, strict=True)]
    cut = volume[tuple(slice(n * f) for n, f in zip(counts, factors, strict=True))]
    pairs = [x for pair in zip(counts, factors, strict=True) for x in pair]
    return cut.reshape(pairs).mean(axis=(1, 3, 5))


def _close(mask: MaskArray) -> MaskArray:
    """Close gaps of some voxels, such as the skull, without closing to the image's edge."""
    closed = ndimage.binary_closing(np.pad(mask, 2), iterations=2)[2:-2, 2:-2, 2:-2]
    return np.asarray(closed, dtype=bool)


def _largest(mask: NDArray) -> MaskArray:
    """Largest connected part."""
    parts, count = ndimage.label(ndimage.binary_opening(mask))
    if count == 0:
        return np.zeros(mask.shape, bool)
    return np.asarray(parts == np.argmax(np.bincount(parts[parts > 0])), dtype=bool)


def _without_shim(
    field: FloatArray, mask: MaskArray, weights: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Values in a mask less the quadratic polynomial that fits them best."""
    position = np.argwhere(mask).astype(float)
    x = (position - position.mean(axis=0)) / np.maximum(position.std(axis=0), 1)
    first, second = np.triu_indices(3)
    terms = np.column_stack([np.ones(len(x)), x, x[:, first] * x[:, second]])
    root = np.sqrt(weights)
    fit, *_ = np.linalg.lstsq(terms * root[:, None], field[mask] * root, rcond=None)
    return field[mask] - terms @ fit
