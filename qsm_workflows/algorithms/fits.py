"""From the phase of all echoes to one field map, and how far it can be trusted."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, stats

from .geometry import FloatArray, MaskArray, Triple, check_geometry, check_mask, check_volume
from .phase_mask import phase_steps
from .units import radians_per_ppm
from .unwrapping import check_echo_times, check_echoes

_log = logging.getLogger(__name__)

_MAX_ITERATIONS = 30
_CONVERGED = 1e-4
"""Radians at the last echo by which a step of the nonlinear fit may still change the phase."""


@dataclass(frozen=True)
class FieldFit:
    """Result of :func:`fit_echoes` and :func:`fit_echoes_nonlinear`.

    Attributes
    ----------
    total_field : (X, Y, Z) ndarray of float32
        Field in ppm.
    residual : (X, Y, Z) ndarray of float32
        Weighted root-mean-square deviation of the phase from the fit, in radians.
    noise : (X, Y, Z) ndarray of float32
        Standard deviation of the field, in ppm, as the noise of the signal causes it;
        zero where there is no signal. The noise of the signal is taken to be the same
        everywhere and comes from the scatter of the echoes about the fit; where there are
        no more echoes than parameters, from that of the first echo between neighbours.
    """

    total_field: FloatArray
    residual: FloatArray
    noise: FloatArray


def fit_echoes(
    unwrapped: Sequence[ArrayLike],
    magnitudes: Sequence[ArrayLike],
    echo_times: Sequence[float],
    b0: float,
    *,
    weighting: Literal["magnitude", "magnitude_squared"] = "magnitude",
) -> FieldFit:
    """Fit φ = 2π·γ̄·B0·TE·field, a line through zero, to the unwrapped echoes.

    Parameters
    ----------
    unwrapped : sequence of (X, Y, Z) array_like
        Unwrapped phase of each echo, in radians, without offset.
    magnitudes : sequence of (X, Y, Z) array_like
        Magnitude of each echo.
    echo_times : sequence of float
        Echo times in seconds, ascending.
    b0 : float
        Main field in tesla.
    weighting : {"magnitude", "magnitude_squared"}
        Weight of each echo. The square is the maximum-likelihood choice for white
        noise; the magnitude itself gives the late, more sensitive echoes more say.

    Returns
    -------
    FieldFit
        A single echo gives φ/TE and no residual; see :func:`step_residual`.

    Raises
    ------
    ValueError
        If the inputs do not fit together or an option is not known.
    """
    if weighting not in ("magnitude", "magnitude_squared"):
        raise ValueError(f"weighting must be magnitude or magnitude_squared, not {weighting!r}")
    echoes = _Echoes.check(unwrapped, magnitudes, echo_times, b0)
    weights = echoes.signal if weighting == "magnitude" else echoes.signal**2
    # Where there is no signal all echoes count alike.
    weights = np.where(weights.sum(axis=0) > 0, weights, np.float32(1))
    norm = (weights * echoes.evolution**2).sum(axis=0)
    field = (weights * echoes.phases * echoes.evolution).sum(axis=0) / norm
    deviation = echoes.phases - echoes.evolution * field
    residual = np.sqrt((weights * deviation**2).sum(axis=0) / weights.sum(axis=0))
    # Phase has the variance σ²/m², so that of Σ w·φ·a is σ²·Σ w²·a²/m².
    share = np.divide(weights, echoes.signal, out=np.zeros_like(weights), where=echoes.signal > 0)
    gain = np.sqrt((share**2 * echoes.evolution**2).sum(axis=0)) / norm
    return echoes.fit(field, residual, echoes.noise(deviation, 1) * gain)


def fit_echoes_nonlinear(
    unwrapped: Sequence[ArrayLike],
    magnitudes: Sequence[ArrayLike],
    echo_times: Sequence[float],
    b0: float,
) -> FieldFit:
    """Fit m·exp(i·(φ₀ + 2π·γ̄·B0·TE·field)) to the complex signal of the echoes.

    Minimises Σ (m·abs(exp(iφ) − exp(i(φ₀ + a·field))))² over the field and the offset φ₀ of
    each voxel by Gauss–Newton steps from the straight line through the unwrapped phases.
    Noise is that of the complex signal, so that dark echoes and wrong whole turns do no
    harm; an offset that is left in the phase does none either.

    Parameters
    ----------
    unwrapped : sequence of (X, Y, Z) array_like
        Unwrapped phase of each echo, in radians; two echoes at least.
    magnitudes : sequence of (X, Y, Z) array_like
        Magnitude of each echo.
    echo_times : sequence of float
        Echo times in seconds, ascending.
    b0 : float
        Main field in tesla.

    Returns
    -------
    FieldFit

    Raises
    ------
    ValueError
        If there is only one echo or the inputs do not fit together.

    References
    ----------
    Liu et al., Magn Reson Med 69:467 (2013).
    """
    echoes = _Echoes.check(unwrapped, magnitudes, echo_times, b0)
    if len(echoes.phases) < 2:
        raise ValueError("the nonlinear fit needs two echoes; fit a single one linearly")
    phases, evolution, weights = echoes.phases, echoes.evolution, echoes.signal**2
    # Where fewer than two echoes have signal all count alike.
    weights = np.where(np.count_nonzero(weights, axis=0) > 1, weights, np.float32(1))
    total = weights.sum(axis=0)
    spread_out = evolution - (weights * evolution).sum(axis=0) / total
    spread = (weights * spread_out**2).sum(axis=0)
    middle, slope = _line(phases, weights, total, spread_out, spread)
    active = np.arange(len(total))
    for _ in range(_MAX_ITERATIONS):
        some = weights[:, active], total[active], spread_out[:, active], spread[active]
        deviation = phases[:, active] - middle[active] - spread_out[:, active] * slope[active]
        # Half the gradient of |1 − exp(ix)|² is sin x; its curvature is taken to be 1.
        step, steeper = _line(np.sin(deviation), *some)
        middle[active] += step
        slope[active] += steeper
        active = active[np.abs(steeper) * evolution.max() > _CONVERGED]
        if not len(active):
            break
    if len(active) > 0.01 * len(total):
        _log.warning(
            "the nonlinear fit is unfinished in %.1f %% of the voxels after %d steps; they are "
            "noise, or their echo times are wrong",
            100 * len(active) / len(total),
            _MAX_ITERATIONS,
        )
    deviation = np.sin(phases - middle - spread_out * slope)
    residual = np.sqrt((weights * deviation**2).sum(axis=0) / total)
    gain = np.where(echoes.signal.any(axis=0), 1 / np.sqrt(spread), 0)
    return echoes.fit(slope, residual, echoes.noise(deviation, 2) * gain)


def _line(
    values: FloatArray,
    weights: FloatArray,
    total: FloatArray,
    spread_out: FloatArray,
    spread: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Weighted straight line through the values of each voxel: its mean and its slope."""
    weighted = weights * values
    return weighted.sum(axis=0) / total, (weighted * spread_out).sum(axis=0) / spread


