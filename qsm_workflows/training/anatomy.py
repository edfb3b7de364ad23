"""Brains as label volumes, from which training volumes are made."""

import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from textwrap import shorten

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from qsm_workflows.networks.weights import sha256

Labels = NDArray[np.uint8]

TISSUES = (
    "outside",
    "white_matter",
    "grey_matter",
    "csf",
    "thalamus",
    "caudate",
    "putamen",
    "pallidum",
    "accumbens",
    "red_nucleus",
    "substantia_nigra",
    "dentate",
    "vein",
)
"""What a label volume tells apart; a voxel holds an index into this."""

CODES = {name: code for code, name in enumerate(TISSUES)}

_OTHER_NAMES = {
    "wm": "white_matter",
    "optic radiation": "white_matter",
    "gm": "grey_matter",
    "hippocampal formation": "grey_matter",
    "amygdala": "grey_matter",
    "lateral ventricle": "csf",
    "third ventricle": "csf",
    "5th ventricle": "csf",
    "inferior horn of the lateral ventricle": "csf",
    "gp": "pallidum",
    "globus pallidus": "pallidum",
    "nucleus accumbens": "accumbens",
    "rn": "red_nucleus",
    "sn": "substantia_nigra",
    "snandstn": "substantia_nigra",
    "dn": "dentate",
    "blood": "vein",
}

_LARGEST_MISFIT = 8.0
"""Millimetres between landmarks laid on each other, above which labels must be wrong."""

_LONGEST_REASON = 400
"""Characters of why donors do not fit, of which there may be hundreds."""

_LANDMARKS = ("thalamus", "caudate", "putamen", "pallidum")
"""By which two brains are laid on each other, and which are exchanged."""


@dataclass(frozen=True)
class LabelSet:
    """A brain, or its subcortical structures alone, as indices into :data:`TISSUES`."""

    labels: Labels
    affine: NDArray[np.float64]

    @cached_property
    def landmarks(self) -> NDArray[np.float64]:
        """Centres of both halves of each landmark, (8, 3), mm.

        Raises
        ------
        ValueError
            If there is a landmark without two halves.
        """
        points = []
        for name in _LANDMARKS:
            voxels = np.argwhere(self.labels == CODES[name])
            x, *_ = positions = (voxels @ self.affine[:3, :3].T + self.affine[:3, 3]).T
            if len(np.unique(x)) < 2:
                raise ValueError(f"no left and right {name}")
            left = x < x.mean()
            points += [positions[:, left].mean(axis=1), positions[:, ~left].mean(axis=1)]
        return np.array(points)


def read_labels(path: Path, table: Path) -> LabelSet:
    """Read a label image, right-handed as its affine says; unknown structures are outside.

    Parameters
    ----------
    path : Path
        NIfTI image of labels.
    table : Path
        TSV with the columns ``index`` and ``name``; sides in the names are ignored.
    """
    # Imported here, so that a machine that trains on volumes made elsewhere need not have it.
    import nibabel as nib

    image = nib.as_closest_canonical(nib.load(path))
    data = np.asarray(image.dataobj)
    codes = np.zeros(int(data.max()) + 1, np.uint8)
    for index, code in _read_table(table).items():
        if index < len(codes):
            codes[index] = code
    return LabelSet(codes[data.astype(np.intp)], image.affine)


def _read_table(table: Path) -> dict[int, int]:
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    if not rows or not {"index", "name"} <= rows[0].keys():
        raise ValueError(f"{table} needs the columns index and name")
    return {
        int(row["index"]): CODES[name]
        for row in rows
        if (name := _tissue_name(row["name"])) in CODES
    }


def _tissue_name(name: str) -> str:
    name = name.lower().replace("_", " ").removesuffix(" left").removesuffix(" right")
    return _OTHER_NAMES.get(name, name.replace(" ", "_"))


