import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from qsm_workflows.algorithms.metrics import correlation, hfen, nrmse, psnr, slope, ssim

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=(5, 6, 7))
MASK = RNG.random(TRUTH.shape) > 0.3


def test_only_the_mask_counts():
    wrong_outside = np.where(MASK, TRUTH, 1e6)
    assert nrmse(wrong_outside, TRUTH, MASK) == 0
    assert correlation(wrong_outside, TRUTH, MASK) == pytest.approx(1)
    assert slope(wrong_outside, TRUTH, MASK) == pytest.approx(1)


def test_a_shrunken_map():
    shrunken = 0.8 * TRUTH + 3
    assert nrmse(0.8 * TRUTH, TRUTH, MASK) == pytest.approx(0.2)
    assert slope(shrunken, TRUTH, MASK) == pytest.approx(0.8)
    assert correlation(shrunken, TRUTH, MASK) == pytest.approx(1)
    assert correlation(-shrunken, TRUTH, MASK) == pytest.approx(-1)


def test_slope_is_not_raised_by_noise():
    noisy = TRUTH + RNG.normal(0, 0.5, TRUTH.shape)
    assert correlation(noisy, TRUTH, MASK) < 0.95
    assert slope(noisy, TRUTH, MASK) == pytest.approx(1, abs=0.15)


def test_slices_are_refused():
    with pytest.raises(ValueError, match=r"shape \(\d+, \d+\), expected \(X, Y, Z\)"):
        ssim(TRUTH[0], TRUTH[0], MASK[0])


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match="shape"):
        nrmse(TRUTH[1:], TRUTH, MASK)


def smooth(seed):
    noise = np.random.default_rng(seed).standard_normal((24, 26, 28))
    return gaussian_filter(noise, 2.0) * 0.5


def test_a_perfect_map_has_no_error():
    truth, mask = smooth(0), np.ones((24, 26, 28), bool)
    assert ssim(truth, truth, mask) == pytest.approx(1)
    assert hfen(truth, truth, mask) == 0
    assert psnr(truth + 0.1 * np.ptp(truth), truth, mask) == pytest.approx(20)


def test_structure_detail_and_level_are_told_apart():
    truth, mask = smooth(0), np.ones((24, 26, 28), bool)
    blurred, shifted = gaussian_filter(truth, 1.5), truth + 0.02
    # An offset has no detail, a blur no offset.
    assert hfen(shifted, truth, mask) < 2e-3
    assert hfen(blurred, truth, mask) > 0.3
    assert ssim(blurred, truth, mask) < 0.99
    assert ssim(smooth(1), truth, mask) < ssim(blurred, truth, mask)


@pytest.mark.parametrize("measure", [psnr, ssim, hfen])
def test_voxels_outside_the_mask_do_not_count(measure):
    truth, mask = smooth(0), np.zeros((24, 26, 28), bool)
    mask[3:-3, 3:-3, 3:-3] = True
    estimate = truth + 0.1 * smooth(1)
    expected = measure(estimate, truth, mask)
    assert measure(np.where(mask, estimate, 50), truth, mask) == expected
