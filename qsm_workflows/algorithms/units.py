"""Conversions between phase and field; inside the package fields are in ppm."""

import logging
import math
from typing import Literal

import numpy as np

from .checks import check_positive
from .geometry import FloatArray, MaskArray

_log = logging.getLogger(__name__)

GAMMA_BAR = 42.577478
"""Proton gyromagnetic ratio over 2π, in MHz/T."""

_LARGEST_PPM = {"local": 0.5, "total": 5.0}
"""Twice and six times what 99 % of the voxels of a head in vivo stay within."""


def radians_per_ppm(b0: float, echo_time: float) -> float:
    """Phase, in radians, that a field shift of 1 ppm gains.

    Parameters
    ----------
    b0 : float
        Main field strength in tesla.
    echo_time : float
        Time over which the phase evolves, in seconds.

    Raises
    ------
    ValueError
        If either is not positive.

    Examples
    --------
    >>> round(radians_per_ppm(3.0, 0.005), 3)
    4.013
    """
    check_positive(b0=b0, echo_time=echo_time)
    # MHz (1e6) times ppm (1e-6) cancel.
    return 2 * math.pi * GAMMA_BAR * b0 * echo_time


def field_in_ppm(
    field: FloatArray,
    b0: float,
    *,
    units: Literal["Hz", "rad/s", "rad"],
    echo_time: float | None = None,
) -> FloatArray:
    """Convert a field to ppm.

    Parameters
    ----------
    field : ndarray
        Total or local field.
    b0 : float
        Main field strength in tesla.
    units : {"Hz", "rad/s", "rad"}
        Units of `field`.
    echo_time : float, optional
        Time, in seconds, over which radians were gained; for a field in rad only.

    Raises
    ------
    ValueError
        If an echo time is missing or has no meaning, or a number is not positive.

    Examples
    --------
    >>> round(float(field_in_ppm(np.float64(127.732), 3.0, units="Hz")), 5)
    1.0
    """
    if (units == "rad") != (echo_time is not None):
        raise ValueError("an echo time is for a field in rad, and is needed there")
    radians = radians_per_ppm(b0, 1.0 if echo_time is None else echo_time)
    return field * ((2 * math.pi if units == "Hz" else 1.0) / radians)


def warn_unless_ppm(field: FloatArray, mask: MaskArray, kind: Literal["local", "total"]) -> None:
    """Log a warning of a field that is too strong for a head's in ppm.

    Parameters
    ----------
    field : ndarray
    mask : ndarray of bool
    kind : {"local", "total"}
        Whether the field has its background; a constant is no matter.
    """
    inside = field[mask]
    if not inside.size:
        return
    largest = np.percentile(np.abs(inside - np.median(inside)), 99)
    if largest > _LARGEST_PPM[kind]:
        _log.warning(
            "the %s field reaches %.3g (99th percentile, from its median), where a head's in ppm "
            "stays below %g: is it in Hz or radians? `qsm-wf fieldmap scale` converts it",
            kind,
            largest,
            _LARGEST_PPM[kind],
        )
