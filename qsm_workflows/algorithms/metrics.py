"""How far two maps agree within a mask."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .geometry import check_mask


def nrmse(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Norm of the difference over the norm of the truth, both within the mask.

    Neither map is shifted: bring both to one reference first.

    Parameters
    ----------
    estimate, truth : (X, Y, Z) array_like
        In the same units.
    mask : (X, Y, Z) array_like
        Non-zero where they are compared.

    Returns
    -------
    float
        1 is as far off as a map of zeros. Infinite or NaN if the truth is all zero.
    """
    a, b = _values(estimate, truth, mask)
    return float(np.divide(np.linalg.norm(a - b), np.linalg.norm(b)))


def correlation(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Pearson's correlation of two maps within the mask.

    Parameters
    ----------
    estimate, truth : (X, Y, Z) array_like
    mask : (X, Y, Z) array_like
        Non-zero where they are compared.
    """
    return float(np.corrcoef(*_values(estimate, truth, mask))[0, 1])


def slope(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Slope of the least-squares line of `estimate` against `truth` within the mask.

    Parameters
    ----------
    estimate, truth : (X, Y, Z) array_like
    mask : (X, Y, Z) array_like
        Non-zero where they are compared.
    """
    a, b = _values(estimate, truth, mask)
    centred = b - b.mean()
    return float(centred @ a / (centred @ centred))


def _values(
    estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of both maps in the mask, in double precision."""
    a, b = np.asarray(estimate, dtype=float), np.asarray(truth, dtype=float)
    inside = check_mask(mask, b.shape)
    if a.shape != b.shape:
        raise ValueError(f"estimate has shape {a.shape} and truth {b.shape}")
    return a[inside], b[inside]
