"""Write simulated heads as a raw BIDS dataset with the truth as a derivative."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from qsm_workflows import __version__

from .head import Head
from .signal import check_scan, simulate_signal
from .susceptibility import Label

TRUTH = Path("derivatives") / "truth"
BIDS_VERSION = "1.10.0"

_README = """\
Digital heads made by `qsm-wf simulate` (qsm-workflows {version}).

`sub-*/anat` holds the multi-echo gradient echo images, `derivatives/truth` what they were
made from: susceptibility and fields in ppm, brain mask and labels. Nobody was scanned.
"""


def check_output(folder: Path) -> None:
    """Refuse a folder that holds anything.

    Raises
    ------
    ValueError
        If `folder` is a file, or is not empty.
    """
    if folder.is_dir():
        if any(folder.iterdir()):
            raise ValueError(f"{folder} is not empty: give a new folder, or empty it first")
    elif folder.exists():
        raise ValueError(f"{folder} is a file: give a folder")


def start_dataset(
    folder: Path, label_table: Sequence[Label], command_line: str | None = None
) -> None:
    """Write what a dataset and its truth have once: descriptions, README, label table.

    Raises
    ------
    ValueError
        If `folder` is not empty.
    """
    check_output(folder)
    generator: dict[str, Any] = {"Name": "qsm-wf simulate", "Version": __version__}
    if command_line:
        generator["Description"] = command_line
    common = {"BIDSVersion": BIDS_VERSION, "License": "CC0", "GeneratedBy": [generator]}
    raw = {"Name": "Simulated multi-echo gradient echo scans", "DatasetType": "raw", **common}
    truth = {
        "Name": "Ground truth of the simulated scans",
        "DatasetType": "derivative",
        **common,
        "SourceDatasets": [{"URL": "../.."}],
    }
    readme = _README.format(version=__version__)
    for place, description in ((folder, raw), (folder / TRUTH, truth)):
        write_json(place / "dataset_description.json", description)
        write_text(place / "README", readme)
    rows = [f"{row.index}\t{row.name}\t{row.hemisphere}" for row in label_table]
    write_text(folder / TRUTH / "dseg.tsv", "\n".join(["index\tname\themisphere", *rows]) + "\n")
    columns = {"hemisphere": {"Description": "L, R, or n/a for structures of both sides"}}
    write_json(folder / TRUTH / "dseg.json", {"Description": "Labels of the heads", **columns})


def finish_dataset(folder: Path, participants: Sequence[str]) -> None:
    """Write the list of participants."""
    write_text(folder / "participants.tsv", "\n".join(["participant_id", *participants]) + "\n")


def write_subject(
    folder: Path,
    participant: str,
    head: Head,
    *,
    echo_times: Sequence[float],
    b0: float = 3.0,
    snr: float = 50.0,
    seed: int = 0,
) -> None:
    """Simulate one scan of a head and write it with its truth.

    Parameters
    ----------
    folder : Path
        Root of the dataset.
    participant : str
        For example ``sub-01``.
    head : Head
    echo_times, b0, snr, seed
        As for :func:`~qsm_workflows.phantom.signal.simulate_signal`. A single echo is
        written with the suffix T2starw, several with MEGRE.
    """
    times = check_scan(echo_times, b0, snr)
    images = dict(zip(("mag", "phase"), simulate_signal(head, times, b0, snr, seed), strict=True))
    for part, echoes in images.items():
        for number, (time, echo) in enumerate(zip(times, echoes, strict=True), start=1):
            name = f"echo-{number}_part-{part}_MEGRE" if len(times) > 1 else f"part-{part}_T2starw"
            sidecar = {
                "EchoTime": time,
                "MagneticFieldStrength": b0,
                "Manufacturer": "Simulated",
                "Units": "rad" if part == "phase" else "arbitrary",
            }
            path = folder / participant / "anat" / f"{participant}_{name}.nii.gz"
            write_image(path, echo, head.affine, sidecar)
    _write_truth(folder / TRUTH, participant, head)


def write_dataset(
    folder: str | os.PathLike[str],
    heads: Mapping[str, Head],
    *,
    echo_times: Sequence[float],
    b0: float = 3.0,
    snr: float = 50.0,
    seed: int = 0,
) -> Path:
    """Write a whole dataset of heads that are in memory.

    Parameters
    ----------
    folder : path
        New or empty.
    heads : mapping of str to Head
        By participant, for example ``{"sub-01": head}``; all with one label table.
    echo_times, b0, snr, seed
        As for :func:`write_subject`; each further head gets the next seed.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        If there is no head, the folder is not empty, or the scan parameters are not valid.
    """
    if not heads:
        raise ValueError("there is no head to write")
    check_scan(echo_times, b0, snr)
    root = Path(folder)
    start_dataset(root, next(iter(heads.values())).label_table)
    for i, (participant, head) in enumerate(heads.items()):
        write_subject(root, participant, head, echo_times=echo_times, b0=b0, snr=snr, seed=seed + i)
    finish_dataset(root, list(heads))
    return root


def _write_truth(root: Path, participant: str, head: Head) -> None:
    anat, fmap = root / participant / "anat", root / participant / "fmap"
    field = {
        "Units": "ppm",
        "SkullStripped": False,
        "Description": "Simulated field, positive where it is raised",
    }
    write_image(
        anat / f"{participant}_desc-truth_Chimap.nii.gz",
        head.chi,
        head.affine,
        {
            "Units": "ppm",
            "SkullStripped": False,
            "Description": "Simulated susceptibility relative to tissue water",
        },
    )
    write_image(
        anat / f"{participant}_desc-brain_mask.nii.gz",
        head.mask.astype(np.uint8),
        head.affine,
        {"Type": "Brain", "Description": "Brain with ventricles and sulci"},
    )
    write_image(
        anat / f"{participant}_dseg.nii.gz",
        head.labels,
        head.affine,
        {"Description": "Prevailing structure in each voxel; see dseg.tsv"},
    )
    for name, volume in (("total", head.total_field), ("local", head.local_field)):
        path = fmap / f"{participant}_desc-{name}_fieldmap.nii.gz"
        write_image(path, volume, head.affine, field)
    magnitude = head.subvoxels.mean_proton_density()
    write_image(
        fmap / f"{participant}_magnitude.nii.gz",
        magnitude,
        head.affine,
        {"SkullStripped": False, "Description": "Simulated proton density"},
    )


def write_image(
    path: Path, volume: NDArray[Any], affine: NDArray[np.float64], sidecar: Mapping[str, Any]
) -> None:
    """Write a NIfTI image and its sidecar; the image gets its name when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    partial = path.with_name(f".{path.name}")
    nib.save(image, partial)
    partial.rename(path)
    write_json(path.with_name(path.name.removesuffix(".nii.gz") + ".json"), sidecar)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.rename(path)
