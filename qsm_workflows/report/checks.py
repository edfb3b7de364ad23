"""What a reader must know before trusting the numbers of a scan."""

import nibabel as nib
import pandas as pd

from .discovery import ChiMap, ScanOutputs
from .vocabulary import (
    DEEP_GREY,
    coverage_name,
    method_name,
    region_name,
    short_listing,
    sort_methods,
    sort_regions,
)

# Share of a region that must be measured for its mean to stand for the whole.
_WELL_COVERED = 0.9


def scan_warnings(scan: ScanOutputs, table: pd.DataFrame | None) -> list[str]:
    """Sentences about what is suspicious or missing in the outputs of a scan.

    Parameters
    ----------
    scan : ScanOutputs
    table : DataFrame or None
        Its regional means.
    """
    if not scan.maps:
        return ["There is no susceptibility map; the scan's file in the folder logs says why."]
    found = [*_missing_maps(scan), *_clipped_slabs(scan), *_mask_references(scan)]
    if table is None:
        return found
    both = table[table["hemisphere"] == "both"]
    return [*_negative_pallidum(both), *found, *_changed_reference(both), *_thin_regions(both)]


def _negative_pallidum(table: pd.DataFrame) -> list[str]:
    pallidum = table[table["region"] == "pallidum"]
    # Thin slabs can lose the contrast altogether; the sign is judged at the largest coverage.
    largest = pallidum.loc[pallidum.groupby(["order", "method"])["coverage_mm"].idxmax()]
    negative = largest[largest["mean"] < 0]
    if negative.empty:
        return []
    if len(negative) == len(largest):
        return [
            "The globus pallidus is diamagnetic in every map. Iron makes it paramagnetic: the "
            "sign of the phase is most likely wrong (set it with --phase-sign)."
        ]
    names = short_listing(
        f"{method_name(str(row.method))} {row.order}" for row in negative.itertuples(index=False)
    )
    return [f"The globus pallidus is diamagnetic in {names}, though not in the other maps."]


def _missing_maps(scan: ScanOutputs) -> list[str]:
    methods = sort_methods(m.method for m in scan.maps)
    one_step = {m.method for m in scan.maps if m.of_total_field}
    branches: dict[tuple[str, float], set[str]] = {}
    for chi in scan.maps:
        branches.setdefault((chi.order, chi.coverage), set()).add(chi.method)
    missing = [
        f"{method_name(method)} {_branch_name(order, coverage)}"
        for (order, coverage), present in branches.items()
        for method in methods
        if method not in present and not (order == "B+T" and method in one_step)
    ]
    return [f"Maps are missing: {short_listing(missing)}."] if missing else []


def _clipped_slabs(scan: ScanOutputs) -> list[str]:
    clipped = {}
    for chi in scan.maps:
        asked = chi.sidecar.get("CoverageMillimeters")
        actual = chi.sidecar.get("CoverageMillimetersActual")
        if not chi.is_slab or asked is None or actual is None:
            continue
        if asked - actual > 0.5 * _slice_thickness(chi):
            clipped[chi.coverage] = f"{coverage_name(chi.coverage)} ({actual:g} of {asked:g} mm)"
    if not clipped:
        return []
    names = short_listing(clipped[coverage] for coverage in sorted(clipped))
    return [f"The image does not hold the whole slab at coverage {names}."]


def _slice_thickness(chi: ChiMap) -> float:
    lengths = nib.load(chi.path).header.get_zooms()[:3]
    axis = "ijk".find(str(chi.sidecar.get("SlabAxis", "")) or "?")
    return float(max(lengths) if axis < 0 else lengths[axis])


def _mask_references(scan: ScanOutputs) -> list[str]:
    references = [chi.sidecar.get("Reference") for chi in scan.maps]
    if not any(isinstance(r, dict) and r.get("region") == "mask" for r in references):
        return []
    return [
        "Maps are relative to the mean of the mask, which changes with coverage: there were no "
        "labels of a reference region. Compare them with other maps with care."
    ]


def _changed_reference(table: pd.DataFrame) -> list[str]:
    if table.empty:
        return []
    usual = table.sort_values("coverage_mm")["reference"].iloc[-1]
    others = table[table["reference"] != usual]
    return [
        f"Regional means are relative to the {region_name(str(reference))} instead of the "
        f"{region_name(str(usual))} at coverage {_coverages(rows)}, where too few voxels of the "
        "reference are left; their errors hold this difference too."
        for reference, rows in others.groupby("reference")
    ]


def _thin_regions(table: pd.DataFrame) -> list[str]:
    deep = table[table["region"].isin(DEEP_GREY)]
    thin = deep[deep["fraction_covered"] < _WELL_COVERED]
    warnings = []
    for region in sort_regions(thin["region"]):
        least = thin[thin["region"] == region].groupby("coverage_percent")["fraction_covered"].min()
        parts = short_listing(
            f"{100 * fraction:.0f} % at coverage {coverage_name(percent)}"
            for percent, fraction in zip(least.index, least, strict=True)
        )
        warnings.append(f"Only a part of the {region_name(region)} is measured: {parts}.")
    return warnings


def _coverages(rows: pd.DataFrame) -> str:
    return short_listing(
        coverage_name(percent) for percent in sorted(rows["coverage_percent"].unique())
    )


def _branch_name(order: str, coverage: float) -> str:
    return coverage_name(coverage) if order == "full" else f"{order} {coverage_name(coverage)}"
