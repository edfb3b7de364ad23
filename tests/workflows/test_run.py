"""`qsm-wf run` from end to end on a small head."""

import gzip
import json
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from qsm_workflows.cli.main import main

QUICK = ["--coverage", "100,400", "--method", "tkd", "--plugin", "Linear", "--no-progress"]


def executed(out):
    """Nodes that were not taken from the cache, by the log of the last run."""
    log = (out / "logs" / "nipype.log").read_text()
    (out / "logs" / "nipype.log").unlink()
    return set(re.findall(r'Executing "(\w+)"', log))


def test_study_leaves_maps_tables_and_a_page(run, dataset):
    status, out = run("--coverage", "100,400,full", "--method", "tkd", "--n-procs", "2")
    assert status == 0
    anat = out / "sub-01" / "anat"
    maps = sorted(path.name for path in anat.glob("*_Chimap.nii.gz"))
    assert maps == [
        f"sub-01_rec-tkd_desc-{branch}_Chimap.nii.gz"
        for branch in ("B+T100", "B+T400", "T+B100", "T+B400", "full")
    ]
    chi = nib.load(anat / "sub-01_rec-tkd_desc-T+B100_Chimap.nii.gz")
    whole = nib.load(dataset / "derivatives/truth/sub-01/anat/sub-01_desc-truth_Chimap.nii.gz")
    # 32 mm of 3 mm slices, in the place that they had in the whole head.
    assert chi.shape[2] == 11
    offset = np.linalg.inv(whole.affine) @ chi.affine
    assert np.allclose(offset[:3, :3], np.eye(3))
    sidecar = json.loads((anat / "sub-01_rec-tkd_desc-T+B100_Chimap.json").read_text())
    assert sidecar["PipelineOrder"] == "T+B"
    assert sidecar["CoverageMillimeters"] == 32
    assert sidecar["CoverageMillimetersActual"] == 33
    assert sidecar["Reference"]["region"] == "optic_radiation"
    assert sidecar["InversionParameters"]["threshold"] == 0.15
    assert sidecar["BackgroundRemoval"]["radius"] == 3

    slab, whole_head = (
        json.loads(next((out / "sub-01" / "fmap").glob(name)).read_text())["MaskErosion"]
        for name in ("*_desc-local+T+B100_fieldmap.json", "*_desc-local+B+T_fieldmap.json")
    )
    # RESHARP's sphere of 3 mm is two voxels of 3 mm: as much is lost at each end face.
    assert slab["MillimetersByAxis"][2] == pytest.approx([6, 6], abs=0.01)
    assert 0.3 < slab["KeptFraction"] < whole_head["KeptFraction"] < 0.9

    table = pd.read_csv(anat / "sub-01_desc-regions_stats.tsv", sep="\t", dtype={"subject": str})
    assert set(table["order"]) == {"B+T", "T+B", "full"}
    pallidum = table[(table.region == "pallidum") & (table.hemisphere == "both")]
    pallidum = pallidum.set_index(["order", "coverage_mm"])
    # What the study is about: a thin slab tells too little, most of all when cut first.
    assert pallidum.loc[("T+B", 32.0), "percent_full"] < -15
    assert (
        pallidum.loc[("T+B", 32.0), "percent_truth"] < pallidum.loc[("B+T", 32.0), "percent_truth"]
    )
    assert (pallidum["mean"] > 0.03).all()
    r2star = nib.load(anat / "sub-01_R2starmap.nii.gz").get_fdata()
    assert 10 < np.median(r2star[r2star > 0]) < 60
    total = json.loads((out / "sub-01/fmap/sub-01_desc-total_fieldmap.json").read_text())
    assert total["Unwrapping"]["Method"] == "romeo"
    assert total["BipolarReadoutCorrected"] is False
    group = pd.read_csv(out / "group_desc-regions_stats.tsv", sep="\t", dtype={"subject": str})
    assert len(group) == len(table)
    assert "sub-01" in (out / "index.html").read_text()
    assert not [
        path
        for path in out.rglob("*")
        if path.name.startswith(".") and path.is_file() and path.name != ".bidsignore"
    ]


