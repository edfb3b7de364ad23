"""Masks, label images and true maps that come with a scan."""

import re
import zlib
from dataclasses import dataclass
from glob import glob
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from .dataset import is_own_output
from .labels import Label, read_label_table
from .scan import Scan, parse_name

# What each placeholder of a pattern stands for.
_PLACEHOLDERS = {
    "subject": "sub",
    "session": "ses",
    "acquisition": "acq",
    "reconstruction": "rec",
    "run": "run",
}


@dataclass(frozen=True)
class Companions:
    """Images that go with a scan; None where there is none.

    Attributes
    ----------
    mask : Path or None
        Brain mask.
    labels : Path or None
        Label image.
    label_table : tuple of Label
        Meaning of its values.
    truth_chi : Path or None
        True susceptibility, ppm.
    notes : tuple of str
        What was chosen among several, and what was left and why.
    """

    mask: Path | None = None
    labels: Path | None = None
    label_table: tuple[Label, ...] = ()
    truth_chi: Path | None = None
    notes: tuple[str, ...] = ()


def find_companions(
    scan: Scan,
    bids_dir: str | Path,
    *,
    mask_pattern: str | None = None,
    labels_pattern: str | None = None,
    exclude: str | Path | None = None,
) -> Companions:
    """Find the masks, labels and truth of a scan.

    They are taken from the datasets in ``derivatives/`` by their BIDS names
    (``desc-brain_mask``, ``dseg`` with a label table, ``desc-truth_Chimap``), when they
    have the scan's labels and lie on its grid. Among several the one whose name says most
    about the scan is taken, then the first by path.

    Parameters
    ----------
    scan : Scan
    bids_dir : path
        Root of the raw dataset.
    mask_pattern, labels_pattern : str, optional
        Path, absolute or relative to `bids_dir`, used instead of the search. It may hold
        ``{subject}``, ``{session}``, ``{acquisition}``, ``{reconstruction}`` and ``{run}``
        (labels without their keys) and the wildcards ``*``, ``?`` and ``**``.
    exclude : path, optional
        Output folder, in which nothing is looked for.

    Raises
    ------
    ValueError
        If a pattern matches no file or several, names a label that the scan does not
        have, or finds labels without a readable table.
    """
    root = Path(bids_dir).absolute()
    search = _Search(scan, root, None if exclude is None else Path(exclude).resolve())
    if mask_pattern:
        mask: Path | None = _match(mask_pattern, "--mask", scan, root)
    else:
        mask = search.best("brain mask", "mask", "brain")
    labels: Path | None
    table: tuple[Label, ...]
    if labels_pattern:
        labels = _match(labels_pattern, "--labels", scan, root)
        table = _read_table_of(labels)
    else:
        labels, table = search.best_labels()
    truth = search.best("true susceptibility", "Chimap", "truth")
    return Companions(mask, labels, table, truth, tuple(search.notes))


class _Search:
    """Search of the derivatives for images of one scan."""

    def __init__(self, scan: Scan, root: Path, exclude: Path | None) -> None:
        self.notes: list[str] = []
        self._scan = scan
        self._candidates = [
            path
            for dataset in sorted((root / "derivatives").glob("*/"))
            # The masks of an earlier run are results, not something that came with the scan.
            if dataset.resolve() != exclude and not is_own_output(dataset)
            for path in sorted((dataset / scan.folder / "anat").glob("*.nii*"))
        ]

    def best(self, what: str, suffix: str, description: str) -> Path | None:
        """Image of a suffix and ``desc-`` label."""
        found = self._ranked(what, suffix, description)
        self._note_choice(what, found)
        return found[0] if found else None

    def best_labels(self) -> tuple[Path | None, tuple[Label, ...]]:
        """Label image and its table; images without a table are of no use."""
        tables: dict[Path, tuple[Label, ...]] = {}
        for path in self._ranked("label image", "dseg", None):
            try:
                tables[path] = _read_table_of(path)
            except ValueError as error:
                self.notes.append(f"label image: {path} is not used: {error}")
        self._note_choice("label image", list(tables))
        return next(iter(tables.items()), (None, ()))

    def _ranked(self, what: str, suffix: str, description: str | None) -> list[Path]:
        """Images of a suffix that lie on the grid of the scan, best first."""
        ranks = {path: self._rank(path, suffix, description) for path in self._candidates}
        of_scan = [path for path, rank in ranks.items() if rank is not None]
        found = [path for path in of_scan if _same_grid(path, self._scan.images[0])]
        if of_scan and not found:
            left = ", ".join(str(path) for path in of_scan)
            self.notes.append(f"{what}: {left} is not used, as it is not on the grid of the scan")
        return sorted(found, key=lambda path: -(ranks[path] or 0))

    def _rank(self, path: Path, suffix: str, description: str | None) -> int | None:
        """How many labels a name shares with the scan; None if it is of something else."""
        try:
            entities, own_suffix = parse_name(path)
        except ValueError:
            return None
        shared = entities.keys() & set(_PLACEHOLDERS.values())
        if (
            own_suffix != suffix
            or (description is not None and entities.get("desc") != description)
            or any(self._scan.entities.get(key) != entities[key] for key in shared)
        ):
            return None
        return len(shared)

    def _note_choice(self, what: str, found: list[Path]) -> None:
        if len(found) > 1:
            others = ", ".join(str(path) for path in found[1:])
            self.notes.append(f"{what}: took {found[0]} rather than {others}")


def _match(pattern: str, option: str, scan: Scan, root: Path) -> Path:
    """The one file that a user's pattern means for a scan."""

    def label(placeholder: re.Match) -> str:
        name = placeholder[1]
        if name not in _PLACEHOLDERS:
            known = ", ".join(f"{{{name}}}" for name in _PLACEHOLDERS)
            raise ValueError(f"{option} {pattern}: {placeholder[0]} is not one of {known}")
        if _PLACEHOLDERS[name] not in scan.entities:
            raise ValueError(f"{option} {pattern}: {scan.prefix} has no {name}")
        return scan.entities[_PLACEHOLDERS[name]]

    filled = re.sub(r"\{(\w*)\}", label, pattern)
    found = sorted(root / path for path in glob(filled, root_dir=root, recursive=True))
    if len(found) != 1:
        listed = f"several files: {', '.join(map(str, found))}" if found else "no such file"
        raise ValueError(f"{option} {pattern}: for {scan.prefix} there is {listed} ({filled})")
    return found[0]


def _read_table_of(labels: Path) -> tuple[Label, ...]:
    """Label table of a label image: beside it, or in a folder above it in its dataset."""
    stem = labels.name.removesuffix(".gz").removesuffix(".nii")
    _, described, tail = stem.partition("_desc-")
    names = [f"{stem}.tsv", f"desc-{tail}.tsv" if described else "dseg.tsv", "dseg.tsv"]
    # The image's own folder, session, subject and dataset.
    for folder in labels.parents[:4]:
        for name in names:
            if (folder / name).is_file():
                return read_label_table(folder / name)
    raise ValueError(
        f"there is no label table: put {stem}.tsv beside it, with columns index, name "
        "and hemisphere"
    )


def _same_grid(path: Path, other: Path) -> bool:
    """Whether two images have the same voxels.

    One that cannot be read counts as if it had: it is not silently left, the checks tell.
    """
    try:
        image, reference = nib.load(path), nib.load(other)
    except (OSError, EOFError, zlib.error, ImageFileError):
        return True
    return image.shape == reference.shape and np.allclose(image.affine, reference.affine, atol=1e-3)
