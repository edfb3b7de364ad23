"""`qsm-wf check`: what it says, in text and JSON, and its exit status."""

import json

import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.cli.main import main

SHAPE = (8, 8, 8)


@pytest.fixture
def masked(dataset):
    """A dataset of one sound scan with mask and labels."""
    dataset.scan("sub-01")
    derivative = "derivatives/m/sub-01/anat/sub-01"
    dataset.image(f"{derivative}_desc-brain_mask.nii.gz", np.ones(SHAPE, np.uint8))
    labels = np.zeros(SHAPE, np.int16)
    labels[1:3, :, 1:7], labels[4:6, :, 1:7] = 1, 2
    dataset.image(f"{derivative}_dseg.nii.gz", labels)
    dataset.text(
        f"{derivative}_dseg.tsv",
        "index\tname\themisphere\n1\tpallidum\tL\n2\toptic_radiation\tR\n",
    )
    return dataset


def check(dataset, capsys, *options):
    status = main(["check", "--bids", str(dataset.root), "--json", *options])
    return status, json.loads(capsys.readouterr().out)


def test_sound_dataset_passes_and_tells_what_is_assumed(masked, capsys):
    status, report = check(masked, capsys)
    assert status == 0
    (scan,) = report["scans"]
    assert report["ok"]
    assert scan["problems"] == []
    assert scan["b0_dir"] == [0, 0, 1]
    assert (scan["obliquity"], scan["slab_axis"]) == (0, "k")
    assert scan["extent"] == [64, 64, 64]
    assert scan["mask"].endswith("sub-01_desc-brain_mask.nii.gz")
    assert scan["phase_units"] == "rad"
    assert "assumed" in scan["phase_sign_source"]


def test_text_gives_each_fault_its_file_and_remedy(masked, capsys):
    path = masked.root / "sub-01/anat/sub-01_echo-2_part-phase_MEGRE.nii.gz"
    path.write_bytes(b"")
    assert main(["check", "--bids", str(masked.root)]) == 1
    text = capsys.readouterr().out
    assert f"error: {path}: the file is empty (0 bytes). Copy or convert it again." in text
    assert "0 of 1 scans can be processed" in text


def test_refusals_of_the_index_fail_the_check(masked, capsys):
    (masked.root / "sub-01/anat/sub-01_echo-3_part-phase_MEGRE.nii.gz").unlink()
    status, report = check(masked, capsys)
    assert status == 1
    assert report["scans"] == []
    assert "no phase image" in report["refused"][0]["what"]


def test_a_participant_without_data_is_told_and_no_fault(masked, capsys):
    masked.text("participants.tsv", "participant_id\nsub-01\nsub-ghost\n")
    status, report = check(masked, capsys)
    assert (status, report["ok"]) == (0, True)
    assert "sub-ghost" in report["refused"][0]["what"]


def test_filters_leave_the_others_out(masked, capsys):
    paths = masked.scan("sub-02")
    paths["mag1"].write_bytes(b"")
    assert check(masked, capsys, "--participant-label", "01")[0] == 0
    assert check(masked, capsys)[0] == 1


def test_stated_sign_wins_over_that_of_the_maker(masked, capsys):
    for path in (masked.root / "sub-01/anat").glob("*phase*.nii.gz"):
        masked.edit(path, Manufacturer="GE MEDICAL SYSTEMS")
    assert check(masked, capsys)[1]["scans"][0]["phase_sign"] == -1
    for path in (masked.root / "sub-01/anat").glob("*phase*.nii.gz"):
        masked.edit(path, PhaseSign=1)
    scan = check(masked, capsys)[1]["scans"][0]
    assert (scan["phase_sign"], scan["phase_sign_source"]) == (1, "PhaseSign of the sidecar")


