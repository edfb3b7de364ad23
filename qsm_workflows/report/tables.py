"""Tidy tables of regional means: of a scan, of the group, and what coverage suffices."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

LABEL_COLUMNS = ("subject", "session", "run", "acquisition")
CONDITION_COLUMNS = (
    "order",
    "coverage_percent",
    "coverage_mm",
    "method",
    "region",
    "hemisphere",
)
VALUE_COLUMNS = (
    "mean",
    "fraction_covered",
    "mean_full",
    "difference_full",
    "percent_full",
    "mean_truth",
    "difference_truth",
    "percent_truth",
)
ERROR_COLUMNS = {"full": "percent_full", "truth": "percent_truth"}


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of regional means.

    Parameters
    ----------
    path : Path
        Tab-separated, with ``n/a`` where a value is not known.

    Returns
    -------
    DataFrame
        NaN where a value is not known; the coverage of whole images is infinite.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    table = pd.read_csv(
        path,
        sep="\t",
        na_values=["n/a"],
        keep_default_na=False,
        dtype=dict.fromkeys(LABEL_COLUMNS, "string"),
    )
    missing = [c for c in (*LABEL_COLUMNS, *CONDITION_COLUMNS, *VALUE_COLUMNS) if c not in table]
    if missing:
        raise ValueError(f"{path} is no table of regional means: it has no {', '.join(missing)}")
    table["coverage_percent"] = table["coverage_percent"].astype(float)
    table.loc[table["order"] == "full", "coverage_percent"] = np.inf
    return table


def concatenate(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Tables of several scans as one; empty where there are none."""
    tables = list(tables)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard deviation and number over subjects.

    A subject's scans are averaged first, so that every subject counts once. Subjects
    without a value are left out of that value's figures.

    Parameters
    ----------
    table : DataFrame
        Tables of several subjects, as :func:`concatenate` gives.

    Returns
    -------
    DataFrame
        A row for each order, coverage, method, region and hemisphere, with ``<value>``,
        ``<value>_sd`` and ``<value>_n`` for each measured value.
    """
    # Thickness in mm may differ between subjects where it was measured from labels.
    conditions = [c for c in CONDITION_COLUMNS if c != "coverage_mm"]
    values = ["coverage_mm", *VALUE_COLUMNS]
    subjects = table.groupby(["subject", *conditions], sort=False)[values].mean().reset_index()
    groups = subjects.groupby(conditions, sort=False)[values]
    spread = groups.std(ddof=1).add_suffix("_sd")
    return pd.concat([groups.mean(), spread, groups.count().add_suffix("_n")], axis=1).reset_index()


def minimum_coverage(
    table: pd.DataFrame, tolerance: float = 5.0, against: str = "full"
) -> pd.DataFrame:
    """Smallest coverage from which the error stays small.

    The error must be below the tolerance at that coverage and at all larger ones; a
    coverage whose error is not known does not count as good. Of several scans all must
    be good. Both hemispheres are taken together, and whole images are left out.

    Parameters
    ----------
    table : DataFrame
        Regional means of one scan or more.
    tolerance : float
        Largest error, in percent.
    against : {"full", "truth"}
        Value that the error is taken from: the same pipeline at its largest coverage, which
        is therefore always good itself, or the truth.

    Returns
    -------
    DataFrame
        Columns ``order``, ``method``, ``region``, ``coverage_percent``, ``coverage_mm`` (NaN
        where no coverage is good) and ``largest_percent``. Combinations of which no error
        is known are left out.

    Raises
    ------
    ValueError
        If `against` is neither of the two.
    """
    if against not in ERROR_COLUMNS:
        raise ValueError(f"against must be 'full' or 'truth', not {against!r}")
    error = ERROR_COLUMNS[against]
    slabs = table[(table["order"] != "full") & (table["hemisphere"] == "both")]
    rows = []
    for (order, method, region), group in slabs.groupby(["order", "method", "region"], sort=False):
        if group[error].isna().all():
            continue
        good = (group[error].abs() < tolerance).groupby(group["coverage_percent"]).all()
        good = good.sort_index(ascending=False)
        still_good = good.index[np.logical_and.accumulate(good.to_numpy())]
        smallest = still_good[-1] if len(still_good) else np.nan
        thickness = group.loc[group["coverage_percent"] == smallest, "coverage_mm"]
        rows.append((order, method, region, smallest, thickness.mean(), good.index[0]))
    columns = ["order", "method", "region", "coverage_percent", "coverage_mm", "largest_percent"]
    return pd.DataFrame(rows, columns=columns)
