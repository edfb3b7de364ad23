"""Tables of how right methods are, printed and as blocks of a network's card."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from _heads import REGIONS, add_errors, region_table

REFERENCE_MM = (32.0, 48.0, 128.0)
"""Coverages at which methods are compared in a card."""

SLOPE_MM = (32.0, 48.0, 128.0)
AGREEMENT = {"nrmse": 2, "ssim": 3, "psnr": 1, "hfen": 2}
"""Measures of the whole slab, with their decimals."""

SUFFIXES = ("%", "% of own full")
"""What errors of regions are counted in: the truth, and the method's own whole head."""

_SLOPES = "slope_with_iron_0.5_to_2_ideal_field"


class Accuracy:
    """What an evaluation found.

    Parameters
    ----------
    table : DataFrame
        A row for each map: head, field, mm, factor, lesion, method and what was measured.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.heads = sorted(int(seed) for seed in table["head"].unique())
        slabs = table[table.lesion == ""]
        self.slabs = add_errors(slabs[slabs.factor == 1], ["head", "field", "method"])
        self.full = f"{self.slabs.mm.max():g}"
        self.ideal = slabs[(slabs.field == "ideal") & slabs.mm.isin(SLOPE_MM)]
        self.lesions = table[table.lesion != ""].copy()
        for name in self.lesions.lesion.unique():
            of = self.lesions.lesion == name
            ratio = self.lesions.loc[of, name] / self.lesions.loc[of, f"{name}_truth"]
            self.lesions.loc[of, "error"] = 100 * (ratio - 1)

    def errors(self, suffix: str) -> pd.DataFrame:
        """GP/PU/CN in percent of something, by field, method and coverage."""
        return region_table(self.slabs, suffix, ["field", "method"])

    def agreement(self, measure: str) -> pd.DataFrame:
        """A measure of the whole slab, by field, method and coverage."""
        return self.slabs.pivot_table(measure, ["field", "method"], "mm").round(AGREEMENT[measure])

    def region_slopes(self) -> pd.DataFrame:
        """Response to iron, a row for each method and coverage and a column a region."""
        rows = [
            {"field": "ideal", "mm": mm, "method": method}
            | {f"{name} slope": _slope(group, name) for name in REGIONS}
            for (method, mm), group in self.ideal.groupby(["method", "mm"])
        ]
        return pd.DataFrame(rows)

    def slopes(self) -> pd.DataFrame:
        """Response to iron as text, GP/PU/CN, by method and coverage."""
        table = self.region_slopes()
        first, *others = (table[f"{name} slope"].map("{:.2f}".format) for name in REGIONS)
        table["slope"] = first.str.cat(others, sep="/")
        return table.pivot(index="method", columns="mm", values="slope")

    def lesion_errors(self) -> pd.DataFrame:
        """Error of lesions in percent, by lesion, field, method and coverage."""
        return self.lesions.pivot_table("error", ["lesion", "field", "method"], "mm").round(0)

    def print(self) -> None:
        """Print every table."""
        print(f"heads {self.heads}")
        for suffix in SUFFIXES:
            print(f"\nGP/PU/CN, {suffix} (by mm)\n{_text(self.errors(suffix))}")
        for measure in AGREEMENT:
            print(f"\n{measure}\n{_text(self.agreement(measure))}")
        print(f"\nslope with iron × 0.5 to 2, ideal field\n{_text(self.slopes())}")
        if len(self.lesions):
            print(f"\nlesions, %\n{_text(self.lesion_errors())}")

    def tidy(self) -> pd.DataFrame:
        """Mean over heads of every measure, a row for each field, coverage and method.

        Lesions have rows of their own, slopes are of ideal fields.
        """
        columns = [f"{name} {suffix}" for suffix in SUFFIXES for name in REGIONS]
        keys = ["field", "mm", "method"]
        slabs = self.slabs.groupby(keys, sort=False)[columns + list(AGREEMENT)].mean()
        lesions = self.lesions.groupby(["lesion", *keys], sort=False)["error"].mean()
        slopes = self.region_slopes()
        slabs = slabs.reset_index().merge(slopes, on=keys, how="left")
        table = pd.concat([slabs, lesions.reset_index(name="lesion %")])
        decimals = dict.fromkeys([*columns, "lesion %"], 1) | dict.fromkeys(slopes.columns[3:], 2)
        return table.round(decimals | AGREEMENT)

    def card(self, name: str, others: Sequence[str]) -> dict[str, Any]:
        """Blocks of a network's card: its accuracy, and a comparison with other methods.

        Parameters
        ----------
        name : str
            The network.
        others : sequence of str
            Methods to compare it with.
        """
        truth, own = (self.errors(suffix) for suffix in SUFFIXES)
        about = {
            "command": "benchmarks/networks.py",
            "heads": f"{len(self.heads)} digital heads of qsm-wf simulate, 1 mm; seeds "
            f"{self.heads}; none was trained on",
            "regions": "pallidum/putamen/caudate relative to the optic radiation, on the middle "
            "slices that every slab has",
        }
        own_title = f"percent_of_own_{self.full}_mm"
        slopes = self.slopes()
        accuracy: dict[str, Any] = about | {
            "percent_of_truth": _by_field(truth, name),
            own_title: _by_field(own, name),
        }
        for measure in AGREEMENT:
            accuracy[measure] = _by_field(self.agreement(measure), name)
        accuracy[_SLOPES] = _row(slopes.loc[name])
        if len(self.lesions):
            found = self.lesion_errors().xs(name, level="method")
            accuracy["lesions_percent_of_truth"] = {
                f"{lesion}, {field}": _row(row) for (lesion, field), row in found.iterrows()
            }
        if not others:
            return {"accuracy": accuracy}
        names = {"this network": name} | {other: other for other in others}
        fields = {
            f"{field} {mm:g} mm": {
                title: {
                    "percent_of_truth": truth.loc[(field, key), mm],
                    own_title: own.loc[(field, key), mm],
                    "nrmse": float(self.agreement("nrmse").loc[(field, key), mm]),
                }
                for title, key in names.items()
            }
            for field in truth.index.unique("field")
            for mm in REFERENCE_MM
            if mm in truth.columns
        }
        iron = {title: _row(slopes.loc[key]) for title, key in names.items()}
        return {"accuracy": accuracy, "comparison": about | fields | {_SLOPES: iron}}


def _text(table: pd.DataFrame) -> str:
    return table.to_string(na_rep="–")


def _by_field(table: pd.DataFrame, name: str) -> dict[str, dict[str, Any]]:
    return {field: _row(row) for field, row in table.xs(name, level="method").iterrows()}


def _row(row: pd.Series) -> dict[str, Any]:
    return {
        f"{mm:g} mm": value if isinstance(value, str) else float(value)
        for mm, value in row.dropna().items()
    }


def _slope(group: pd.DataFrame, name: str) -> float:
    """Mean over heads of the slope of a region's value against its truth."""
    return float(
        np.mean(
            [np.polyfit(one[f"{name}_truth"], one[name], 1)[0] for _, one in group.groupby("head")]
        )
    )
