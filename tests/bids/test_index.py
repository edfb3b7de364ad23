import shutil
from pathlib import Path

import numpy as np
import pytest

from qsm_workflows.bids.checks import check_files
from qsm_workflows.bids.index import index_dataset
from qsm_workflows.bids.scan import Scan


def test_echoes_are_read_in_order_with_their_timing(dataset):
    paths = dataset.scan("sub-01", echoes=11)
    index = index_dataset(dataset.root)
    (scan,) = index.scans
    assert index.refused == []
    assert scan.echo_times == pytest.approx([0.005 * echo for echo in range(1, 12)])
    assert scan.magnitude == tuple(paths[f"mag{echo}"] for echo in range(1, 12))
    assert scan.phase == tuple(paths[f"phase{echo}"] for echo in range(1, 12))
    assert (scan.b0, scan.phase_units, scan.phase_sign) == (3.0, "rad", None)


def test_single_echo(dataset):
    dataset.scan("sub-01", echoes=1, extension=".nii")
    (scan,) = index_dataset(dataset.root).scans
    assert scan.phase[0].name == "sub-01_part-phase_T2starw.nii"
    assert scan.echo_times == (0.005,)


def test_sessions_runs_and_acquisitions_are_scans_of_their_own(dataset):
    prefixes = [
        "sub-01_ses-a_acq-hi_run-01",
        "sub-01_ses-a_acq-hi_run-02",
        "sub-01_ses-a_acq-lo_rec-norm",
        "sub-01_ses-b",
        "sub-02",
    ]
    for prefix in prefixes:
        dataset.scan(prefix, echoes=2)
    scans = index_dataset(dataset.root).scans
    assert [scan.prefix for scan in scans] == prefixes
    assert scans[0].folder == "sub-01/ses-a"
    assert scans[2].reconstruction == "norm"


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({"participants": ["sub-01"]}, ["sub-01_ses-a_run-01", "sub-01_ses-b_acq-x_run-02"]),
        ({"participants": ["02"]}, ["sub-02"]),
        ({"sessions": ["b"]}, ["sub-01_ses-b_acq-x_run-02"]),
        ({"sessions": ["ses-a"], "runs": ["1"]}, ["sub-01_ses-a_run-01"]),
        ({"runs": ["run-02"]}, ["sub-01_ses-b_acq-x_run-02"]),
        ({"acquisitions": ["x"]}, ["sub-01_ses-b_acq-x_run-02"]),
    ],
)
def test_filters(dataset, filters, kept):
    for prefix in ("sub-01_ses-a_run-01", "sub-01_ses-b_acq-x_run-02", "sub-02"):
        dataset.scan(prefix, echoes=1)
    index = index_dataset(dataset.root, **filters)
    assert [scan.prefix for scan in index.scans] == kept
    assert index.refused == []


def test_filter_that_matches_nothing_names_what_there_is(dataset):
    dataset.scan("sub-01_ses-a")
    index = index_dataset(dataset.root, participants=["01", "07"], sessions=["z"])
    assert index.scans == []
    assert [refusal.reason for refusal in index.refused] == [
        "there is no sub-07",
        "there is no ses-z",
    ]
    assert "Choose among: a" in str(index.refused[1])


def test_sidecars_are_inherited(dataset):
    paths = dataset.scan("sub-01_ses-a", echoes=2)
    for path in paths.values():
        path.with_name(path.name.replace(".nii.gz", ".json")).unlink()
    dataset.json("MEGRE.json", {"MagneticFieldStrength": 7, "EchoTime": 99})
    for echo in (1, 2):
        dataset.json(f"sub-01/sub-01_echo-{echo}_MEGRE.json", {"EchoTime": 0.003 * echo})
    dataset.json("sub-01/ses-a/sub-01_ses-a_part-phase_MEGRE.json", {"Units": "arbitrary"})
    (scan,) = index_dataset(dataset.root).scans
    assert (scan.b0, scan.echo_times, scan.phase_units) == (7, (0.003, 0.006), "arbitrary")


