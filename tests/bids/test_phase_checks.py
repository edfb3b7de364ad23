"""Wrong signs and bipolar readout are found in a dataset before a run."""

import numpy as np
import pytest

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.bids.checks import check_files, check_scan
from qsm_workflows.bids.companions import find_companions
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


@pytest.mark.parametrize("sign", [1, -1])
def test_labels_tell_the_sign_in_a_slab(dataset, sign):
    """A disc of 24 mm with the pallidum on both sides, as a BIDS dataset with labels."""
    shape, affine = (40, 40, 8), np.diag([2.0, 2.0, 3.0, 1.0])
    x = (np.arange(40) - 19.5)[:, None, None] * 2 + np.zeros(shape)
    y = (np.arange(40) - 19.5)[:, None] * 2 + np.zeros(shape)
    nuclei = (np.abs(x) - 15) ** 2 + y**2 < 8**2
    brain = x**2 + y**2 < 35**2
    field = forward_field(0.1 * nuclei, (2, 2, 3), (0, 0, 1)) + 0.005 * x
    rng = np.random.default_rng(0)
    dataset.scan("sub-01")
    for echo in (1, 2, 3):
        phase = np.angle(np.exp(1j * (sign * 20 * field * echo + rng.normal(0, 0.05, shape))))
        name = f"sub-01/anat/sub-01_echo-{echo}_part"
        magnitude = 100 * brain + rng.uniform(0, 1, shape)
        dataset.image(f"{name}-mag_MEGRE.nii.gz", magnitude.astype(np.float32), affine)
        dataset.image(f"{name}-phase_MEGRE.nii.gz", phase.astype(np.float32), affine)
    stem = "derivatives/m/sub-01/anat/sub-01"
    dataset.image(f"{stem}_dseg.nii.gz", nuclei.astype(np.int16), affine)
    dataset.text(f"{stem}_dseg.tsv", "index\tname\themisphere\n1\tpallidum\tL\n")
    dataset.image(f"{stem}_desc-brain_mask.nii.gz", brain.astype(np.uint8), affine)
    (scan,) = index_dataset(dataset.root).scans
    found = check_scan(scan, find_companions(scan, dataset.root), reference="mask")
    signs = [problem for problem in found if "its sign" in problem.what]
    assert len(signs) == (sign == -1)
    if signs:
        assert "deep grey matter comes out less paramagnetic" in signs[0].what
        assert "PhaseSign: -1" in signs[0].remedy
