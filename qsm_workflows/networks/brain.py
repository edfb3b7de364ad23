"""Brain extraction by deepbet, a network for T1-weighted images of adults."""

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..algorithms.geometry import MaskArray, check_volume
from .axes import ScannerAxes

# Share of the image that a brain of which anything was seen takes up at the least.
_LEAST = 1e-3


def deepbet(magnitude: ArrayLike, affine: ArrayLike, *, threshold: float = 0.5) -> MaskArray:
    """Extract the brain by a network.

    Needs the package of the same name (``pip install qsm-workflows[deepbet]``), which
    brings its weights. The image is turned to the nearest axes of the scanner and back.
    A few seconds of a processor are enough, so that no graphics card is asked for.

    Parameters
    ----------
    magnitude : (X, Y, Z) array_like
        Magnitude, best of the first echo; any scale.
    affine : (4, 4) array_like
        Voxel-to-world matrix, in mm.
    threshold : float
        Least probability of brain, 0 to 1; larger gives a smaller brain.

    Returns
    -------
    (X, Y, Z) ndarray of bool

    Raises
    ------
    ValueError
        If no brain is found, or an input is not valid.
    ModuleNotFoundError
        If deepbet is not installed; the message says how to have it.

    References
    ----------
    Fisch et al., arXiv:2308.07003 (2023).
    """
    volume = check_volume("magnitude", magnitude)
    axes = ScannerAxes.of(affine, volume.shape)
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie between 0 and 1, not {threshold}")
    if volume.min() == volume.max():
        raise ValueError("the magnitude is constant; is it the right file?")
    try:
        from deepbet import BrainExtraction
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"deepbet cannot be used ({error}); pip install qsm-workflows[deepbet], or mask with "
            "bet or phase, or give a mask (--mask)"
        ) from error
    try:
        with torch.inference_mode():
            extraction = BrainExtraction(no_gpu=True)
            probability = extraction.run_model(axes.forward(volume))
            found = extraction.postprocess(probability > threshold) > 0
    # An assertion or an argmax of nothing, by how little was found.
    except (AssertionError, ValueError) as error:
        raise ValueError(f"deepbet finds no brain ({error}); give a mask (--mask)") from error
    if np.count_nonzero(found) < _LEAST * found.size:
        raise ValueError("deepbet finds no brain; give a mask (--mask)")
    return axes.backward(found)