class _Echoes(NamedTuple):
    """The N voxels of echoes that were unwrapped; phase is zero outside the mask.

    Attributes
    ----------
    phases, signal : (E, N) ndarray of float32
    evolution : (E, 1) ndarray of float32
        Radians per ppm.
    inside : (X, Y, Z) ndarray of bool
        Where they are.
    """

    phases: FloatArray
    signal: FloatArray
    evolution: FloatArray
    inside: MaskArray

    @classmethod
    def check(
        cls,
        unwrapped: Sequence[ArrayLike],
        magnitudes: Sequence[ArrayLike],
        echo_times: Sequence[float],
        b0: float,
    ) -> "_Echoes":
        times = check_echo_times(echo_times, len(unwrapped))
        if not b0 > 0:
            raise ValueError(f"b0 must be positive, in tesla, not {b0}")
        shape = check_volume("phase of echo 1", unwrapped[0]).shape
        phases = check_echoes("phase", unwrapped, len(times), shape)
        signal = check_echoes("magnitude", magnitudes, len(times), shape)
        if min(float(volume.min()) for volume in signal) < 0:
            raise ValueError("magnitude is negative in places; check that it is no other image")
        inside = np.logical_or.reduce([volume != 0 for volume in phases])
        evolution = np.array([[radians_per_ppm(b0, time)] for time in times], np.float32)
        inner, bright = (np.stack([volume[inside] for volume in kind]) for kind in (phases, signal))
        return cls(inner, bright, evolution, inside)

    def fit(self, *values: NDArray) -> FieldFit:
        """Result from the values of its voxels."""
        return FieldFit(*map(self._volume, values))

    def noise(self, deviation: FloatArray, n_parameters: int) -> float:
        """Standard deviation of the noise of the signal, in units of the magnitude.

        Parameters
        ----------
        deviation : (E, N) ndarray
            Of the phase from a fit, in radians.
        n_parameters : int
            That were fitted to each voxel.
        """
        first = self.signal[0]
        if not first.any():
            return 0.0
        # Neither signal voids nor flow are in the brighter half's median.
        bright = first >= max(np.median(first[first > 0]), np.finfo(np.float32).tiny)
        free = len(self.phases) - n_parameters
        if free > 0:
            squares = ((self.signal * deviation) ** 2).sum(axis=0)[bright]
            return float(np.sqrt(np.median(squares) / stats.chi2.median(free)))
        return self._scatter(bright)

    def _scatter(self, bright: NDArray[np.bool_]) -> float:
        """As :meth:`noise`, from what a voxel deviates from the mean of its neighbours.

        That of the axis along which the field is the straightest.
        """
        found = []
        volumes = [self._volume(values) for values in (self.phases[0], self.signal[0], bright)]
        for axis in range(3):
            phase, signal, use = (np.moveaxis(volume, axis, 0) for volume in volumes)
            whole = (use[1:-1] * use[:-2] * use[2:]) > 0
            if whole.any():
                curvature = np.abs(np.diff(phase, 2, axis=0) * signal[1:-1])[whole]
                found.append(float(np.median(curvature)))
        return min(found, default=0.0) / (stats.norm.ppf(0.75) * np.sqrt(6))

    def _volume(self, values: NDArray) -> FloatArray:
        """Volume of some values of the voxels, zero elsewhere."""
        result = np.zeros(self.inside.shape, np.float32)
        result[self.inside] = values
        return result


