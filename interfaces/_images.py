"""Reading and writing the NIfTI images that pass between nodes."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike


def load(path: str) -> tuple[np.ndarray, nib.Nifti1Image]:
    """Read a volume as float32, scaling applied, with the image it came from."""
    image = nib.load(path)
    return np.asarray(image.dataobj, dtype=np.float32), image


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


def load_mask(path: str) -> np.ndarray:
    """Read a mask: every voxel that is not zero is inside."""
    return np.asarray(nib.load(path).dataobj) != 0


def save(data: ArrayLike, like: nib.Nifti1Image, path: str | Path) -> str:
    """Write `data` on the grid of `like`, whole or not at all, and return the path.

    Booleans and integers are stored as uint8 or int16, everything else as float32.
    """
    array = np.asarray(data)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    elif array.dtype.kind in "iu":
        array = array.astype(np.int16)
    else:
        array = array.astype(np.float32)
    image = nib.Nifti1Image(array, like.affine)
    image.header.set_xyzt_units("mm", "sec")
    for code, setter in (("qform_code", image.set_qform), ("sform_code", image.set_sform)):
        setter(like.affine, code=int(like.header[code]) or 1)
    path = Path(path).absolute()
    partial = path.with_name(f".{os.getpid()}_{path.name}")
    nib.save(image, partial)
    partial.replace(path)
    return str(path)


def output_path(cwd: str, name: str) -> str:
    """Path of an output called `name` in a node's own folder."""
    return str(Path(cwd) / f"{name}.nii.gz")
