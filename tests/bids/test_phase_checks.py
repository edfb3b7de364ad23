"""Wrong signs and bipolar readout are found in a dataset before a run."""

import numpy as np
import pytest

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.bids.checks import check_files
from qsm_workflows.bids.index import index_dataset

SHAPE = (24, 28, 24)
AFFINE = np.diag([6.0, 6.0, 6.0, 1.0])


@pytest.fixture
def head(dataset):
    """Rewrites the echoes of a scan with those of a ball that has a sinus."""
    x, y, z = np.indices(SHAPE) - np.reshape(SHAPE, (3, 1, 1, 1)) / 2
    tissue = (x**2 + y**2 + z**2 < 10**2) & ~(x**2 + (y - 6) ** 2 + (z + 4) ** 2 < 3**2)
    field = forward_field(-9.05 * tissue, (6, 6, 6), (0, 0, 1))
    magnitude = (100 * tissue + np.random.default_rng(0).uniform(1, 2, SHAPE)).astype(np.float32)

    def write(sign=1, ramp=0.0):
        dataset.scan("sub-01")
        for echo in (1, 2, 3):
            phase = (
                sign * field * echo
                + ramp * (echo % 2) * np.linspace(-0.5, 0.5, SHAPE[0])[:, None, None]
            )
            name = f"sub-01/anat/sub-01_echo-{echo}_part"
            dataset.image(f"{name}-mag_MEGRE.nii.gz", magnitude, AFFINE)
            wrapped = np.angle(np.exp(1j * phase)).astype(np.float32)
            dataset.image(f"{name}-phase_MEGRE.nii.gz", wrapped, AFFINE)
        return dataset

    return write


def problems(dataset):
    (scan,) = index_dataset(dataset.root).scans
    return [problem.what for problem in check_files(scan)]


def test_right_sign_is_no_problem(head):
    assert problems(head()) == []


def test_wrong_sign_is_told_and_can_be_stated(head):
    dataset = head(sign=-1)
    (what,) = problems(dataset)
    assert "its sign seems to be wrong" in what
    for path in (dataset.root / "sub-01/anat").glob("*phase*.nii.gz"):
        dataset.edit(path, PhaseSign=-1)
    assert problems(dataset) == []


def test_bipolar_readout_is_told(head):
    (what,) = problems(head(ramp=6))
    assert "opposite directions" in what
