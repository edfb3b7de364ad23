"""Contradictions between what sidecars say, and between them and the images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from qsm_workflows.algorithms.geometry import b0_direction

from .inheritance import Sidecars
from .problems import Problems
from .scan import Scan

# MHz per tesla; scanners of one nominal strength differ by a few percent.
_GYROMAGNETIC_RATIO = 42.577
_FREQUENCY_TOLERANCE = 0.06
# Angle, in degrees, between two statements of the direction of B0.
_DIRECTION_TOLERANCE = 1.0

_PARTS = {
    "mag": {"M", "MAGNITUDE", "M_FFE"},
    "phase": {"P", "PHASE", "PHASE MAP"},
    "real": {"R", "REAL", "R_FFE"},
    "imag": {"I", "IMAGINARY", "I_FFE"},
}


def check_consistency(scan: Scan, found: Problems) -> None:
    """Compare the sidecars of a scan with each other and with the images."""
    units: dict[str, Path] = {}
    sidecars = Sidecars()
    for part, paths in scan.parts.items():
        for path in paths:
            metadata = sidecars.metadata(path)
            _check_part(path, part, metadata, found)
            _check_frequency(path, scan.b0, metadata, found)
            _check_repetition(path, metadata, found)
            if part == "phase":
                units.setdefault(str(metadata.get("Units", "nothing")), path)
    if len(units) > 1:
        (first, _), (second, path) = list(units.items())[:2]
        found.error(
            path,
            f"its sidecar says Units: {second}, that of another echo says {first}",
            "State the same units for the phase of all echoes",
        )
    # One image speaks for all: their affines are compared elsewhere.
    path = scan.phase_images[0]
    _check_direction(path, sidecars.metadata(path), found)


def _check_part(path: Path, part: str, metadata: Mapping[str, Any], found: Problems) -> None:
    words = metadata.get("ImageType")
    if not isinstance(words, list):
        return
    stated = {name for name, tokens in _PARTS.items() if tokens & {str(word) for word in words}}
    if stated and part not in stated:
        found.error(
            path,
            f"its name says part-{part}, but its sidecar says ImageType: {words}",
            "Rename the image or put the right one in its place",
        )


def _check_frequency(path: Path, b0: float, metadata: Mapping[str, Any], found: Problems) -> None:
    frequency = metadata.get("ImagingFrequency")
    if not isinstance(frequency, int | float) or isinstance(frequency, bool):
        return
    expected = _GYROMAGNETIC_RATIO * b0
    if abs(frequency - expected) > _FREQUENCY_TOLERANCE * expected:
        found.error(
            path,
            f"MagneticFieldStrength is {b0:g} T, but ImagingFrequency is {frequency:g} MHz, that "
            f"of protons at {frequency / _GYROMAGNETIC_RATIO:.3g} T",
            "Correct the one that is wrong; the field scales all susceptibilities",
        )


def _check_repetition(path: Path, metadata: Mapping[str, Any], found: Problems) -> None:
    repetition, echo = metadata.get("RepetitionTime"), metadata.get("EchoTime")
    if isinstance(repetition, int | float) and isinstance(echo, int | float) and repetition <= echo:
        found.error(
            path,
            f"RepetitionTime is {repetition:g} s, not longer than EchoTime, {echo:g} s",
            "State both in seconds",
        )


def _check_direction(path: Path, metadata: Mapping[str, Any], found: Problems) -> None:
    """Whether the affine still knows how the slices lay in the scanner."""
    try:
        direction = b0_direction(nib.load(path).affine)
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError):
        return  # as the check of the image says
    stated = _vector(metadata.get("B0_dir"), 3)
    if stated is not None:
        angle = _angle(direction, stated)
        if min(angle, 180 - angle) > _DIRECTION_TOLERANCE:
            found.error(
                path,
                f"its sidecar says B0_dir: {np.round(stated, 3).tolist()}, but by its affine B0 "
                f"lies along {np.round(direction, 3).tolist()}",
                "Correct the affine, which is what is used, or remove B0_dir",
            )
    cosines = _vector(metadata.get("ImageOrientationPatientDICOM"), 6)
    if cosines is not None:
        row, column = cosines[:3], cosines[3:]
        scanned = np.array([row[2], column[2], np.cross(row, column)[2]])
        # Converters flip and permute axes; turning the image does more than that.
        angle = _angle(np.sort(np.abs(direction)), np.sort(np.abs(scanned)))
        if angle > _DIRECTION_TOLERANCE:
            found.error(
                path,
                f"it was scanned at an angle of {angle:.1f}° to what its affine says: it has been "
                "turned since, and B0 with it",
                "Take the image as it was converted from DICOM",
            )


def _vector(value: Any, length: int) -> np.ndarray | None:
    """A list of finite numbers that are not all zero; None for anything else."""
    if not isinstance(value, list) or len(value) != length:
        return None
    if not all(isinstance(x, int | float) and np.isfinite(x) for x in value) or not any(value):
        return None
    return np.asarray(value, dtype=float)


def _angle(first: np.ndarray, second: np.ndarray) -> float:
    """Angle between two vectors in degrees."""
    cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