def test_second_run_computes_nothing_and_changes_what_it_must(run, dataset):
    run(*QUICK)
    _, out = run(*QUICK)
    executed(out)
    run(*QUICK)
    assert {name for name in executed(out) if not name.startswith("save_")} == set()

    before = chi(out).copy()
    run(*QUICK, "--param", "tkd.threshold=0.3")
    changed = {name for name in executed(out) if not name.startswith("save_")}
    assert changed == {"tkd", "reference", "sub_01_wf"}
    assert not np.allclose(chi(out), before)

    scan = dataset / "sub-01" / "anat" / "sub-01_echo-1_part-mag_MEGRE.nii.gz"
    image = nib.load(scan)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) * np.float32(1.01), image.affine), scan)
    run(*QUICK)
    assert {"combine", "phase_offset", "fit", "tkd"} <= executed(out)


def chi(out):
    return nib.load(out / "sub-01/anat/sub-01_rec-tkd_desc-B+T100_Chimap.nii.gz").get_fdata()


def test_one_bad_subject_stops_no_other(run, dataset, capsys):
    shutil.copytree(dataset / "sub-01", dataset / "sub-02")
    for path in sorted((dataset / "sub-02").rglob("sub-01*")):
        path.rename(path.with_name(path.name.replace("sub-01", "sub-02")))
    broken = dataset / "sub-02" / "anat" / "sub-02_echo-2_part-phase_MEGRE.nii.gz"
    broken.write_bytes(gzip.compress(b"\0" * 352)[:-20])
    status, out = run(*QUICK)
    assert status == 1
    assert list((out / "sub-01" / "anat").glob("*_Chimap.nii.gz"))
    assert not (out / "sub-02").exists()
    errors = capsys.readouterr().err
    assert broken.name in errors
    page = (out / "index.html").read_text()
    assert "sub-02" in page
    assert broken.name in page


def test_a_scan_refused_for_its_names_makes_the_run_incomplete(run, dataset, capsys):
    anat = dataset / "sub-02" / "anat"
    anat.mkdir(parents=True)
    for path in (dataset / "sub-01" / "anat").glob("*part-mag*"):
        shutil.copyfile(path, anat / path.name.replace("sub-01", "sub-02"))
    t1 = dataset / "sub-03" / "anat" / "sub-03_T1w.nii.gz"
    t1.parent.mkdir(parents=True)
    shutil.copyfile(next(anat.glob("*.nii.gz")), t1)
    # A participant without the scan that this is about is told of, but is no fault.
    assert run("--dry-run", "--participant_label", "01", "03")[0] == 0
    assert "sub-03_T1w" in capsys.readouterr().err
    status, out = run(*QUICK)
    assert status == 1
    page = (out / "index.html").read_text()
    assert "there is no phase image beside it" in page
    assert "sub-02 echo-1 part-mag MEGRE" in page


def test_one_failing_node_leaves_the_rest(run, dataset, capsys):
    # Only the node itself can tell that a sphere is larger than the head.
    status, out = run(
        "--coverage",
        "400",
        "--method",
        "tkd",
        "medi",
        "--plugin",
        "Linear",
        "--no-progress",
        "--param",
        "medi.smv_radius=90",
    )
    assert status == 1
    assert list((out / "sub-01" / "anat").glob("*_rec-tkd_*_Chimap.nii.gz"))
    assert not list((out / "sub-01" / "anat").glob("*_rec-medi_*_Chimap.nii.gz"))
    errors = capsys.readouterr().err
    assert "medi" in errors
    assert "a sphere of 90 mm fits nowhere into the mask" in errors
    log = (out / "logs" / "sub-01.log").read_text()
    assert "failed bt_wf.cov400_wf.medi_wf.medi" in log


def test_dry_run_tells_the_plan_and_writes_nothing(run, capsys):
    status, out = run("--dry-run")
    assert status == 0
    plan = capsys.readouterr().out
    assert "100 %: 33 mm" in plan
    assert re.search(r"\d+ maps by tkd, ilsqr, medi", plan)
    assert not out.exists()


def test_page_can_be_made_again_without_computing(run, dataset):
    _, out = run(*QUICK)
    page = (out / "index.html").read_text()
    (out / "index.html").unlink()
    executed(out)
    assert main([str(dataset), str(out), "group"]) == 0
    assert (out / "index.html").read_text() == page
    assert not (out / "logs" / "nipype.log").exists()


