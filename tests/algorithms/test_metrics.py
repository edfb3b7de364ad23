import numpy as np
import pytest

from qsm_workflows.algorithms.metrics import correlation, nrmse, slope

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


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match="shape"):
        nrmse(TRUTH[1:], TRUTH, MASK)
