"""The output folder as a BIDS dataset of its own."""

import os
from pathlib import Path
from urllib.parse import quote, unquote

from qsm_workflows import __version__

from .names import Derivatives
from .sidecars import Provenance, read_json
from .writing import write_json, write_text

BIDS_VERSION = "1.10.0"

# What BIDS has no name for.
_IGNORED = ("index.html", "logs", "figures", "*_stats.tsv", "*_stats.json")

_README = """\
# Quantitative susceptibility maps

Written by qsm-wf. Susceptibility and fields are in ppm, positive where paramagnetic.

- `index.html`: the results of all scans on one page
- `sub-*/[ses-*/]anat/*_rec-<method>_desc-<order><coverage>_Chimap.nii.gz`: susceptibility
- `sub-*/[ses-*/]fmap/*_fieldmap.nii.gz`: total and local fields
- `sub-*/[ses-*/]anat/*_desc-regions_stats.tsv`: means of regions; of all scans in
  `group_desc-regions_stats.tsv`

`B+T100` is a slab of 100 % of the deep-grey extent whose background was removed on the whole
head before truncation; `T+B100` was truncated first. JSON files beside the images and tables
say what each of them holds.
"""


def write_dataset(provenance: Provenance) -> None:
    """Make the output folder a BIDS derivative dataset: description, README, .bidsignore.

    Raises
    ------
    ValueError
        If the folder is the raw dataset itself, another program's derivative, or that of
        another dataset.
    """
    derivatives = Derivatives(provenance.out_dir)
    if os.path.abspath(provenance.out_dir) == os.path.abspath(provenance.bids_dir):
        raise ValueError(
            f"the output folder {provenance.out_dir} is the raw dataset; choose another"
        )
    raw = quote(Path(os.path.relpath(provenance.bids_dir, provenance.out_dir)).as_posix())
    _refuse_foreign(provenance.out_dir)
    _refuse_other_source(provenance)
    write_json(
        derivatives.description,
        {
            "Name": "Quantitative susceptibility maps by qsm-workflows",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [
                {
                    "Name": "qsm-workflows",
                    "Version": __version__,
                    "Description": provenance.command_line,
                }
            ],
            "SourceDatasets": [{"URL": raw}],
            "DatasetLinks": {"raw": raw},
        },
    )
    write_text(provenance.out_dir / ".bidsignore", "\n".join(_IGNORED) + "\n")
    write_text(provenance.out_dir / "README.md", _README)


def is_own_output(folder: Path) -> bool:
    """Whether a folder is the output dataset of an earlier run."""
    makers = read_json(Derivatives(folder).description).get("GeneratedBy", [])
    return any(isinstance(maker, dict) and maker.get("Name") == "qsm-workflows" for maker in makers)


def _refuse_foreign(folder: Path) -> None:
    """Refuse to write into a dataset that another program made."""
    if Derivatives(folder).description.exists() and not is_own_output(folder):
        raise ValueError(
            f"{folder} holds a dataset that qsm-workflows did not write; choose another output "
            "folder"
        )


def _refuse_other_source(provenance: Provenance) -> None:
    """Refuse to replace the maps of another dataset, whose participants may have the same names.

    A dataset that is no longer where it was, or is seen from a container, is not another.
    """
    if not is_own_output(provenance.out_dir):
        return
    links = read_json(Derivatives(provenance.out_dir).description).get("DatasetLinks", {})
    earlier = provenance.out_dir / unquote(links.get("raw", ""))
    if "raw" in links and earlier.is_dir() and not earlier.samefile(provenance.bids_dir):
        raise ValueError(
            f"{provenance.out_dir} holds the maps of another dataset, {earlier.resolve()}; choose "
            "another output folder"
        )
