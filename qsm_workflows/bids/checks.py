"""Faults of a scan that are found before any work is done."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from qsm_workflows.algorithms.echoes import detect_phase_units
from qsm_workflows.algorithms.geometry import FloatArray, voxel_size
from qsm_workflows.algorithms.masking import check_whole_head

from .companions import Companions
from .labels import Label
from .scan import Scan

# No gradient echo of a brain is as late as this, in seconds.
_LATEST_ECHO = 0.2
# Field strengths of scanners for people, in tesla.
_FIELD_STRENGTHS = (0.05, 25.0)
# Background removal erodes 3 mm at each end: a thinner image leaves nothing to look at.
_THINNEST = 12.0
_FEWEST_SLICES = 5
# Phase hardly correlates with magnitude; magnitude under a phase's name does.
_MAGNITUDE_CORRELATION = 0.9
# A mean over fewer voxels says nothing.
_FEWEST_REFERENCE_VOXELS = 10


@dataclass(frozen=True)
class Problem:
    """Something wrong with a file.

    Attributes
    ----------
    severity : {"error", "warning"}
        Whether the scan cannot be processed, or can with a loss.
    file : Path
    what : str
        What is wrong.
    remedy : str
        What the user can do about it.
    """

    severity: Literal["error", "warning"]
    file: Path
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.file}: {self.what}. {self.remedy}."


def check_scan(
    scan: Scan, companions: Companions | None = None, *, reference: str | None = None
) -> list[Problem]:
    """Look for everything that would make the processing of a scan fail or mislead.

    Each file is read once.

    Parameters
    ----------
    scan : Scan
    companions : Companions, optional
        Mask, labels and truth that will be used with it.
    reference : str, optional
        Region that susceptibility will be stated relative to; None or ``mask`` for the
        whole mask.

    Returns
    -------
    list of Problem
        Empty when all is well.
    """
    found = _Problems()
    _check_timing(scan, found)
    _check_images(scan, found)
    if companions is not None:
        _check_companions(companions, reference, found)
    if companions is None or companions.mask is None:
        _check_extraction(found)
    return found.problems


class _Problems:
    """What was found so far, and the grid that all images must share."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.grid: tuple[Path, nib.Nifti1Image] | None = None

    def error(self, file: Path, what: str, remedy: str) -> None:
        self.problems.append(Problem("error", file, what, remedy))

    def warning(self, file: Path, what: str, remedy: str) -> None:
        self.problems.append(Problem("warning", file, what, remedy))


def _check_timing(scan: Scan, found: _Problems) -> None:
    """Echo times and field strength."""
    for number, (time, path) in enumerate(zip(scan.echo_times, scan.phase, strict=True), 1):
        if not (math.isfinite(time) and time > 0):
            found.error(path, f"EchoTime of echo {number} is {time:g} s", "Correct the sidecar")
        elif time >= _LATEST_ECHO:
            found.error(
                path,
                f"EchoTime of echo {number} is {time:g}, which looks like milliseconds",
                f"State it in seconds: {time / 1000:g}",
            )
    for number, (before, after) in enumerate(pairwise(scan.echo_times), 2):
        if after <= before:
            relation = "the same as" if after == before else "shorter than"
            found.error(
                scan.phase[number - 1],
                f"EchoTime of echo {number} ({after:g} s) is {relation} that of echo "
                f"{number - 1} ({before:g} s)",
                "Correct the sidecars or number the echoes by their times",
            )
    low, high = _FIELD_STRENGTHS
    if not low <= scan.b0 <= high:
        found.error(
            scan.phase[0],
            f"MagneticFieldStrength is {scan.b0:g}, which no scanner for people has",
            "State it in tesla",
        )
    if len(scan.echo_times) == 1:
        found.warning(
            scan.phase[0],
            "there is a single echo: the phase offset of the coils cannot be told from the "
            "field, and noise is not averaged over echoes",
            "Read absolute values with care; scan several echoes if you can",
        )


