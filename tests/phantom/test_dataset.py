import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from qsm_workflows.phantom import write_dataset

TIMES = (0.005, 0.010)


@pytest.fixture(scope="module")
def dataset(head, tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("bids"), {"sub-01": head}, echo_times=TIMES)


def test_images_and_sidecars_of_every_echo(dataset, head):
    for number, time in enumerate(TIMES, start=1):
        for part, unit in (("mag", "arbitrary"), ("phase", "rad")):
            stem = dataset / "sub-01" / "anat" / f"sub-01_echo-{number}_part-{part}_MEGRE"
            image = nib.load(f"{stem}.nii.gz")
            assert image.shape == head.mask.shape
            np.testing.assert_allclose(image.affine, head.affine, atol=1e-4)
            sidecar = json.loads(Path(f"{stem}.json").read_text())
            assert sidecar["EchoTime"] == time
            assert sidecar["MagneticFieldStrength"] == 3.0
            assert sidecar["Units"] == unit


def test_truth_is_what_the_head_says(dataset, head):
    truth = dataset / "derivatives" / "truth" / "sub-01"
    for path, expected in {
        "anat/sub-01_desc-truth_Chimap.nii.gz": head.chi,
        "anat/sub-01_desc-brain_mask.nii.gz": head.mask,
        "anat/sub-01_dseg.nii.gz": head.labels,
        "fmap/sub-01_desc-total_fieldmap.nii.gz": head.total_field,
        "fmap/sub-01_desc-local_fieldmap.nii.gz": head.local_field,
    }.items():
        np.testing.assert_array_equal(np.asarray(nib.load(truth / path).dataobj), expected)


def test_label_table_lists_every_label(dataset, head):
    table = pd.read_csv(
        dataset / "derivatives" / "truth" / "dseg.tsv", sep="\t", keep_default_na=False
    )
    assert list(table.columns) == ["index", "name", "hemisphere"]
    assert set(table["hemisphere"]) == {"L", "R", "n/a"}
    assert set(np.unique(head.labels)) - {0} <= set(table["index"])


def test_nothing_unfinished_stays(dataset):
    assert not [path for path in dataset.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize("part", [".", "derivatives/truth"])
def test_bids_validator_finds_no_error(dataset, part):
    validator = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))
    if validator is None:
        pytest.skip("bids-validator-deno is not installed")
    command = [validator, "--format", "json", str(dataset / part)]
    report = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    issues = report["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_one_echo_is_a_t2starw(head, tmp_path):
    write_dataset(tmp_path / "one", {"sub-01": head}, echo_times=[0.02])
    names = {path.name for path in (tmp_path / "one" / "sub-01" / "anat").glob("*.nii.gz")}
    assert names == {f"sub-01_part-{part}_T2starw.nii.gz" for part in ("mag", "phase")}


def test_a_full_folder_is_refused_and_left_alone(head, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        write_dataset(tmp_path, {"sub-01": head}, echo_times=TIMES)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_nothing_is_written_for_a_bad_scan(head, tmp_path):
    with pytest.raises(ValueError, match="echo_times"):
        write_dataset(tmp_path / "new", {"sub-01": head}, echo_times=[-1.0])
    assert not (tmp_path / "new").exists()
