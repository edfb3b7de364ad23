"""One page a run: figures, tables, warnings, methods and where everything came from."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from qsm_workflows import __version__
from qsm_workflows.bids.names import Derivatives
from qsm_workflows.bids.sidecars import read_json, regions_dictionary
from qsm_workflows.bids.writing import write_table, write_text

from .discovery import ScanOutputs, find_scans
from .methods import MethodsText, methods_text, parameter_text
from .sections import Failure, Section, failed_section, group_section, scan_section
from .tables import concatenate, summarise
from .vocabulary import coverage_name, method_name, sort_methods, sort_orders


@dataclass(frozen=True)
class Origin:
    """Where the results come from.

    Attributes
    ----------
    versions, commands : tuple of str
        Software and command lines that the sidecars tell.
    settings : tuple of (str, str)
        Step and its parameters, one for each that was used.
    """

    versions: tuple[str, ...]
    commands: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]


def write_report(out_dir: Path | str, *, failures: Sequence[Failure] = ()) -> Path:
    """Write the page of an output folder, with its figures and the group's table.

    Whatever is there is shown; what is missing or cannot be read is said.

    Parameters
    ----------
    out_dir : Path
        Folder of the output dataset.
    failures : sequence of Failure
        What did not finish in this run.

    Returns
    -------
    Path
        The page, ``index.html``.

    Raises
    ------
    ValueError
        If there is no such folder.
    """
    root = Path(out_dir)
    if not root.is_dir():
        raise ValueError(f"{root} is no folder; run the study first or check the path")
    names = Derivatives(root)
    scans = find_scans(root)
    sections, tables = [], []
    for scan in scans:
        own = [failure for failure in failures if failure.scan == scan.prefix]
        section, table = scan_section(scan, root, own)
        sections.append(section)
        if table is not None:
            tables.append(table)
    known = {scan.prefix for scan in scans}
    lost = dict.fromkeys(failure.scan for failure in failures if failure.scan not in known)
    sections += [
        failed_section(name.replace("_", " "), [f for f in failures if f.scan == name])
        for name in lost
    ]
    everything = concatenate(tables)
    if tables:
        write_table(names.group_table, everything, regions_dictionary())
    group = None
    if tables and everything["subject"].nunique() > 1:
        group = group_section(summarise(everything), everything, root)
    write_text(
        names.report,
        _render(
            title=str(read_json(names.description).get("Name") or "Susceptibility maps"),
            overview=_overview(scans, sections),
            group=group,
            sections=sections,
            methods=methods_text(scans),
            provenance=_provenance(scans),
            version=__version__,
        ),
    )
    return names.report


def _render(
    *,
    title: str,
    overview: Sequence[tuple[str, str]],
    group: Section | None,
    sections: Sequence[Section],
    methods: MethodsText,
    provenance: Origin,
    version: str,
) -> str:
    environment = Environment(
        loader=PackageLoader("qsm_workflows.report"),
        # Names, labels and error messages come from outside.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        title=title,
        overview=overview,
        group=group,
        sections=sections,
        methods=methods,
        provenance=provenance,
        version=version,
    )


def _overview(scans: Sequence[ScanOutputs], sections: Sequence[Section]) -> list[tuple[str, str]]:
    """What the run holds, in a few numbers and words."""
    maps = [chi for scan in scans for chi in scan.maps]
    coverages = sorted({chi.coverage for chi in maps})
    orders = sort_orders({chi.order for chi in maps} - {"full"})
    entries = [
        ("Subjects", str(len({scan.subject for scan in scans if scan.maps}))),
        ("Scans", _scan_count(sections)),
        ("Maps", str(len(maps))),
        ("Methods", ", ".join(method_name(m) for m in sort_methods(chi.method for chi in maps))),
        ("Orders", ", ".join(orders)),
        ("Coverage", ", ".join(coverage_name(coverage) for coverage in coverages)),
    ]
    return [(name, value) for name, value in entries if value]


def _scan_count(sections: Sequence[Section]) -> str:
    """How many scans have maps, and why others have none."""
    counts = Counter(section.status for section in sections)
    lost = {status: counts[status] for status in ("left out", "failed") if counts[status]}
    done = len(sections) - sum(lost.values())
    reasons = "".join(f", {count} {status}" for status, count in lost.items())
    return f"{done} of {len(sections)}{reasons}" if lost else str(done)


def _provenance(scans: Sequence[ScanOutputs]) -> Origin:
    maps = [chi for scan in scans for chi in scan.maps]

    def told(key: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(str(v) for chi in maps if (v := chi.sidecar.get(key))))

    settings: dict[tuple[str, str], None] = {}
    for chi in sorted(maps, key=lambda chi: sort_methods(m.method for m in maps).index(chi.method)):
        for name, parameters in (
            (method_name(chi.method), chi.sidecar.get("InversionParameters")),
            ("Background removal", chi.sidecar.get("BackgroundRemoval")),
        ):
            if isinstance(parameters, Mapping):
                settings[name, _all_parameters(parameters)] = None
    return Origin(told("SoftwareVersion"), told("CommandLine"), tuple(sorted(settings)))


def _all_parameters(parameters: Mapping[str, Any]) -> str:
    return parameter_text(parameters) or "no parameters"
