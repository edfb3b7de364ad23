"""Stored phase in radians, whatever its units and sign."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .geometry import FloatArray, check_volume

PhaseUnits = Literal["rad", "mrad", "0..4095", "-4096..4095", "range"]

_RADIANS = {
    "rad": 1.0,
    "mrad": 1e-3,
    "0..4095": 2 * np.pi / 4096,
    "-4096..4095": np.pi / 4096,
}


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
    return wrap(sign * radians)


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


def wrap(radians: NDArray[np.floating]) -> FloatArray:
    """Bring phase into (−π, π]."""
    return (np.pi - np.mod(np.pi - radians, 2 * np.pi)).astype(np.float32)
