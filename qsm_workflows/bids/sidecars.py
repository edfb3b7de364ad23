"""What a run says about each of its outputs."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsm_workflows import __version__

from .scan import Scan

_ORDERS = {
    "B+T": "background field removed from the whole head, then truncated",
    "T+B": "total field truncated, then background field removed from the slab",
    "full": "background field removed from the whole head, no truncation",
}
_TOTAL_FIELD_ORDERS = {
    "T+B": "total field truncated, then inverted with its background",
    "full": "total field of the whole head, inverted with its background",
}


@dataclass(frozen=True)
class Provenance:
    """Where outputs come from: told once a run, stated in every sidecar.

    Attributes
    ----------
    bids_dir : Path
        Root of the raw dataset.
    out_dir : Path
        Root of the output dataset.
    command_line : str
        Command that makes the outputs again.
    """

    bids_dir: Path
    out_dir: Path
    command_line: str

    def uri(self, path: Path) -> str:
        """BIDS URI of a file, or its path relative to the output when in neither dataset.

        ``bids::`` is the output dataset, ``bids:raw:`` the raw one.
        """
        target = Path(os.path.abspath(path))
        for name, root in (("", self.out_dir), ("raw", self.bids_dir)):
            if target.is_relative_to(os.path.abspath(root)):
                inside = target.relative_to(os.path.abspath(root))
                return f"bids:{name}:{inside.as_posix()}"
        return Path(os.path.relpath(target, self.out_dir)).as_posix()

    def describe(self, description: str, sources: Iterable[Path]) -> dict[str, Any]:
        """Fields that every sidecar has."""
        return {
            "Description": description,
            "Sources": [self.uri(source) for source in sources],
            "SoftwareVersion": f"qsm-workflows {__version__}",
            "CommandLine": self.command_line,
        }


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON object; empty where the file is absent or no such object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


@dataclass(frozen=True)
class Branch:
    """One order of processing at one coverage.

    Attributes
    ----------
    order : str
        ``B+T``, ``T+B`` or ``full``.
    percent : float
        Coverage in percent of the deep-grey extent; infinite for the whole image.
    millimetres : float
        Thickness asked for.
    axis : int
        Voxel axis across the slab.
    centre : tuple of float
        World position that the slab is centred on, mm.
    total_field : bool
        Whether the total field is inverted, no background being removed.
    """

    order: str
    percent: float
    millimetres: float
    axis: int
    centre: tuple[float, float, float]
    total_field: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        """Sidecar fields; ``CoverageMillimetersActual`` is known once the slab is cut."""
        if math.isinf(self.percent):
            return {"PipelineOrder": "full"}
        return {
            "PipelineOrder": self.order,
            "CoveragePercent": self.percent,
            "CoverageMillimeters": self.millimetres,
            "SlabAxis": "ijk"[self.axis],
            "SlabCenterMillimeters": [round(x, 3) for x in self.centre],
        }

    @property
    def description(self) -> str:
        """Order and coverage in words."""
        orders = _TOTAL_FIELD_ORDERS if self.total_field else _ORDERS
        if math.isinf(self.percent):
            return orders["full"]
        return (
            f"{orders[self.order]}; slab of {self.millimetres:g} mm "
            f"({self.percent:g} % of the deep-grey extent)"
        )


def chi_sidecar(
    provenance: Provenance,
    branch: Branch,
    *,
    method: str,
    parameters: Mapping[str, Any],
    background_removal: Mapping[str, Any] | None,
    preset: str,
    reference: str,
    sources: Iterable[Path],
) -> dict[str, Any]:
    """Sidecar of a susceptibility map.

    Parameters
    ----------
    provenance : Provenance
    branch : Branch
    method : str
        Key of the inversion, such as ``medi``.
    parameters : mapping
        All its parameters, defaults too; for a network also the hash of its weights.
    background_removal : mapping or None
        ``Method`` and its parameters; None where the total field was inverted.
    preset : str
        Name of the settings that methods and parameters are of, or started from.
    reference : str
        Region that the map is relative to, or ``mask``.
    sources : iterable of Path
        Images that it was made from.
    """
    return {
        "Units": "ppm",
        "SkullStripped": True,
        **provenance.describe(
            f"Magnetic susceptibility by {method}, relative to {reference}: {branch.description}",
            sources,
        ),
        **branch.fields,
        "InversionMethod": method,
        "InversionParameters": dict(parameters),
        "InputField": "total" if background_removal is None else "local",
        **({"BackgroundRemoval": dict(background_removal)} if background_removal else {}),
        "Preset": preset,
        "Reference": {"region": reference},
    }


def field_sidecar(
    provenance: Provenance,
    *,
    kind: str,
    sources: Iterable[Path],
    branch: Branch | None = None,
    background_removal: Mapping[str, Any] | None = None,
    unwrapping: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Sidecar of a ``total`` or ``local`` field; `branch` for that of a slab."""
    words = f"{kind.capitalize()} field in parts per million of B0"
    return {
        "Units": "ppm",
        "SkullStripped": True,
        **provenance.describe(f"{words}: {branch.description}" if branch else words, sources),
        **(branch.fields if branch else {}),
        **({"BackgroundRemoval": dict(background_removal)} if background_removal else {}),
        **({"Unwrapping": dict(unwrapping)} if unwrapping else {}),
    }