def step_residual(phase: ArrayLike) -> FloatArray:
    """What the phase of a single echo, which any field fits, is off by its neighbours.

    Half of what the steps to the neighbours deviate from the mean step about them: one of both
    voxels is off by as much at least. It is the root mean square over the axes and a box of
    three voxels, σ/2, by the length c = exp(−σ²/2) of the mean phasor of the steps: whole
    turns do not matter, nor how steep the phase is.

    Parameters
    ----------
    phase : (X, Y, Z) array_like
        In radians, zero outside the mask; no step out of it counts.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        In radians; noise, of which c is about 0.2 in so small a box, has 0.9.
    """
    wrapped = check_volume("phase", phase)
    inside = wrapped != 0
    phasor = np.where(inside, np.exp(1j * wrapped), 0).astype(np.complex64)
    length, number = np.zeros((2, *wrapped.shape), np.float32)
    for axis in range(3):
        steps = phase_steps(phasor, axis)
        real, imaginary, count = (
            ndimage.uniform_filter(part, 3, mode="constant")
            for part in (steps.real, steps.imag, np.abs(steps))
        )
        length += np.hypot(real, imaginary)
        number += count
    # A voxel without neighbours has no step, but what the filter rounds.
    some = inside & (number > 0.01)
    coherence = np.divide(length, number, out=np.ones_like(length), where=some)
    return np.sqrt(-np.log(np.clip(coherence, np.finfo(np.float32).tiny, 1)) / 2)


def reliability_mask(
    residual: ArrayLike, mask: ArrayLike, voxel_size: Triple, *, threshold: float = 0.5
) -> MaskArray:
    """Leave out of a mask where the echoes do not fit one field.

    The mean square of the residual is smoothed over a box of about 3 mm, as the
    unreliable regions of interest (signal voids beside air) are larger than a voxel.
    Of what lies below the threshold the largest connected part is kept, with its
    enclosed holes filled, so that veins and haemorrhages stay in the mask (on a simulated
    head the local field after RESHARP had 19 % less error than with the holes left out).

    Parameters
    ----------
    residual : (X, Y, Z) array_like
        Root-mean-square deviation of :func:`fit_echoes`, or :func:`step_residual`, in radians.
    mask : (X, Y, Z) array_like
        Brain mask.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    threshold : float
        Largest deviation, in radians, that is kept.

    Returns
    -------
    (X, Y, Z) ndarray of bool
        Part of `mask`. A warning is logged when a tenth or more was left out.

    Raises
    ------
    ValueError
        If nothing is left, or the inputs do not fit together.
    """
    size, _ = check_geometry(voxel_size)
    inside = check_mask(mask)
    deviation = check_volume("residual", residual, mask=inside)
    if not threshold > 0:
        raise ValueError(f"threshold must be positive, in radians, not {threshold}")
    box = 2 * np.rint(1 / size).astype(int) + 1
    total = ndimage.uniform_filter(np.where(inside, deviation**2, 0), box, mode="constant")
    share = ndimage.uniform_filter(inside.astype(np.float32), box, mode="constant")
    reliable = inside & (total <= threshold**2 * share)
    if not reliable.any():
        raise ValueError(
            f"no voxel of the mask fits one field within {threshold:g} rad; check the echo "
            "times, the phase units and the phase offset"
        )
    parts, _ = ndimage.label(reliable)
    largest = parts == np.argmax(np.bincount(parts[reliable]))
    kept = ndimage.binary_fill_holes(largest) & inside
    lost = 1 - np.count_nonzero(kept) / np.count_nonzero(inside)
    if lost >= 0.1:
        _log.warning("%.0f %% of the mask was left out as unreliable", 100 * lost)
    return cast(MaskArray, kept)
