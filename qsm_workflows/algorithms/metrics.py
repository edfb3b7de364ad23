"""How far two maps agree within a mask."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_laplace
from skimage.metrics import structural_similarity

from .geometry import MaskArray, check_mask


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


def psnr(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Range of the truth over the root-mean-square difference, both within the mask, in dB.

    Parameters
    ----------
    estimate, truth : (X, Y, Z) array_like
        In the same units and to one reference.
    mask : (X, Y, Z) array_like
        Non-zero where they are compared.
    """
    a, b = _values(estimate, truth, mask)
    return float(20 * np.log10(np.divide(np.ptp(b), np.sqrt(np.mean((a - b) ** 2)))))


def ssim(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Structural similarity, the mean over the mask; 1 is equal.

    Means and variances are taken in a Gaussian window of 1.5 voxels, over maps that are
    zero outside the mask; the constants are those of the range of the truth in the mask.

    Parameters
    ----------
    estimate, truth : (X, Y, Z) array_like
        In the same units and to one reference.
    mask : (X, Y, Z) array_like
        Non-zero where they are compared.

    References
    ----------
    Wang et al., IEEE Trans Image Process 13:600 (2004).
    """
    _, b = _values(estimate, truth, mask)
    a_map, b_map, inside = _masked(estimate, truth, mask)
    _, similarity = structural_similarity(
        a_map, b_map, data_range=float(np.ptp(b)), gaussian_weights=True, full=True
    )
    return float(similarity[inside].mean())


def hfen(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Error norm of fine detail: NRMSE of both maps after a Laplacian of a Gaussian.

    Parameters
    ----------
    estimate, truth : (X, Y, Z) array_like
        In the same units; the Gaussian has a standard deviation of 1.5 voxels.
    mask : (X, Y, Z) array_like
        Non-zero where they are compared; both maps are zero outside.

    References
    ----------
    Ravishankar and Bresler, IEEE Trans Med Imaging 30:1028 (2011).
    """
    a_map, b_map, inside = _masked(estimate, truth, mask)
    return nrmse(gaussian_laplace(a_map, 1.5), gaussian_laplace(b_map, 1.5), inside)


def _masked(
    estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], MaskArray]:
    """Both maps, zero outside the mask, and the mask."""
    a, b = np.asarray(estimate, dtype=float), np.asarray(truth, dtype=float)
    inside = check_mask(mask, b.shape)
    return np.where(inside, a, 0), np.where(inside, b, 0), inside


def _values(
    estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of both maps in the mask, in double precision."""
    a, b = np.asarray(estimate, dtype=float), np.asarray(truth, dtype=float)
    inside = check_mask(mask, b.shape)
    if a.shape != b.shape:
        raise ValueError(f"estimate has shape {a.shape} and truth {b.shape}")
    return a[inside], b[inside]
