"""Conversions between phase and field; inside the package fields are in ppm."""

import math

from .checks import check_positive

GAMMA_BAR = 42.577478
"""Proton gyromagnetic ratio over 2π, in MHz/T."""


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
