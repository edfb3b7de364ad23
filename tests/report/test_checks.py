"""Warnings about suspicious or missing outputs."""

import json

import numpy as np
import pytest

from qsm_workflows.report.checks import scan_warnings
from qsm_workflows.report.discovery import find_scans
from qsm_workflows.report.tables import read_table


@pytest.fixture
def outputs(make_derivatives, tmp_path):
    """A scan with its table, and the folder it is in."""
    root = make_derivatives(tmp_path, methods=["tkd", "medi"], coverages=[100, 400])
    (scan,) = find_scans(root)
    return root, scan, read_table(scan.table)


def matching(warnings, text):
    return [warning for warning in warnings if text in warning]


def test_a_good_scan_is_told_only_what_is_thin(outputs):
    _, scan, table = outputs
    warnings = scan_warnings(scan, table)
    assert len(warnings) == 3
    assert matching(warnings, "Only a part of the pallidum (GP) is measured: 80 % at coverage 100")
    assert scan_warnings(scan, table.assign(fraction_covered=1.0)) == []
    assert scan_warnings(scan, None) == []


def test_dark_pallidum_means_a_wrong_sign(outputs):
    _, scan, table = outputs
    pallidum = table["region"] == "pallidum"
    all_dark = table.assign(mean=np.where(pallidum, -table["mean"], table["mean"]))
    assert matching(scan_warnings(scan, all_dark), "sign of the phase is most likely wrong")
    one = pallidum & (table["method"] == "tkd") & (table["order"] == "T+B")
    one_dark = table.assign(mean=np.where(one, -table["mean"], table["mean"]))
    assert matching(scan_warnings(scan, one_dark), "diamagnetic in TKD T+B, though not")
    # A thin slab may lose all contrast; only the largest coverage is judged.
    thin = one & (table["coverage_percent"] == 100)
    thin_dark = table.assign(mean=np.where(thin, -table["mean"], table["mean"]))
    assert not matching(scan_warnings(scan, thin_dark), "diamagnetic")


def test_clipped_slab(outputs):
    root, _, _ = outputs
    for sidecar in root.glob("sub-01/anat/*400_Chimap.json"):
        content = json.loads(sidecar.read_text())
        sidecar.write_text(json.dumps({**content, "CoverageMillimetersActual": 120.0}))
    (scan,) = find_scans(root)
    warnings = scan_warnings(scan, None)
    assert warnings == ["The image does not hold the whole slab at coverage 400 % (120 of 128 mm)."]


def test_a_slab_within_half_a_slice_is_not_clipped(outputs):
    root, _, _ = outputs
    for sidecar in root.glob("sub-01/anat/*400_Chimap.json"):
        content = json.loads(sidecar.read_text())
        # Slices are 4 mm thick.
        sidecar.write_text(json.dumps({**content, "CoverageMillimetersActual": 126.5}))
    (scan,) = find_scans(root)
    assert scan_warnings(scan, None) == []


def test_changed_reference_is_named_with_its_coverage(outputs):
    _, scan, table = outputs
    thin = table["coverage_percent"] == 100
    changed = table.assign(reference=np.where(thin, "mask", "optic_radiation"))
    (warning,) = matching(scan_warnings(scan, changed), "instead of")
    assert "relative to the mask instead of the optic radiation (OR) at coverage 100 %" in warning


def test_maps_relative_to_the_mask(outputs):
    root, _, _ = outputs
    for sidecar in root.glob("sub-01/anat/*Chimap.json"):
        content = json.loads(sidecar.read_text())
        sidecar.write_text(json.dumps({**content, "Reference": {"region": "mask"}}))
    (scan,) = find_scans(root)
    assert matching(scan_warnings(scan, None), "relative to the mean of the mask")


def test_tables_without_deep_grey_matter(outputs):
    _, scan, table = outputs
    assert scan_warnings(scan, table[table["region"] == "optic_radiation"]) == []
    assert scan_warnings(scan, table.iloc[:0]) == []


def test_a_scan_without_maps(outputs):
    root, _, table = outputs
    for path in root.glob("sub-01/anat/*Chimap*"):
        path.unlink()
    (scan,) = find_scans(root)
    (warning,) = scan_warnings(scan, table)
    assert "no susceptibility map" in warning
