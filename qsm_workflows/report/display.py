"""Tables as the page shows them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from .curves import TOLERANCE
from .tables import ERROR_COLUMNS, minimum_coverage
from .vocabulary import (
    DEEP_GREY,
    coverage_name,
    method_name,
    region_name,
    sort_methods,
    sort_orders,
    sort_regions,
)

UNKNOWN, NEVER = "n/a", "—"

_COMPARISONS = {
    "full": "the same pipeline at its largest coverage",
    "truth": "the true susceptibility",
}


@dataclass(frozen=True)
class Cell:
    """A value and a smaller remark beside it."""

    value: str
    remark: str = ""


@dataclass(frozen=True)
class Group:
    """Rows of a table under one heading; each row is a name and its cells."""

    heading: str
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Table:
    """A table on the page.

    Attributes
    ----------
    title, note : str
    header : tuple of str
        Names of the columns, that of the rows' names first.
    groups : tuple of Group
    is_long : bool
        Whether it is folded until the reader opens it.
    """

    title: str
    note: str
    header: tuple[str, ...]
    groups: tuple[Group, ...]
    is_long: bool = False


def minimum_tables(table: pd.DataFrame) -> list[Table]:
    """Smallest coverage of small error of the deep grey matter, one table a comparison.

    Parameters
    ----------
    table : DataFrame
        Regional means of one scan, or of several: then it must suffice in all.
    """
    deep = table[table["region"].isin(DEEP_GREY)]
    several = len(table[["subject", "session", "run", "acquisition"]].drop_duplicates()) > 1
    tables = []
    for comparison, words in _COMPARISONS.items():
        found = minimum_coverage(deep, TOLERANCE, comparison)
        if found.empty:
            continue
        regions = [region for region in DEEP_GREY if (found["region"] == region).any()]
        cells = {
            (row.order, row.method, row.region): _minimum_cell(row, comparison)
            for row in found.itertuples(index=False)
        }
        groups = tuple(
            Group(
                order,
                tuple(
                    (
                        method_name(method),
                        tuple(cells.get((order, method, r), Cell(UNKNOWN)) for r in regions),
                    )
                    for method in sort_methods(found.loc[found["order"] == order, "method"])
                ),
            )
            for order in sort_orders(found["order"])
        )
        tables.append(
            Table(
                f"Smallest coverage with less than {TOLERANCE:g} % error against {words}",
                "The error is below that at this coverage and at all larger ones"
                f"{', in every scan' if several else ''}. {NEVER}: at none.",
                ("Method", *map(region_name, regions)),
                groups,
            )
        )
    return tables


def _minimum_cell(row, comparison: str) -> Cell:
    if math.isnan(row.coverage_percent):
        return Cell(NEVER)
    if comparison == "full" and row.coverage_percent == row.largest_percent:
        # The largest coverage is what it is compared with: it says nothing.
        return Cell(NEVER, f"none below {coverage_name(row.largest_percent)}")
    return Cell(f"{row.coverage_mm:.4g} mm", coverage_name(row.coverage_percent))


def regional_table(table: pd.DataFrame) -> Table | None:
    """Mean susceptibility of every region, method and order against coverage.

    Parameters
    ----------
    table : DataFrame
        Regional means of one scan, or :func:`qsm_workflows.report.tables.summarise`.
    """
    both = table[table["hemisphere"] == "both"]
    if both.empty:
        return None
    coverages = sorted(both["coverage_percent"].unique())
    comparison = None
    if both[ERROR_COLUMNS["truth"]].notna().any():
        comparison = "truth"
    elif len(coverages) > 1:
        # A coverage alone is the largest itself.
        comparison = "full"
    # The whole image has no order: its column is the same for B+T and T+B.
    orders = sort_orders(set(both["order"]) - {"full"}) or ["full"]
    groups = []
    for region in sort_regions(both["region"]):
        rows = both[both["region"] == region]
        cells = {
            (row["order"], row["method"], row["coverage_percent"]): _mean_cell(row, comparison)
            for _, row in rows.iterrows()
        }
        groups.append(
            Group(region_name(region), _method_rows(cells, orders, coverages, rows["method"]))
        )
    spread = "mean ± standard deviation over subjects" if "mean_sd" in table else "mean"
    errors = f"; in brackets the error against {_COMPARISONS[comparison]}" if comparison else ""
    return Table(
        "Regional susceptibility (ppm)",
        f"Of both sides, relative to the reference region: {spread}{errors}.",
        ("Method", *(f"{coverage_name(coverage)}" for coverage in coverages)),
        tuple(groups),
        is_long=True,
    )


def _method_rows(
    cells: Mapping[tuple[str, str, float], Cell],
    orders: Sequence[str],
    coverages: Sequence[float],
    methods: pd.Series,
) -> tuple[tuple[str, tuple[Cell, ...]], ...]:
    slabs = {(order, method) for order, method, _ in cells}
    rows = [
        (order, method)
        for order in orders
        for method in sort_methods(methods)
        if (order, method) in slabs
    ]
    # Methods of the total field may have the whole image alone.
    whole = set(methods) - {method for _, method in rows}
    rows += [("full", method) for method in sort_methods(whole)]
    return tuple(
        (
            method_name(method) if order == "full" else f"{method_name(method)}, {order}",
            tuple(
                cells.get(
                    ("full" if math.isinf(coverage) else order, method, coverage), Cell(UNKNOWN)
                )
                for coverage in coverages
            ),
        )
        for order, method in rows
    )


def _mean_cell(row: pd.Series, comparison: str | None) -> Cell:
    if math.isnan(row["mean"]):
        return Cell(UNKNOWN)
    value = _signed(f"{row['mean']:.3f}")
    if not math.isnan(row.get("mean_sd", math.nan)):
        value += f" ± {row['mean_sd']:.3f}"
    error = row[ERROR_COLUMNS[comparison]] if comparison else math.nan
    return Cell(value, "" if math.isnan(error) else _signed(f"{error:+.1f} %"))


def _signed(number: str) -> str:
    """Number with a proper minus sign."""
    return number.replace("-", "−")