@pytest.mark.skipif(shutil.which("dot") is None, reason="drawing graphs needs Graphviz")
def test_graphs_are_drawn_step_by_step(run, tmp_path):
    run(*QUICK, "--write-graph")
    drawn = {path.stem for path in (tmp_path / "work" / "graphs").glob("*.svg")}
    branches = {"bt_wf.cov100_wf", "tb_wf.cov100_wf"}
    assert drawn == {"sub_01_wf", "sub_01_wf.preprocessing_wf", *branches}


def test_bids_app_form_is_the_same_command(dataset, tmp_path, capsys):
    status = main([str(dataset), str(tmp_path / "out"), "participant", "--dry-run"])
    assert status == 0
    assert "sub-01" in capsys.readouterr().out


def test_networks_without_weights_are_left_out_unless_asked_for(run, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("qsm_workflows.networks.weights.package_folder", lambda: tmp_path / "none")
    run("--dry-run")
    errors = capsys.readouterr().err
    for name in ("xqsmindividual", "xqsmcropped", "deepqsm"):
        assert f"{name} is left out" in errors
    assert "ir2qsm" not in errors
    status, _ = run("--dry-run", "--method", "xQSM-Cropped")
    assert status == 2
    assert "xqsmcropped has no weights" in capsys.readouterr().err


def test_configuration_file_lies_beneath_the_command_line(run, tmp_path, capsys):
    config = tmp_path / "study.toml"
    config.write_text(
        'coverage = "100,200"\nmethod = ["tkd", "medi"]\n\n[param.medi]\nregularisation = 500\n'
    )
    run("--dry-run", "--config", str(config), "--method", "tkd")
    plan = capsys.readouterr().out
    assert "4 maps by tkd;" in plan
    assert "200 %" in plan


def test_another_background_removal_is_used_and_told(run):
    radii = ["--param", "vsharp.radii=[12.0, 9.0]"]
    assert run(*QUICK, "--bgremove", "vsharp", *radii)[0] == 0
    _, out = run(*QUICK, "--reports-only")
    path = out / "sub-01" / "anat" / "sub-01_rec-tkd_desc-T+B100_Chimap.json"
    removal = json.loads(path.read_text())["BackgroundRemoval"]
    assert removal["Method"] == "V-SHARP"
    assert removal["radii"] == [12, 9]
    page = (out / "index.html").read_text()
    assert "V-SHARP" in page
    assert "Wu B" in page
    assert "Sun H, Wilman AH" not in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--coverage", "100:50:10"], "stops below its start"),
        (["--param", "medi.strength=3"], "medi has no parameter 'strength'"),
        (["--param", "medi.regularization=5"], "did you mean regularisation?"),
        (["--param", "tkd.threshold=3", "--dry-run"], "tkd.threshold cannot be 3: it must be a"),
        (["--param", "medi.regularisation=-1"], "medi.regularisation cannot be -1: it must be a"),
        (["--param", "medi"], "is not NAME=VALUE"),
        (["--weights", "medi=x.pth"], "weights are for xqsmindividual, xqsmcropped"),
        (["--device", "cuda:9"], "torch sees"),
        (["--device", "abacus"], "unknown device 'abacus'"),
        (["--dgm-extent", "wide"], "--dgm-extent wide"),
        (["--resharp-preset", "none"], "ge, prisma, study"),
        (["--resharp-preset", "ge", "--bgremove", "lbv"], "--resharp-preset is for RESHARP"),
        (["--method", "tkd", "tfi", "--order", "B+T"], "tfi would give no map"),
        (["--method", "tfi", "lnqsm", "--bgremove", "pdf"], "of no use to tfi, lnqsm"),
        (["--participant-label", "09"], "no scan that can be processed"),
        (["--plugin", "MultiPorc"], "it has"),
        (["--reference", "thalmus", "--dry-run"], None),
        (["--coverage", "10,100", "--dry-run"], None),
        (["--labels", "nowhere/{subject}.nii.gz", "--dry-run"], None),
        (["--centre", "0", "0", "900", "--dry-run"], None),
    ],
)
def test_bad_options_are_refused_before_any_work(run, options, message, capsys):
    status, out = run(*options)
    errors = capsys.readouterr().err
    if message is None:
        # Faults of a scan: it is left out, and the run says so.
        assert status == 1
        assert "sub-01 is left out" in errors
    else:
        assert status == 2
        assert message in errors
    assert not out.exists()


