"""Combination of magnitude images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .geometry import FloatArray, check_volume


def root_sum_of_squares(magnitudes: Sequence[ArrayLike]) -> FloatArray:
    """Combine the magnitudes of all echoes into one image.

    Parameters
    ----------
    magnitudes : sequence of (X, Y, Z) array_like
        One volume an echo, arbitrary units.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        √Σ|m|², which shows the edges of tissue that MEDI weights by.

    Raises
    ------
    ValueError
        If there is no volume or the shapes differ.
    """
    if not len(magnitudes):
        raise ValueError("there is no magnitude to combine")
    shape = np.shape(magnitudes[0])
    total = np.zeros(shape, dtype=np.float64)
    for number, magnitude in enumerate(magnitudes, 1):
        total += np.square(check_volume(f"magnitude of echo {number}", magnitude, shape))
    return np.sqrt(total).astype(np.float32)
