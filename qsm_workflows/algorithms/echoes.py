"""From the phase of each echo to one field map."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from .geometry import FloatArray, MaskArray, Triple, check_geometry, check_mask, check_volume
from .units import radians_per_ppm
from .unwrapping import check_echo_times, unwrap_bestpath

PhaseUnits = Literal["rad", "mrad", "0..4095", "-4096..4095", "range"]

_RADIANS = {
    "rad": 1.0,
    "mrad": 1e-3,
    "0..4095": 2 * np.pi / 4096,
    "-4096..4095": np.pi / 4096,
}

_log = logging.getLogger(__name__)


def scale_phase(
    phase: ArrayLike, *, units: PhaseUnits | Literal["auto"] = "auto", sign: int = 1
) -> FloatArray:
    """Convert stored phase to radians in (−π, π].

    Parameters
    ----------
    phase : (X, Y, Z) array_like
        Phase as read from the file, its slope and intercept applied.
    units : str
        What the numbers are: ``"rad"``; ``"mrad"`` (Philips); ``"0..4095"`` or
        ``"-4096..4095"`` (Siemens), one turn each; ``"range"``, from the lowest to the
        highest value is one turn; or ``"auto"``, see :func:`detect_phase_units`.
    sign : {1, -1}
        −1 for scanners whose phase falls where the field is raised.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        Phase in radians, positive where the field is raised.

    Raises
    ------
    ValueError
        If the units are not known or not recognised, the values do not fit them, or
        `sign` is neither 1 nor −1.
    """
    values = check_volume("phase", phase)
    if sign not in (1, -1):
        raise ValueError(f"sign must be 1 or -1, not {sign}")
    low, high = _range(values)
    if units == "auto":
        units = detect_phase_units(values)
    if units == "range":
        radians = (values - (low + high) / 2) * (2 * np.pi / (high - low))
    elif units in _RADIANS:
        radians = values * np.float32(_RADIANS[units])
        if units == "0..4095":
            radians -= np.float32(np.pi)
    else:
        raise ValueError(f"units must be auto, range, {', '.join(_RADIANS)}, not {units!r}")
    if np.abs(radians).max() > 2.01 * np.pi:
        raise ValueError(
            f"values of {low:g} to {high:g} cannot be phase in units of {units!r}; "
            "check the file and its units"
        )
    return _wrap(sign * radians)


def detect_phase_units(phase: ArrayLike) -> PhaseUnits:
    """Recognise the units of phase by its range.

    A range that is symmetric about zero but of no known size is taken for one turn.

    Parameters
    ----------
    phase : array_like
        Stored phase of one echo, or of all echoes together, which is surer.

    Returns
    -------
    str
        Units as :func:`scale_phase` takes them.

    Raises
    ------
    ValueError
        If the image is constant, its range fits no units, or it looks like a magnitude.
    """
    values = np.asarray(phase, dtype=np.float32)
    low, high = _range(values)
    largest = max(-low, high)
    if low >= 0:
        _refuse_magnitude(values)
        if np.pi < largest <= 2.001 * np.pi:
            return "rad"
        if 3970 <= largest <= 4096:
            return "0..4095"
    elif 1 <= largest <= 1.001 * np.pi:
        return "rad"
    elif 3050 <= largest <= 3145:
        return "mrad"
    elif 3970 <= largest <= 4096:
        return "-4096..4095"
    elif abs(low + high) <= 0.02 * largest:
        return "range"
    raise ValueError(
        f"values of {low:g} to {high:g} are not recognised as phase; check that the file "
        "is a phase image, and if it is, give its units"
    )


def _range(values: FloatArray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise ValueError(f"the phase is {low:g} in every voxel; check that the file is right")
    return low, high


def _refuse_magnitude(values: FloatArray) -> None:
    """Few voxels of a magnitude reach half of its maximum, about half of a phase do."""
    levels, counts = np.unique(values, return_counts=True)
    # The commonest value may be a background that was blanked out.
    signal = values[values != levels[counts.argmax()]]
    if np.mean(signal > values.max() / 2) < 0.1:
        raise ValueError(
            "the values are spread as in a magnitude, not a phase image; check the file, "
            "and if it is phase, give its units"
        )


def _wrap(radians: NDArray[np.floating]) -> FloatArray:
    """Bring phase into (−π, π]."""
    return (np.pi - np.mod(np.pi - radians, 2 * np.pi)).astype(np.float32)


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

    The phase that evolves between two echoes is unwrapped and extrapolated to the
    first of them; what is left there is the offset of transmit and receive coils,
    which is smooth. Without this step a fit through zero is biased.

    Parameters
    ----------
    phases : sequence of (X, Y, Z) array_like
        Wrapped phase of each echo, in radians.
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
    if not smoothing > 0:
        raise ValueError(f"smoothing must be a positive length in mm, not {smoothing}")
    inside = check_mask(mask)
    wrapped = _check_echoes("phase", phases, inside.shape, len(times))
    signal = _check_echoes("magnitude", magnitudes, inside.shape, len(times))
    evolved = unwrap_bestpath(_wrap(wrapped[1] - wrapped[0]), inside)
    at_zero = wrapped[0] - evolved * np.float32(times[0] / (times[1] - times[0]))
    offset = np.where(inside, signal[0], 0) * np.exp(1j * at_zero)
    smooth = np.angle(ndimage.gaussian_filter(offset, smoothing / size, mode="constant"))
    return [_wrap(phase - smooth) for phase in wrapped]


@dataclass(frozen=True)
class FieldFit:
    """Result of :func:`fit_echoes`.

    Attributes
    ----------
    total_field : (X, Y, Z) ndarray of float32
        Field in ppm.
    residual : (X, Y, Z) ndarray of float32
        Weighted root-mean-square deviation of the phase from the fit, in radians.
    """

    total_field: FloatArray
    residual: FloatArray


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
        A single echo gives φ/TE and no residual.

    Raises
    ------
    ValueError
        If the inputs do not fit together or an option is not known.
    """
    times = check_echo_times(echo_times, len(unwrapped))
    if not b0 > 0:
        raise ValueError(f"b0 must be positive, in tesla, not {b0}")
    if weighting not in ("magnitude", "magnitude_squared"):
        raise ValueError(f"weighting must be magnitude or magnitude_squared, not {weighting!r}")
    shape = check_volume("phase of echo 1", unwrapped[0]).shape
    phases = np.stack(_check_echoes("phase", unwrapped, shape, len(times)))
    weights = np.stack(_check_echoes("magnitude", magnitudes, shape, len(times)))
    if weighting == "magnitude_squared":
        weights **= 2
    evolution = np.array([radians_per_ppm(b0, time) for time in times], np.float32)
    evolution = evolution[:, None, None, None]
    # Where there is no signal all echoes count alike.
    weights[:, weights.sum(axis=0) <= 0] = 1
    field = (weights * phases * evolution).sum(axis=0) / (weights * evolution**2).sum(axis=0)
    deviation = weights * (phases - evolution * field) ** 2
    residual = np.sqrt(deviation.sum(axis=0) / weights.sum(axis=0))
    return FieldFit(field, residual)


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
        Root-mean-square deviation of :func:`fit_echoes`, in radians.
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
    deviation = check_volume("residual", residual)
    inside = check_mask(mask, deviation.shape)
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


def _check_echoes(
    name: str, volumes: Sequence[ArrayLike], shape: tuple[int, ...], count: int
) -> list[FloatArray]:
    if len(volumes) != count:
        raise ValueError(f"{len(volumes)} images of {name} for {count} echoes")
    return [check_volume(f"{name} of echo {i}", v, shape) for i, v in enumerate(volumes, 1)]
