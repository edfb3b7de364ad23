"""Images as people have them."""

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from qsm_workflows.cli.main import main

SHAPE = (10, 9, 8)
SIZE = 8.0
TIMES = (0.004, 0.008, 0.012)


class Images:
    """Magnitude and phase of three echoes, and where to save them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        rng = np.random.default_rng(1)
        self.magnitude = rng.uniform(50, 100, (*SHAPE, 3)).astype(np.float32)
        phase = rng.uniform(-np.pi, np.pi, (*SHAPE, 3))
        phase[0, 0, 0], phase[0, 0, 1] = -3.1415, 3.1415
        self.phase = phase.astype(np.float32)

    @property
    def signal(self):
        return (self.magnitude * np.exp(1j * self.phase)).astype(np.complex64)

    def save(self, name: str, data, affine=None) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        affine = np.diag([SIZE, SIZE, SIZE, 1]) if affine is None else affine
        nib.save(nib.Nifti1Image(np.asarray(data), affine), path)
        return str(path)


@pytest.fixture
def images(tmp_path):
    return Images(tmp_path / "given images")


class Dicoms:
    """A folder of DICOM files under construction: 6 slices of 16 × 12 voxels a volume."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.count = 0

    def volume(self, voxels, *, part="M", echo=1, time=5.0, series=1, patient="Jane^Doe", **fields):
        """Write the slices of an (X, Y, Z) volume of integers; gives their paths."""
        return [
            self.slice(
                np.asarray(voxels)[..., z],
                z,
                part=part,
                echo=echo,
                time=time,
                series=series,
                patient=patient,
                **fields,
            )
            for z in range(np.shape(voxels)[2])
        ]

    def slice(self, pixels, z, *, part, echo, time, series, patient, **fields):
        self.count += 1
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
        study = f"1.2.826.0.1.{sum(patient.encode())}"
        dataset.file_meta.MediaStorageSOPInstanceUID = f"{study}.{series}.{self.count}"
        values = {
            "SOPClassUID": MRImageStorage,
            "SOPInstanceUID": f"{study}.{series}.{self.count}",
            "StudyInstanceUID": study,
            "SeriesInstanceUID": f"{study}.{series}",
            "Modality": "MR",
            "Manufacturer": "SIEMENS",
            "ImageType": ["ORIGINAL", "PRIMARY", part, "ND"],
            "PatientName": patient,
            "PatientID": patient,
            "PatientBirthDate": "19700101",
            "StudyDate": "20200202",
            "StudyTime": "101010",
            "InstitutionName": "Secret Hospital",
            "SeriesDescription": "gre for Jane",
            "SeriesNumber": series,
            "InstanceNumber": z + 1,
            "AcquisitionNumber": 1,
            "ScanningSequence": "GR",
            "SequenceVariant": "SP",
            "MRAcquisitionType": "3D",
            "EchoTime": time,
            "EchoNumbers": echo,
            "RepetitionTime": 50,
            "MagneticFieldStrength": 3,
            "ImagingFrequency": 123.2,
            "SliceThickness": 8,
            "SpacingBetweenSlices": 8,
            "ImagePositionPatient": [-64, -48, 8 * z],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [8, 8],
            "Rows": pixels.shape[1],
            "Columns": pixels.shape[0],
            "BitsAllocated": 16,
            "BitsStored": 12,
            "HighBit": 11,
            "PixelRepresentation": 0,
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
        }
        for name, value in {**values, **fields}.items():
            if isinstance(name, str) and name.startswith("tag_"):
                group, element, kind = name[4:].split("_")
                dataset.add_new((int(group, 16), int(element, 16)), kind, value)
            elif value is not None:
                setattr(dataset, name, value)
        dataset.PixelData = np.ascontiguousarray(pixels.T).astype(np.uint16).tobytes()
        path = self.folder / f"IM{self.count:05d}"
        dataset.save_as(path, enforce_file_format=True)
        return path

    def scan(self, *, echoes=3, **fields):
        """A Siemens scan: magnitude in one series, phase in the next."""
        rng = np.random.default_rng(2)
        shape = (16, 12, 6)
        for echo in range(1, echoes + 1):
            same = {"echo": echo, "time": 5.0 * echo, **fields}
            self.volume(rng.integers(100, 1000, shape), **{"part": "M", "series": 1, **same})
            self.volume(rng.integers(0, 4096, shape), **{"part": "P", "series": 2, **same})


@pytest.fixture
def dicoms(tmp_path):
    return Dicoms(tmp_path / "dicom")


@pytest.fixture
def refuses(tmp_path, monkeypatch, capsys):
    """Runs a command; it must exit so, say so, and leave the files as they were.

    All beneath the folder of the test counts, temporary files too.
    """
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QSM_WORKFLOWS_WEIGHTS", str(tmp_path / "weights"))

    def refuses(arguments, status, words):
        before = tree(tmp_path)
        try:
            got = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            got = stop.code
        told = capsys.readouterr()
        assert words in told.out + told.err
        assert "Traceback" not in told.err
        assert got == status
        assert tree(tmp_path) == before

    return refuses


def tree(folder):
    return {
        str(path): path.lstat().st_mtime_ns if path.is_file() else 0 for path in folder.rglob("*")
    }
