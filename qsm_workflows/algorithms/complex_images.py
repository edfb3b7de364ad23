"""Magnitude and phase of complex images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .geometry import FloatArray

# Share of the signal that must flip between neighbouring slices.
_ALTERNATION = 0.5


def combine_parts(real: Sequence[ArrayLike], imaginary: Sequence[ArrayLike]) -> list[NDArray]:
    """Complex images from their real and imaginary parts.

    Raises
    ------
    ValueError
        If a part is missing or has another shape.
    """
    if len(real) != len(imaginary):
        raise ValueError(
            f"there are {len(real)} real and {len(imaginary)} imaginary volumes; each echo needs "
            "one of each"
        )
    signal = []
    for number, (r, i) in enumerate(zip(real, imaginary, strict=True), 1):
        if np.shape(r) != np.shape(i):
            raise ValueError(
                f"the real image of echo {number} has shape {np.shape(r)}, the imaginary one "
                f"{np.shape(i)}"
            )
        signal.append(np.asarray(np.asarray(r) + 1j * np.asarray(i), np.complex64))
    return signal


def has_alternating_slices(volume: NDArray) -> bool:
    """Whether every second slice of a complex image has the opposite sign.

    GE stores complex images so unless they are shifted before the transform along the
    slices; the phase then jumps by π from slice to slice.

    Parameters
    ----------
    volume : (X, Y, Z, …) ndarray of complex
    """
    product = volume[:, :, 1:] * np.conj(volume[:, :, :-1])
    total = np.abs(product).sum()
    return bool(total > 0 and product.sum().real < -_ALTERNATION * total)


def remove_alternation(volume: NDArray) -> NDArray:
    """Undo the sign of every second slice."""
    signs = np.where(np.arange(volume.shape[2]) % 2, -1, 1)
    return volume * signs.reshape(-1, *(1,) * (volume.ndim - 3))


def split_complex(volumes: Sequence[NDArray]) -> tuple[list[FloatArray], list[FloatArray], bool]:
    """Magnitude and phase of complex images.

    Parameters
    ----------
    volumes : sequence of (X, Y, Z, …) ndarray of complex
        One for each echo.

    Returns
    -------
    magnitude, phase : list of (X, Y, Z, …) ndarray of float32
        Phase in radians.
    alternated : bool
        Whether the sign of every second slice had to be undone.

    Raises
    ------
    ValueError
        If an image is not complex.
    """
    if not all(np.iscomplexobj(volume) for volume in volumes):
        raise ValueError("the images are not complex; give them as --magnitude and --phase")
    alternated = has_alternating_slices(volumes[0])
    if alternated:
        volumes = [remove_alternation(volume) for volume in volumes]
    magnitude = [np.abs(volume).astype(np.float32) for volume in volumes]
    phase = [np.angle(volume).astype(np.float32) for volume in volumes]
    return magnitude, phase, alternated
