"""Reading of images, with the faults that keep them from being read."""

import gzip
import math
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from qsm_workflows.algorithms.coverage import slab_axis
from qsm_workflows.algorithms.geometry import FloatArray, b0_direction, voxel_size

from .problems import Problems

THINNEST = 12.0
"""Least thickness of an image or slab, mm: background removal erodes 3 mm at each end."""
_FEWEST_SLICES = 5
# Twice the extent of the deep grey matter: below it, contrast falls off fast.
_RECOMMENDED = 64.0
# No compression of images does better than deflate's own limit.
_HIGHEST_COMPRESSION = 1032
# Largest difference, in mm a voxel, between the two transforms of one header.
_FORM_TOLERANCE = 0.02


def read_image(path: Path, found: Problems) -> FloatArray | None:
    """Voxels of an image with its scaling applied; None if it has a fault of its own.

    The first image that is read whole sets the grid that the others must have.
    """
    try:
        if path.stat().st_size == 0:
            found.error(path, "the file is empty (0 bytes)", "Copy or convert it again")
            return None
        # nibabel takes a file that it may not open for one of another format.
        with path.open("rb"):
            image = nib.load(path)
    except PermissionError as error:
        found.error(path, f"it may not be read: {error.strerror}", "Have its owner run chmod a+r")
        return None
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
        _read_to_the_end(path)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        found.error(path, f"it is damaged: {error}", "Copy or convert it again")
        return None
    bad = voxels.size - int(np.count_nonzero(np.isfinite(voxels)))
    if bad:
        found.error(path, f"{bad} voxels are NaN or infinite", "Replace them with 0")
        return None
    return voxels


def _read_to_the_end(path: Path) -> None:
    """Have the checksum of a compressed file compared, which comes after its last voxel."""
    if path.suffix == ".gz":
        with gzip.open(path) as stream:
            while stream.read(2**20):
                pass


def _check_header(path: Path, image: nib.Nifti1Image, found: Problems) -> bool:
    """Whether shape, type of values and grid are right."""
    if len(image.shape) != 3:
        found.error(
            path,
            f"it has {len(image.shape)} dimensions, {' × '.join(map(str, image.shape))}",
            "Split it into 3-D images; a scan has one for each echo, …_echo-1_…, …_echo-2_…",
        )
        return False
    if not _holds_its_voxels(path, image):
        found.error(
            path,
            f"its header says {' × '.join(map(str, image.shape))} voxels, more than a file of "
            f"{path.stat().st_size} bytes can hold",
            "Copy or convert it again",
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


def _holds_its_voxels(path: Path, image: nib.Nifti1Image) -> bool:
    """Whether a file is large enough for the voxels that its header promises."""
    promised = math.prod(image.shape) * image.get_data_dtype().itemsize
    ratio = _HIGHEST_COMPRESSION if path.suffix == ".gz" else 1
    return promised <= ratio * path.stat().st_size


def _check_extent(
    path: Path, image: nib.Nifti1Image, size: NDArray[np.float64], found: Problems
) -> None:
    """Whether the image is thick enough, and knows how it lies in the scanner."""
    extent = np.asarray(image.shape) * size
    axis = int(np.argmin(extent))
    if min(image.shape) < _FEWEST_SLICES or extent[axis] < THINNEST:
        found.error(
            path,
            f"it is too thin: {' × '.join(map(str, image.shape))} voxels, {extent[axis]:.3g} mm "
            f"along axis {axis}",
            f"QSM needs {_FEWEST_SLICES} slices and {THINNEST:g} mm at the least",
        )
    else:
        axis = slab_axis(image.affine)
        if extent[axis] < _RECOMMENDED:
            found.warning(
                path,
                f"it is {extent[axis]:.3g} mm thick from foot to head; below "
                f"{_RECOMMENDED:g} mm, susceptibility is underestimated, the more the thinner",
                "Compare scans of one thickness only, and state it; scan a thicker slab if you can",
            )
    _check_orientation(path, image, found)


def _check_orientation(path: Path, image: nib.Nifti1Image, found: Problems) -> None:
    """Whether an image knows how it lies in the scanner, and says so once."""
    header = image.header
    if header["sform_code"] > 0 and header["qform_code"] > 0:
        sform, qform = header.get_sform(), header.get_qform()
        if not np.allclose(sform[:3, :3], qform[:3, :3], atol=_FORM_TOLERANCE):
            found.warning(
                path,
                "its sform and qform turn it differently; the sform is used, B0 along "
                f"{np.round(b0_direction(image.affine), 3).tolist()}",
                "Remove the form that is not that of the scanner",
            )
    if image.header["sform_code"] == 0 and image.header["qform_code"] == 0:
        found.warning(
            path,
            "it has neither sform nor qform: B0 is taken to lie along the third voxel axis",
            "Convert the scan again with its orientation",
        )
