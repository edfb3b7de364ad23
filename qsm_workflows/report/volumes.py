"""Images in display orientation, and slabs placed in the field of view of the head."""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import obliquity
from numpy.typing import NDArray

from qsm_workflows.algorithms.geometry import bounding_box, voxel_size

PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""Plane → axis across it, of images whose axes point right, anterior and superior."""

# Where the globus pallidus lies in the brain's bounding box, from left, posterior and inferior.
_PALLIDUM_FRACTION = (0.5, 0.57, 0.45)

# Two grids are the same lattice when their voxel centres agree to this many voxels.
_LATTICE_TOLERANCE = 1e-2


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume whose axes point, as nearly as they can, right, anterior and superior.

    Attributes
    ----------
    data : (X, Y, Z) ndarray of float32
    affine : (4, 4) ndarray
        Voxel-to-world matrix, in mm.
    """

    data: NDArray[np.float32]
    affine: NDArray[np.float64]

    @property
    def voxel_size(self) -> NDArray[np.float64]:
        """Voxel edge lengths in mm."""
        return voxel_size(self.affine)

    @property
    def tilt(self) -> float:
        """Largest angle, in degrees, between an image axis and its world axis."""
        return float(np.degrees(obliquity(self.affine)).max())


def load_volume(path: Path) -> Volume:
    """Read an image in display orientation.

    Raises
    ------
    ValueError
        If it is not 3-D.
    """
    image = nib.load(path)
    if len(image.shape) != 3:
        raise ValueError(f"{path.name} has {len(image.shape)} dimensions; figures need 3")
    image = nib.as_closest_canonical(image)
    return Volume(np.asarray(image.dataobj, dtype=np.float32), image.affine)


def embed(part: Volume, whole: Volume) -> NDArray[np.float32]:
    """Place a slab where its affine says it lies in the grid of a larger image.

    Parameters
    ----------
    part, whole : Volume
        `part` is a block of the voxels of `whole`.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        On the grid of `whole`; NaN where `part` has no voxel.

    Raises
    ------
    ValueError
        If `part` is not a block of the voxels of `whole`.
    """
    mapping = np.linalg.inv(whole.affine) @ part.affine
    offset = np.rint(mapping[:3, 3]).astype(int)
    expected = np.eye(4)
    expected[:3, 3] = offset
    stop = offset + part.data.shape
    if (
        not np.allclose(mapping, expected, atol=_LATTICE_TOLERANCE)
        or np.any(offset < 0)
        or np.any(stop > whole.data.shape)
    ):
        raise ValueError("the slab is not a block of the voxels of the whole image")
    result = np.full(whole.data.shape, np.nan, dtype=np.float32)
    result[tuple(slice(a, b) for a, b in zip(offset, stop, strict=True))] = part.data
    return result


def focus(mask: NDArray[np.bool_], slab: NDArray[np.bool_] | None = None) -> tuple[int, int, int]:
    """Voxel through which the deep grey matter is best seen.

    Parameters
    ----------
    mask : (X, Y, Z) ndarray of bool
        Brain, in display orientation.
    slab : (X, Y, Z) ndarray of bool, optional
        Extent of the thinnest slab, which is centred on the globus pallidus in the direction
        in which it is thin; elsewhere, and without it, an average brain's place is taken.
    """
    brain = bounding_box(mask)
    point = [
        round(box.start + fraction * (box.stop - 1 - box.start))
        for box, fraction in zip(brain, _PALLIDUM_FRACTION, strict=True)
    ]
    if slab is not None:
        for axis, box in enumerate(bounding_box(slab)):
            if box.stop - box.start < mask.shape[axis]:
                point[axis] = (box.start + box.stop - 1) // 2
    return point[0], point[1], point[2]


def crop_to(mask: NDArray[np.bool_], margin: int = 3) -> tuple[slice, slice, slice]:
    """Bounding box of a mask with a margin of some voxels."""
    x, y, z = (
        slice(max(box.start - margin, 0), min(box.stop + margin, size))
        for box, size in zip(bounding_box(mask), mask.shape, strict=True)
    )
    return x, y, z


def take_plane(data: NDArray, plane: str, index: int, crop: tuple[slice, slice, slice]) -> NDArray:
    """Section of a volume as rows from bottom to top and columns from left to right.

    Parameters
    ----------
    data : (X, Y, Z) ndarray
        In display orientation.
    plane : {"sagittal", "coronal", "axial"}
    index : int
        Slice of `data` across the plane.
    crop : tuple of slice
        Part of the volume that is shown.
    """
    axis = PLANES[plane]
    inside = tuple(box for number, box in enumerate(crop) if number != axis)
    return np.take(data, index, axis=axis)[inside].T
