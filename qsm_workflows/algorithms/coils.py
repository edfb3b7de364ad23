"""One complex image an echo from the channels of a receive coil."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .echoes import wrap
from .geometry import FloatArray, MaskArray, Triple, check_geometry, check_mask
from .offsets import check_smoothing, smooth_phase
from .romeo import unwrap_romeo
from .unwrapping import check_echo_times

_SIGNAL = 0.1
"""Share of the highest magnitude from which a voxel holds signal, where there is no mask."""


def combine_coils(
    phases: Sequence[ArrayLike],
    magnitudes: Sequence[ArrayLike],
    echo_times: Sequence[float],
    voxel_size: Triple,
    *,
    mask: ArrayLike | None = None,
    smoothing: float = 4.0,
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Combine the channels of a multi-echo scan by their own phase offsets (MCPC-3D-S).

    The sum over channels c of S₂c·conj(S₁c) holds the phase that evolves between the first
    two echoes, without any offset. It is unwrapped and extrapolated to the first echo; what
    a channel has beyond it, smoothed, is the offset of its coil. With the offsets taken
    away the channels add up in phase, each weighted with its magnitude at the first echo.

    Parameters
    ----------
    phases : sequence of (X, Y, Z, C) array_like
        Wrapped phase of each echo, in radians, of all channels.
    magnitudes : sequence of (X, Y, Z, C) array_like
        Magnitude of each echo, of all channels.
    echo_times : sequence of float
        Echo times in seconds, ascending; two at least.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    mask : (X, Y, Z) array_like, optional
        Where there is signal; where the channels together have a tenth of their highest
        magnitude when not given.
    smoothing : float
        Standard deviation of the Gaussian, in mm, that smooths the offsets.

    Returns
    -------
    phases : list of (X, Y, Z) ndarray of float32
        Wrapped phase of each echo, in radians, without offset at echo time zero.
    magnitudes : list of (X, Y, Z) ndarray of float32
        Magnitude of each echo, in the units of the channels.

    Raises
    ------
    ValueError
        If there are too few echoes or the inputs do not fit together.

    References
    ----------
    Eckstein et al., Magn Reson Med 79:2996 (2018).
    """
    size, _ = check_geometry(voxel_size)
    times = check_echo_times(echo_times, len(phases))
    if len(times) < 2:
        raise ValueError("combining channels by their phase offsets needs two echoes")
    check_smoothing(smoothing)
    signal = _channels(phases, magnitudes)
    power = np.abs(signal[0])
    total = np.sqrt((power**2).sum(axis=-1))
    inside = _bright(total) if mask is None else check_mask(mask, total.shape)
    gained = (signal[1] * np.conj(signal[0])).sum(axis=-1)
    spacing = times[1] - times[0]
    (evolved,) = unwrap_romeo([np.angle(gained)], [np.abs(gained)], [spacing], inside)
    back = np.exp(-1j * evolved * (times[0] / spacing)).astype(np.complex64)
    combined = [np.zeros(total.shape, np.complex64) for _ in times]
    for channel in range(signal[0].shape[-1]):
        first = signal[0][..., channel]
        offset = smooth_phase(np.where(inside, first * back, 0), smoothing / size)
        weight = power[..., channel] * np.exp(-1j * offset)
        for echo, volume in enumerate(signal):
            combined[echo] += weight * volume[..., channel]
    norm = np.where(total > 0, total, 1)
    return (
        [wrap(np.angle(volume)) for volume in combined],
        [(np.abs(volume) / norm).astype(np.float32) for volume in combined],
    )


def _channels(
    phases: Sequence[ArrayLike], magnitudes: Sequence[ArrayLike]
) -> list[NDArray[np.complex64]]:
    """Complex signal of each echo.

    Raises
    ------
    ValueError
        If the echoes are not 4-D, finite and of one shape.
    """
    if len(phases) != len(magnitudes):
        raise ValueError(f"{len(magnitudes)} images of magnitude for {len(phases)} echoes")
    shape = np.shape(phases[0])
    signal = []
    for number, (phase, magnitude) in enumerate(zip(phases, magnitudes, strict=True), 1):
        for name, volume in (("phase", phase), ("magnitude", magnitude)):
            if np.ndim(volume) != 4 or np.shape(volume) != shape:
                raise ValueError(
                    f"{name} of echo {number} has shape {np.shape(volume)}, expected "
                    f"{shape if len(shape) == 4 else '(X, Y, Z, channels)'}"
                )
        echo = np.asarray(magnitude, np.float32) * np.exp(1j * np.asarray(phase, np.float32))
        if not np.isfinite(echo).all():
            raise ValueError(f"echo {number} holds NaN or infinite voxels")
        signal.append(echo.astype(np.complex64))
    return signal


def _bright(magnitude: FloatArray) -> MaskArray:
    """Voxels with signal.

    Raises
    ------
    ValueError
        If there is none.
    """
    return check_mask(magnitude > _SIGNAL * max(float(np.percentile(magnitude, 99)), 1e-30))
