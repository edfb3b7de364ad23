"""Checks that methods share: of parameters, before long work, and of results, after it."""

import logging
import math

import numpy as np

from .geometry import FloatArray

_logger = logging.getLogger(__name__)


def check_positive(**values: float) -> None:
    """Refuse parameters, given by name, that are not positive numbers.

    Raises
    ------
    ValueError
        If one is zero, negative, infinite or NaN.
    """
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be positive, not {value}")


def check_stopping(tolerance: float, **iterations: int) -> None:
    """Refuse a stopping rule that ends no iteration, or ends it before it begins.

    Parameters
    ----------
    tolerance : float
        Zero asks for all iterations.
    **iterations : int
        Most iterations, by the name of the parameter.

    Raises
    ------
    ValueError
        If the tolerance is negative, infinite or NaN, or a number of iterations is not positive.
    """
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be zero or a positive number, not {tolerance}")
    for name, count in iterations.items():
        if count < 1:
            raise ValueError(f"{name} must be one or more, not {count}")


def check_levels(regularisation: float, strong_regularisation: float) -> None:
    """Refuse levels of STAR-QSM of which the first is not the stronger.

    Raises
    ------
    ValueError
        If `strong_regularisation` is not larger, infinite or NaN.
    """
    if not regularisation < strong_regularisation < math.inf:
        raise ValueError(
            "strong_regularisation must be larger than regularisation, "
            f"not {strong_regularisation} with {regularisation}"
        )


def report_unsettled(method: str, done: str, parameter: str) -> None:
    """Log that a method ended by its number of steps; `parameter` is what holds that number."""
    _logger.warning(
        "%s stopped after %s while χ still changed; raise %s to go on", method, done, parameter
    )


def check_finite(result: FloatArray) -> FloatArray:
    """Refuse to hand out a result that overflowed.

    Raises
    ------
    ValueError
        If it holds NaN or infinite values.
    """
    if not np.isfinite(result).all():
        raise ValueError(
            "the result is not finite: are the fields in ppm, and the parameters of a usual size?"
        )
    return result
