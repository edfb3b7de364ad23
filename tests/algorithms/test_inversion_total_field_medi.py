import logging

import numpy as np
import pytest

from qsm_workflows.algorithms.background.lbv import peel_mask
from qsm_workflows.algorithms.background.pdf import pdf
from qsm_workflows.algorithms.inversion.medi import medi
from qsm_workflows.algorithms.inversion.total_field_medi import total_field_medi
from qsm_workflows.algorithms.metrics import correlation, nrmse, slope


@pytest.fixture(scope="module")
def invert(head):
    """χ of a field of the head, with padding for the sources around it."""

    def call(field, **keywords):
        keywords = {"pad": 20, **keywords}
        return total_field_medi(field, head.mask, head.magnitude, *head[4:], **keywords)

    return call


@pytest.fixture(scope="module")
def chi(total, invert):
    return invert(total)


def error(chi, truth, mask):
    return nrmse(chi - chi[mask].mean(), truth - truth[mask].mean(), mask)


def test_susceptibility_is_found_through_the_background(head, total, chi):
    assert correlation(total, head.local_field, head.mask) < 0.5
    assert correlation(chi, head.chi, head.mask) > 0.9
    inner = peel_mask(head.mask, head.voxel_size, 2)
    assert slope(chi, head.chi, inner) == pytest.approx(1, abs=0.2)


def test_one_step_errs_less_than_two(head, total, chi):
    local, _ = pdf(total, head.mask, *head[4:], pad=20)
    two_steps = medi(local, head.mask, head.magnitude, *head[4:], pad=20)
    assert error(chi, head.chi, head.mask) < 0.9 * error(two_steps, head.chi, head.mask)


def test_sources_outside_cost_little(head, total, invert, chi):
    """Where they cost much, the background is explained from inside."""
    costly = invert(total, shrinkage=1.0)
    assert error(costly, head.chi, head.mask) > 2 * error(chi, head.chi, head.mask)


def test_weight_refers_to_the_field_and_echo_spacing_given(total, invert):
    """The same phase in radians: χ differs by the factor that the field in ppm does."""
    plain, scaled = (
        invert(total, max_outer=2),
        invert(total / 4, max_outer=2, b0=6.0, delta_te=0.01),
    )
    np.testing.assert_allclose(4 * scaled, plain, atol=2e-3)


def test_noisy_voxels_count_less(head, total, invert):
    spoilt = total.copy()
    spoilt[10:13, 10:13, 10:13] += 0.3
    noise = np.where(spoilt == total, 1.0, 100.0)
    plain, weighted = (invert(spoilt, noise=n) for n in (None, noise))
    assert error(weighted, head.chi, head.mask) < 0.8 * error(plain, head.chi, head.mask)


def test_no_room_for_sources_outside_is_refused(head):
    everywhere = np.ones_like(head.mask)
    with pytest.raises(ValueError, match="the mask fills the image: give a pad"):
        total_field_medi(head.local_field, everywhere, head.magnitude, *head[4:], pad=0)


def test_an_unfinished_solve_is_reported(total, invert, caplog):
    with caplog.at_level(logging.WARNING):
        invert(total, max_outer=1, max_inner=5)
    assert "total-field MEDI stopped after 1 Gauss-Newton steps" in caplog.text