# Fields of the sidecar of the second echo's phase, and what is said of them.
CONTRADICTIONS = {
    "units": ({"Units": "arbitrary"}, "another echo says rad"),
    "image type": ({"ImageType": ["ORIGINAL", "PRIMARY", "M"]}, "its name says part-phase"),
    "frequency": ({"ImagingFrequency": 298.0}, "protons at 7 T"),
    "repetition time": ({"RepetitionTime": 0.001}, "RepetitionTime is 0.001 s"),
}


@pytest.mark.parametrize(("fields", "what"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradictory_sidecars_are_refused(masked, capsys, fields, what):
    path = masked.root / "sub-01/anat/sub-01_echo-2_part-phase_MEGRE.nii.gz"
    masked.edit(path, **fields)
    status, report = check(masked, capsys)
    assert status == 1
    (problem,) = report["scans"][0]["problems"]
    assert problem["file"] == str(path)
    assert what in problem["what"]


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"B0_dir": [0, 0.5, 0.866]}, "by its affine B0 lies along"),
        ({"ImageOrientationPatientDICOM": [1, 0, 0, 0, 0.9659, 0.2588]}, "angle of 15.0°"),
    ],
)
def test_lost_direction_of_b0_is_found(masked, capsys, fields, what):
    masked.edit(masked.root / "sub-01/anat/sub-01_echo-1_part-phase_MEGRE.nii.gz", **fields)
    status, report = check(masked, capsys)
    assert status == 1
    assert what in report["scans"][0]["problems"][0]["what"]


@pytest.mark.parametrize("b0_dir", [[0, 0, 1], [0, 0, -1]])
def test_direction_of_b0_has_no_sense(masked, capsys, b0_dir):
    masked.edit(masked.root / "sub-01/anat/sub-01_echo-1_part-phase_MEGRE.nii.gz", B0_dir=b0_dir)
    assert check(masked, capsys)[0] == 0


def test_structures_cut_by_image_and_mask_are_told(masked, capsys):
    path = masked.root / "derivatives/m/sub-01/anat/sub-01_dseg.nii.gz"
    labels = np.asarray(nib.load(path).dataobj).copy()
    labels[1:3, :, 0] = 1
    nib.save(nib.Nifti1Image(labels, nib.load(path).affine), path)
    mask = np.ones(SHAPE, np.uint8)
    mask[4:6, 4:] = 0
    masked.image("derivatives/m/sub-01/anat/sub-01_desc-brain_mask.nii.gz", mask)
    status, report = check(masked, capsys)
    told = [(problem["severity"], problem["what"]) for problem in report["scans"][0]["problems"]]
    assert status == 0
    assert told == [
        ("warning", "only 50 % of the optic_radiation lie in the mask"),
        (
            "warning",
            "the pallidum reaches the first or last slice: a part of it was not scanned",
        ),
    ]


def test_thin_slab_is_told(masked, capsys):
    for path in masked.root.rglob("*.nii.gz"):
        image = nib.load(path)
        affine = np.diag([8.0, 8.0, 4.0, 1.0])
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), path)
    _, report = check(masked, capsys)
    assert "32 mm thick from foot to head" in report["scans"][0]["problems"][0]["what"]


def test_two_transforms_that_disagree_are_told(masked, capsys):
    for path in (masked.root / "sub-01").rglob("*.nii.gz"):
        image = nib.load(path)
        turned = np.diag([8.0, 8.0, 8.0, 1.0])
        turned[:3, :3] = turned[:3, :3] @ [[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]
        image.set_qform(turned, code=1)
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), None, image.header), path)
    _, report = check(masked, capsys)
    assert "sform and qform turn it differently" in report["scans"][0]["problems"][0]["what"]


def test_pattern_that_matches_nothing_is_a_fault_of_the_scan(masked, capsys):
    status, report = check(masked, capsys, "--mask", "none/{subject}.nii.gz")
    assert status == 1
    assert "no such file" in report["scans"][0]["problems"][0]["what"]


def test_folder_that_is_no_dataset_is_bad_input(tmp_path, capsys):
    assert main(["check", "--bids", str(tmp_path)]) == 2
    assert "give the root of a BIDS dataset" in capsys.readouterr().err
