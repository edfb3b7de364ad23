"""The phase that is there at echo time zero, and the one that back-and-forth readout adds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from .echoes import wrap
from .geometry import FloatArray, MaskArray, Triple, check_geometry, check_mask, check_volume
from .romeo import unwrap_romeo
from .unwrapping import check_echo_times, check_echoes

LONGEST_RAMP = 1.0
"""Radians from edge to edge; echoes that are read in one direction show less."""


def remove_phase_offset(
    phases: Sequence[ArrayLike],
    magnitudes: Sequence[ArrayLike],
    echo_times: Sequence[float],
    mask: ArrayLike,
    voxel_size: Triple,
    *,
    smoothing: float = 4.0,
) -> list[FloatArray]:
    """Subtract the phase that was there at echo time zero.

    The phase that evolves between the first two echoes is unwrapped and extrapolated to
    the first of them; what is left there is the offset of transmit and receive coils,
    which is smooth. Without this step a fit through zero is biased.

    Parameters
    ----------
    phases : sequence of (X, Y, Z) array_like
        Wrapped phase of each echo, in radians, read in one direction; else
        :func:`readout_difference` is removed first.
    magnitudes : sequence of (X, Y, Z) array_like
        Magnitude of each echo.
    echo_times : sequence of float
        Echo times in seconds, ascending; two at least.
    mask : (X, Y, Z) array_like
        Brain mask.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    smoothing : float
        Standard deviation of the Gaussian, in mm, that smooths the offset.

    Returns
    -------
    list of (X, Y, Z) ndarray of float32
        Wrapped phase of each echo, in radians.

    Raises
    ------
    ValueError
        If there are too few echoes or the inputs do not fit together.

    References
    ----------
    Eckstein et al., Magn Reson Med 79:2996 (2018); Sun et al., NeuroImage 166:345 (2018).
    """
    size, _ = check_geometry(voxel_size)
    times = check_echo_times(echo_times, len(phases))
    if len(times) < 2:
        raise ValueError("removing the phase offset needs two echoes")
    check_smoothing(smoothing)
    inside = check_mask(mask)
    wrapped = check_echoes("phase", phases, len(times), mask=inside)
    signal = check_echoes("magnitude", magnitudes, len(times), mask=inside)
    evolved = unwrap_gain(wrapped, signal, times, 1, inside)
    at_zero = wrapped[0] - evolved * np.float32(times[0] / (times[1] - times[0]))
    offset = np.where(inside, signal[0], 0) * np.exp(1j * at_zero)
    smooth = smooth_phase(offset, smoothing / size)
    return [wrap(phase - smooth) for phase in wrapped]


@dataclass(frozen=True)
class ReadoutDifference:
    """What echoes that are read in the opposite direction have beyond the others.

    Attributes
    ----------
    phase : (X, Y, Z) ndarray of float32
        In radians, of every second echo.
    ramp : float
        Its largest coherent ramp along an axis, in radians from edge to edge of the image.
    """

    phase: FloatArray
    ramp: float

    @property
    def is_bipolar(self) -> bool:
        """Whether the ramp is longer than echoes read in one direction show."""
        return self.ramp > LONGEST_RAMP

    def remove(self, phases: Sequence[FloatArray]) -> list[FloatArray]:
        """Wrapped phases as if all echoes had been read in the direction of the first."""
        return [
            wrap(phase - self.phase) if number % 2 else phase for number, phase in enumerate(phases)
        ]


def readout_difference(
    phases: Sequence[ArrayLike],
    magnitudes: Sequence[ArrayLike],
    echo_times: Sequence[float],
    mask: ArrayLike,
    voxel_size: Triple,
    *,
    smoothing: float = 4.0,
) -> ReadoutDifference:
    """Find the phase that reading echoes back and forth (bipolar) gives every second one.

    It does not grow with echo time: a ramp along the readout, from the delay of the
    gradients, and a smooth rest, from eddy currents. It is what the second echo has beyond
    the line through the first and third, first as a ramp, then smoothed.

    Parameters
    ----------
    phases : sequence of (X, Y, Z) array_like
        Wrapped phase of each echo, in radians.
    magnitudes : sequence of (X, Y, Z) array_like
        Magnitude of each echo.
    echo_times : sequence of float
        Echo times in seconds, ascending; three at least.
    mask : (X, Y, Z) array_like
        Brain mask.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    smoothing : float
        Standard deviation of the Gaussian, in mm, that smooths what is no ramp.

    Returns
    -------
    ReadoutDifference

    Raises
    ------
    ValueError
        If there are too few echoes or the inputs do not fit together.
    """
    size, _ = check_geometry(voxel_size)
    times = check_echo_times(echo_times, len(phases))
    if len(times) < 3:
        raise ValueError("the difference of readout directions shows in three echoes only")
    check_smoothing(smoothing)
    inside = check_mask(mask)
    wrapped = check_echoes("phase", phases, len(times), mask=inside)
    signal = check_echoes("magnitude", magnitudes, len(times), mask=inside)
    share = np.float32((times[1] - times[0]) / (times[2] - times[0]))
    excess = wrapped[1] - wrapped[0] - share * unwrap_gain(wrapped, signal, times, 2, inside)
    difference = np.where(inside, signal[1], 0) * np.exp(1j * excess)
    slopes = phase_slopes(difference)
    ramp = _ramp(inside.shape, slopes)
    difference *= np.exp(-1j * ramp)
    # Whole turns from the first to the third echo cannot be told; the mean field that
    # leaves the smallest difference is taken.
    turns = [np.exp(-2j * np.pi * turn * share) for turn in (0, 1, -1)]
    difference *= min(turns, key=lambda turn: abs(np.angle(turn * difference.sum())))
    rest = smooth_phase(difference, smoothing / size)
    return ReadoutDifference(ramp + rest, float(np.max(np.abs(slopes) * inside.shape)))


def readout_ramp(magnitudes: Sequence[ArrayLike], phases: Sequence[ArrayLike]) -> float:
    """Whether equally spaced echoes were read back and forth, without a mask.

    Of three such echoes, φ₂ − (φ₁ + φ₃)/2 is zero whatever the field and the offset, but
    for half turns, unless the second was read in the opposite direction.

    Parameters
    ----------
    magnitudes, phases : sequence of (X, Y, Z) array_like
        Three echoes, phase in radians.

    Returns
    -------
    float
        As :attr:`ReadoutDifference.ramp`.
    """
    wrapped = [check_volume("phase", phase) for phase in phases]
    weight = check_volume("magnitude", magnitudes[-1]) ** 2
    twice = weight * np.exp(1j * (2 * wrapped[1] - wrapped[0] - wrapped[2]))
    return float(np.max(np.abs(phase_slopes(twice)) * twice.shape)) / 2


def phase_slopes(phasor: NDArray[np.complexfloating]) -> NDArray[np.float64]:
    """Mean phase step from voxel to voxel along each axis; zero where steps do not agree.

    Parameters
    ----------
    phasor : (X, Y, Z) ndarray of complex
        Its absolute value is its weight.

    Returns
    -------
    (3,) ndarray
        Radians per voxel.
    """
    slopes = np.zeros(3)
    for axis in range(3):
        along = np.moveaxis(phasor, axis, 0)
        steps = along[1:] * np.conj(along[:-1])
        if np.abs(steps.sum()) > 0.5 * np.abs(steps).sum():
            slopes[axis] = np.angle(steps.sum())
    return slopes


def unwrap_gain(
    phases: Sequence[FloatArray],
    magnitudes: Sequence[FloatArray],
    times: NDArray[np.float64],
    echo: int,
    mask: MaskArray,
) -> FloatArray:
    """Unwrapped phase that is gained in a mask from the first echo to another."""
    gained = wrap(phases[echo] - phases[0])
    weight = magnitudes[echo] * magnitudes[0]
    return unwrap_romeo([gained], [weight], [times[echo] - times[0]], mask)[0]


def smooth_phase(
    phasor: NDArray[np.complexfloating], sigma: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Phase of a complex volume after a Gaussian of `sigma` voxels along each axis."""
    smooth = ndimage.gaussian_filter(phasor.astype(np.complex64), sigma, mode="constant")
    return np.angle(smooth).astype(np.float32)


def check_smoothing(smoothing: float) -> None:
    """Refuse a width that is no length.

    Raises
    ------
    ValueError
        If it is not positive.
    """
    if not smoothing > 0:
        raise ValueError(f"smoothing must be a positive length in mm, not {smoothing}")


def _ramp(shape: tuple[int, ...], slopes: NDArray[np.float64]) -> FloatArray:
    """Phase that grows by `slopes` from voxel to voxel, zero in the middle."""
    x, y, z = (
        (slope * (np.arange(n) - (n - 1) / 2)).astype(np.float32)
        for slope, n in zip(slopes, shape, strict=True)
    )
    result: FloatArray = x[:, None, None] + y[:, None] + z
    return result
