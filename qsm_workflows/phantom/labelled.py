"""A head from any label image and a table of susceptibilities."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.affines import apply_affine
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray
from scipy import ndimage

from qsm_workflows.algorithms import geometry
from qsm_workflows.algorithms.geometry import Triple

from .fields import AtlasVolume, random_field
from .grids import FineGrid, Shape3, image_affine
from .head import Head, image_anatomy
from .scene import Scene
from .shapes import Box
from .susceptibility import MATERIALS, Label, Material

OUTSIDE_BRAIN = ("air", "bone", "eye", "fat", "muscle", "skin", "background")
"""Names, in any case, of structures that are not part of the brain mask."""

_UNKNOWN = replace(MATERIALS["grey_matter"], texture=0.0)


@dataclass(frozen=True)
class LabelledAnatomy:
    """A label image with the material of every label; see :func:`read_labelled`.

    Parameters
    ----------
    labels : (X, Y, Z) ndarray of uint8
    affine : (4, 4) ndarray
        World position of its voxels, mm, with the middle of the image at the origin.
    table : mapping of int to (Label, Material)
    outside : Material
        What surrounds the image.
    texture : AtlasVolume
        Random field of unit variance over the image, in world mm.
    """

    labels: NDArray[np.uint8]
    affine: NDArray[np.float64]
    table: Mapping[int, tuple[Label, Material]]
    outside: Material
    texture: AtlasVolume

    @property
    def label_table(self) -> tuple[Label, ...]:
        """Labels of the brain."""
        return tuple(label for label, _ in self.table.values() if _in_brain(label))

    def box(self) -> Box:
        """Corners of a box that holds the image, world mm."""
        return _box(self.labels.shape, self.affine)

    def paint(self, grid: FineGrid) -> Scene:
        """Sample the image on a fine grid: properties trilinearly, labels by the nearest."""
        scene = Scene.filled(grid.shape, self.outside)
        brain = self.labels * self._brain()
        properties = [
            (scene.chi, self._map("chi"), self.outside.chi),
            (scene.r2star, self._map("r2star"), self.outside.r2star),
            (scene.proton_density, self._map("proton_density"), self.outside.proton_density),
        ]
        texture = self._map("texture")
        to_voxel = np.linalg.inv(self.affine).astype(np.float32)
        step = max(1, 2_000_000 // (grid.shape[1] * grid.shape[2]))
        for start in range(0, grid.shape[0], step):
            planes = slice(start, min(start + step, grid.shape[0]))
            world = grid.slab_positions(planes.start, planes.stop)
            index = to_voxel[:3, :3] @ world + to_voxel[:3, 3, None]
            shape = scene.chi[planes].shape
            for target, source, outside in properties:
                values = ndimage.map_coordinates(source, index, order=1, cval=outside)
                target[planes] = values.reshape(shape)
            spread = ndimage.map_coordinates(texture, index, order=1)
            scene.chi[planes] += (spread * self.texture.at(world)).reshape(shape)
            nearest = ndimage.map_coordinates(brain, index, order=0)
            scene.labels[planes] = nearest.reshape(shape)
        return scene

    def _map(self, quantity: str) -> NDArray[np.float32]:
        """One property of the materials on the grid of the labels."""
        lookup = np.full(256, getattr(self.outside, quantity), dtype=np.float32)
        for index, (_, material) in self.table.items():
            lookup[index] = getattr(material, quantity)
        return lookup[self.labels]

    def _brain(self) -> NDArray[np.bool_]:
        """The largest connected part of the labels of the brain."""
        indices = [index for index, (label, _) in self.table.items() if _in_brain(label)]
        parts, _ = ndimage.label(np.isin(self.labels, indices))
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        return parts == sizes.argmax() if sizes.any() else np.zeros(parts.shape, dtype=bool)


def simulate_labelled(
    labels: str | os.PathLike[str],
    table: str | os.PathLike[str],
    *,
    voxel_size: Triple | None = None,
    matrix: Shape3 | None = None,
    tilt: Triple = (0.0, 0.0, 0.0),
    seed: int = 0,
) -> Head:
    """Digital head from a label image.

    Parameters
    ----------
    labels, table : path
        As for :func:`read_labelled`.
    voxel_size : (3,) sequence of float, optional
        Of the simulated image, mm; by default that of the labels.
    matrix : tuple of int, optional
        By default what covers the label image. Both are centred on each other.
    tilt : (3,) sequence of float
        Rotation of the image about the world's x, y and z axes, degrees.
    seed : int
        Of the texture.

    Raises
    ------
    ValueError
        If the files do not fit together, or the grid is not valid or holds no brain.
    """
    anatomy = read_labelled(labels, table, seed)
    size = geometry.voxel_size(anatomy.affine) if voxel_size is None else voxel_size
    if matrix is None:
        low, high = anatomy.box()
        x, y, z = (max(1, round(n)) for n in (high - low) / size)
        matrix = (x, y, z)
    affine = image_affine(size, matrix, tilt)
    return image_anatomy(anatomy, affine, matrix, anatomy.label_table)


def read_labelled(
    labels: str | os.PathLike[str], table: str | os.PathLike[str], seed: int = 0
) -> LabelledAnatomy:
    """Read a label image and its table.

    Parameters
    ----------
    labels : path
        NIfTI image of whole numbers from 0 to 255; its world's z is along B0.
    table : path
        Tab-separated, with the columns ``index``, ``name`` and ``chi`` (ppm relative to
        tissue water), and where wanted ``hemisphere``, ``r2s`` (1/s) and ``m0``.
        What is missing is taken from the built-in structure of the same name, or else
        from grey matter; texture only from the former. Label 0 may be left out: it is air.
    seed : int
        Of the texture.

    Raises
    ------
    ValueError
        If a column or a label is missing from the table, or the image is not of labels.
    """
    materials = _read_table(Path(table))
    try:
        image = nib.load(labels)
    except ImageFileError as error:
        raise ValueError(f"{labels} is not a NIfTI image: {error}") from error
    values = np.asanyarray(image.dataobj)
    if values.ndim != 3 or not np.array_equal(values, np.clip(np.rint(values), 0, 255)):
        raise ValueError(f"{labels} is not a 3-D image of whole numbers from 0 to 255")
    unknown = sorted(set(np.unique(values).astype(int).tolist()) - set(materials) - {0})
    if unknown:
        raise ValueError(f"{labels} has labels that {table} does not list: {unknown}")
    outside = materials[0][1] if 0 in materials else MATERIALS["air"]
    affine = np.array(image.affine, dtype=float)
    affine[:3, 3] -= apply_affine(affine, (np.array(values.shape) - 1) / 2)
    texture = random_field(np.random.default_rng(seed), *_box(values.shape, affine), 1.5)
    return LabelledAnatomy(values.astype(np.uint8), affine, materials, outside, texture)


def _read_table(path: Path) -> dict[int, tuple[Label, Material]]:
    frame = pd.read_csv(path, sep="\t")
    missing = [column for column in ("index", "name", "chi") if column not in frame]
    if missing:
        raise ValueError(f"{path} has no column {', '.join(missing)}")
    if frame["index"].duplicated().any() or frame[["index", "name", "chi"]].isna().any(axis=None):
        raise ValueError(f"{path}: every row needs an index of its own, a name and a chi")
    rows = {}
    for row in frame.to_dict("records"):
        known = MATERIALS.get(row["name"].lower(), _UNKNOWN)
        material = Material(
            chi=float(row["chi"]),
            r2star=float(row.get("r2s", known.r2star)),
            proton_density=float(row.get("m0", known.proton_density)),
            texture=known.texture,
        )
        hemisphere = row.get("hemisphere", "n/a")
        side = hemisphere if hemisphere in ("L", "R") else "n/a"
        rows[int(row["index"])] = (Label(int(row["index"]), row["name"], side), material)
    return rows


def _in_brain(label: Label) -> bool:
    return label.index > 0 and label.name.lower() not in OUTSIDE_BRAIN


def _box(shape: tuple[int, ...], affine: NDArray[np.float64]) -> Box:
    """Corners of the box round an image, world mm."""
    corners = np.array(np.meshgrid(*([-0.5, n - 0.5] for n in shape))).reshape(3, -1).T
    world = apply_affine(affine, corners)
    return world.min(axis=0), world.max(axis=0)
