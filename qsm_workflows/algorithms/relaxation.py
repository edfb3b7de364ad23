"""Transverse relaxation from the magnitude of the echoes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .geometry import FloatArray, check_volume
from .unwrapping import check_echo_times, check_echoes

_SPACING_TOLERANCE = 0.02
"""Deviation from equal spacing of the echoes, as a share of it."""

_MAX_ITERATIONS = 20
_CONVERGED = 1e-4
"""Relative change of the decay over the echoes that a step may still make."""


def r2star_arlo(
    magnitudes: Sequence[ArrayLike], echo_times: Sequence[float], *, maximum: float = 500.0
) -> FloatArray:
    """R2* by auto-regression on linear operations (ARLO), for equally spaced echoes.

    An exponential is its own integral, S(t₁) − S(t₂) = R2*·∫S. With Simpson's rule for the
    integral over each three successive echoes, R2* is the slope of a straight line.

    Parameters
    ----------
    magnitudes : sequence of (X, Y, Z) array_like
        Magnitude of each echo; three at least.
    echo_times : sequence of float
        Echo times in seconds, ascending, equally spaced.
    maximum : float
        Largest R2* in 1/s, where the signal is gone before the second echo.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        R2* in 1/s, between 0 and `maximum`; zero where there is no signal.

    Raises
    ------
    ValueError
        If there are fewer than three echoes, they are not equally spaced, or the inputs do
        not fit together.

    References
    ----------
    Pei et al., Magn Reson Med 73:843 (2015).
    """
    times, signal = _check(magnitudes, echo_times, 3, maximum)
    spacing = np.diff(times)
    if np.ptp(spacing) > _SPACING_TOLERANCE * spacing.mean():
        raise ValueError(
            "ARLO needs equally spaced echoes, and these are at "
            f"{', '.join(f'{1000 * time:g}' for time in times)} ms; fit R2* nonlinearly"
        )
    third = np.float32(spacing.mean() / 3)
    # Minimises Σ (T2*·δ + τ/3·δ − s)², in which noise of δ and s is correlated.
    above = below = np.zeros(signal.shape[1:], np.float32)
    for first, middle, last in zip(signal[:-2], signal[1:-1], signal[2:], strict=True):
        area = third * (first + 4 * middle + last)
        loss = first - last
        above = above + area**2 + third * area * loss
        below = below + third * loss**2 + area * loss
    return _rate(below, above, maximum)


def r2star_nonlinear(
    magnitudes: Sequence[ArrayLike], echo_times: Sequence[float], *, maximum: float = 500.0
) -> FloatArray:
    """R2* by least squares on the magnitudes, S₀·exp(−TE·R2*), for any echo times.

    Starts from the straight line through the logarithms, weighted with the squared
    magnitude, and goes on by Gauss–Newton steps in S₀ and R2*.

    Parameters
    ----------
    magnitudes : sequence of (X, Y, Z) array_like
        Magnitude of each echo; two at least.
    echo_times : sequence of float
        Echo times in seconds, ascending.
    maximum : float
        Largest R2* in 1/s.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        R2* in 1/s, between 0 and `maximum`; zero where there is no signal.

    Raises
    ------
    ValueError
        If there is a single echo or the inputs do not fit together.
    """
    times, volumes = _check(magnitudes, echo_times, 2, maximum)
    found = (volumes > 0).sum(axis=0) > 1
    signal = volumes[:, found].astype(np.float64)
    line = times[:, None]
    weight = signal**2
    logarithm = np.log(np.where(signal > 0, signal, 1))
    total = weight.sum(axis=0)
    late = line - (weight * line).sum(axis=0) / total
    rate = -(weight * late * logarithm).sum(axis=0) / (weight * late**2).sum(axis=0)
    rate = np.clip(rate, 0, maximum)
    for _ in range(_MAX_ITERATIONS):
        # S₀ is linear, so that each step solves for it first (variable projection).
        decay = np.exp(-line * rate)
        power = (decay**2).sum(axis=0)
        start = (signal * decay).sum(axis=0) / power
        mean = (decay**2 * line).sum(axis=0) / power
        slope = -start * decay * (line - mean)
        step = (slope * (signal - start * decay)).sum(axis=0) / (slope**2).sum(axis=0)
        before, rate = rate, np.clip(rate + step, 0, maximum)
        if np.abs(rate - before).max(initial=0) * times[-1] < _CONVERGED:
            break
    result = np.zeros(found.shape, np.float32)
    result[found] = rate
    return result


def _check(
    magnitudes: Sequence[ArrayLike], echo_times: Sequence[float], least: int, maximum: float
) -> tuple[NDArray[np.float64], FloatArray]:
    """Echo times, and magnitudes as one array with the echo first."""
    times = check_echo_times(echo_times, len(magnitudes))
    if len(times) < least:
        raise ValueError(f"R2* needs {least} echoes at least, not {len(times)}")
    if not maximum > 0:
        raise ValueError(f"maximum must be a positive rate in 1/s, not {maximum}")
    shape = check_volume("magnitude of echo 1", magnitudes[0]).shape
    signal = np.stack(check_echoes("magnitude", magnitudes, len(times), shape))
    if signal.min() < 0:
        raise ValueError("magnitude is negative in places; check that it is no other image")
    return times, signal


def _rate(below: FloatArray, above: FloatArray, maximum: float) -> FloatArray:
    """Quotient within 0 and the maximum; zero where the signal does not decay."""
    slower = above > below / maximum
    rate = np.divide(below, above, out=np.full_like(above, maximum), where=slower)
    return np.where(below > 0, rate, 0).astype(np.float32)