def _check_images(scan: Scan, found: _Problems) -> None:
    """Voxels of magnitude and phase, one echo in memory at a time."""
    units: dict[str, Path] = {}
    for magnitude_path, phase_path in zip(scan.magnitude, scan.phase, strict=True):
        magnitude = _read(magnitude_path, found)
        if magnitude is not None:
            _check_magnitude(magnitude_path, magnitude, found)
        phase = _read(phase_path, found)
        if phase is None:
            continue
        if _looks_like(phase, magnitude):
            found.error(
                phase_path,
                "it looks like a magnitude image, not phase",
                "Put the phase image in its place",
            )
            continue
        name = _check_phase(phase_path, phase, scan.phase_units, found)
        if name is not None:
            units.setdefault(name, phase_path)
    if len(units) > 1:
        (first, _), (second, path) = list(units.items())[:2]
        found.error(
            path,
            f"its phase is in units of {second}, other echoes in units of {first}",
            "Convert all echoes to radians and state Units: rad",
        )


def _check_magnitude(path: Path, magnitude: FloatArray, found: _Problems) -> None:
    low, high = float(magnitude.min()), float(magnitude.max())
    if low < 0:
        found.error(
            path,
            f"the magnitude has negative values, down to {low:g}",
            "Put the magnitude image in its place; is it the phase?",
        )
    elif low == high:
        found.error(path, f"the magnitude is {low:g} in every voxel", "Convert the scan again")


def _check_phase(path: Path, phase: FloatArray, units: str | None, found: _Problems) -> str | None:
    """Units of a phase image; None if it has a fault."""
    low, high = float(phase.min()), float(phase.max())
    if low == high:
        found.error(path, f"the phase is {low:g} in every voxel", "Convert the scan again")
        return None
    if units == "rad":
        if max(-low, high) > 2.01 * np.pi:
            found.error(
                path,
                f"its sidecar says Units: rad, but the values span {low:g} to {high:g}",
                "State Units: arbitrary if these are a scanner's numbers; unwrapped phase must "
                "be wrapped again",
            )
            return None
        if high - low < 1:
            found.warning(
                path,
                f"its sidecar says Units: rad, but the values span only {low:g} to {high:g}",
                "State Units: arbitrary if one turn is scaled to that range",
            )
        return "rad"
    try:
        name = detect_phase_units(phase)
    except ValueError as error:
        found.error(path, str(error), "Convert the phase to radians and state Units: rad")
        return None
    if name == "range":
        found.warning(
            path,
            f"the values span {low:g} to {high:g}, which is taken for one turn",
            "Convert the phase to radians and state Units: rad if it is not",
        )
    return name


def _looks_like(phase: FloatArray, magnitude: FloatArray | None) -> bool:
    """Whether a phase image is nearly proportional to the magnitude."""
    if magnitude is None or magnitude.shape != phase.shape:
        return False
    if not (np.ptp(phase) > 0 and np.ptp(magnitude) > 0):
        return False
    correlation = np.corrcoef(phase.ravel(), magnitude.ravel())[0, 1]
    return bool(correlation > _MAGNITUDE_CORRELATION)


def _check_companions(companions: Companions, reference: str | None, found: _Problems) -> None:
    """Mask, labels and truth."""
    if companions.mask is not None:
        mask = _read(companions.mask, found)
        if mask is not None and not mask.any():
            found.error(companions.mask, "the mask is empty", "Give a mask of the brain")
    if companions.truth_chi is not None:
        _read(companions.truth_chi, found)
    if companions.labels is not None:
        labels = _read(companions.labels, found)
        if labels is not None:
            _check_labels(companions.labels, labels, companions.label_table, reference, found)


def _check_labels(
    path: Path,
    labels: FloatArray,
    table: Sequence[Label],
    reference: str | None,
    found: _Problems,
) -> None:
    values, counts = np.unique(labels, return_counts=True)
    if not np.array_equal(values, np.rint(values)):
        found.error(
            path,
            "the label image has values that are no integers",
            "Give hard labels, resampled with nearest neighbours",
        )
        return
    sizes = dict(zip(values.astype(int).tolist(), counts.tolist(), strict=True))
    if not any(label.index in sizes for label in table):
        found.error(
            path,
            "the label image holds none of the values of its label table",
            "Give the table that belongs to it",
        )
    elif reference not in (None, "mask"):
        voxels = sum(sizes.get(label.index, 0) for label in table if label.name == reference)
        if voxels < _FEWEST_REFERENCE_VOXELS:
            found.warning(
                path,
                f"the reference region {reference} has {voxels} voxels, too few: maps become "
                "relative to the mean of the mask, which changes with coverage",
                "Add the region to the labels or choose another with --reference",
            )


