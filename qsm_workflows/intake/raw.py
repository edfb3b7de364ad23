"""A gradient echo scan on its way into a raw BIDS dataset: checked first, then moved in whole."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from qsm_workflows import __version__
from qsm_workflows.algorithms.geometry import FloatArray, b0_direction
from qsm_workflows.bids.checks import check_files
from qsm_workflows.bids.dataset import BIDS_VERSION
from qsm_workflows.bids.index import index_dataset
from qsm_workflows.bids.scan import check_label
from qsm_workflows.bids.writing import write_json, write_text

ENTITIES = ("sub", "ses", "acq", "run")
"""Entities that a new scan may have, in the order of its name."""

COMBINED_HERE = {"CoilCombinationMethod": "MCPC-3D-S, by qsm-workflows"}
"""What sidecars say where receive channels were combined on the way."""


Entry = tuple[Path, FloatArray, dict[str, Any]]
"""Path in a dataset, voxels and sidecar of an image."""


@dataclass(frozen=True)
class RawScan:
    """Magnitude and phase of all echoes, with what their sidecars will say.

    Attributes
    ----------
    entities : mapping
        BIDS labels by key; ``sub`` at the least.
    magnitude, phase : sequence of (X, Y, Z) ndarray
        One for each echo; phase in radians.
    echo_times : sequence of float
        In seconds.
    b0 : float
        In tesla.
    affine : (4, 4) ndarray
    metadata : mapping
        Further fields of all sidecars.
    phase_sign : int or None
        1 where a raised field gives positive phase, else −1; None leaves it to the maker's.
    """

    entities: Mapping[str, str]
    magnitude: list[FloatArray]
    phase: list[FloatArray]
    echo_times: tuple[float, ...]
    b0: float
    affine: NDArray[np.float64]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    phase_sign: int | None = None

    @property
    def prefix(self) -> str:
        """Name of the scan, such as ``sub-01_ses-a_run-1``."""
        return join_entities(self.entities)

    def files(self) -> list[Entry]:
        """Path in the dataset, voxels and sidecar of every image."""
        folder = _folder(self.entities)
        images = []
        for number, time in enumerate(self.echo_times, 1):
            for part, echoes in (("mag", self.magnitude), ("phase", self.phase)):
                single = len(self.echo_times) == 1
                end = f"part-{part}_T2starw" if single else f"echo-{number}_part-{part}_MEGRE"
                path = folder / "anat" / f"{self.prefix}_{end}.nii.gz"
                images.append((path, echoes[number - 1], self._sidecar(part, time)))
        return images

    def _sidecar(self, part: str, time: float) -> dict[str, Any]:
        phase: dict[str, Any] = {}
        if part == "phase":
            phase["Units"] = "rad"
            if self.phase_sign is not None:
                phase["PhaseSign"] = self.phase_sign
        return {
            **self.metadata,
            "EchoTime": time,
            "MagneticFieldStrength": self.b0,
            "B0_dir": [round(float(x), 6) + 0.0 for x in b0_direction(self.affine)],
            **phase,
        }


@dataclass(frozen=True)
class FieldMap:
    """Magnitudes of two echoes and the difference of their phases, as some scanners keep them.

    It is kept for other uses; the phase of each echo is lost, and :mod:`qsm_workflows` makes
    no susceptibility map of it.

    Attributes
    ----------
    entities : mapping
        BIDS labels by key; ``sub`` at the least.
    magnitude : sequence of (X, Y, Z) ndarray
    phase_difference : (X, Y, Z) ndarray
        In the scanner's units.
    echo_times : sequence of float
        In seconds.
    b0 : float
        In tesla.
    affine : (4, 4) ndarray
    metadata : mapping
        Further fields of all sidecars.
    """

    entities: Mapping[str, str]
    magnitude: list[FloatArray]
    phase_difference: FloatArray
    echo_times: tuple[float, ...]
    b0: float
    affine: NDArray[np.float64]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def files(self) -> list[Entry]:
        """Path in the dataset, voxels and sidecar of every image."""
        stem = _folder(self.entities) / "fmap" / join_entities(self.entities)
        common = {**self.metadata, "MagneticFieldStrength": self.b0}
        images: list[Entry] = [
            (Path(f"{stem}_magnitude{number}.nii.gz"), voxels, {**common, "EchoTime": time})
            for number, (voxels, time) in enumerate(
                zip(self.magnitude, self.echo_times, strict=True), 1
            )
        ]
        times = {f"EchoTime{number}": time for number, time in enumerate(self.echo_times, 1)}
        difference = {**common, **times, "Units": "arbitrary"}
        path = Path(f"{stem}_phasediff.nii.gz")
        return [*images, (path, self.phase_difference, difference)]


def _folder(entities: Mapping[str, str]) -> Path:
    return Path(*(f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities))


def join_entities(entities: Mapping[str, str]) -> str:
    """Name made of BIDS entities.

    Raises
    ------
    ValueError
        If a label is not one of BIDS.

    Examples
    --------
    >>> join_entities({"run": "1", "sub": "01"})
    'sub-01_run-1'
    """
    return "_".join(f"{key}-{check_label(entities[key])}" for key in ENTITIES if key in entities)


def check_target(root: Path, scan_files: list[Path]) -> None:
    """Refuse to write into what is no dataset, or over what is there.

    Raises
    ------
    ValueError
        With the file or folder that is in the way.
    """
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is a file; give a folder for the BIDS dataset")
    if root.is_dir() and any(root.iterdir()) and not _description(root).exists():
        raise ValueError(
            f"{root} holds files, but no dataset_description.json; give a new folder or a BIDS "
            "dataset"
        )
    for path in scan_files:
        if (root / path).exists():
            raise ValueError(
                f"{root / path} is there already; give another --subject, --session or --run, or "
                "remove it"
            )


def write_scan(root: Path, scan: RawScan | FieldMap) -> list[Path]:
    """Check a scan and add it to a dataset, whole or not at all.

    Parameters
    ----------
    root : Path
        Folder of the dataset, made when it is not there.
    scan : RawScan or FieldMap

    Returns
    -------
    list of Path
        Images that were written.

    Raises
    ------
    ValueError
        If the scan has a fault that keeps it from being processed, or is there already.
    """
    images = scan.files()
    check_target(root, [path for path, _, _ in images])
    base = next(folder for folder in (root, *root.absolute().parents) if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix=".qsm-wf-", dir=base) as folder:
        staging = Path(folder)
        _write_images(staging, scan)
        if isinstance(scan, RawScan):
            refuse_faults(staging)
        _move(staging, root)
    return [root / path for path, _, _ in images]


def preview_scan(scan: RawScan) -> None:
    """Do all that :func:`write_scan` does, in a folder that is thrown away.

    Raises
    ------
    ValueError
        If the scan would be refused.
    """
    with tempfile.TemporaryDirectory(prefix="qsm-wf-") as folder:
        _write_images(Path(folder), scan)
        refuse_faults(Path(folder))


def refuse_faults(root: Path) -> None:
    """Raise ValueError with everything that keeps the scans of a dataset from being processed."""
    index = index_dataset(root)
    faults = [f"{refusal.file.name}: {refusal.reason}" for refusal in index.refused]
    for scan in index.scans:
        faults += [
            f"{problem.file.name}: {problem.what}. {problem.remedy}"
            for problem in check_files(scan)
            if problem.severity == "error"
        ]
    if faults:
        raise ValueError("; ".join(faults))


def _write_images(folder: Path, scan: RawScan | FieldMap) -> None:
    for path, voxels, sidecar in scan.files():
        image = nib.Nifti1Image(np.asarray(voxels, dtype=np.float32), scan.affine)
        image.set_sform(scan.affine, code=1)
        image.set_qform(scan.affine, code=1)
        image.header.set_xyzt_units("mm", "sec")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        nib.save(image, folder / path)
        write_json(folder / f"{str(path).removesuffix('.nii.gz')}.json", sidecar)


def _move(staging: Path, root: Path) -> None:
    """Move all files into the dataset; none if one cannot be moved."""
    moved: list[Path] = []
    try:
        for path in sorted(p for p in staging.rglob("*") if p.is_file()):
            target = root / path.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
            moved.append(target)
        _describe_dataset(root)
    except OSError:
        for path in moved:
            path.unlink(missing_ok=True)
        raise


def _describe_dataset(root: Path) -> None:
    """Write what makes a folder a raw BIDS dataset, where it is missing."""
    if _description(root).exists():
        return
    write_json(
        _description(root),
        {
            "Name": "Multi-echo gradient echo scans",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "raw",
            "GeneratedBy": [{"Name": "qsm-workflows", "Version": __version__}],
        },
    )
    if not any((root / name).exists() for name in ("README", "README.md")):
        write_text(
            root / "README.md",
            "# Multi-echo gradient echo scans\n\nConverted by qsm-wf: magnitude and phase of every "
            "echo, phase in radians.\n`PhaseSign` in a sidecar is 1 where a raised field gives "
            "positive phase, else -1;\n`B0_dir` is the direction of B0 in voxel axes.\n",
        )


def _description(root: Path) -> Path:
    return root / "dataset_description.json"
