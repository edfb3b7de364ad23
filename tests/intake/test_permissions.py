"""Files and folders that the user may not read or write, as another user where tests are root's."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from qsm_workflows.cli.main import main

NOBODY = 65534


@contextmanager
def unprivileged():
    """Root may do everything: give that up for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder outside root's own, that others may read, and a scratch folder all may use."""
    folder = Path(tempfile.mkdtemp(prefix="qsm-wf-test-", dir="/tmp"))
    (folder / "scratch").mkdir()
    (folder / "scratch").chmod(0o777)
    folder.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "scratch"))
    monkeypatch.chdir(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def raw(place, dataset):
    """A sound dataset that everybody may read."""
    dataset.scan("sub-01", echoes=2)
    root = shutil.copytree(dataset.root, place / "raw")
    # What is imported late must be there before root's files are out of reach.
    assert main(["check", "--bids", str(root), "--mask-method", "phase"]) == 0
    return root


def refuses(capsys, status, words, *arguments):
    capsys.readouterr()
    with unprivileged():
        got = main([str(argument) for argument in arguments])
    told = capsys.readouterr()
    assert words in told.out + told.err
    assert got == status


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("*echo-2_part-mag*.nii.gz", "Permission denied"),
        ("*echo-2_part-mag*.json", "cannot be read as JSON: [Errno 13]"),
    ],
)
def test_file_that_may_not_be_read(raw, capsys, pattern, words):
    (path,) = (raw / "sub-01" / "anat").glob(pattern)
    path.chmod(0)
    refuses(capsys, 1, words, "check", "--bids", raw, "--mask-method", "phase")


def test_folder_that_may_not_be_read(raw, capsys):
    (raw / "sub-01").chmod(0)
    refuses(capsys, 1, "no NIfTI image", "check", "--bids", raw, "--mask-method", "phase")


def test_import_into_a_folder_that_may_not_be_written(place, images, capsys):
    shutil.copytree(images.folder, place / "given")
    images.folder = place / "given"
    images.save("m.nii.gz", images.magnitude)
    images.save("p.nii.gz", images.phase)
    (place / "locked").mkdir(mode=0o755)
    options = ["--magnitude", "given/m.nii.gz", "--phase", "given/p.nii.gz", "--subject", "01"]
    options += ["--te", "0.004", "0.008", "0.012", "--b0", "3"]
    sound = ["import", "--bids", str(place / "sound"), *options]
    assert main(sound) == 0
    refuses(capsys, 2, "Permission denied", "import", "--bids", place / "locked" / "bids", *options)
    assert list((place / "locked").iterdir()) == []
    assert list((place / "scratch").iterdir()) == []


def test_run_into_a_folder_that_may_not_be_written(raw, place, capsys):
    (place / "locked").mkdir(mode=0o755)
    options = ["--coverage", "full", "--method", "tkd", "--mask-method", "phase"]
    sound = ["run", "--bids", str(raw), *options, "--dry-run"]
    assert main(sound) == 0
    arguments = ["--out", place / "locked" / "out", "--work", place / "scratch" / "work"]
    refuses(capsys, 2, "Permission denied", "run", "--bids", raw, *options, *arguments)
    assert list((place / "locked").iterdir()) == []


def test_dicom_that_may_not_be_read(place, dicoms, capsys):
    dicoms.scan(echoes=2)
    given = shutil.copytree(dicoms.folder, place / "dicom")
    assert main(["convert", str(given), "--bids", str(place / "sound")]) == 0
    sorted(given.iterdir())[0].chmod(0)
    (place / "open").mkdir()
    (place / "open").chmod(0o777)
    refuses(capsys, 2, "Permission denied", "convert", given, "--bids", place / "open" / "bids")
    assert list((place / "open").iterdir()) == []
