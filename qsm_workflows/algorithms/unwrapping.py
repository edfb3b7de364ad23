"""Phase unwrapping in space and the 2π jumps it leaves between echoes."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage.restoration import unwrap_phase

from .geometry import FloatArray, MaskArray, check_mask, check_volume

_SEED = 0


def unwrap_bestpath(phase: ArrayLike, mask: ArrayLike) -> FloatArray:
    """Unwrap phase along a path that visits reliable voxels first.

    Each connected part of the mask has an unknown multiple of 2π; it is chosen such
    that the median of the part lies in [−π, π].

    Parameters
    ----------
    phase : (X, Y, Z) array_like
        Wrapped phase in radians.
    mask : (X, Y, Z) array_like
        Where to unwrap.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        Phase plus multiples of 2π inside the mask, zero outside.

    Raises
    ------
    ValueError
        If the phase is not 3-D, not finite or beyond ±π, or the mask does not fit.

    References
    ----------
    Abdul-Rahman et al., Appl Opt 46:6623 (2007).
    """
    inside = check_mask(mask, check_volume("phase", phase).shape)
    # Integer scans have exact ties between jumps; single precision would break them.
    wrapped = np.asarray(phase, dtype=float)
    if np.abs(wrapped).max() > np.pi + 1e-3:
        raise ValueError("phase must be in radians, within ±π; scale it first")
    unwrapped = unwrap_phase(np.ma.array(wrapped, mask=~inside), rng=_SEED)
    turns = np.where(inside, np.rint((unwrapped.filled(0) - wrapped) / (2 * np.pi)), 0)
    parts, numbers = _connected_parts(inside)
    turns -= _per_part(_turns_off(wrapped + 2 * np.pi * turns, parts, numbers), parts)
    return np.where(inside, wrapped + 2 * np.pi * turns, 0).astype(np.float32)


def align_echoes(
    unwrapped: Sequence[ArrayLike], mask: ArrayLike, echo_times: Sequence[float]
) -> list[FloatArray]:
    """Remove the multiples of 2π by which unwrapped echoes differ.

    In each connected part of the mask the phase is taken to grow linearly with echo
    time: by at most half a turn (in the median) from the first echo to the second, and
    from there on along the line. The line is then shifted by whole turns such that it
    meets echo time zero nearest to zero phase.

    Parameters
    ----------
    unwrapped : sequence of (X, Y, Z) array_like
        Unwrapped phase of each echo, in radians.
    mask : (X, Y, Z) array_like
        Where they were unwrapped.
    echo_times : sequence of float
        Echo times in seconds, ascending.

    Returns
    -------
    list of (X, Y, Z) ndarray of float32
        The phases with whole turns added, zero outside the mask.

    Raises
    ------
    ValueError
        If the numbers of echoes differ, the echo times do not ascend or are not
        positive, or the shapes differ.
    """
    times = check_echo_times(echo_times, len(unwrapped))
    phases = [check_volume(f"echo {i}", phase) for i, phase in enumerate(unwrapped, 1)]
    inside = check_mask(mask, phases[0].shape)
    phases = [
        np.where(inside, check_volume(f"echo {i}", phase, inside.shape), 0)
        for i, phase in enumerate(phases, 1)
    ]
    if len(phases) == 1:
        return phases
    parts, numbers = _connected_parts(inside)
    first, second = phases[:2]

    def aligned(phase: FloatArray, expected: FloatArray) -> FloatArray:
        turns = _turns_off(phase - expected, parts, numbers)
        return np.where(inside, phase - 2 * np.pi * _per_part(turns, parts), 0).astype(np.float32)

    second = aligned(second, first)
    slope = (second - first) / (times[1] - times[0])
    intercept = first - times[0] * slope
    origin = 2 * np.pi * _per_part(_turns_off(intercept, parts, numbers), parts)
    return [
        aligned(phase, intercept - origin + slope * time)
        for phase, time in zip(phases, times, strict=True)
    ]


def check_echo_times(echo_times: Sequence[float], count: int) -> NDArray[np.float64]:
    """Validate echo times, in seconds, of `count` echoes.

    Raises
    ------
    ValueError
        If there are not `count` of them, or they are not positive, ascending and below
        one second.
    """
    times = np.asarray(echo_times, dtype=float)
    if times.shape != (count,):
        raise ValueError(f"{count} echoes but {times.size} echo times")
    ascending = all(a < b for a, b in pairwise(times))
    if not (ascending and np.all(times > 0) and np.all(times < 1)):
        raise ValueError(f"echo times must be positive, ascending and in seconds, not {echo_times}")
    return times


def _connected_parts(mask: MaskArray) -> tuple[NDArray[np.int32], NDArray[np.int_]]:
    """Number of the face-connected part that each voxel is in, and all numbers."""
    parts, count = ndimage.label(mask)
    return parts, np.arange(1, count + 1)


def _turns_off(
    phase: NDArray[np.floating], parts: NDArray[np.int32], numbers: NDArray[np.int_]
) -> NDArray[np.float64]:
    """Whole turns nearest to the median phase of each part."""
    return np.rint(np.asarray(ndimage.median(phase, parts, numbers)) / (2 * np.pi))


def _per_part(values: NDArray[np.float64], parts: NDArray[np.int32]) -> NDArray[np.float64]:
    """Volume that holds, in each part, its value; zero outside."""
    return np.concatenate([[0.0], values])[parts]
