"""The susceptibility maps of a scan: those that a study makes and those that are there already."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qsm_workflows.bids.names import Derivatives, sidecar_path
from qsm_workflows.bids.scan import Scan
from qsm_workflows.bids.sidecars import read_json

from .config import FULL, ORDERS, TOTAL_FIELD, Coverage, StudyConfig
from .methods import METHODS, total_field_methods
from .saving import branch_order


@dataclass(frozen=True)
class Output:
    """One susceptibility map that a scan's graph makes.

    Attributes
    ----------
    order : str
        ``B+T``, ``T+B`` or ``full``.
    coverage : Coverage
    method : str
    """

    order: str
    coverage: Coverage
    method: str

    @property
    def of_total_field(self) -> bool:
        """Whether the total field is inverted."""
        return METHODS[self.method].takes_total_field


def branches(config: StudyConfig) -> dict[str, StudyConfig]:
    """Branches of a scan's graph, each with the coverages and methods it takes.

    The whole image is a coverage of the B+T branch, whose background is removed there. Methods
    of the total field are a branch of their own, whose whole image is not touched either.
    """
    slabs = tuple(coverage for coverage in config.coverages if not coverage.is_full)
    full = (FULL,) if FULL in config.coverages else ()
    cut_last, cut_first = (slabs if order in config.orders else () for order in ORDERS)
    total = total_field_methods(config.methods)
    local = tuple(name for name in config.methods if name not in total)
    wanted = {
        "B+T": (local, cut_last + full),
        "T+B": (local, cut_first),
        TOTAL_FIELD: (total, cut_first + full),
    }
    return {
        branch: replace(config, methods=methods, coverages=coverages)
        for branch, (methods, coverages) in wanted.items()
        if methods and coverages
    }


def outputs(config: StudyConfig) -> list[Output]:
    """Every susceptibility map of a scan."""
    return [
        Output("full" if coverage.is_full else branch_order(branch), coverage, method)
        for branch, own in branches(config).items()
        for coverage in own.coverages
        for method in own.methods
    ]


@dataclass(frozen=True)
class SavedMap:
    """A susceptibility map in the output folder.

    Attributes
    ----------
    output : Output
    path : Path
    millimetres : float or None
        Thickness that was asked for; None for the whole image.
    """

    output: Output
    path: Path
    millimetres: float | None


def saved_maps(scan: Scan, names: Derivatives) -> list[SavedMap]:
    """Every susceptibility map of a scan that this or an earlier run left, as sidecars tell."""
    found = []
    for sidecar in sorted((names.root / scan.folder / "anat").glob("*_Chimap.json")):
        about = read_json(sidecar)
        try:
            output = _output(about)
        except (KeyError, TypeError, ValueError):
            # Not a map of ours.
            continue
        path = names.chi(scan, output.method, output.order, output.coverage.percent)
        # Other scans of the subject have their maps in the same folder.
        if sidecar_path(path) == sidecar and path.exists():
            found.append(SavedMap(output, path, about.get("CoverageMillimeters")))
    return found


def _output(about: Mapping[str, Any]) -> Output:
    order, method = about["PipelineOrder"], about["InversionMethod"]
    if method not in METHODS:
        raise ValueError(f"{method} is not one of our methods")
    return Output(order, FULL if order == "full" else Coverage(about["CoveragePercent"]), method)