def test_derivatives_and_other_folders_are_no_raw_scans(dataset):
    dataset.scan("sub-01", echoes=1)
    for folder in ("derivatives/x", "sourcedata", "sub-01/derivatives", "code"):
        dataset.image(f"{folder}/sub-02/anat/sub-02_part-mag_T2starw.nii.gz", np.zeros((2, 2, 2)))
    index = index_dataset(dataset.root)
    assert [scan.subject for scan in index.scans] == ["01"]
    assert index.refused == []


def test_magnitude_without_part_is_a_magnitude(dataset):
    path = dataset.scan("sub-01", echoes=1)["mag1"]
    for name in (path, path.with_name(path.name.replace(".nii.gz", ".json"))):
        name.rename(name.with_name(name.name.replace("_part-mag", "")))
    assert index_dataset(dataset.root).scans[0].magnitude[0].name == "sub-01_T2starw.nii.gz"


def test_participants_without_a_gradient_echo_are_told_what_was_seen(dataset):
    dataset.scan("sub-01", echoes=1)
    dataset.image("sub-02/anat/sub-02_T1w.nii.gz", np.zeros((2, 2, 2)))
    dataset.image("sub-02/anat/phase.nii.gz", np.zeros((2, 2, 2)))
    (dataset.root / "sub-03").mkdir()
    index = index_dataset(dataset.root)
    assert len(index.scans) == 1
    assert [refusal.file.name for refusal in index.refused] == ["sub-02", "sub-03"]
    assert "only phase.nii.gz, sub-02_T1w.nii.gz" in index.refused[0].reason
    assert "no NIfTI image" in index.refused[1].reason
    assert "part-phase_MEGRE" in index.refused[0].remedy


def test_participants_of_the_table_without_a_folder_are_told(dataset):
    dataset.scan("sub-01", echoes=1)
    dataset.text("participants.tsv", "participant_id\tage\nsub-01\t30\nsub-ghost\t40\n")
    (refusal,) = index_dataset(dataset.root).refused
    assert refusal.file.name == "participants.tsv"
    assert "names sub-ghost, of whom" in refusal.reason
    assert not refusal.is_fault
    assert index_dataset(dataset.root, participants=["01"]).refused == []


def test_maker_gives_the_sign_of_the_phase(dataset):
    path = dataset.scan("sub-01", echoes=1)["phase1"]
    for maker, sign in (("GE MEDICAL SYSTEMS", -1), ("SIEMENS", 1), ("Philips", 1), ("X", None)):
        dataset.edit(path, Manufacturer=maker)
        assert index_dataset(dataset.root).scans[0].phase_sign == sign


def remove_phase(dataset, paths):
    for echo in (1, 2, 3):
        paths[f"phase{echo}"].unlink()


def remove_magnitude(dataset, paths):
    for echo in (1, 2, 3):
        paths[f"mag{echo}"].unlink()


def name_unknown_part(dataset, paths):
    paths["phase1"].rename(str(paths["phase1"]).replace("phase", "abs"))


def replace_by_complex(dataset, paths):
    """Real for magnitude, imaginary for phase."""
    for key, path in list(paths.items()):
        for image in (path, Path(str(path).replace(".nii.gz", ".json"))):
            name = image.name.replace("part-mag", "part-real").replace("part-phase", "part-imag")
            paths[key] = image.rename(image.with_name(name))


def replace_by_incomplete_complex(dataset, paths):
    replace_by_complex(dataset, paths)
    (dataset.root / "sub-01/anat/sub-01_echo-2_part-imag_MEGRE.nii.gz").unlink()


def break_sidecar(dataset, paths):
    paths["phase2"].with_name("sub-01_echo-2_part-phase_MEGRE.json").write_text("{,")


def break_inherited_sidecar(dataset, paths):
    dataset.text("sub-01/sub-01_part-phase_MEGRE.json", "")


def store_twice(dataset, paths):
    dataset.image("sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii", np.zeros((2, 2, 2)))


def name_foreign_entity(dataset, paths):
    paths["mag1"].rename(paths["mag1"].with_name("sub-01_dir-AP_echo-1_part-mag_MEGRE.nii.gz"))


def name_run_by_letter(dataset, paths):
    paths["mag1"].rename(paths["mag1"].with_name("sub-01_run-x_echo-1_part-mag_MEGRE.nii.gz"))


