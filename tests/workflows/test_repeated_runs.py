"""Runs beside and after one another: nothing is mixed, lost or left behind."""

import shutil
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pandas as pd
import psutil
import pytest

from qsm_workflows.cli.main import main
from qsm_workflows.workflows.locks import hold_scans

ONE_MAP = ["--coverage", "full", "--method", "tkd", "--plugin", "Linear", "--no-progress"]


def executed(out):
    """Whether the last run fitted echoes rather than taking the field from the cache."""
    log = out / "logs" / "nipype.log"
    text = log.read_text()
    log.unlink()
    return 'Executing "fit"' in text


def test_datasets_of_same_participants_share_a_work_folder(dataset, tmp_path):
    other = shutil.copytree(dataset, tmp_path / "other" / dataset.name)
    for path in other.glob("sub-01/anat/*part-phase*.nii.gz"):
        image = nib.load(path)
        nib.save(nib.Nifti1Image(-np.asarray(image.dataobj), image.affine, image.header), path)
    outs = []
    for number, bids in enumerate((dataset, other, dataset)):
        out = tmp_path / f"out{number % 2}"
        outs.append(out)
        work = ["--work", str(tmp_path / "work")]
        assert main(["run", "--bids", str(bids), "--out", str(out), *work, *ONE_MAP]) == 0
        # The third run finds what the first left, whatever the second did.
        assert executed(out) == (number < 2)
    first, second = (
        nib.load(out / "sub-01/fmap/sub-01_desc-total_fieldmap.nii.gz").get_fdata()
        for out in outs[:2]
    )
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < -0.9


def test_output_of_another_dataset_is_not_replaced(run, dataset, tmp_path, capsys):
    _, out = run(*ONE_MAP)
    other = shutil.copytree(dataset, tmp_path / "other")
    status = main(["run", "--bids", str(other), "--out", str(out), *ONE_MAP])
    assert status == 2
    assert f"holds the maps of another dataset, {dataset}" in capsys.readouterr().err
    # A dataset that was moved is the same one.
    shutil.rmtree(other)
    moved = dataset.rename(tmp_path / "moved")
    work = ["--work", str(tmp_path / "work")]
    assert main(["run", "--bids", str(moved), "--out", str(out), *work, *ONE_MAP]) == 0


HOLD = """
import sys
from pathlib import Path
from qsm_workflows.workflows.locks import hold_scans
with hold_scans(Path(sys.argv[1]), sys.argv[2:]) as free:
    print(*sorted(free), flush=True)
    sys.stdin.read()
"""


def hold(lock_file, *names):
    """A process that holds scans until its input ends."""
    command = [sys.executable, "-c", HOLD, str(lock_file), *names]
    return subprocess.Popen(command, stdin=-1, stdout=-1, text=True)


def test_a_scan_is_held_by_one_process_at_a_time(tmp_path):
    lock_file = tmp_path / "logs" / "running.lock"
    with hold(lock_file, "sub-01", "sub-02") as other:
        assert other.stdout.readline() == "sub-01 sub-02\n"
        with hold_scans(lock_file, ["sub-02", "sub-03"]) as free:
            assert free == {"sub-03"}
        other.kill()
        other.wait()
        with hold_scans(lock_file, ["sub-02", "sub-03"]) as free:
            assert free == {"sub-02", "sub-03"}


def test_scan_of_another_run_is_left_to_it(run, tmp_path, capsys):
    with hold(tmp_path / "out" / "logs" / "running.lock", "sub-01") as other:
        assert other.stdout.readline() == "sub-01\n"
        status, out = run(*ONE_MAP)
        other.kill()
    assert status == 1
    assert "sub-01 is not complete: another run is writing it" in capsys.readouterr().err
    assert not (out / "sub-01").exists()
    assert "another run is writing it" in (out / "index.html").read_text()


def regions(out):
    return pd.read_csv(out / "sub-01/anat/sub-01_desc-regions_stats.tsv", sep="\t")


def test_a_method_added_later_joins_those_before(run):
    options = ["--coverage", "100,full", "--plugin", "Linear", "--no-progress"]
    _, out = run(*options, "--method", "tkd")
    alone = regions(out)
    status, _ = run(*options, "--method", "tsvd")
    assert status == 0
    both = regions(out)
    assert set(both["method"]) == {"tkd", "tsvd"}
    pd.testing.assert_frame_equal(both[both["method"] == "tkd"].reset_index(drop=True), alone)
    assert set(pd.read_csv(out / "group_desc-regions_stats.tsv", sep="\t")["method"]) == {
        "tkd",
        "tsvd",
    }


