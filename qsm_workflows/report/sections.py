"""What the page shows of one scan or of the group: figures with words, tables, warnings."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from nibabel.filebasedimages import ImageFileError

from qsm_workflows.bids.names import BEFORE_THE_RUN, Derivatives
from qsm_workflows.bids.sidecars import read_json

from .checks import scan_warnings
from .curves import TOLERANCE, regional_curves
from .discovery import ChiMap, ScanOutputs
from .display import Table, minimum_tables, regional_table
from .figures import (
    CHI_WINDOW,
    LOCAL_WINDOW,
    TOTAL_WINDOW,
    FigureFile,
    Head,
    chi_figure,
    field_figure,
    magnitude_figure,
    slab_field_figure,
)
from .guide import GUIDE, Guide
from .tables import read_table
from .vocabulary import (
    ORDER_NAMES,
    coverage_name,
    listing,
    method_name,
    short_listing,
    sort_methods,
)

_SIDES = "Left of the patient is on the left (neurological)."
# Degrees.
_TILT_WORTH_TELLING = 1.0
_MOST_STEPS = 3
# What is said of methods that invert the total field.
_ASIDES = {
    "B+T": "Without B+T, since it takes the total field: {}. ",
    "T+B": "From the total field instead, without background removal: {}. ",
    "full": "From the total field, without background removal: {}. ",
}
# What unreadable or half-written images raise.
_READ_ERRORS = (OSError, ValueError, EOFError, zlib.error, ImageFileError)


@dataclass(frozen=True)
class Failure:
    """Something that kept a scan from being complete.

    Attributes
    ----------
    scan : str
        Name of the scan, such as ``sub-01_ses-a``.
    reason : str
    step : str
        What failed; empty when the scan was refused before the run.
    """

    scan: str
    reason: str
    step: str = ""


@dataclass(frozen=True)
class FigureBlock:
    """A figure on the page.

    Attributes
    ----------
    source : str
        Address relative to the page.
    width, height : int
        Pixels.
    title, caption, alt : str
    guide : Guide
        How to read it.
    is_chart : bool
        Whether it is drawn on white.
    """

    source: str
    width: int
    height: int
    title: str
    caption: str
    alt: str
    guide: Guide
    is_chart: bool = False


@dataclass
class Section:
    """A scan, or the group, on the page.

    Attributes
    ----------
    title : str
    status : {"complete", "partial", "failed", "left out"}
    failures : list of Failure
    warnings : list of str
        What a look at the results finds.
    figures : list of FigureBlock
    tables : list of Table
    table_source : str
        Address of the table with all numbers.
    messages : list of (str, str)
        What steps warned of while they ran, and which steps.
    """

    title: str
    status: str = "complete"
    failures: list[Failure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    figures: list[FigureBlock] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    table_source: str = ""
    messages: list[tuple[str, str]] = field(default_factory=list)


def scan_section(
    scan: ScanOutputs, root: Path, failures: Sequence[Failure] = ()
) -> tuple[Section, pd.DataFrame | None]:
    """Draw the figures of a scan and gather what is told of it.

    What cannot be read is left out with a warning.

    Parameters
    ----------
    scan : ScanOutputs
    root : Path
        Folder of the output dataset.
    failures : sequence of Failure
        Of this scan.

    Returns
    -------
    section : Section
    table : DataFrame or None
        Regional means of the scan.
    """
    section = failed_section(_title(scan), failures)
    if scan.maps:
        section.status = "partial" if failures else "complete"
    table = None
    if scan.table is not None:
        try:
            table = read_table(scan.table)
        except (OSError, ValueError) as error:
            section.warnings.append(f"The regional table cannot be read: {error}")
        section.table_source = _address(scan.table, root)
    section.warnings += scan_warnings(scan, table)
    told = read_json(Derivatives(root).warnings(scan.prefix))
    before = told.pop(BEFORE_THE_RUN, [])
    section.warnings += before
    section.messages = _by_message(told, before)
    folder = root / f"sub-{scan.subject}" / "figures"
    _draw_images(section, scan, folder, root)
    if table is not None:
        _add_measurements(section, table, folder / f"{scan.prefix}_desc-regions_curves.svg", root)
    return section, table


def _by_message(told: Mapping[str, Sequence[str]], before: Sequence[str]) -> list[tuple[str, str]]:
    """Each message once, with the steps that gave it; those known before left out."""
    steps: dict[str, list[str]] = {}
    for step, messages in told.items():
        for message in messages:
            if not any(message in known for known in before):
                steps.setdefault(message, []).append(step)
    return [(message, short_listing(by, _MOST_STEPS)) for message, by in steps.items()]


def failed_section(title: str, failures: Sequence[Failure]) -> Section:
    """Section of a scan that left no map behind: ``failed``, or ``left out`` before the run."""
    tried = not failures or any(failure.step for failure in failures)
    return Section(title, "failed" if tried else "left out", list(failures))


def group_section(summary: pd.DataFrame, tables: pd.DataFrame, root: Path) -> Section:
    """Curves and tables of the mean over subjects.

    Parameters
    ----------
    summary : DataFrame
        As :func:`qsm_workflows.report.tables.summarise` gives.
    tables : DataFrame
        Tables of all scans.
    root : Path
        Folder of the output dataset.
    """
    subjects = tables["subject"].nunique()
    section = Section(f"Group of {subjects} subjects")
    block = _curves(summary, root / "figures" / "group_desc-regions_curves.svg", root, "the group")
    if block is not None:
        section.figures.append(block)
    section.tables = _tables(tables, summary)
    section.table_source = _address(Derivatives(root).group_table, root)
    return section


def _title(scan: ScanOutputs) -> str:
    return " ".join(f"{key}-{label}" for key, label in scan.entities.items())


def _address(path: Path, root: Path) -> str:
    return quote(path.relative_to(root).as_posix())


def _draw_images(section: Section, scan: ScanOutputs, folder: Path, root: Path) -> None:
    try:
        head = Head(scan)
        head.centre  # noqa: B018 reads the thinnest slab, once for all figures
    except _READ_ERRORS as error:
        section.warnings.append(f"No figures could be drawn: {error}")
        return
    drawings: list[Callable[[Head, ScanOutputs, Path, Path], FigureBlock | None]] = [
        _magnitude,
        _fields,
        *(partial(_chi, order) for order in ("B+T", "T+B", "full")),
        _slab_fields,
    ]
    for draw in drawings:
        try:
            block = draw(head, scan, folder, root)
        except _READ_ERRORS as error:
            section.warnings.append(f"A figure could not be drawn: {error}")
            continue
        if block is not None:
            section.figures.append(block)


def _block(
    kind: str, file: FigureFile, root: Path, title: str, caption: str, alt: str
) -> FigureBlock:
    source = _address(file.path, root)
    is_chart = file.path.suffix == ".svg"
    return FigureBlock(source, file.width, file.height, title, caption, alt, GUIDE[kind], is_chart)


def _orientation(head: Head) -> str:
    if head.tilt < _TILT_WORTH_TELLING:
        return _SIDES
    return (
        f"{_SIDES} The slices are tilted by {head.tilt:.0f}°: sections follow the image axes "
        "nearest to the named planes."
    )


def _magnitude(head: Head, scan: ScanOutputs, folder: Path, root: Path) -> FigureBlock | None:
    if scan.magnitude is None or scan.brain_mask is None:
        return None
    file = magnitude_figure(
        head, scan.magnitude.path, folder / f"{scan.prefix}_desc-mask_magnitude.png"
    )
    return _block(
        "magnitude",
        file,
        root,
        "Magnitude and brain mask",
        "Magnitude with the outline of the brain mask, from 0 to its 99.5th percentile in the "
        f"mask, arbitrary units. {_orientation(head)}",
        f"Axial, coronal and sagittal magnitude of {scan.prefix} with the brain mask outlined",
    )


def _fields(head: Head, scan: ScanOutputs, folder: Path, root: Path) -> FigureBlock | None:
    images = [image for image in (scan.total_field, scan.local_field) if image is not None]
    if not images:
        return None
    file = field_figure(
        head,
        scan.total_field,
        scan.local_field,
        folder / f"{scan.prefix}_desc-whole_fieldmap.png",
    )
    return _block(
        "fields",
        file,
        root,
        "Fields of the whole head",
        f"Total field from {TOTAL_WINDOW} and local field from {LOCAL_WINDOW}, black to white. "
        "Blue is brain without a value. "
        f"{_orientation(head)}",
        f"Axial, coronal and sagittal total and local field of {scan.prefix}",
    )


def _chi(order: str, head: Head, scan: ScanOutputs, folder: Path, root: Path) -> FigureBlock | None:
    maps = _shown_together(scan.maps, order)
    if not maps:
        return None
    file = chi_figure(head, maps, folder / f"{scan.prefix}_desc-{order}_Chimap.png")
    methods = [method_name(method) for method in sort_methods(chi.method for chi in maps)]
    coverages = [coverage_name(coverage) for coverage in sorted({chi.coverage for chi in maps})]
    has_slabs = any(chi.is_slab for chi in scan.maps)
    blue = " Blue is brain that the slab leaves out." if order != "full" else ""
    where = "the middle of the slabs" if has_slabs else "the deep grey matter"
    one_step = sort_methods(chi.method for chi in scan.maps if chi.of_total_field)
    aside = _ASIDES[order].format(listing(map(method_name, one_step))) if one_step else ""
    return _block(
        "chi",
        file,
        root,
        f"Susceptibility, {order}" if has_slabs else "Susceptibility",
        f"{ORDER_NAMES[order]}. {aside}Axial above coronal section through {where}, relative to "
        f"the reference, from {CHI_WINDOW}, black to white.{blue} {_orientation(head)}",
        f"Susceptibility maps of {scan.prefix}, {order}: {listing(methods)} at coverage "
        f"{listing(coverages)}",
    )


def _shown_together(maps: Sequence[ChiMap], order: str) -> list[ChiMap]:
    """Maps of the figure of one order.

    The whole image is a column of the slabs' figures; methods that are in none of these, since
    they take the total field, have it in a figure of its own.
    """
    orders = {chi.order for chi in maps if chi.is_slab}

    def belongs(chi: ChiMap) -> bool:
        if chi.is_slab:
            return chi.order == order
        return order in ((orders - {"B+T"} if chi.of_total_field else orders) or {"full"})

    return [chi for chi in maps if belongs(chi)]


def _slab_fields(head: Head, scan: ScanOutputs, folder: Path, root: Path) -> FigureBlock | None:
    if not scan.slab_fields:
        return None
    file = slab_field_figure(head, scan, folder / f"{scan.prefix}_desc-T+B_fieldmap.png")
    coverages = [coverage_name(coverage) for coverage in scan.slab_fields]
    return _block(
        "slab_fields",
        file,
        root,
        "Local fields of the slabs, T+B",
        f"Local field that each slab alone gives, beside that of the whole head, from "
        f"{LOCAL_WINDOW}, black to white. {_orientation(head)}",
        f"Axial and coronal local field of {scan.prefix} at coverage {listing(coverages)}",
    )


def _add_measurements(section: Section, table: pd.DataFrame, path: Path, root: Path) -> None:
    block = _curves(table, path, root, section.title)
    if block is not None:
        section.figures.append(block)
    section.tables = _tables(table, table)


def _tables(table: pd.DataFrame, means: pd.DataFrame) -> list[Table]:
    regional = regional_table(means)
    return [*minimum_tables(table), *([regional] if regional else [])]


def _curves(table: pd.DataFrame, path: Path, root: Path, whose: str) -> FigureBlock | None:
    file = regional_curves(table, path)
    if file is None:
        return None
    spread = " Bars are standard deviations over subjects." if "mean_sd" in table else ""
    return _block(
        "curves",
        file,
        root,
        "Error against coverage",
        "Error in percent of the mean susceptibility of globus pallidus, putamen and caudate "
        "against the thickness of the slab, of both sides together. Solid: B+T; dashed: T+B. "
        f"The band is ±{TOLERANCE:g} %; arrows mark values beyond the panel.{spread}",
        f"Curves of regional error against coverage of {whose}, one line for each method and "
        "order; the numbers are in the tables below",
    )
