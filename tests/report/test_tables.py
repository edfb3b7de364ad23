"""Regional tables: group figures and the smallest coverage that suffices."""

import numpy as np
import pandas as pd
import pytest

from qsm_workflows.report.tables import concatenate, minimum_coverage, read_table, summarise


def table_of(errors, *, error="percent_full", method="medi", subject="01"):
    """Table of one method and region with the given errors at 100, 200, … percent."""
    rows = [
        {
            "subject": subject,
            "order": "T+B",
            "coverage_percent": 100.0 * (number + 1),
            "coverage_mm": 32.0 * (number + 1),
            "method": method,
            "region": "pallidum",
            "hemisphere": "both",
            "percent_full": np.nan,
            "percent_truth": np.nan,
            error: value,
        }
        for number, value in enumerate(errors)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("errors", "smallest"),
    [
        ([-30, -4.9, 2, 0], 200),
        ([-30, -5.0, 2, 0], 300),  # the tolerance itself is too much
        ([-3, -30, 2, 0], 300),  # small by chance below a larger coverage that is not
        ([-30, -20, -10, -7], np.nan),
        ([np.nan, -4, 2, 0], 200),  # not measured there: not good
        ([-4, np.nan, 2, 0], 300),
        ([-4, -3, 2, np.nan], np.nan),
    ],
)
def test_minimum_coverage_holds_there_and_above(errors, smallest):
    (found,) = minimum_coverage(table_of(errors)).to_dict("records")
    assert found["coverage_percent"] == pytest.approx(smallest, nan_ok=True)
    assert found["coverage_mm"] == pytest.approx(0.32 * smallest, nan_ok=True)
    assert (found["order"], found["method"], found["region"]) == ("T+B", "medi", "pallidum")


def test_unknown_errors_are_left_out():
    table = pd.concat([table_of([1, 0]), table_of([-9, -1], error="percent_truth", method="tkd")])
    assert list(minimum_coverage(table)["method"]) == ["medi"]
    assert list(minimum_coverage(table, against="truth")["method"]) == ["tkd"]
    assert minimum_coverage(table.iloc[:0]).empty


def test_minimum_coverage_must_hold_in_every_scan():
    tables = [table_of([-3, 1, 0]), table_of([-7, 1, 0], subject="02")]
    assert minimum_coverage(concatenate(tables))["coverage_percent"].item() == 200


def test_tolerance_and_comparison_are_respected():
    table = table_of([-9, -3, 0])
    assert minimum_coverage(table, tolerance=10)["coverage_percent"].item() == 100
    with pytest.raises(ValueError, match="'full' or 'truth'"):
        minimum_coverage(table, against="trut")


def test_whole_images_and_single_sides_do_not_count():
    table = table_of([-30, 0])
    other = table_of([0, 0]).assign(hemisphere="L")
    whole = table_of([0]).assign(order="full")
    found = minimum_coverage(pd.concat([table, other, whole]))
    assert found["coverage_percent"].tolist() == [200]


def test_group_counts_every_subject_once(make_derivatives, tmp_path):
    paths = [make_derivatives(tmp_path, label) for label in ("01", "02")]
    tables = [read_table(next(paths[0].glob(f"sub-{s}/anat/*_stats.tsv"))) for s in ("01", "02")]
    second_run = tables[1].assign(run="2")
    second_run["mean"] += 0.02
    summary = summarise(concatenate([tables[0], tables[1], second_run]))
    merged = summary.merge(
        tables[0], on=["order", "coverage_percent", "method", "region", "hemisphere"]
    )
    assert len(summary) == len(tables[0])
    # Subject 2 is the mean of its runs, 0.01 above subject 1.
    np.testing.assert_allclose(merged["mean_x"], merged["mean_y"] + 0.005, atol=1e-6)
    np.testing.assert_allclose(merged["mean_sd"], 0.01 / np.sqrt(2), atol=1e-6)
    assert (summary["mean_n"] == 2).all()


def test_missing_values_lower_the_number_of_subjects(make_derivatives, tmp_path):
    root = make_derivatives(tmp_path, "01")
    table = read_table(next(root.glob("sub-01/anat/*_stats.tsv")))
    missing = table.assign(subject="02", mean=np.nan)
    summary = summarise(concatenate([table, missing]))
    assert (summary["mean_n"] == 1).all()
    assert summary["mean_sd"].isna().all()


def test_reading_knows_missing_values_and_labels(make_derivatives, tmp_path):
    root = make_derivatives(tmp_path, "01", truth=False)
    path = next(root.glob("sub-01/anat/*_stats.tsv"))
    table = read_table(path)
    assert table["subject"].unique().tolist() == ["01"]
    assert table["session"].isna().all()
    assert table["percent_truth"].isna().all()
    path.write_text(path.read_text().replace("percent_full", "percent"))
    with pytest.raises(ValueError, match="percent_full"):
        read_table(path)
