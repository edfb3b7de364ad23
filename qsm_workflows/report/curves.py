"""Curves of regional error against coverage."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .figures import FigureFile
from .mosaic import save_figure
from .tables import ERROR_COLUMNS
from .vocabulary import (
    DEEP_GREY,
    method_name,
    region_name,
    sort_methods,
    sort_orders,
)

TOLERANCE = 5.0
"""Error, in percent, within which a region counts as measured well."""

_LIMIT = 100.0
_LINE_STYLES = {"B+T": "-", "T+B": "--"}
# Colours of Okabe and Ito, told apart without colour vision; markers for print.
_STYLES = {
    "tkd": ("#5b5b5b", "s"),
    "tsvd": ("#a0a0a0", "d"),
    "l2": ("#c0a060", "h"),
    "ilsqr": ("#0072b2", "^"),
    "medi": ("#009e73", "D"),
    "tv": ("#56b4e9", "P"),
    "rts": ("#332288", "8"),
    "ndi": ("#882255", "H"),
    "star": ("#44aa99", "*"),
    "lnqsm": ("#999933", "d"),
    "tfi": ("#661100", "s"),
    "xqsmindividual": ("#d55e00", "o"),
    "xqsmcropped": ("#e69f00", "X"),
    "deepqsm": ("#cc79a7", "v"),
    "xqsm": ("#8b2500", "*"),
    "unet": ("#7f3fbf", "<"),
    "ir2qsm": ("#6b8e23", ">"),
    "lpcnn": ("#8b5a2b", "p"),
}
_OTHER_STYLE = ("#000000", "x")
_AXIS_LABELS = {
    "full": "error against the\nlargest coverage (%)",
    "truth": "error against\nthe truth (%)",
}


def regional_curves(table: pd.DataFrame, path: Path) -> FigureFile | None:
    """Error of the deep grey matter against coverage.

    One column for each region, one row for each value that errors are taken from; solid
    lines are B+T, dashed lines T+B. Where the table has standard deviations over
    subjects, they are drawn as bars.

    Parameters
    ----------
    table : DataFrame
        Regional means of one scan, or :func:`qsm_workflows.report.tables.summarise`.
    path : Path
        SVG to write.

    Returns
    -------
    FigureFile or None
        None where the table has no deep grey matter at two coverages or more.
    """
    slabs = table[(table["order"] != "full") & (table["hemisphere"] == "both")]
    regions = [r for r in DEEP_GREY if (slabs["region"] == r).any()]
    comparisons = [c for c, column in ERROR_COLUMNS.items() if slabs[column].notna().any()]
    if not regions or not comparisons or slabs["coverage_percent"].nunique() < 2:
        return None
    figure = Figure(
        figsize=(2.3 + 2.9 * len(regions), 0.9 + 2.6 * len(comparisons)), layout="constrained"
    )
    panels = figure.subplots(
        len(comparisons), len(regions), sharex=True, sharey="row", squeeze=False
    )
    for row, comparison in enumerate(comparisons):
        error = ERROR_COLUMNS[comparison]
        limits = _limits(slabs.loc[slabs["region"].isin(regions), error])
        for column, region in enumerate(regions):
            axes = panels[row, column]
            _draw_panel(axes, slabs[slabs["region"] == region], error, limits)
            if row == 0:
                axes.set_title(region_name(region), size=11)
            if row == len(comparisons) - 1:
                _label_coverages(axes, slabs)
        panels[row, 0].set_ylabel(_AXIS_LABELS[comparison])
    figure.supxlabel("slab thickness: mm, and % of the deep grey matter", size=10)
    figure.legend(
        handles=_legend(slabs),
        loc="outside right upper",
        frameon=False,
        fontsize=9,
        handlelength=2.8,
    )
    return FigureFile(path, *save_figure(figure, path))


def _limits(errors: pd.Series) -> tuple[float, float]:
    """Lower and upper end of a panel, in percent."""
    margin = 0.08 * float(errors.max() - errors.min())
    low = np.clip(errors.min() - margin, -_LIMIT, -2 * TOLERANCE)
    high = np.clip(errors.max() + margin, 2 * TOLERANCE, _LIMIT)
    return float(low), float(high)


def _draw_panel(axes, slabs: pd.DataFrame, column: str, limits: tuple[float, float]) -> None:
    axes.axhspan(-TOLERANCE, TOLERANCE, color="#000000", alpha=0.07, linewidth=0)
    axes.axhline(0, color="#808080", linewidth=0.8)
    for keys, line in slabs.groupby(["method", "order"], sort=False):
        method, order = map(str, keys)
        line = line.sort_values("coverage_mm")
        colour, marker = _STYLES.get(method, _OTHER_STYLE)
        spread = line.get(f"{column}_sd")
        axes.errorbar(
            line["coverage_mm"],
            line[column],
            yerr=None if spread is None else spread.fillna(0),
            color=colour,
            marker=marker,
            markersize=4.5,
            markerfacecolor=colour if order == "B+T" else "white",
            linestyle=_LINE_STYLES.get(order, ":"),
            linewidth=1.5,
            elinewidth=0.8,
        )
        for limit, arrow in zip(limits, ("$\\downarrow$", "$\\uparrow$"), strict=True):
            beyond = line.loc[line[column] / limit > 1, "coverage_mm"]
            edge = np.full(len(beyond), 0.95 * limit)
            axes.plot(beyond, edge, linestyle="", marker=arrow, color=colour, markersize=8)
    axes.set_ylim(*limits)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def _label_coverages(axes, slabs: pd.DataFrame) -> None:
    thickness = slabs.groupby("coverage_percent")["coverage_mm"].mean()
    axes.set_xticks(
        thickness.to_numpy(),
        [f"{mm:.4g}\n{percent:g}" for percent, mm in zip(thickness.index, thickness, strict=True)],
        size=8,
    )


def _legend(slabs: pd.DataFrame) -> list[Line2D]:
    handles = []
    for method in sort_methods(slabs["method"]):
        colour, marker = _STYLES.get(method, _OTHER_STYLE)
        handles.append(
            Line2D([], [], color=colour, marker=marker, markersize=5, label=method_name(method))
        )
    for order in sort_orders(slabs["order"]):
        handles.append(
            Line2D([], [], color="#404040", linestyle=_LINE_STYLES.get(order, ":"), label=order)
        )
    handles.append(Line2D([], [], color="#000000", alpha=0.12, linewidth=8, label="±5 %"))
    return handles
