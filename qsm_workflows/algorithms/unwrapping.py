"""Phase unwrapping in space and the 2π jumps it leaves between echoes."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage.restoration import unwrap_phase

from .geometry import FloatArray, MaskArray, bounding_box, check_mask, check_volume


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
    # Integer scans have exact ties between jumps; single precision would break them.
    inside = check_mask(mask)
    wrapped = check_wrapped("phase", phase, inside)
    parts = ConnectedParts(inside)
    turns = np.rint((_unwrap_cropped(wrapped, inside)[inside] - wrapped[inside]) / (2 * np.pi))
    phases = wrapped[inside] + 2 * np.pi * turns
    return parts.volume(phases - 2 * np.pi * parts.turns(phases))


def _unwrap_cropped(wrapped: NDArray[np.float64], inside: MaskArray) -> NDArray[np.float64]:
    """Unwrap the box round a mask and one voxel more.

    scikit-image takes the reliability of a voxel from all its neighbours, masked or not,
    and gives random ones to voxels at the border of the array, whatever its seed (up to
    0.26): the margin keeps these outside the mask.
    """
    box = bounding_box(inside)
    grown = tuple(
        slice(max(side.start - 1, 0), min(side.stop + 1, n))
        for side, n in zip(box, inside.shape, strict=True)
    )
    # A border of the box that the image does not have is mirrored.
    lacking = [
        (int(side.start == 0), int(side.stop == n))
        for side, n in zip(box, inside.shape, strict=True)
    ]
    padded = np.pad(wrapped[grown], lacking, mode="reflect")
    outside = ~np.pad(inside[grown], lacking)
    core = tuple(slice(1, n - 1) for n in padded.shape)
    result = np.zeros(inside.shape)
    result[box] = unwrap_phase(np.ma.array(padded, mask=outside)).data[core]
    return result


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
    inside = check_mask(mask)
    phases = [
        check_volume(f"echo {i}", phase, mask=inside)[inside].astype(float)
        for i, phase in enumerate(unwrapped, 1)
    ]
    parts = ConnectedParts(inside)
    if len(phases) > 1:
        first, second = phases[:2]
        second = second - 2 * np.pi * parts.turns(second - first)
        slope = (second - first) / (times[1] - times[0])
        intercept = first - slope * times[0]
        intercept -= 2 * np.pi * parts.turns(intercept)
        phases = [
            phase - 2 * np.pi * parts.turns(phase - intercept - slope * time)
            for phase, time in zip(phases, times, strict=True)
        ]
    return [parts.volume(phase) for phase in phases]


def check_wrapped(name: str, phase: ArrayLike, mask: MaskArray) -> NDArray[np.float64]:
    """Validate wrapped phase and return it in double precision, finite outside the mask too.

    Raises
    ------
    ValueError
        If it is not 3-D, has another shape than the mask, is not finite in it, or is beyond ±π.
    """
    check_volume(name, phase, mask=mask)
    wrapped = np.where(np.isfinite(phase), np.asarray(phase, dtype=float), 0)
    if np.abs(wrapped).max() > np.pi + 1e-3:
        raise ValueError(f"{name} must be in radians, within ±π; scale it first")
    return wrapped


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


def check_echoes(
    name: str,
    volumes: Sequence[ArrayLike],
    count: int,
    shape: tuple[int, ...] | None = None,
    *,
    mask: MaskArray | None = None,
) -> list[FloatArray]:
    """Validate the volumes of `count` echoes; see :func:`.geometry.check_volume`.

    Raises
    ------
    ValueError
        If there are not `count` of them, or one has another shape or is not finite.
    """
    if len(volumes) != count:
        raise ValueError(f"{len(volumes)} images of {name} for {count} echoes")
    return [
        check_volume(f"{name} of echo {i}", volume, shape, mask=mask)
        for i, volume in enumerate(volumes, 1)
    ]


class ConnectedParts:
    """Parts of a mask that are not connected by faces; values are one-dimensional.

    Parameters
    ----------
    mask : (X, Y, Z) ndarray of bool
        Its N voxels, in the order of a boolean index, are what the values belong to.
    """

    def __init__(self, mask: MaskArray) -> None:
        self._mask = mask
        labels, count = ndimage.label(mask)
        self._labels = labels[mask]
        self._numbers = np.arange(1, count + 1)

    def turns(self, phase: NDArray[np.floating]) -> NDArray[np.float64]:
        """Whole turns nearest to the median phase of the part that each voxel is in."""
        if len(self._numbers) == 1:
            return np.full(phase.shape, np.rint(np.median(phase) / (2 * np.pi)))
        medians = np.asarray(ndimage.median(phase, self._labels, self._numbers))
        return np.rint(medians / (2 * np.pi))[self._labels - 1]

    def mean(self, values: NDArray) -> NDArray:
        """Mean, real or complex, over the part that each voxel is in."""
        sums = np.bincount(self._labels, values.real) + 1j * np.bincount(self._labels, values.imag)
        means = sums / np.maximum(np.bincount(self._labels), 1)
        return (means if np.iscomplexobj(values) else means.real)[self._labels]

    def volume(self, values: NDArray[np.floating]) -> FloatArray:
        """Volume that holds the values inside the mask and zero outside."""
        result = np.zeros(self._mask.shape, np.float32)
        result[self._mask] = values
        return result
