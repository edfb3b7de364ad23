"""The digital head as it is imaged: susceptibility, fields, mask and labels."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.algorithms.geometry import (
    FloatArray,
    MaskArray,
    Triple,
    b0_direction,
    voxel_size,
)

from .anatomy import make_anatomy
from .grids import (
    Affine,
    FineGrid,
    Shape3,
    block_majority,
    block_mean,
    fine_grid,
    image_affine,
    repeat_blocks,
)
from .scene import Scene
from .shapes import Box
from .susceptibility import LABELS, Label

FIELD_PAD = 60.0
"""Zeros, in mm, round the head when its field is computed."""


@dataclass(frozen=True)
class SubVoxels:
    """What makes the signal, on a grid `factor` times finer than the image."""

    factor: Shape3
    total_field: FloatArray
    r2star: FloatArray
    proton_density: FloatArray

    def mean_proton_density(self) -> FloatArray:
        """Proton density on the grid of the image."""
        return block_mean(self.proton_density, self.factor)


@dataclass(frozen=True)
class Head:
    """Ground truth of one simulated subject on the grid of the images.

    Parameters
    ----------
    chi : (X, Y, Z) ndarray of float32
        Susceptibility relative to tissue water, ppm; the mean over each voxel.
    total_field : (X, Y, Z) ndarray of float32
        Field of everything in and round the head, ppm, after the scanner has set its
        frequency and its linear shim over the brain.
    local_field : (X, Y, Z) ndarray of float32
        Field of the sources inside `mask` alone, ppm.
    mask : (X, Y, Z) ndarray of bool
        The brain, with its ventricles and sulci.
    labels : (X, Y, Z) ndarray of uint8
        Prevailing structure in each voxel; 0 outside the brain.
    label_table : tuple of Label
        What the labels mean.
    affine : (4, 4) ndarray
        Voxel-to-world matrix, mm; B0 is the world's z.
    subvoxels : SubVoxels
        What :func:`~qsm_workflows.phantom.signal.simulate_signal` needs.
    """

    chi: FloatArray
    total_field: FloatArray
    local_field: FloatArray
    mask: MaskArray
    labels: NDArray[np.uint8]
    label_table: tuple[Label, ...]
    affine: Affine
    subvoxels: SubVoxels

    @property
    def voxel_size(self) -> NDArray[np.float64]:
        """Voxel edge lengths, mm."""
        return voxel_size(self.affine)

    @property
    def b0_dir(self) -> NDArray[np.float64]:
        """Unit vector of B0 in voxel axes."""
        return b0_direction(self.affine)


class Paintable(Protocol):
    """Anything that can be put into the scanner."""

    def box(self) -> Box:
        """Corners of a box that holds it, world mm."""

    def paint(self, grid: FineGrid) -> Scene:
        """Its magnetic properties on a fine grid."""


def simulate_head(
    seed: int,
    subject: int = 1,
    *,
    voxel_size: Triple = (1.0, 1.0, 1.0),
    matrix: Shape3 = (144, 192, 128),
    tilt: Triple = (0.0, 0.0, 0.0),
    lesions: bool = True,
) -> Head:
    """Digital head of one subject, the same for the same `seed` and `subject`.

    The anatomy is a set of continuous shapes, so that every voxel size and every
    orientation image the same head. Its field is computed on voxels of half the size
    over the whole head and neck, zero-padded, and averaged.

    Parameters
    ----------
    seed : int
        Of the data set, not negative.
    subject : int
        Number of the subject, from 1.
    voxel_size : (3,) sequence of float
        Voxel edge lengths of the image, mm.
    matrix : tuple of int
        Number of voxels along each axis.
    tilt : (3,) sequence of float
        Rotation of the image about the world's x, y and z axes, degrees.
    lesions : bool
        Add a haemorrhage (about 0.8 ppm) and a calcification (about −0.4 ppm).

    Raises
    ------
    ValueError
        If the grid is not valid, or holds no brain.
    """
    if seed < 0 or subject < 1:
        raise ValueError(f"seed must be ≥ 0 and subject ≥ 1, not {seed} and {subject}")
    affine = image_affine(voxel_size, matrix, tilt)
    anatomy = make_anatomy(seed, subject, lesions=lesions)
    return image_anatomy(anatomy, affine, matrix, LABELS)


def image_anatomy(
    anatomy: Paintable, affine: Affine, matrix: Shape3, label_table: tuple[Label, ...]
) -> Head:
    """Compute the fields of a head and average everything to an image grid.

    Parameters
    ----------
    anatomy : Paintable
        What is in the scanner.
    affine, matrix
        The image grid.
    label_table : tuple of Label
        What the anatomy's labels mean.

    Raises
    ------
    ValueError
        If no brain is inside the image.
    """
    grid = fine_grid(affine, matrix, *anatomy.box())
    scene = anatomy.paint(grid)
    labels, mask = _image_brain(scene, grid)
    size, direction = voxel_size(grid.affine), b0_direction(grid.affine)
    # With the susceptibility relative to what is outside, zeros round the grid are right.
    total_field = forward_field(scene.chi - scene.outside, size, direction, pad=FIELD_PAD)
    total_field = np.ascontiguousarray(total_field[grid.image_slices])
    fine_mask = repeat_blocks(mask, grid.factor)
    _shim(total_field, fine_mask)
    chi = scene.chi[grid.image_slices]
    # Slivers of skull in the outermost voxels of the mask are no sources of its own.
    inside = chi * (fine_mask & (scene.labels[grid.image_slices] > 0))
    local_field = forward_field(inside, size, direction, pad=FIELD_PAD)
    return Head(
        chi=block_mean(chi, grid.factor),
        total_field=block_mean(total_field, grid.factor),
        local_field=block_mean(local_field, grid.factor),
        mask=mask,
        labels=labels,
        label_table=label_table,
        affine=affine,
        subvoxels=SubVoxels(
            factor=grid.factor,
            total_field=total_field,
            r2star=np.ascontiguousarray(scene.r2star[grid.image_slices]),
            proton_density=np.ascontiguousarray(scene.proton_density[grid.image_slices]),
        ),
    )


def image_labels(anatomy: Paintable, affine: Affine, matrix: Shape3) -> NDArray[np.uint8]:
    """Labels of a head as :func:`image_anatomy` gives them, in half its time."""
    # Without fields, nothing outside the image need be painted.
    first_voxel = affine[:3, 3]
    grid = fine_grid(affine, matrix, first_voxel, first_voxel)
    return _image_brain(anatomy.paint(grid), grid)[0]


def _image_brain(scene: Scene, grid: FineGrid) -> tuple[NDArray[np.uint8], MaskArray]:
    """Prevailing structure in each voxel of the image, and which of them are brain."""
    labels = scene.labels[grid.image_slices]
    mask = block_mean(labels > 0, grid.factor) >= 0.5
    if not mask.any():
        raise ValueError("no brain inside the field of view: enlarge matrix or voxel_size")
    return block_majority(labels, grid.factor) * mask, mask


def _shim(field: FloatArray, mask: MaskArray) -> None:
    """Take away, in place, the constant and linear field that fit best inside the mask."""
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in field.shape]
    position = np.stack([axis[i] for axis, i in zip(axes, np.nonzero(mask), strict=True)], axis=1)
    basis = np.column_stack([np.ones(len(position), dtype=np.float32), position])
    weights = np.linalg.solve(basis.T @ basis, basis.T @ field[mask]).astype(np.float32)
    x, y, z = (weight * axis for weight, axis in zip(weights[1:], axes, strict=True))
    field -= weights[0] + x[:, None, None] + y[:, None] + z