def _check_extraction(found: _Problems) -> None:
    """Whether a brain can be extracted when no mask is given."""
    if found.grid is None:
        return
    path, image = found.grid
    try:
        check_whole_head(image.shape, voxel_size(image.affine))
    except ValueError as error:
        found.error(
            path,
            f"there is no brain mask, and {error}",
            "A mask in derivatives/ is found by its name, …_desc-brain_mask.nii.gz",
        )


def _read(path: Path, found: _Problems) -> FloatArray | None:
    """Voxels of an image with its scaling applied; None if it has a fault of its own.

    The first image that is read whole sets the grid that the others must have.
    """
    try:
        if path.stat().st_size == 0:
            found.error(path, "the file is empty (0 bytes)", "Copy or convert it again")
            return None
        image = nib.load(path)
    except FileNotFoundError:
        found.error(path, "the file is not there", "Fetch it (datalad get, git annex get)")
        return None
    except (OSError, EOFError, zlib.error, ImageFileError, HeaderDataError) as error:
        found.error(path, f"it cannot be read as NIfTI: {error}", "Copy or convert it again")
        return None
    if not _check_header(path, image, found):
        return None
    try:
        voxels: NDArray = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        found.error(path, f"it is damaged: {error}", "Copy or convert it again")
        return None
    bad = voxels.size - int(np.count_nonzero(np.isfinite(voxels)))
    if bad:
        found.error(path, f"{bad} voxels are NaN or infinite", "Replace them with 0")
        return None
    return voxels


def _check_header(path: Path, image: nib.Nifti1Image, found: _Problems) -> bool:
    """Whether shape, type of values and grid are right."""
    if len(image.shape) != 3:
        found.error(
            path,
            f"it has {len(image.shape)} dimensions, {' × '.join(map(str, image.shape))}",
            "Split it into 3-D images; a scan has one for each echo, …_echo-1_…, …_echo-2_…",
        )
        return False
    if image.get_data_dtype().kind not in "iuf":
        found.error(
            path,
            f"its values are of type {image.get_data_dtype()}",
            "Write magnitude and phase as two real images",
        )
        return False
    try:
        size = voxel_size(image.affine)
    except ValueError as error:
        found.error(path, str(error), "Convert the scan again, or correct its sform")
        return False
    if found.grid is None:
        found.grid = path, image
        _check_extent(path, image, size, found)
        return True
    first_path, first = found.grid
    if image.shape != first.shape:
        what = f"its shape {image.shape} is not that of {first_path.name}, {first.shape}"
    elif not np.allclose(image.affine, first.affine, atol=1e-3):
        what = f"its affine is not that of {first_path.name}"
    else:
        return True
    found.error(path, what, "Bring both to one grid first")
    return False


def _check_extent(
    path: Path, image: nib.Nifti1Image, size: NDArray[np.float64], found: _Problems
) -> None:
    """Whether the image is thick enough, and knows how it lies in the scanner."""
    extent = np.asarray(image.shape) * size
    axis = int(np.argmin(extent))
    if min(image.shape) < _FEWEST_SLICES or extent[axis] < _THINNEST:
        found.error(
            path,
            f"it is too thin: {' × '.join(map(str, image.shape))} voxels, {extent[axis]:.3g} mm "
            f"along axis {axis}",
            f"QSM needs {_FEWEST_SLICES} slices and {_THINNEST:g} mm at the least",
        )
    if image.header["sform_code"] == 0 and image.header["qform_code"] == 0:
        found.warning(
            path,
            "it has neither sform nor qform: B0 is taken to lie along the third voxel axis",
            "Convert the scan again with its orientation",
        )
