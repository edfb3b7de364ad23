"""A mask of where phase can be used, from the phase itself."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from .geometry import FloatArray, MaskArray, Triple, check_geometry, check_volume
from .mask_refinement import grow, largest_part, shrink

_BOX = 3.0  # mm, over which phase is compared
_NOISE = 0.2  # coherence of noise
_LEAST = 0.4  # coherence that the best of an image with any tissue exceeds
_STRICT = 0.7  # as `threshold`, but of the first pass
_BRIGHT, _DARK = 0.5, 0.1  # of the median magnitude, least of the first and the second pass


def phase_coherence(
    phases: Sequence[ArrayLike], magnitudes: Sequence[ArrayLike], voxel_size: Triple
) -> FloatArray:
    """How much the phase steps from voxel to voxel agree with those about them.

    Of each echo and along each axis, the unit phasors of the steps between neighbours are
    averaged over a box of about 3 mm. The length of their mean, averaged over axes and
    echoes, is 1 for a phase that is smooth or changes linearly, however steeply, and about
    0.2 for noise. Steps next to a voxel of magnitude zero count as noise.

    Parameters
    ----------
    phases : sequence of (X, Y, Z) array_like
        Wrapped phase of each echo, in radians.
    magnitudes : sequence of (X, Y, Z) array_like
        Magnitude of each echo.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        Between 0 and 1.

    Raises
    ------
    ValueError
        If the inputs do not fit together.
    """
    size, _ = check_geometry(voxel_size)
    if not len(phases) == len(magnitudes) > 0:
        raise ValueError(f"there are {len(phases)} phase and {len(magnitudes)} magnitude images")
    shape = check_volume("phase of echo 1", phases[0]).shape
    total = np.zeros(shape, np.float32)
    for echo, (phase, magnitude) in enumerate(zip(phases, magnitudes, strict=True), 1):
        wrapped = check_volume(f"phase of echo {echo}", phase, shape)
        signal = check_volume(f"magnitude of echo {echo}", magnitude, shape)
        phasor = np.where(signal > 0, np.exp(1j * wrapped), 0).astype(np.complex64)
        for axis in range(3):
            total += _agreement(phasor, axis, size)
    return total / np.float32(3 * len(phases))


def _average(volume: FloatArray, size: NDArray[np.float64]) -> FloatArray:
    """Mean over a box of three voxels or more along each axis."""
    box = 2 * np.maximum(np.rint(_BOX / 2 / size), 1).astype(int) + 1
    return ndimage.uniform_filter(volume, box, mode="nearest")


def phase_steps(phasor: NDArray[np.complex64], axis: int) -> NDArray[np.complex64]:
    """Phasors of the steps from each voxel to the next along an axis; zero for the last."""
    steps = np.zeros_like(phasor)
    along = np.moveaxis(phasor, axis, 0)
    np.moveaxis(steps, axis, 0)[:-1] = along[1:] * np.conj(along[:-1])
    return steps


def _agreement(phasor: NDArray[np.complex64], axis: int, size: NDArray[np.float64]) -> FloatArray:
    """Length of the mean step along an axis."""
    steps = phase_steps(phasor, axis)
    # The last voxel has no next one: it takes the step before it.
    along = np.moveaxis(steps, axis, 0)
    along[-1:] = along[-2:-1]
    return np.hypot(_average(steps.real, size), _average(steps.imag, size))


def phase_mask(
    phases: Sequence[ArrayLike],
    magnitudes: Sequence[ArrayLike],
    voxel_size: Triple,
    *,
    threshold: float = 0.4,
    opening: float = 5.0,
) -> MaskArray:
    """Mask what has usable phase about the largest body of coherent, bright tissue.

    A first, strict pass keeps what is coherent and bright in the last echo, in which
    bone is darkest; what lies deeper in it than `opening` and is connected is the core. A
    second, lenient pass takes in all that is above the threshold and no further from the
    core than that; the largest part is kept and its holes are filled. It works on slabs and
    crops of any thickness, but it knows no brain: where the skull has signal, at short
    echo times or in thick voxels, the scalp comes with it.

    Parameters
    ----------
    phases : sequence of (X, Y, Z) array_like
        Wrapped phase of each echo, in radians.
    magnitudes : sequence of (X, Y, Z) array_like
        Magnitude of each echo.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    threshold : float
        Least coherence, as a share of the way from that of noise (0) to the best of the
        image (1); see :func:`phase_coherence`.
    opening : float
        Bridges thinner than twice this, in mm, are cut.

    Returns
    -------
    (X, Y, Z) ndarray of bool

    Raises
    ------
    ValueError
        If no tissue is found, the inputs do not fit together, or an option is out of range.
    """
    size, _ = check_geometry(voxel_size)
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie between 0 and 1, not {threshold}")
    if not opening >= 0:
        raise ValueError(f"opening must not be negative, in mm, not {opening}")
    coherence = phase_coherence(phases, magnitudes, size)
    magnitude = check_volume("magnitude", magnitudes[-1])
    best = float(np.percentile(coherence, 95))
    if best < _LEAST:
        raise ValueError(
            "the phase is noise everywhere: check that phase and magnitude are the right files, "
            "or give a brain mask (--mask)"
        )
    least, strict_least = (_NOISE + x * (best - _NOISE) for x in (threshold, _STRICT))
    # Averaged once more, so that noise makes no holes that the erosion would widen.
    strict = _average(coherence, size) > max(strict_least, least)
    bright = ndimage.median_filter(magnitude, 3, mode="nearest")
    level = float(np.median(bright[strict]))
    core = shrink(strict & (bright > _BRIGHT * level), size, opening)
    if not core.any():
        raise ValueError(
            f"no tissue with coherent phase is thicker than {2 * opening:g} mm; give a smaller "
            "opening or a brain mask (--mask)"
        )
    # The averages have taken half a box off the first pass.
    near = grow(largest_part(core), size, opening + max(size.max(), _BOX / 2))
    usable = near & (coherence > least) & (magnitude > _DARK * level)
    return np.asarray(ndimage.binary_fill_holes(largest_part(usable)))
