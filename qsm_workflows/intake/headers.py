"""What DICOM headers say, classic and enhanced alike: one entry for every slice."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

# pydicom raises these on headers that do not keep to the standard.
_BROKEN = (
    AttributeError,
    BytesLengthException,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)

_GE_PART = (0x0043, 0x102F)
_SIEMENS_COIL = (0x0051, 0x100F)
PARTS = {
    "magnitude": {"M", "MAGNITUDE", "M_FFE"},
    "phase": {"P", "PHASE", "PHASE MAP", "P_FFE"},
    "real": {"R", "REAL", "R_FFE"},
    "imaginary": {"I", "IMAGINARY", "I_FFE"},
}
"""Words of ImageType that tell what an image holds."""

_DERIVED = {"DERIVED", "MIP", "MNIP", "SWI", "PROJECTION IMAGE", "SECONDARY"}


@dataclass(frozen=True)
class Slice:
    """One slice of one echo.

    Attributes
    ----------
    path : Path
    part : str
        ``magnitude``, ``phase``, ``real`` or ``imaginary``.
    echo_time : float
        In seconds.
    echo : int
        Number of the echo; 0 when not stated.
    orientation : tuple of float
        Direction cosines of rows and columns.
    position : tuple of float
        Of the first voxel, in mm.
    coil : str
        Receive channels, as the vendor writes them.
    order : tuple of int
        Temporal position, acquisition and instance number.
    """

    path: Path
    part: str
    echo_time: float
    echo: int
    orientation: tuple[float, ...]
    position: tuple[float, ...]
    coil: str
    order: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """What one file says of its series.

    Attributes
    ----------
    patient, study, series : str
        What tells patients, studies and series apart; never written.
    study_time : str
        What studies of a patient are ordered by; never written.
    instance : str
        UID of the file's content.
    number : int
        Series number.
    description : str
    manufacturer : str
    b0 : float
        In tesla; 0 when not stated.
    shape : tuple of int
        Rows and columns.
    fault : str
        Why the file is of no use for QSM; empty if it may be.
    phase_units : str
        Units of stored phase, where the header tells; else ``auto``.
    is_enhanced : bool
        Whether it holds many slices.
    slices : tuple of Slice
    """

    patient: str
    study: str
    series: str
    study_time: str
    instance: str
    number: int
    description: str
    manufacturer: str
    b0: float
    shape: tuple[int, int]
    fault: str
    phase_units: str
    is_enhanced: bool
    slices: tuple[Slice, ...]


def read_header(path: Path) -> Header | None:
    """Read the header of a DICOM file; None if it is not DICOM.

    Raises
    ------
    ValueError
        If it is DICOM, but cannot be understood.
    """
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
    except InvalidDicomError:
        return None
    except _BROKEN as error:
        raise ValueError(f"{path} is broken DICOM: {error}") from error
    if "DirectoryRecordSequence" in dataset:
        return None
    try:
        return _header(path, dataset)
    except _BROKEN as error:
        raise ValueError(f"{path} is broken DICOM: {error}") from error


def _header(path: Path, dataset: Dataset) -> Header:
    slices = tuple(_slices(path, dataset)) if dataset.get("Modality") == "MR" else ()
    return Header(
        patient=f"{dataset.get('PatientID', '')}\n{dataset.get('PatientName', '')}",
        study=str(dataset.get("StudyInstanceUID", "")),
        series=str(dataset.get("SeriesInstanceUID", "")),
        study_time=f"{dataset.get('StudyDate', '')}{dataset.get('StudyTime', '')}",
        instance=str(dataset.get("SOPInstanceUID", path)),
        number=int(dataset.get("SeriesNumber") or 0),
        description=str(dataset.get("SeriesDescription") or dataset.get("ProtocolName", "")),
        manufacturer=str(dataset.get("Manufacturer", "")),
        b0=float(dataset.get("MagneticFieldStrength") or 0),
        shape=(int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)),
        fault=_fault(dataset, slices),
        phase_units=_phase_units(dataset),
        is_enhanced="PerFrameFunctionalGroupsSequence" in dataset,
        slices=slices,
    )


def _slices(path: Path, dataset: Dataset) -> Iterator[Slice]:
    shared: Sequence[Dataset] = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    frames: Sequence[Dataset] = dataset.get("PerFrameFunctionalGroupsSequence") or [Dataset()]
    for number, frame in enumerate(frames):
        sources = [frame, shared[0], dataset]
        frame_type = _within(sources, "MRImageFrameTypeSequence")
        time = _find(sources, "MREchoSequence", "EffectiveEchoTime", "EchoTime")
        position = _find(sources, "PlanePositionSequence", "ImagePositionPatient")
        orientation = _find(sources, "PlaneOrientationSequence", "ImageOrientationPatient")
        content = _within(sources, "FrameContentSequence")
        temporal = content.get("TemporalPositionIndex", dataset.get("TemporalPositionIdentifier"))
        coil = dataset.get(_SIEMENS_COIL)
        yield Slice(
            path=path,
            part=_part(dataset, frame_type),
            echo_time=round(float(time or 0) / 1000, 7),
            echo=int(dataset.get("EchoNumbers") or 0),
            orientation=tuple(round(float(x), 4) for x in orientation or ()),
            position=tuple(round(float(x), 3) for x in position or ()),
            coil="" if coil is None else str(coil.value),
            order=(
                int(temporal or 0),
                int(dataset.get("AcquisitionNumber") or 0),
                int(dataset.get("InstanceNumber") or 0),
                number,
            ),
        )


def _within(sources: Sequence[Dataset], sequence: str) -> Dataset:
    """First item of a functional group, of the frame or else shared; empty if there is none."""
    return next((source[sequence][0] for source in sources if source.get(sequence)), Dataset())


def _find(sources: Sequence[Dataset], sequence: str, *names: str) -> Any:
    """Value of an attribute, inside a functional group or on its own."""
    group = _within(sources, sequence)
    places = (group, sources[-1])
    return next((place.get(name) for name in names for place in places if name in place), None)


def _part(dataset: Dataset, frame_type: Dataset) -> str:
    """Whether a slice is magnitude, phase, real or imaginary."""
    component = str(frame_type.get("ComplexImageComponent", dataset.get("ComplexImageComponent")))
    words = {str(word) for word in frame_type.get("FrameType") or dataset.get("ImageType") or ()}
    code = dataset.get(_GE_PART)
    if component.lower() in PARTS:
        return component.lower()
    if code is not None and str(dataset.get("Manufacturer", "")).upper().startswith("GE"):
        value = code.value
        number = struct.unpack("<h", value[:2])[0] if isinstance(value, bytes) else int(value)
        if 0 <= number < len(PARTS):
            return list(PARTS)[number]
    return next((part for part in reversed(PARTS) if PARTS[part] & words), "magnitude")


def _fault(dataset: Dataset, slices: Sequence[Slice]) -> str:
    """Why a file is of no use for QSM; empty if it may be."""
    if dataset.get("Modality") != "MR":
        return f"not MR but {dataset.get('Modality') or 'without modality, perhaps damaged'}"
    words = {str(word) for word in dataset.get("ImageType") or ()}
    sequence = dataset.get("ScanningSequence") or ()
    kinds = {sequence} if isinstance(sequence, str) else {str(kind) for kind in sequence}
    if words & {"LOCALIZER", "LOCATOR"}:
        return "a localiser"
    if words & _DERIVED and all(piece.part == "magnitude" for piece in slices):
        return f"derived images ({', '.join(sorted(words & _DERIVED))})"
    if "EP" in kinds or dataset.get("EchoPlanarPulseSequence") == "YES":
        return "echo planar images"
    gradient = dataset.get("EchoPulseSequence", "GRADIENT")
    if (kinds and not kinds & {"GR", "RM"}) or gradient == "SPIN":
        return "not a gradient echo"
    if not all(piece.position and piece.orientation for piece in slices):
        return "without positions of its slices"
    if any(piece.echo_time <= 0 for piece in slices):
        return "without echo times"
    return ""


def _phase_units(dataset: Dataset) -> str:
    """Units of phase that the maker is known to store."""
    if not str(dataset.get("Manufacturer", "")).upper().startswith("SIEMENS"):
        return "auto"
    if dataset.get("BitsStored") != 12 or "PerFrameFunctionalGroupsSequence" in dataset:
        return "auto"
    rescale = (dataset.get("RescaleSlope"), dataset.get("RescaleIntercept"))
    return {(None, None): "0..4095", (1, 0): "0..4095", (2, -4096): "-4096..4095"}.get(
        rescale, "auto"
    )