def test_maps_of_other_settings_do_not_lose_their_fields(run, capsys):
    options = ["--coverage", "100", "--plugin", "Linear", "--no-progress", "--order", "T+B"]
    _, out = run(*options, "--method", "tkd")
    field = out / "sub-01/fmap/sub-01_desc-local+T+B100_fieldmap.nii.gz"
    before, page = field.read_bytes(), (out / "index.html").read_text()
    for change in (
        ["--bgremove", "ismv"],
        ["--centre", "0", "0", "0"],
        ["--unwrap", "laplacian"],
        ["--phase-sign", "-1"],
        ["--param", "phase_offset.smoothing=8"],
    ):
        status, _ = run(*options, "--method", "tsvd", *change)
        assert status == 1
        errors = capsys.readouterr().err
        assert "sub-01_rec-tkd_desc-T+B100_Chimap.nii.gz" in errors
        assert "choose another output folder, or remove the map" in errors
        assert (out / "index.html").read_text() == page
        assert field.read_bytes() == before
    # The same map made again takes its field along; another slab is no matter of this one.
    assert run(*options, "--method", "tkd", "--bgremove", "ismv")[0] == 0
    assert field.read_bytes() != before
    assert run("--coverage", "200", *options[2:], "--method", "tsvd", "--bgremove", "ismv")[0] == 0


def test_a_mask_that_is_not_used_is_told_first(run, dataset):
    mask = dataset / "derivatives/truth/sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    image = nib.load(mask)
    nib.save(image.slicer[:, :, 1:], mask)
    _, out = run(*ONE_MAP)
    page = (out / "index.html").read_text()
    first = page[page.index("Look at this first") : page.index("</ul>", page.index("Look at this"))]
    where = "derivatives/truth/sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    assert f"brain mask: {where} is not used, as it is not on the grid of the scan" in first
    assert str(dataset) not in page.replace(f"--bids {dataset}", "")


def test_the_page_tells_what_the_run_warned_of(run):
    options = ["--coverage", "100", "--order", "T+B", "--method", "tv", "--no-progress"]
    unfinished = [*options, "--param", "tv.max_iterations=2"]
    for _ in range(2):
        # The second run takes the map from the first, and with it what was said of it.
        _, out = run(*unfinished)
        page = (out / "index.html").read_text()
        said = "TV stopped after 2 iterations while χ still changed; raise max_iterations to go on"
        assert f"{said} <small>(tb_wf.cov100_wf.tv_wf.tv)</small>" in page
    _, out = run(*options, "--reference", "mask")
    assert "TV stopped after 2" not in (out / "index.html").read_text()


def test_a_map_changed_since_is_made_good(run):
    _, out = run(*ONE_MAP)
    path = out / "sub-01/anat/sub-01_rec-tkd_desc-full_Chimap.nii.gz"
    before = path.read_bytes()
    path.write_bytes(b"")
    run(*ONE_MAP)
    assert path.read_bytes() == before


def test_nothing_but_the_reason_is_said_when_every_scan_is_refused(run, dataset, capsys):
    status, out = run(*ONE_MAP, "--mask", "none/{subject}.nii.gz")
    assert status == 1
    assert not out.exists()
    errors = capsys.readouterr().err
    assert errors.count("no such file") == 1
    assert "log" not in errors


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux has them")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_workers(dataset, tmp_path, number):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "qsm_workflows.cli.main", "run", "--bids", str(dataset)]
    options = ["--out", str(out), "--work", str(tmp_path / "work"), "--n-procs", "2"]
    with subprocess.Popen([*command, *options, "--no-progress"], stderr=-1, text=True) as process:
        try:
            deadline = time.monotonic() + 60
            children = []
            while len(children) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.1)
                children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(number)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    if number == signal.SIGKILL:
        assert process.returncode == -number
        return
    assert process.returncode == 128 + number
    assert "stopped; run the same command again" in errors
    assert not list((tmp_path / "work").glob("*/crashes_*"))
    assert "failed" not in (out / "logs" / "sub-01.log").read_text()


def test_work_folder_that_is_a_file_is_refused_first(run, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    for option in ("--work", "--out"):
        assert run(*ONE_MAP, option, str(file / "inside"), "--dry-run")[0] == 2
        assert f"{option} {file}/inside: {file} is not a folder" in capsys.readouterr().err
