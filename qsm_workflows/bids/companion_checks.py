"""Faults of the mask, labels and truth of a scan."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from qsm_workflows.algorithms.coverage import slab_axis
from qsm_workflows.algorithms.geometry import FloatArray

from .companions import Companions
from .labels import Label
from .problems import Problems
from .reading import read_image

# A mean over fewer voxels says nothing.
_FEWEST_REFERENCE_VOXELS = 10
# A mean over less of a structure than this is that of a part of it.
_LEAST_IN_MASK = 0.9
# Tissues that fill the image: they always reach its edge and the rim of a mask.
_EVERYWHERE = {"white_matter", "grey_matter", "csf", "vein", "haemorrhage", "calcification"}


def check_companions(
    companions: Companions, reference: str | None, found: Problems
) -> FloatArray | None:
    """Look for faults of mask, labels and truth; gives the labels, if there are any."""
    mask = labels = None
    if companions.mask is not None:
        mask = read_image(companions.mask, found)
        if mask is not None and not mask.any():
            found.error(companions.mask, "the mask is empty", "Give a mask of the brain")
            mask = None
    if companions.truth_chi is not None:
        read_image(companions.truth_chi, found)
    if companions.labels is not None:
        labels = read_image(companions.labels, found)
        if labels is not None:
            table = companions.label_table
            _check_labels(companions.labels, labels, table, reference, found)
            if found.grid is not None and found.grid[1].shape == labels.shape:
                axis = slab_axis(found.grid[1].affine)
                _check_regions(companions.labels, labels, table, mask, axis, found)
    return labels


def _check_labels(
    path: Path,
    labels: FloatArray,
    table: Sequence[Label],
    reference: str | None,
    found: Problems,
) -> None:
    values, counts = np.unique(labels, return_counts=True)
    if not np.array_equal(values, np.rint(values)):
        found.error(
            path,
            "the label image has values that are no integers",
            "Give hard labels, resampled with nearest neighbours",
        )
        return
    sizes = dict(zip(values.astype(int).tolist(), counts.tolist(), strict=True))
    if not any(label.index in sizes for label in table):
        found.error(
            path,
            "the label image holds none of the values of its label table",
            "Give the table that belongs to it",
        )
    elif reference not in (None, "mask"):
        voxels = sum(sizes.get(label.index, 0) for label in table if label.name == reference)
        if voxels < _FEWEST_REFERENCE_VOXELS:
            found.warning(
                path,
                f"the reference region {reference} has {voxels} voxels, too few: maps become "
                "relative to the mean of the mask, which changes with coverage",
                "Add the region to the labels or choose another with --reference",
            )


def _check_regions(
    path: Path,
    labels: FloatArray,
    table: Sequence[Label],
    mask: FloatArray | None,
    axis: int,
    found: Problems,
) -> None:
    """Whether structures lie whole in the image and in the mask."""
    for name in sorted({label.name for label in table} - _EVERYWHERE):
        inside = np.isin(labels, [label.index for label in table if label.name == name])
        size = np.count_nonzero(inside)
        if size == 0:
            continue
        if inside.take([0, -1], axis=axis).any():
            found.warning(
                path,
                f"the {name} reaches the first or last slice: a part of it was not scanned",
                "Compare its mean with that of scans that cover as much of it",
            )
        share = 1.0 if mask is None else np.count_nonzero(inside & (mask != 0)) / size
        if share < _LEAST_IN_MASK:
            found.warning(
                path,
                f"only {100 * share:.0f} % of the {name} lie in the mask",
                "Look at mask and labels together; are they of one scan?",
            )
