"""Faults of a scan that are found before any work is done."""

import math
import zlib
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from qsm_workflows.algorithms.complex_images import combine_parts, split_complex
from qsm_workflows.algorithms.echoes import detect_phase_units
from qsm_workflows.algorithms.geometry import FloatArray, voxel_size
from qsm_workflows.algorithms.masking import SURE_EXTENT, check_whole_head

from .companion_checks import check_companions
from .companions import Companions
from .consistency import check_consistency
from .phase_checks import Echo, check_nuclei, check_phase
from .problems import Problem, Problems
from .reading import read_image
from .scan import Scan

# No gradient echo of a brain is as late as this, in seconds.
_LATEST_ECHO = 0.2
# Field strengths of scanners for people, in tesla.
_FIELD_STRENGTHS = (0.05, 25.0)
# Phase hardly correlates with magnitude; magnitude under a phase's name does.
_MAGNITUDE_CORRELATION = 0.9


def check_scan(
    scan: Scan,
    companions: Companions | None = None,
    *,
    reference: str | None = None,
    mask_method: str = "bet",
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
    mask_method : {"bet", "deepbet", "phase"}
        How the brain will be masked when there is no mask.

    Returns
    -------
    list of Problem
        Empty when all is well.
    """
    found, echoes = _examine_files(scan)
    if companions is not None:
        labels = check_companions(companions, reference, found)
        if labels is not None and not found.has_errors:
            check_nuclei(scan, echoes, labels, companions.label_table, found)
    if companions is None or companions.mask is None:
        _check_extraction(found, mask_method)
    return found.problems


def check_files(scan: Scan) -> list[Problem]:
    """Look for faults of a scan's own images and sidecars; see :func:`check_scan`."""
    return _examine_files(scan)[0].problems


def _examine_files(scan: Scan) -> tuple[Problems, list[Echo]]:
    """What is wrong with a scan, and its first echoes."""
    found = Problems()
    _check_timing(scan, found)
    check_consistency(scan, found)
    return found, _check_images(scan, found)


def _check_timing(scan: Scan, found: Problems) -> None:
    """Echo times and field strength."""
    for number, (time, path) in enumerate(zip(scan.echo_times, scan.phase_images, strict=True), 1):
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
                scan.phase_images[number - 1],
                f"EchoTime of echo {number} ({after:g} s) is {relation} that of echo "
                f"{number - 1} ({before:g} s)",
                "Correct the sidecars or number the echoes by their times",
            )
    low, high = _FIELD_STRENGTHS
    if not low <= scan.b0 <= high:
        found.error(
            scan.phase_images[0],
            f"MagneticFieldStrength is {scan.b0:g}, which no scanner for people has",
            "State it in tesla",
        )
    if len(scan.echo_times) == 1:
        found.warning(
            scan.phase_images[0],
            "there is a single echo: the phase offset of the coils cannot be told from the "
            "field, and noise is not averaged over echoes",
            "Read absolute values with care; scan several echoes if you can",
        )


def _check_images(scan: Scan, found: Problems) -> list[Echo]:
    """Voxels of magnitude and phase, one echo in memory at a time but for the first three."""
    units: dict[str, Path] = {}
    first_echoes: list[Echo] = []
    for magnitude_path, phase_path in zip(*scan.parts.values(), strict=True):
        if _is_cut_to_bytes(magnitude_path, found) or _is_cut_to_bytes(phase_path, found):
            continue
        if scan.real:
            echo = _read_complex(magnitude_path, phase_path, found)
            if echo is not None:
                first_echoes = [*first_echoes, echo][:3]
            continue
        magnitude = read_image(magnitude_path, found)
        if magnitude is not None:
            _check_magnitude(magnitude_path, magnitude, found)
        phase = read_image(phase_path, found)
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
            if magnitude is not None and len(first_echoes) < 3:
                first_echoes.append((magnitude, phase))
    if len(units) > 1:
        (first, _), (second, path) = list(units.items())[:2]
        found.error(
            path,
            f"its phase is in units of {second}, other echoes in units of {first}",
            "Convert all echoes to radians and state Units: rad",
        )
    if not found.has_errors:
        check_phase(scan, first_echoes, found)
    return first_echoes


def _read_complex(real_path: Path, imaginary_path: Path, found: Problems) -> Echo | None:
    """Magnitude and phase of an echo stored as real and imaginary image."""
    real, imaginary = read_image(real_path, found), read_image(imaginary_path, found)
    if real is None or imaginary is None or real.shape != imaginary.shape:
        return None
    for path, part in ((real_path, real), (imaginary_path, imaginary)):
        if part.min() == part.max():
            found.error(
                path, f"its value is {part.min():g} in every voxel", "Convert the scan again"
            )
            return None
    if min(real.min(), imaginary.min()) >= 0:
        found.error(
            imaginary_path,
            "neither it nor the real image has a negative value",
            "Convert the scan again: the intercept of its values was lost, or it is not complex",
        )
        return None
    (magnitude,), (phase,), _ = split_complex(combine_parts([real], [imaginary]))
    return magnitude, phase


def _is_cut_to_bytes(path: Path, found: Problems) -> bool:
    """Whether values were put into signed bytes as they were, so that large ones overflowed."""
    try:
        image = nib.load(path)
    except (OSError, EOFError, zlib.error, ImageFileError, HeaderDataError):
        return False  # as reading it will tell
    data = image.dataobj
    if image.get_data_dtype() != np.int8 or (data.slope, data.inter) != (1, 0):
        return False
    found.error(
        path,
        "its values are stored in signed bytes without a scale: all beyond 127 were lost",
        "Convert the scan again, in 16 bits",
    )
    return True


def _check_magnitude(path: Path, magnitude: FloatArray, found: Problems) -> None:
    low, high = float(magnitude.min()), float(magnitude.max())
    if low < 0:
        found.error(
            path,
            f"the magnitude has negative values, down to {low:g}",
            "Put the magnitude image in its place; is it the phase?",
        )
    elif low == high:
        found.error(path, f"the magnitude is {low:g} in every voxel", "Convert the scan again")


def _check_phase(path: Path, phase: FloatArray, units: str | None, found: Problems) -> str | None:
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


def _check_extraction(found: Problems, method: str) -> None:
    """Whether a brain can be masked when no mask is given."""
    if found.grid is None:
        return
    path, image = found.grid
    named = "A mask in derivatives/ is found by its name, …_desc-brain_mask.nii.gz"
    if method == "deepbet" and find_spec("deepbet") is None:
        found.error(
            path,
            "there is no brain mask, and deepbet, which should make one, is not installed",
            f"pip install qsm-workflows[deepbet], or choose another --mask-method. {named}",
        )
        return
    if method == "phase":
        return
    size = voxel_size(image.affine)
    if method == "bet":
        try:
            check_whole_head(image.shape, size)
        except ValueError as error:
            found.error(
                path,
                f"there is no brain mask, and {error}",
                f"Slabs can be masked with --mask-method phase. {named}",
            )
            return
    extent = min(image.shape * size)
    if extent < SURE_EXTENT:
        found.warning(
            path,
            f"there is no brain mask, and {extent:.0f} mm are less than a whole head: brain "
            "extraction may be wrong",
            f"Look at the mask, or choose --mask-method phase. {named}",
        )
