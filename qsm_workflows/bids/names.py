"""Names of everything that a run writes."""

import math
from dataclasses import dataclass
from pathlib import Path

from .scan import Scan, check_label

BEFORE_THE_RUN = "before the run"
"""Stands for the step of what was known of a scan before it was processed."""


def branch_label(order: str, coverage: float) -> str:
    """Label of one order of processing at one coverage.

    Parameters
    ----------
    order : str
        ``B+T`` or ``T+B``; of no account when the whole image is meant.
    coverage : float
        Coverage in percent of the deep-grey extent; infinite for the whole image.

    Raises
    ------
    ValueError
        If the order is unknown or the coverage is not positive.

    Examples
    --------
    >>> branch_label("T+B", 150), branch_label("B+T", 62.5), branch_label("full", math.inf)
    ('T+B150', 'B+T62p5', 'full')
    """
    if not coverage > 0:
        raise ValueError(f"the coverage must be positive, not {coverage} %")
    if math.isinf(coverage):
        return "full"
    if order not in ("B+T", "T+B"):
        raise ValueError(f"the order must be B+T or T+B, not {order!r}")
    # A label can hold no point.
    return order + f"{coverage:g}".replace(".", "p")


def mask_label(order: str, coverage: float, *, total_field: bool = False) -> str:
    """Label of the mask that goes with maps of one order and coverage.

    Maps that were made of the total field are valid in all of the brain that the slab holds.

    Parameters
    ----------
    order, coverage
        As in :func:`branch_label`.
    total_field : bool
        Whether the maps were made of the total field, no background being removed.

    Examples
    --------
    >>> mask_label("T+B", 150), mask_label("T+B", 150, total_field=True)
    ('T+B150', 'total+T+B150')
    >>> mask_label("full", math.inf, total_field=True)
    'brain'
    """
    label = branch_label(order, coverage)
    if not total_field:
        return label
    return "brain" if math.isinf(coverage) else f"total+{label}"


def sidecar_path(path: Path) -> Path:
    """Path of the JSON file that describes an image or a table."""
    name = path.name
    for extension in (".nii.gz", ".nii", ".tsv"):
        name = name.removesuffix(extension)
    return path.with_name(f"{name}.json")


@dataclass(frozen=True)
class Derivatives:
    """Paths of an output dataset; nothing is created.

    A scan's own ``rec-`` label, where it has one, is kept apart in every name, so that
    two reconstructions of one acquisition never write to the same file.

    Attributes
    ----------
    root : Path
        Folder of the output dataset.

    Examples
    --------
    >>> scan = Scan("01", (Path("m"),), (Path("p"),), (0.02,), 3.0, run="2")
    >>> Derivatives(Path("out")).chi(scan, "medi", "T+B", 150).as_posix()
    'out/sub-01/anat/sub-01_rec-medi_run-2_desc-T+B150_Chimap.nii.gz'
    """

    root: Path

    @property
    def description(self) -> Path:
        """The file that makes the folder a BIDS dataset."""
        return self.root / "dataset_description.json"

    @property
    def report(self) -> Path:
        """The page that shows the whole run."""
        return self.root / "index.html"

    @property
    def logs(self) -> Path:
        """Folder of log and crash files."""
        return self.root / "logs"

    @property
    def group_table(self) -> Path:
        """Regional means of all scans."""
        return self.root / "group_desc-regions_stats.tsv"

    def log(self, scan: Scan) -> Path:
        """Log file of a scan."""
        return self.logs / f"{scan.prefix}.log"

    def warnings(self, prefix: str) -> Path:
        """What runs warned of a scan, by its name: lists by step, and `BEFORE_THE_RUN`."""
        return self.logs / f"{prefix}_warnings.json"

    def figures(self, scan: Scan) -> Path:
        """Folder of the figures of a scan's subject."""
        return self.root / f"sub-{scan.subject}" / "figures"

    def chi(self, scan: Scan, method: str, order: str, coverage: float) -> Path:
        """Susceptibility map; `order` and `coverage` as in :func:`branch_label`."""
        reconstruction = (scan.reconstruction or "") + check_label(method)
        entities = {"rec": reconstruction, "desc": branch_label(order, coverage)}
        return self._path(scan, "anat", "Chimap.nii.gz", entities)

    def brain_mask(self, scan: Scan) -> Path:
        """Brain mask of the whole head."""
        return self._path(scan, "anat", "mask.nii.gz", {"desc": "brain"})

    def r2star(self, scan: Scan) -> Path:
        """R2* of the whole head, 1/s."""
        return self._path(scan, "anat", "R2starmap.nii.gz", {})

    def branch_mask(
        self, scan: Scan, order: str, coverage: float, *, total_field: bool = False
    ) -> Path:
        """Voxels in which maps are valid; parameters as in :func:`mask_label`."""
        label = mask_label(order, coverage, total_field=total_field)
        return self._path(scan, "anat", "mask.nii.gz", {"desc": label})

    def magnitude(self, scan: Scan) -> Path:
        """Magnitude that the report shows the maps on."""
        return self._fmap(scan, "magnitude", "")

    def total_field(self, scan: Scan) -> Path:
        """Field of the whole head, ppm."""
        return self._fmap(scan, "fieldmap", "total")

    def local_field(self, scan: Scan, coverage: float = math.inf) -> Path:
        """Field without its background, ppm.

        Of the whole head, as B+T uses it at every coverage, or of the slab that T+B
        made at the coverage given.
        """
        branch = "B+T" if math.isinf(coverage) else branch_label("T+B", coverage)
        return self._fmap(scan, "fieldmap", f"local+{branch}")

    def regions_table(self, scan: Scan) -> Path:
        """Regional means of a scan."""
        return self._path(scan, "anat", "stats.tsv", {"desc": "regions"})

    def _fmap(self, scan: Scan, suffix: str, description: str) -> Path:
        """Path in ``fmap``, where BIDS has no ``rec-``: it goes into ``desc-``."""
        labels = [label for label in (description, scan.reconstruction) if label]
        entities = {"rec": "", "desc": "+".join(labels)}
        return self._path(scan, "fmap", f"{suffix}.nii.gz", entities)

    def _path(self, scan: Scan, datatype: str, suffix: str, entities: dict[str, str]) -> Path:
        """Path with the scan's entities, replaced or completed by those given."""
        merged = {**scan.entities, **entities}
        stem = "_".join(
            f"{key}-{check_label(merged[key])}"
            for key in ("sub", "ses", "acq", "rec", "run", "desc")
            if merged.get(key)
        )
        return self.root / scan.folder / datatype / f"{stem}_{suffix}"
