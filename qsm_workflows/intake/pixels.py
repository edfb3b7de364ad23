"""Voxels of DICOM slices, by dcm2niix."""

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dcm2niix
import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from .headers import PARTS

# Seconds after which a call is given up: one volume takes less than one.
_LONGEST = 600
_OPTIONS = (
    *("-b", "y"),  # sidecars
    *("-ba", "y"),  # without names and dates
    *("-z", "n"),  # uncompressed
    *("-i", "n"),  # derived images too: we have chosen already
    *("-m", "n"),  # never merge echoes
    *("-g", "i"),  # whatever the user's own defaults are
    *("-f", "%s_%e"),
)


@dataclass(frozen=True)
class Volume:
    """One image that dcm2niix wrote.

    Attributes
    ----------
    part : str
    echo_time : float
        In seconds.
    voxels : (X, Y, Z) or (X, Y, Z, T) ndarray
    affine : (4, 4) ndarray
    sidecar : dict
    """

    part: str
    echo_time: float
    voxels: NDArray
    affine: NDArray[np.float64]
    sidecar: dict[str, Any]


def convert_files(files: Sequence[Path]) -> list[Volume]:
    """Convert the slices of one volume, or the files of one enhanced series.

    Parameters
    ----------
    files : sequence of Path
        DICOM files; nothing else in their folders is looked at.

    Raises
    ------
    ValueError
        If dcm2niix fails or gives nothing; with its last words.
    """
    with TemporaryDirectory(prefix="qsm-wf-") as folder:
        given, made = Path(folder) / "given", Path(folder) / "made"
        given.mkdir()
        made.mkdir()
        for number, path in enumerate(files):
            (given / f"{number:06d}.dcm").symlink_to(os.path.abspath(path))
        try:
            done = subprocess.run(
                [dcm2niix.bin, *_OPTIONS, "-o", str(made), str(given)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_LONGEST,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ValueError(f"dcm2niix gave up on {files[0]} after {_LONGEST} s") from error
        volumes = [_read(path) for path in sorted(made.glob("*.nii"))]
    if not volumes:
        words = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        last = re.sub(r"\S*/(given|made)\S*", "…", " | ".join(words[1:4]))
        raise ValueError(f"dcm2niix made no image of {files[0]} and others: {last}")
    return volumes


def _read(path: Path) -> Volume:
    image = nib.load(path)
    sidecar = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    words = {str(word) for word in sidecar.get("ImageType", ())}
    part = next((part for part in reversed(PARTS) if PARTS[part] & words), "magnitude")
    time = float(sidecar.get("EchoTime", 0))
    voxels = np.asarray(image.dataobj, dtype=np.float32)
    return Volume(part, time, voxels, np.asarray(image.affine, dtype=float), sidecar)
