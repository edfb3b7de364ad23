"""What is found in an output folder."""

import math
from pathlib import Path

from qsm_workflows.bids.names import Derivatives
from qsm_workflows.bids.scan import Scan
from qsm_workflows.report.discovery import find_scans


def write_outputs(root, **labels):
    """Empty files under the names that a run gives them."""
    paths = Derivatives(root)
    scan = Scan("01", (Path("m"),), (Path("p"),), (0.02,), 3.0, **labels)
    files = [
        paths.magnitude(scan),
        paths.brain_mask(scan),
        paths.total_field(scan),
        paths.local_field(scan),
        paths.local_field(scan, 62.5),
        paths.branch_mask(scan, "T+B", 62.5),
        paths.chi(scan, "xqsm", "T+B", 62.5),
        paths.chi(scan, "medi", "B+T", 400),
        paths.chi(scan, "medi", "full", math.inf),
        paths.regions_table(scan),
    ]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return scan


def test_everything_that_a_run_writes_is_found(tmp_path):
    write_outputs(tmp_path)
    (tmp_path / "sub-01" / "anat" / "notes_Chimap.nii.gz").touch()
    (scan,) = find_scans(tmp_path)
    assert scan.prefix == "sub-01"
    assert None not in (scan.magnitude, scan.brain_mask, scan.total_field, scan.local_field)
    assert list(scan.slab_fields) == [62.5]
    assert scan.table.name == "sub-01_desc-regions_stats.tsv"
    found = {(chi.method, chi.order, chi.coverage, chi.mask is not None) for chi in scan.maps}
    assert found == {
        ("xqsm", "T+B", 62.5, True),
        ("medi", "B+T", 400.0, False),
        ("medi", "full", math.inf, False),
    }


def test_scans_of_one_subject_are_kept_apart(tmp_path):
    expected = {
        write_outputs(tmp_path, **labels).prefix
        for labels in (
            {"session": "a", "run": "1"},
            {"session": "a", "run": "2"},
            {"session": "b", "acquisition": "x"},
            {"session": "b", "acquisition": "x", "reconstruction": "norm"},
        )
    }
    scans = find_scans(tmp_path)
    assert {scan.prefix for scan in scans} == expected
    for scan in scans:
        assert len(scan.maps) == 3
        assert {chi.method for chi in scan.maps} == {"xqsm", "medi"}
        assert scan.total_field is not None
        assert scan.magnitude is not None
        assert scan.table is not None
        assert list(scan.slab_fields) == [62.5]
