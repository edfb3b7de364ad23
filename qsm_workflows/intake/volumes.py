"""Echoes out of NIfTI files: 4-D or one by one, magnitude and phase or complex."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from qsm_workflows.algorithms.echoes import PhaseUnits, detect_phase_units, scale_phase
from qsm_workflows.algorithms.geometry import FloatArray, voxel_size

# Values that one turn spans, for units that the algorithms do not know.
_TURN = {"deg": 360.0, "turns": 1.0}


@dataclass(frozen=True)
class Echoes:
    """Volumes of several files, one for each echo, on one grid.

    Attributes
    ----------
    volumes : list of (X, Y, Z) or (X, Y, Z, C) ndarray
        Real or complex; of C receive channels where these are apart.
    affine : (4, 4) ndarray
    has_orientation : bool
        Whether the files say how they lie in the scanner.
    n_replaced : int
        Voxels that were NaN or infinite and became zero.
    """

    volumes: list[NDArray]
    affine: NDArray[np.float64]
    has_orientation: bool
    n_replaced: int


def read_echoes(paths: Sequence[Path], channels: int | None = None) -> Echoes:
    """Read files that hold one echo each, or several along an axis of their own.

    Parameters
    ----------
    paths : sequence of Path
    channels : {4, 5}, optional
        Axis of the receive channels, counted from one; the other one, if there is one, is
        that of the echoes. None where channels are combined.

    Raises
    ------
    ValueError
        If a file cannot be read, or they do not share a grid.
    """
    volumes: list[NDArray] = []
    replaced = 0
    first = None
    for path in paths:
        image, voxels = _read(path, channels)
        if first is None:
            first = image
        elif image.shape[:3] != first.shape[:3] or not np.allclose(
            image.affine, first.affine, atol=1e-3
        ):
            raise ValueError(f"{path} is not on the grid of {paths[0]}; bring both to one grid")
        finite = np.isfinite(voxels)
        replaced += voxels.size - int(np.count_nonzero(finite))
        voxels = np.where(finite, voxels, 0)
        volumes += [voxels[:, :, :, echo] for echo in range(voxels.shape[3])]
    if first is None:
        raise ValueError("there is no image")
    voxel_size(first.affine)
    oriented = bool(first.header["sform_code"] > 0 or first.header["qform_code"] > 0)
    return Echoes(volumes, np.asarray(first.affine, dtype=float), oriented, replaced)


def _read(path: Path, channels: int | None) -> tuple[nib.Nifti1Image, NDArray]:
    """An image and its voxels, echoes along the fourth axis, channels along a fifth."""
    try:
        image = nib.load(path)
        if not isinstance(image, nib.Nifti1Image | nib.Nifti1Pair):
            raise ValueError("it is not NIfTI")
        shape = _echoes_first(image.shape, channels)
        voxels = np.asarray(image.dataobj)
        if voxels.dtype.kind not in "iufc":
            raise ValueError(f"its values are of type {voxels.dtype}, not numbers")
        if voxels.dtype == np.int8:
            raise ValueError(
                "its values are stored in signed bytes without a scale, all beyond 127 were lost; "
                "convert the scan again, in 16 bits"
            )
    except (OSError, EOFError, ValueError, MemoryError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    except nib.filebasedimages.ImageFileError as error:
        raise ValueError(f"{path} cannot be read as NIfTI: {error}") from error
    if channels == 4:
        voxels = np.moveaxis(voxels, 3, -1)
    return image, voxels.reshape(shape)


def _echoes_first(shape: tuple[int, ...], channels: int | None) -> tuple[int, ...]:
    """Shape of the voxels with echoes along the fourth axis, and channels along a fifth.

    Raises
    ------
    ValueError
        If there are more axes than can be told apart, or none for the channels.
    """
    words = " × ".join(map(str, shape))
    spatial, rest = shape[:3], [n for n in shape[3:] if n != 1]
    if channels is not None:
        if not channels <= len(shape) <= 5:
            raise ValueError(
                f"it has {words} voxels, so the receive channels cannot lie along axis {channels}; "
                "--channels 4 is the fourth axis, 5 the fifth, with the echoes along the other"
            )
        echoes = math.prod(shape[3:]) // shape[channels - 1]
        return *spatial, echoes, shape[channels - 1]
    if len(rest) == 2:
        raise ValueError(
            f"it has {words} voxels: say which axis is that of the receive channels, and they are "
            "combined (--channels 4 or --channels 5); of repetitions give one"
        )
    if len(spatial) < 3 or len(rest) > 1:
        raise ValueError(
            f"it has {words} voxels; give 3-D images, or 4-D ones with the echoes along the fourth "
            "axis"
        )
    return *spatial, math.prod(rest)


def to_radians(phases: Sequence[NDArray], units: str = "auto") -> tuple[list[FloatArray], str]:
    """Phase of all echoes in radians.

    Parameters
    ----------
    phases : sequence of (X, Y, Z) or (X, Y, Z, C) ndarray
        Stored phase, all of one shape.
    units : str
        Those of :func:`qsm_workflows.algorithms.echoes.scale_phase`; ``deg``; ``turns``;
        or a number, the span of values that is one turn.

    Returns
    -------
    phases : list of ndarray of float32
        In (−π, π], of the shape given.
    units : str
        Those given, or those recognised.

    Raises
    ------
    ValueError
        If the values do not fit the units or are not recognised as phase.
    """
    shape = np.shape(phases[0])
    flat = [np.asarray(phase, np.float32).reshape(*shape[:2], -1) for phase in phases]
    stack = np.concatenate(flat, axis=2)
    turn = _TURN.get(units) or _number(units)
    if turn is not None:
        stack, units = stack * np.float32(2 * np.pi / turn), "rad"
    elif units == "auto":
        units = detect_phase_units(stack)
    radians = scale_phase(stack, units=cast(PhaseUnits, units))
    return [echo.reshape(shape) for echo in np.split(radians, len(phases), axis=2)], units


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"one turn of phase cannot span {text}")
    return number


def pair_parts(parts: Mapping[str, Echoes]) -> Echoes:
    """Check that all parts of a scan share one grid; gives the first.

    Raises
    ------
    ValueError
        If they do not, or have different numbers of echoes.
    """
    first_name, first = next(iter(parts.items()))
    for name, other in parts.items():
        if len(other.volumes) != len(first.volumes):
            raise ValueError(
                f"there are {len(first.volumes)} volumes of {first_name} and {len(other.volumes)} "
                f"of {name}; each echo needs one of each"
            )
        same_shape = other.volumes[0].shape == first.volumes[0].shape
        if not same_shape or not np.allclose(other.affine, first.affine, atol=1e-3):
            raise ValueError(
                f"the {name} images are not on the grid of the {first_name} images; bring both "
                "to one grid"
            )
    return first
