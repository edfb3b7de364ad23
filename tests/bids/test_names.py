import math
from pathlib import Path

import pytest

from qsm_workflows.bids.names import Derivatives, branch_label, sidecar_path
from qsm_workflows.bids.scan import Scan

OUT = Derivatives(Path("out"))


def scan(**labels):
    return Scan("01", (Path("m"),), (Path("p"),), (0.02,), 3.0, **labels)


def test_names_hold_the_scan_s_labels_in_the_order_of_bids():
    full = scan(session="a", acquisition="x", run="02")
    names = [
        OUT.chi(full, "xqsm", "B+T", 100),
        OUT.brain_mask(full),
        OUT.branch_mask(full, "T+B", 112.5),
        OUT.total_field(full),
        OUT.local_field(full),
        OUT.local_field(full, 150),
        OUT.magnitude(full),
        OUT.regions_table(full),
    ]
    folder, prefix = Path("out/sub-01/ses-a"), "sub-01_ses-a_acq-x"
    assert names == [
        folder / "anat" / f"{prefix}_rec-xqsm_run-02_desc-B+T100_Chimap.nii.gz",
        folder / "anat" / f"{prefix}_run-02_desc-brain_mask.nii.gz",
        folder / "anat" / f"{prefix}_run-02_desc-T+B112p5_mask.nii.gz",
        folder / "fmap" / f"{prefix}_run-02_desc-total_fieldmap.nii.gz",
        folder / "fmap" / f"{prefix}_run-02_desc-local+B+T_fieldmap.nii.gz",
        folder / "fmap" / f"{prefix}_run-02_desc-local+T+B150_fieldmap.nii.gz",
        folder / "fmap" / f"{prefix}_run-02_magnitude.nii.gz",
        folder / "anat" / f"{prefix}_run-02_desc-regions_stats.tsv",
    ]


def test_two_reconstructions_never_share_a_name():
    def names(reconstruction):
        one = scan(reconstruction=reconstruction)
        return {
            OUT.chi(one, "medi", "full", math.inf),
            OUT.brain_mask(one),
            OUT.branch_mask(one, "B+T", 100),
            OUT.total_field(one),
            OUT.local_field(one),
            OUT.magnitude(one),
            OUT.regions_table(one),
            OUT.log(one),
        }

    assert len(names(None) | names("norm")) == 16


def test_figures_are_the_subject_s_and_the_rest_is_at_the_root():
    assert OUT.figures(scan(session="a")) == Path("out/sub-01/figures")
    assert OUT.report == Path("out/index.html")
    assert OUT.group_table == Path("out/group_desc-regions_stats.tsv")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.tsv"])
def test_sidecars_lie_beside_what_they_describe(name):
    assert sidecar_path(Path("x") / name) == Path("x/a.json")


def test_labels_that_no_name_can_hold_are_refused():
    with pytest.raises(ValueError, match="not a BIDS label"):
        OUT.chi(scan(), "../medi", "B+T", 100)
    with pytest.raises(ValueError, match="must be B"):
        branch_label("TB", 100)
    for coverage in (0, -1, math.nan):
        with pytest.raises(ValueError, match="positive"):
            branch_label("B+T", coverage)