@pytest.mark.parametrize(
    ("spoil", "name", "reason", "remedy"),
    [
        (remove_phase, "echo-1_part-mag", "no phase image", "Add sub-01_echo-1_part-phase_MEGRE"),
        (remove_magnitude, "echo-1_part-phase", "no magnitude image", "both magnitude and phase"),
        (
            lambda dataset, paths: paths["phase2"].unlink(),
            "echo-2_part-mag",
            "no phase image of echo 2",
            "Add sub-01_echo-2_part-phase_MEGRE",
        ),
        (
            lambda dataset, paths: dataset.edit(paths["mag2"], EchoTime=None),
            "echo-2_part-mag",
            "no EchoTime",
            "Add EchoTime (in seconds)",
        ),
        (
            lambda dataset, paths: dataset.edit(paths["mag2"], EchoTime="10 ms"),
            "echo-2_part-mag",
            "EchoTime is '10 ms', not a number",
            "in seconds",
        ),
        (
            lambda dataset, paths: dataset.edit(paths["phase2"], EchoTime=0.011),
            "echo-2_part-phase",
            "EchoTime is 0.011 but sub-01_echo-2_part-mag_MEGRE.nii.gz says 0.01",
            "Correct",
        ),
        (
            lambda dataset, paths: dataset.edit(paths["mag3"], MagneticFieldStrength=None),
            "echo-3_part-mag",
            "no MagneticFieldStrength",
            "Add MagneticFieldStrength (in tesla)",
        ),
        (
            lambda dataset, paths: dataset.edit(paths["mag3"], MagneticFieldStrength=7),
            "echo-3_part-mag",
            "MagneticFieldStrength is 7",
            "Correct",
        ),
        (name_unknown_part, "part-abs", "part-abs is not handled", "mag, phase, real, imag"),
        (
            replace_by_incomplete_complex,
            "echo-2_part-real",
            "no imaginary image of echo 2",
            "Add sub-01_echo-2_part-imag_MEGRE.nii.gz; QSM needs both real and imaginary",
        ),
        (break_sidecar, "echo-2_part-phase", "cannot be read as JSON", "Correct the sidecar"),
        (break_inherited_sidecar, "sub-01_part-phase", "cannot be read as JSON", "Correct"),
        (store_twice, "echo-1_part-mag", "is the same echo and part", "Remove one"),
        (name_foreign_entity, "dir-AP", "dir- is not handled", "acq-"),
        (name_run_by_letter, "run-x", "run-x is not a number", "Rename"),
    ],
)
def test_refusals_name_the_file_the_reason_and_the_remedy(dataset, spoil, name, reason, remedy):
    dataset.scan("sub-02", echoes=1)
    spoil(dataset, dataset.scan("sub-01"))
    index = index_dataset(dataset.root)
    assert [scan.subject for scan in index.scans] == ["02"]
    (refusal,) = [refusal for refusal in index.refused if name in refusal.file.name]
    assert reason in refusal.reason
    assert remedy in refusal.remedy


def test_real_and_imaginary_images_are_a_scan(dataset):
    replace_by_complex(dataset, dataset.scan("sub-01"))
    replace_by_complex(dataset, dataset.scan("sub-02", echoes=1))
    # Phase that is there already is not computed anew.
    replace_by_complex(dataset, dataset.scan("sub-03"))
    dataset.scan("sub-03")
    several, single, both = index_dataset(dataset.root).scans
    anat = dataset.root / "sub-01/anat"
    expected = [anat / f"sub-01_echo-{echo}_part-real_MEGRE.nii.gz" for echo in (1, 2, 3)]
    assert several.real == tuple(expected)
    assert several.images[3].name == "sub-01_echo-1_part-imag_MEGRE.nii.gz"
    assert (several.magnitude, several.phase, several.phase_units) == ((), (), "rad")
    assert single.imaginary[0].name == "sub-02_part-imag_T2starw.nii.gz"
    assert (both.real, len(both.phase)) == ((), 3)


