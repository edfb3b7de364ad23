"""A small head that every test of the workflows shares."""

import shutil

import pytest

from qsm_workflows.cli.main import main

VOXEL_SIZE = "3"


@pytest.fixture(scope="session")
def _simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "bids"
    assert main(["simulate", str(folder), "--voxel-size", VOXEL_SIZE, "--no-lesions"]) == 0
    return folder


@pytest.fixture
def dataset(_simulated, tmp_path):
    """A dataset of one simulated head of 3 mm voxels, free to be changed."""
    return shutil.copytree(_simulated, tmp_path / "bids")


@pytest.fixture
def run(dataset, tmp_path, monkeypatch):
    """Run the study with its work folder aside; gives the exit status and the output folder."""
    monkeypatch.setenv("QSM_WORKFLOWS_WEIGHTS", str(tmp_path / "no_weights"))
    out = tmp_path / "out"

    def run(*options):
        arguments = ["run", "--bids", str(dataset), "--out", str(out)]
        return main([*arguments, "--work", str(tmp_path / "work"), *options]), out

    return run
