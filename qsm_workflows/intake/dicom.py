"""Scans out of DICOM files."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_workflows.algorithms.coils import combine_coils
from qsm_workflows.algorithms.complex_images import combine_parts, split_complex
from qsm_workflows.algorithms.geometry import voxel_size

from .headers import Header, read_header
from .pixels import Volume, convert_files
from .raw import COMBINED_HERE, FieldMap, RawScan
from .series import Acquisition
from .volumes import to_radians

# Fields of dcm2niix's sidecars that say how a scan was made, and nothing of who or when.
_KEPT = (
    "Manufacturer",
    "ManufacturersModelName",
    "SoftwareVersions",
    "ImagingFrequency",
    "MRAcquisitionType",
    "ScanningSequence",
    "SequenceVariant",
    "ScanOptions",
    "RepetitionTime",
    "FlipAngle",
    "SliceThickness",
    "SpacingBetweenSlices",
    "PixelBandwidth",
    "EchoTrainLength",
    "PartialFourier",
    "ParallelReductionFactorInPlane",
    "ParallelReductionFactorOutOfPlane",
    "ParallelAcquisitionTechnique",
    "CoilCombinationMethod",
    "ReceiveCoilName",
    "ImageOrientationPatientDICOM",
    "ConversionSoftware",
    "ConversionSoftwareVersion",
)


@dataclass(frozen=True)
class Named:
    """An acquisition with the labels that it will have.

    Attributes
    ----------
    acquisition : Acquisition
    entities : dict
        BIDS labels by key.
    repetition : int
    """

    acquisition: Acquisition
    entities: dict[str, str]
    repetition: int = 0


def read_headers(files: Iterable[Path]) -> tuple[list[Header], int, list[str]]:
    """Read the headers of files.

    Returns
    -------
    headers : list of Header
    n_others : int
        Files that are not DICOM.
    faults : list of str
        What is wrong with files that are broken.
    """
    headers, faults, others = [], [], 0
    for path in files:
        try:
            header = read_header(path)
        except ValueError as error:
            faults.append(str(error))
            continue
        if header is None:
            others += 1
        else:
            headers.append(header)
    return headers, others, faults


def name_acquisitions(
    acquisitions: Sequence[Acquisition], labels: Mapping[str, str]
) -> list[Named]:
    """Give every acquisition the labels of its images.

    Patients become 01, 02 … and their studies sessions 1, 2 …, in order of time; what is
    alike in all that becomes runs. No label comes from a header.

    Parameters
    ----------
    acquisitions : sequence of Acquisition
        In order of time, those of one study side by side.
    labels : mapping
        Labels that the user gave, by key.

    Raises
    ------
    ValueError
        If one label of a subject is given for several patients, or one of a session for
        several studies.
    """
    patients = list(dict.fromkeys(item.series[0].header.patient for item in acquisitions))
    if "sub" in labels and len(patients) > 1:
        raise ValueError(
            f"--subject {labels['sub']} is one person, but there are {len(patients)} patients; "
            "leave it out, or convert them one by one"
        )
    named: list[Named] = []
    for number, patient in enumerate(patients, 1):
        own = [item for item in acquisitions if item.series[0].header.patient == patient]
        studies = [list(group) for _, group in groupby(own, key=lambda a: a.series[0].header.study)]
        if "ses" in labels and len(studies) > 1:
            raise ValueError(
                f"--session {labels['ses']} is one session, but a patient has {len(studies)} "
                "studies; leave it out, or convert them one by one"
            )
        for session, study in enumerate(studies, 1):
            entities = {"sub": f"{number:02d}", **labels}
            if len(studies) > 1:
                entities["ses"] = str(session)
            for kind in ("scan", "field map"):
                same = [
                    (item, repetition)
                    for item in study
                    if item.kind == kind
                    for repetition in range(item.n_repetitions)
                ]
                for run, (item, repetition) in enumerate(same, 1):
                    own_run = {"run": str(run)} if len(same) > 1 else {}
                    named.append(Named(item, {**entities, **own_run}, repetition))
    return named


def load_acquisition(named: Named) -> tuple[RawScan | FieldMap, list[str]]:
    """Convert the files of an acquisition.

    Returns
    -------
    scan : RawScan or FieldMap
    notes : list of str
        What was done to the values that the user should know of.

    Raises
    ------
    ValueError
        If the pixels cannot be had, or do not make up a scan.
    """
    acquisition = named.acquisition
    header = acquisition.series[0].header
    if not header.b0 > 0:
        raise ValueError("the headers do not state the field strength; use dcm2niix and import")
    converted = _Converted(named)
    first_part, second_part = acquisition.parts
    first = [converted.volume(first_part, time) for time in acquisition.echo_times]
    metadata = {key: first[0].sidecar[key] for key in _KEPT if key in first[0].sidecar}
    affine = first[0].affine
    if acquisition.kind == "field map":
        difference = converted.volume(second_part, acquisition.echo_times[-1])
        magnitude = [volume.voxels for volume in first]
        times = acquisition.echo_times
        return FieldMap(
            named.entities, magnitude, difference.voxels, times, header.b0, affine, metadata
        ), []
    second = [converted.volume(second_part, time) for time in acquisition.echo_times]
    if not all(np.allclose(volume.affine, affine, atol=1e-3) for volume in (*first, *second)):
        raise ValueError("its echoes do not lie on one grid")
    notes: list[str] = []
    if first_part == "magnitude":
        magnitude = [volume.voxels for volume in first]
        units = acquisition.series[-1].header.phase_units
        phase, units = to_radians([volume.voxels for volume in second], units)
        notes.append(f"phase in {units} from dcm2niix, written in radians")
    else:
        signal = combine_parts([v.voxels for v in first], [v.voxels for v in second])
        magnitude, phase, alternated = split_complex(signal)
        notes.append("magnitude and phase computed of real and imaginary images")
        if alternated:
            notes.append("the sign of every second slice was undone, as GE stores complex images")
    if len(acquisition.coils) > 1:
        phase, magnitude = combine_coils(
            phase, magnitude, acquisition.echo_times, voxel_size(affine)
        )
        notes.append(f"{len(acquisition.coils)} receive channels were combined")
        metadata.pop("ReceiveCoilName", None)  # that of the first channel
        metadata |= COMBINED_HERE
    return RawScan(
        named.entities, magnitude, phase, acquisition.echo_times, header.b0, affine, metadata
    ), notes


class _Converted:
    """Volumes of an acquisition, converted when they are asked for."""

    def __init__(self, named: Named) -> None:
        self._named = named
        self._enhanced: dict[frozenset[Path], list[Volume]] = {}

    def volume(self, part: str, time: float) -> Volume:
        """Volume of a part and an echo time, channels along the fourth axis if there are any."""
        coils = self._named.acquisition.coils
        volumes = [self._volume(part, time, coil) for coil in coils]
        if len(volumes) == 1:
            return volumes[0]
        voxels = np.stack([volume.voxels for volume in volumes], axis=-1)
        return replace(volumes[0], voxels=voxels)

    def _volume(self, part: str, time: float, coil: str) -> Volume:
        repetition = self._named.repetition
        slices = self._named.acquisition.slices(part, time, repetition, coil)
        paths = frozenset(piece.path for piece in slices)
        if len(paths) == len(slices):
            found = convert_files(sorted(paths))
            if len(found) != 1:
                raise ValueError(
                    f"dcm2niix made {len(found)} images of the {part} at {1000 * time:g} ms"
                )
            return found[0]
        if paths not in self._enhanced:
            self._enhanced[paths] = convert_files(sorted(paths))
        same = [v for v in self._enhanced[paths] if v.part == part and _close(v.echo_time, time)]
        if len(same) != 1:
            raise ValueError(
                f"dcm2niix made {len(same)} images of the {part} at {1000 * time:g} ms"
            )
        return _take(same[0], repetition)


def _close(first: float, second: float) -> bool:
    return abs(first - second) < 1e-5


def _take(volume: Volume, repetition: int) -> Volume:
    """One repetition of a volume."""
    voxels: NDArray[Any] = volume.voxels
    if voxels.ndim == 4:
        voxels = voxels[..., repetition]
    return replace(volume, voxels=voxels)
