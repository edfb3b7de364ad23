import logging

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from qsm_workflows.algorithms.background.lbv import lbv
from qsm_workflows.algorithms.echoes import wrap
from qsm_workflows.algorithms.laplacian import unwrap_laplacian

TURN = 2 * np.pi


@pytest.mark.parametrize("size", [(1, 1, 1), (0.5, 1, 3)])
def test_steep_phase_is_unwrapped_exactly_in_any_voxels(size):
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (33, 26, 21)), indexing="ij")
    truth = 14 * x - 9 * y**2 + 6 * z * x + 3
    mask = x**2 + y**2 + z**2 < 0.9
    noise = np.random.default_rng(0).uniform(-np.pi, np.pi, mask.shape)
    unwrapped = unwrap_laplacian(np.where(mask, wrap(truth), noise), mask, size, tolerance=1e-6)
    turns = (unwrapped - truth)[mask] / TURN
    np.testing.assert_allclose(turns, np.rint(turns[0]), atol=1e-3)
    assert (unwrapped[~mask] == 0).all()


def test_end_faces_of_a_slab_and_its_parts_are_no_borders():
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (40, 30, 7)), indexing="ij")
    truth = 7 * z + 20 * x + 0 * y
    mask = np.ones(truth.shape, bool)
    mask[18:21] = False
    unwrapped = unwrap_laplacian(wrap(truth), mask, (1, 1, 2), tolerance=1e-6)
    for part in (slice(18), slice(21, None)):
        turns = (unwrapped - truth)[part] / TURN
        np.testing.assert_allclose(turns, np.rint(np.median(turns)), atol=2e-3)
        assert abs(np.median(unwrapped[part])) <= np.pi


def test_where_turns_contradict_each_other_the_fault_is_spread():
    # A pole: the phase of (x, y) turns once round the axis, so no unwrapping is right.
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (20, 20, 6)), indexing="ij")
    unwrapped = unwrap_laplacian(np.arctan2(y, x), np.ones(z.shape), (1, 1, 1))
    assert np.ptp(unwrapped) < 0.3


def test_bad_input_is_named(caplog):
    phase, mask = np.zeros((6, 6, 6)), np.ones((6, 6, 6))
    with pytest.raises(ValueError, match="radians"):
        unwrap_laplacian(phase + 100, mask, (1, 1, 1))
    with pytest.raises(ValueError, match="mask is empty"):
        unwrap_laplacian(phase, 0 * mask, (1, 1, 1))
    with pytest.raises(ValueError, match="voxel_size"):
        unwrap_laplacian(phase, mask, (1, 0, 1))
    with pytest.raises(ValueError, match="tolerance"):
        unwrap_laplacian(phase, mask, (1, 1, 1), tolerance=0)
    noise = np.random.default_rng(0).uniform(-3, 3, phase.shape)
    with caplog.at_level(logging.WARNING):
        unwrap_laplacian(noise, mask, (1, 1, 1), tolerance=1e-30)
    assert "stopped after" in caplog.text


@pytest.mark.shared
def test_reference_phantom(shared_data):
    folder = shared_data / "reference_outputs"

    def load(name):
        return np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj, dtype=np.float32)

    mask, size = load("in_mask") > 0, (1, 1, 1)
    phase = load("in_phase_4echo")[..., 2]
    truth = phase + TURN * load("out_unwrap_counts_truth_4echo")[..., 2]
    unwrapped = unwrap_laplacian(phase, mask, size)

    def error(volume):
        return np.std((volume - truth)[mask])

    # 0.16 rad; theirs, in a mirrored or periodic box with noise about the head, 1.7 and 2.7.
    assert error(unwrapped) < 0.2
    for name in ("hf", "medi"):
        assert error(load(f"out_unwrap_{name}_laplacian_echo3_rad")) > 8 * error(unwrapped)
    # kamesy's has zeros round the mask, which is to remove the background at once. It takes
    # the sine of the steps, and so differs where they are large.
    theirs = load("out_unwrap_km_laplacian_echo3_rad")
    local, _ = lbv(unwrapped, mask, size)
    steep = ndimage.generic_gradient_magnitude(truth, ndimage.prewitt) / 18
    smooth = mask & ~ndimage.binary_dilation(mask & (steep > 1), iterations=10)
    assert smooth.sum() > 20_000
    assert np.median(np.abs(local - theirs)[smooth]) < 0.15 * np.std(theirs[smooth])  # 0.11
