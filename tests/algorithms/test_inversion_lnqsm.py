import logging

import numpy as np
import pytest

from qsm_workflows.algorithms.background.lbv import peel_mask
from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.algorithms.inversion.lnqsm import lnqsm
from qsm_workflows.algorithms.metrics import correlation, nrmse, slope


def test_susceptibility_is_found_through_the_background(head, total):
    assert correlation(total, head.local_field, head.mask) < 0.5
    chi = lnqsm(total, head.mask, *head[4:], pad=20)
    assert correlation(chi, head.chi, head.mask) > 0.85
    inner = peel_mask(head.mask, head.voxel_size, 2)
    assert slope(chi, head.chi, inner) == pytest.approx(1, abs=0.2)


def test_sources_outside_cost_nothing(head, total):
    """Background and none give nearly the same map."""
    local, of_total = (lnqsm(f, head.mask, *head[4:], pad=20) for f in (head.local_field, total))
    inner = peel_mask(head.mask, head.voxel_size, 2)
    assert nrmse(of_total - of_total[inner].mean(), local - local[inner].mean(), inner) < 0.2


def test_the_cost_is_minimal(head):
    """With the mask everywhere and no padding, every term can be written down."""
    everywhere = np.ones_like(head.mask)
    weight, shrinkage = 2e-3, 1e-2
    chi = lnqsm(
        head.local_field,
        everywhere,
        *head[4:],
        regularisation=weight,
        shrinkage=shrinkage,
        max_outer=30,
        outer_tolerance=2e-3,
        max_inner=100,
        inner_tolerance=1e-4,
        pad=0,
    ).astype(float)

    def cost(chi):
        rest = (forward_field(chi, *head[4:], pad=0) - head.local_field).astype(float)
        slopes = sum(
            # Rounded off at zero, as in the method.
            np.hypot((np.roll(chi, -1, axis) - chi) / length, 1e-3).sum()
            for axis, length in enumerate(head.voxel_size)
        )
        return (rest**2).sum() / 2 + weight * slopes + shrinkage * (chi**2).sum() / 2

    least = cost(chi)
    rng = np.random.default_rng(0)
    for change in (1e-2 * rng.normal(size=chi.shape), 0.1 * head.chi, -0.1 * head.chi):
        assert cost(chi + change) > least
    for other in (0.98 * chi, 1.02 * chi, 0.95 * chi + 0.05 * head.chi):
        assert cost(other) > least


def test_noisy_voxels_count_less(head):
    spoilt = head.local_field.copy()
    spoilt[10:13, 10:13, 10:13] += 0.5
    noise = np.where(spoilt == head.local_field, 1.0, 100.0)
    plain, weighted = (
        lnqsm(spoilt, head.mask, *head[4:], noise=n, pad=10, max_outer=2) for n in (None, noise)
    )
    assert nrmse(weighted, head.chi, head.mask) < 0.7 * nrmse(plain, head.chi, head.mask)


def test_an_unfinished_solve_is_reported(head, caplog):
    with caplog.at_level(logging.WARNING):
        lnqsm(head.local_field, head.mask, *head[4:], max_outer=1, max_inner=5)
    assert "LN-QSM stopped after 1 steps" in caplog.text
