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
