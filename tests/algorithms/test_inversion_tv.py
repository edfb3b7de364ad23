import numpy as np
import pytest

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.algorithms.inversion.tv import tv
from qsm_workflows.algorithms.metrics import nrmse

REGULARISATION = 2e-3


def cost(head, chi):
    """Half the squared misfit in the mask and λ times the gradients, on the whole grid."""
    rest = (forward_field(chi, *head[4:], pad=0) - head.local_field)[head.mask].astype(float)
    slopes = [
        np.abs(np.roll(chi, -1, axis) - chi).sum() / length
        for axis, length in enumerate(head.voxel_size)
    ]
    return (rest**2).sum() / 2 + REGULARISATION * sum(slopes)


@pytest.fixture(scope="module")
def full(head):
    """Field and its mask such that nothing of χ is cut off from the cost."""
    return head._replace(mask=np.ones_like(head.mask))


def test_the_cost_is_minimal(full):
    chi = tv(
        full.local_field,
        full.mask,
        *full[4:],
        regularisation=REGULARISATION,
        tolerance=1e-5,
        max_iterations=2000,
        pad=0,
    ).astype(float)
    rng = np.random.default_rng(0)
    least = cost(full, chi)
    for change in (
        1e-2 * rng.normal(size=chi.shape),
        0.1 * full.chi,
        -0.1 * full.chi,
        0.05 * chi,
        -0.05 * chi,
    ):
        assert cost(full, chi + change) > least
    # Near enough to the minimum that no way between truth and solution leads below it.
    assert cost(full, 0.98 * chi + 0.02 * full.chi) > 0.999 * least


def test_coupling_does_not_change_the_solution(full):
    fast, slow = (
        tv(
            full.local_field,
            full.mask,
            *full[4:],
            regularisation=REGULARISATION,
            coupling=coupling,
            tolerance=1e-5,
            max_iterations=3000,
            pad=0,
        )
        for coupling in (30, 100)
    )
    assert nrmse(slow, fast, full.mask) < 0.02


def test_more_regularisation_gives_flatter_maps(head):
    flat, rough = (
        np.abs(np.diff(tv(head.local_field, head.mask, *head[4:], regularisation=r), axis=0)).sum()
        for r in (1e-2, 1e-4)
    )
    assert flat < 0.9 * rough


def test_noisy_voxels_count_less(head):
    spoilt = head.local_field.copy()
    spoilt[10:13, 10:13, 10:13] += 0.5
    noise = np.where(spoilt == head.local_field, 1.0, 100.0)
    plain, weighted = (tv(spoilt, head.mask, *head[4:], noise=n, pad=20) for n in (None, noise))
    assert nrmse(weighted, head.chi, head.mask) < 0.7 * nrmse(plain, head.chi, head.mask)