def test_what_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not a folder"):
        index_dataset(tmp_path / "nowhere")
    (tmp_path / "anat").mkdir()
    with pytest.raises(ValueError, match="no folder sub-…, only anat"):
        index_dataset(tmp_path)


@pytest.mark.parametrize("label", ["../01", "sub-0/1", "", "01_ses-a", "a.b"])
def test_labels_that_could_leave_the_dataset_are_refused(dataset, label):
    dataset.scan("sub-01", echoes=1)
    with pytest.raises(ValueError, match="not a BIDS label"):
        index_dataset(dataset.root, participants=[label])
    with pytest.raises(ValueError, match="not a BIDS label"):
        Scan(label, (dataset.root,), (dataset.root,), (0.01,), 3.0)


def test_changes_are_seen_at_once(dataset):
    path = dataset.scan("sub-01", echoes=2)["mag2"]
    dataset.scan("sub-02", echoes=2)
    assert len(index_dataset(dataset.root).scans) == 2
    for image in (path, path.with_name(path.name.replace("mag", "phase"))):
        dataset.edit(image, EchoTime=0.02)
    dataset.scan("sub-03", echoes=2)
    shutil.rmtree(dataset.root / "sub-02")
    scans = index_dataset(dataset.root).scans
    assert [scan.subject for scan in scans] == ["01", "03"]
    assert scans[0].echo_times == pytest.approx((0.005, 0.02))


def test_dataset_of_links_as_datalad_makes_it(dataset):
    """Files are links into a store; one was not fetched; a folder is linked from elsewhere."""
    paths = dataset.scan("sub-01", echoes=2)
    store = dataset.root / ".git" / "annex" / "objects"
    store.mkdir(parents=True)
    for number, path in enumerate((dataset.root / "sub-01/anat").iterdir()):
        path.rename(store / f"key{number}")
        path.symlink_to(store / f"key{number}")
    dataset.scan("sub-02_ses-1", echoes=1)
    elsewhere = dataset.root.parent / "elsewhere"
    (dataset.root / "sub-02").rename(elsewhere)
    (dataset.root / "sub-02").symlink_to(elsewhere)
    (dataset.root / "sub-02" / "ses-1" / "anat" / "loop").symlink_to(dataset.root)
    (dataset.root / "sub-02" / "ses-loop").symlink_to(dataset.root)
    index = index_dataset(dataset.root)
    assert index.refused == []
    assert [scan.prefix for scan in index.scans] == ["sub-01", "sub-02_ses-1"]
    (store / paths["phase2"].readlink().name).unlink()
    (scan, _) = index_dataset(dataset.root).scans
    (problem,) = [p for p in check_files(scan) if p.severity == "error"]
    assert "not there" in problem.what
    assert "datalad get" in problem.remedy


def test_image_in_the_folder_of_another_is_named(dataset):
    path = dataset.scan("sub-01", echoes=1)["mag1"]
    dataset.scan("sub-02", echoes=1)
    path.rename(path.with_name("sub-02_acq-x_part-mag_T2starw.nii.gz"))
    index = index_dataset(dataset.root)
    assert [scan.prefix for scan in index.scans] == ["sub-02"]
    reasons = [refusal.reason for refusal in index.refused]
    assert any("lies in the folder of sub-01" in reason for reason in reasons)


def test_sidecar_that_says_more_wins_in_a_folder(dataset):
    dataset.scan("sub-01", echoes=2)
    for sidecar in (dataset.root / "sub-01/anat").glob("*.json"):
        sidecar.unlink()
    dataset.json("MEGRE.json", {"MagneticFieldStrength": 3, "Units": "arbitrary"})
    dataset.json("part-phase_MEGRE.json", {"Units": "rad"})
    for echo in (1, 2):
        dataset.json(f"echo-{echo}_MEGRE.json", {"EchoTime": 0.01 * echo})
    # Of another suffix and of another subject: they say nothing about this scan.
    dataset.json("T2starw.json", {"MagneticFieldStrength": 7})
    dataset.json("sub-02_MEGRE.json", {"MagneticFieldStrength": 9})
    (scan,) = index_dataset(dataset.root).scans
    assert (scan.b0, scan.phase_units, scan.echo_times) == (3, "rad", (0.01, 0.02))