def find_label_images(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Label images under a folder that hold deep grey matter, with their tables.

    A table ``[prefix_]dseg.tsv`` speaks for all ``[prefix]*_dseg.nii.gz`` of the same
    top-level sub-folder.

    Yields
    ------
    path, table : Path
    """
    for table in sorted(folder.glob("*/**/*dseg.tsv")):
        if set(_read_table(table).values()) < {CODES[name] for name in _LANDMARKS}:
            continue
        root = folder / table.relative_to(folder).parts[0]
        prefix = table.name.removesuffix("dseg.tsv").rstrip("_")
        for path in sorted(root.rglob(f"{prefix}*_dseg.nii.gz")):
            yield path, table


def fingerprint(folder: Path) -> str:
    """Digest of the label images that a folder lends and of their tables, wherever it lies."""
    found = {file for pair in find_label_images(folder) for file in pair}
    lines = [f"{sha256(file)} {file.relative_to(folder).as_posix()}" for file in sorted(found)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def graft(head: LabelSet, nuclei: LabelSet) -> LabelSet:
    """Give a head the basal ganglia, thalami and ventricles of another person.

    The other person is laid on the head by the similarity that best fits the centres of
    the large nuclei.

    Raises
    ------
    ValueError
        If they do not fit at all: the labels then mean something else.
    """
    rotation, scale, shift = _similarity(head.landmarks, nuclei.landmarks)
    misfit = scale * head.landmarks @ rotation.T + shift - nuclei.landmarks
    if np.linalg.norm(misfit, axis=1).max() > _LARGEST_MISFIT:
        raise ValueError("the nuclei lie elsewhere than those of the head; check their labels")
    placement = np.eye(4)
    placement[:3, :3] = scale * rotation
    placement[:3, 3] = shift
    matrix = np.linalg.inv(nuclei.affine) @ placement @ head.affine
    donated = ndimage.affine_transform(
        nuclei.labels, matrix, output_shape=head.labels.shape, order=0
    )
    exchanged = [CODES[name] for name in (*_LANDMARKS, "accumbens")]
    labels = np.where(np.isin(head.labels, exchanged), CODES["white_matter"], head.labels)
    # What this small nucleus is called varies; the head keeps its own where it has one.
    donated[np.isin(donated, [CODES["substantia_nigra"], CODES["red_nucleus"]])] = 0
    labels = np.where((donated > 0) & (labels > 0), donated, labels)
    return LabelSet(labels.astype(np.uint8), head.affine)


def _similarity(
    source: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Rotation, scale and shift that take points of `source` nearest to those of `target`."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    rotation = Rotation.align_vectors(b, a)[0].as_matrix()
    scale = float(np.linalg.norm(b) / np.linalg.norm(a))
    return rotation, scale, target.mean(axis=0) - scale * rotation @ source.mean(axis=0)


@dataclass(frozen=True)
class Anatomies:
    """Brains to draw from: heads, each as it is or with the nuclei of another person."""

    heads: Sequence[LabelSet]
    """Whole brains."""
    donors: Sequence[tuple[Path, Path]]
    """Label images of subcortical structures, with their tables."""
    source: str
    """Where they are from, for people to read."""

    @classmethod
    def read(cls, folder: Path) -> "Anatomies":
        """Take what label images a folder lends; see :func:`find_label_images`.

        Raises
        ------
        ValueError
            If none of them is a whole brain, or one that should be lacks a large nucleus.
        """
        images = list(find_label_images(folder))
        tables = {table: _read_table(table).values() for _, table in images}
        whole = {table for table, codes in tables.items() if CODES["white_matter"] in codes}
        heads = [_read_head(*pair) for pair in images if pair[1] in whole]
        donors = [pair for pair in images if pair[1] not in whole]
        if not heads:
            raise ValueError(
                f"{folder} holds no label image of a whole brain: a sub-folder with "
                "*_dseg.nii.gz and a table dseg.tsv that names white and grey matter"
            )
        names = sorted({pair[0].relative_to(folder).parts[0] for pair in images})
        source = f"{', '.join(names)} ({len(heads)} heads, {len(donors)} donors)"
        return cls(heads, donors, source)

    def draw(self, rng: np.random.Generator) -> LabelSet:
        """One of the heads, mostly with nuclei of another person.

        Raises
        ------
        ValueError
            If none of the donors can be laid on it.
        """
        head = self.heads[int(rng.integers(len(self.heads)))]
        if not self.donors or rng.random() < 0.1:
            return head
        # One in thirty of the public sets has its labels shifted.
        unfit: dict[tuple[Path, Path], str] = {}
        while len(unfit) < len(self.donors):
            donor = self.donors[int(rng.integers(len(self.donors)))]
            if donor in unfit:
                continue
            try:
                return graft(head, read_labels(*donor))
            except ValueError as error:
                unfit[donor] = f"{donor[0]}: {error}"
        reasons = shorten("; ".join(unfit.values()), _LONGEST_REASON, placeholder=" …")
        raise ValueError(
            f"none of the {len(unfit)} label images that lend their nuclei fits the head "
            f"({reasons}); mend them and their tables, or take them away"
        )


def _read_head(path: Path, table: Path) -> LabelSet:
    """Read a whole brain, with the landmarks that every use of it needs."""
    head = _cropped(read_labels(path, table))
    try:
        _ = head.landmarks
    except ValueError as error:
        raise ValueError(
            f"{path} is a whole brain by its table {table}, but has {error}; mend its labels or "
            "the table, or take it away"
        ) from error
    return head


def _cropped(brain: LabelSet, margin: int = 4) -> LabelSet:
    """Cut to the brain, whose holes become fluid."""
    labels = np.where(_largest(brain.labels > 0), brain.labels, 0).astype(np.uint8)
    labels[(labels == 0) & ndimage.binary_fill_holes(labels > 0)] = CODES["csf"]
    low, high = (f(np.argwhere(labels), axis=0) for f in (np.min, np.max))
    first, end = np.maximum(low - margin, 0), high + 1 + margin
    inside = tuple(slice(a, b) for a, b in zip(first, end, strict=True))
    affine = brain.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ first
    return LabelSet(np.ascontiguousarray(labels[inside]), affine)


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, _ = ndimage.label(mask)
    return parts == np.bincount(parts[mask]).argmax()


def digital_head(number: int) -> LabelSet:
    """Labels of one of the heads that ``qsm-wf simulate`` makes, at 1 mm, without lesions."""
    from qsm_workflows.phantom.anatomy import make_anatomy
    from qsm_workflows.phantom.grids import image_affine
    from qsm_workflows.phantom.head import image_labels
    from qsm_workflows.phantom.susceptibility import LABELS

    matrix = (144, 192, 128)
    affine = image_affine((1, 1, 1), matrix, (0, 0, 0))
    # Far from the seeds that anybody evaluates on.
    anatomy = make_anatomy(10_000 + number, 1, lesions=False)
    codes = np.zeros(256, np.uint8)
    for row in LABELS:
        codes[row.index] = CODES.get(_tissue_name(row.name), 0)
    return _cropped(LabelSet(codes[image_labels(anatomy, affine, matrix)], affine))