def r2star_sidecar(provenance: Provenance, *, sources: Iterable[Path]) -> dict[str, Any]:
    """Sidecar of the map of R2*."""
    return {
        "Units": "1/s",
        "SkullStripped": True,
        **provenance.describe("R2* by least squares on the magnitude of the echoes", sources),
    }


def mask_sidecar(
    provenance: Provenance,
    *,
    sources: Iterable[Path],
    scan: Scan,
    branch: Branch | None = None,
    method: str | None = None,
) -> dict[str, Any]:
    """Sidecar of the brain mask, or with `branch` of the voxels where its maps are valid.

    `method` tells how the mask was made where none was given.
    """
    words = f"Voxels with valid susceptibility: {branch.description}" if branch else "Brain"
    return {
        "Type": "ROI" if branch else "Brain",
        **provenance.describe(words, sources),
        "SpatialReference": provenance.uri(scan.images[0]),
        **({"MaskMethod": method} if method else {}),
        **(branch.fields if branch else {}),
    }


def magnitude_sidecar(provenance: Provenance, *, sources: Iterable[Path]) -> dict[str, Any]:
    """Sidecar of the magnitude that the report shows."""
    return {
        "Units": "arbitrary",
        "SkullStripped": False,
        **provenance.describe("Magnitude of the gradient echoes, combined", sources),
    }


def regions_dictionary() -> dict[str, Any]:
    """Data dictionary of the regional tables, one entry a column."""
    relative = "Susceptibility relative to the reference region"
    larger = "the same order and method at its largest coverage, in the same voxels"
    columns: dict[str, str | tuple[str, str] | dict[str, Any]] = {
        "subject": "Participant, without sub-",
        "session": "Session, without ses-",
        "run": "Run, without run-",
        "acquisition": "Acquisition, without acq-",
        "order": {"Description": "Order of the steps", "Levels": dict(_ORDERS)},
        "coverage_percent": (
            "Slab thickness as a share of the deep-grey extent; inf: the whole image",
            "%",
        ),
        "coverage_mm": ("Slab thickness asked for", "mm"),
        "method": "Dipole inversion; one that takes the total field has T+B and full alone",
        "region": "Structure; abbreviations: GP pallidum, PU putamen, CN caudate, TH thalamus, "
        "RN red_nucleus, SN substantia_nigra, OR optic_radiation",
        "hemisphere": {
            "Description": "Side of the structure",
            "Levels": {"L": "left", "R": "right", "both": "both sides together"},
        },
        "mean": (f"{relative}: mean", "ppm"),
        "sd": ("Standard deviation of the susceptibility in the region", "ppm"),
        "n_voxels": "Voxels read: those valid in all maps of this coverage",
        "fraction_covered": "Share of the region's voxels in the whole head that were read",
        "reference": "Region that the susceptibility is relative to; mask: mean of all voxels",
        "mean_full": (f"{relative}: mean of {larger}", "ppm"),
        "difference_full": ("mean − mean_full", "ppm"),
        "percent_full": ("100 · (mean − mean_full) / |mean_full|", "%"),
        "mean_truth": (f"{relative}: true mean in the same voxels", "ppm"),
        "difference_truth": ("mean − mean_truth", "ppm"),
        "percent_truth": ("100 · (mean − mean_truth) / |mean_truth|", "%"),
    }
    return {name: _column(entry) for name, entry in columns.items()}


def _column(entry: str | tuple[str, str] | dict[str, Any]) -> dict[str, Any]:
    if isinstance(entry, str):
        return {"Description": entry}
    if isinstance(entry, tuple):
        return {"Description": entry[0], "Units": entry[1]}
    return entry