def test_parameters_of_what_is_not_used_are_told(run, capsys):
    run("--dry-run", "--method", "tkd", "--param", "medi.b0=7", "--param", "tkd.threshold=0.2")
    errors = capsys.readouterr().err
    assert "parameters of medi change nothing" in errors
    assert "parameters of tkd" not in errors
    # Those of a preset are nobody's mistake.
    run("--dry-run", "--preset", "recommended", "--bgremove", "vsharp", "--method", "tkd")
    assert "change nothing" not in capsys.readouterr().err


def test_dataset_without_scans_says_what_was_seen(dataset, tmp_path, capsys):
    for path in (dataset / "sub-01" / "anat").glob("*part-phase*"):
        path.unlink()
    assert main(["run", "--bids", str(dataset), "--out", str(tmp_path / "out")]) == 2
    assert "part-mag" in capsys.readouterr().err


def test_mask_of_phase_refined(run, dataset):
    options = ["--coverage", "full", "--method", "tkd", "--plugin", "Linear", "--no-progress"]
    masks = ["--mask", "make", "--mask-method", "phase", "--param", "refine.margin=-3"]
    status, out = run(*options, *masks)
    assert status == 0
    anat = out / "sub-01" / "anat"
    mask = nib.load(anat / "sub-01_desc-brain_mask.nii.gz").get_fdata() > 0
    sidecar = json.loads((anat / "sub-01_desc-brain_mask.json").read_text())
    assert sidecar["MaskMethod"] == "phase"
    truth = dataset / "derivatives/truth/sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    brain = nib.load(truth).get_fdata() > 0
    # One voxel less all round, and hardly anything that is no brain.
    assert 0.6 < np.count_nonzero(mask & brain) / np.count_nonzero(brain) < 0.9
    assert np.count_nonzero(mask & ~brain) < 0.02 * np.count_nonzero(mask)
    assert "threshold on its local coherence" in (out / "index.html").read_text()


def test_real_and_imaginary_images_give_the_same_maps(run, dataset, capsys):
    """A second subject with the scan of the first, stored as real and imaginary images."""
    for path in [path for path in dataset.rglob("*sub-01_*") if path.is_file()]:
        twin = Path(str(path).replace("sub-01", "sub-02"))
        twin.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, twin)
    anat = dataset / "sub-02" / "anat"
    for path in sorted(anat.glob("*part-mag_MEGRE.nii.gz")):
        phase_path = Path(str(path).replace("part-mag", "part-phase"))
        magnitude, phase = nib.load(path), nib.load(phase_path)
        signal = magnitude.get_fdata() * np.exp(1j * phase.get_fdata())
        for part, data in (("real", signal.real), ("imag", signal.imag)):
            stem = str(path).replace("part-mag", f"part-{part}").removesuffix(".nii.gz")
            image = nib.Nifti1Image(data.astype(np.float32), magnitude.affine, magnitude.header)
            image.set_data_dtype(np.float32)
            nib.save(image, f"{stem}.nii.gz")
    for path in anat.glob("*part-*.json"):
        for old, new in (("part-mag", "part-real"), ("part-phase", "part-imag")):
            if old in path.name:
                path.rename(path.with_name(path.name.replace(old, new)))
    for path in [*anat.glob("*part-mag*"), *anat.glob("*part-phase*")]:
        path.unlink()
    assert main(["check", "--bids", str(dataset)]) == 0
    assert "phase: rad, computed of real and imaginary images; rises" in capsys.readouterr().out
    status, out = run(
        "--coverage", "full", "--method", "tkd", "--plugin", "Linear", "--no-progress"
    )
    assert status == 0
    plain, computed = (
        nib.load(out / f"sub-{number}/fmap/sub-{number}_desc-total_fieldmap.nii.gz").get_fdata()
        for number in ("01", "02")
    )
    assert np.ptp(plain) > 1
    np.testing.assert_allclose(computed, plain, atol=1e-4)
    sidecar = json.loads((out / "sub-02/fmap/sub-02_desc-total_fieldmap.json").read_text())
    assert sidecar["ComputedFrom"] == "real and imaginary images"
    assert "bids:raw:sub-02/anat/sub-02_echo-1_part-imag_MEGRE.nii.gz" in sidecar["Sources"]
