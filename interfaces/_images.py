"""Reading and writing the NIfTI images that pass between nodes."""

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike

from qsm_workflows.files import write_whole


def load_float(path: str) -> np.ndarray:
    """Read a volume as float32, scaling applied."""
    return np.asarray(nib.load(path).dataobj, dtype=np.float32)


def load(path: str) -> tuple[np.ndarray, nib.Nifti1Image]:
    """Read a volume as float32, scaling applied, with the image it came from."""
    return load_float(path), nib.load(path)


def load_mask(path: str) -> np.ndarray:
    """Read a mask: every voxel that is not zero is inside.

    Raises
    ------
    ValueError
        If it holds NaN, of which nobody knows on which side it is.
    """
    values = np.asarray(nib.load(path).dataobj)
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise ValueError(f"{path} holds NaN; a mask is zero outside and not zero inside")
    return values != 0


def load_echoes(
    paths: Sequence[str], others: Sequence[str] = ()
) -> tuple[list[np.ndarray], nib.Nifti1Image]:
    """Volumes of all echoes and the image of the first, all files on its grid."""
    first, image = load(paths[0])
    for path in (*paths[1:], *others):
        check_same_grid(paths[0], image, path)
    return [first, *(load_float(path) for path in paths[1:])], image


def load_labels(path: str) -> np.ndarray:
    """Read a label image as integers."""
    return np.rint(np.asarray(nib.load(path).dataobj)).astype(np.int32)


def on_grid_of(image: nib.Nifti1Image, volume: np.ndarray, affine: ArrayLike) -> np.ndarray:
    """Part of a larger volume that lies on the grid of `image`."""
    from qsm_workflows.algorithms.coverage import extract

    return extract(volume, affine, image.shape, image.affine)


def check_same_grid(path: str, image: nib.Nifti1Image, other: str) -> None:
    """Refuse two images whose voxels do not lie in the same places.

    Raises
    ------
    ValueError
        If the shapes differ, or the affines by more than a thousandth of a mm.
    """
    reference = nib.load(other)
    if image.shape[:3] != reference.shape[:3]:
        raise ValueError(
            f"{path} has shape {image.shape[:3]} but {other} has {reference.shape[:3]}; "
            "bring both to one grid first"
        )
    if not np.allclose(image.affine, reference.affine, atol=1e-3):
        raise ValueError(f"{path} and {other} have different affines; bring both to one grid first")


def save(
    data: ArrayLike,
    like: nib.Nifti1Image,
    path: str | Path,
    *,
    affine: ArrayLike | None = None,
) -> str:
    """Write `data` with the spatial codes of `like`, whole or not at all; return the path.

    Booleans are stored as uint8, integers as int16, everything else as float32. The
    affine is that of `like` unless given.
    """
    array = np.asarray(data)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    elif array.dtype.kind in "iu":
        array = array.astype(np.int16)
    else:
        array = array.astype(np.float32)
    matrix = like.affine if affine is None else np.asarray(affine)
    image = nib.Nifti1Image(array, matrix)
    image.header.set_xyzt_units("mm", "sec")
    # An image that names no space is still in the scanner's (code 1).
    image.set_sform(matrix, code=int(like.header["sform_code"]) or 1)
    image.set_qform(matrix, code=int(like.header["qform_code"]) or 1)
    path = Path(path).absolute()
    write_whole(path, lambda partial: nib.save(image, partial))
    return str(path)


def save_echoes(
    volumes: Sequence[ArrayLike], like: nib.Nifti1Image, cwd: str, name: str
) -> list[str]:
    """Write one file an echo to a node's own folder and return their paths."""
    return [
        save(volume, like, output_path(cwd, f"echo-{number}_{name}"))
        for number, volume in enumerate(volumes, 1)
    ]


def output_path(cwd: str, name: str) -> str:
    """Path of an output called `name` in a node's own folder.

    What passes between nodes is not compressed: the next node maps it at once, and
    only what is kept as a derivative is worth the seconds that gzip takes.
    """
    return str(Path(cwd) / f"{name}.nii")
