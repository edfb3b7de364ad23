import numpy as np
import pytest

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.algorithms.inversion.star import star
from qsm_workflows.algorithms.inversion.tv import tv
from qsm_workflows.algorithms.metrics import nrmse, slope


@pytest.fixture(scope="module")
def bleeding(head):
    """The head with a bleeding of 1.5 ppm, and the noise of its low signal."""
    x, y, z = np.indices(head.chi.shape)
    bleed = (x - 20) ** 2 + (y - 21) ** 2 + (z - 16) ** 2 < 6
    chi = head.chi + 1.5 * bleed
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 2e-3, chi.shape) + 0.05 * rng.normal(size=chi.shape) * bleed
    field = (forward_field(chi, head.voxel_size, head.b0_dir) + noise) * head.mask
    far = head.mask & ((x - 20) ** 2 + (y - 21) ** 2 + (z - 16) ** 2 > 25)
    return chi.astype(np.float32), field.astype(np.float32), far


def test_a_strong_source_disturbs_less(head, bleeding):
    chi, field, far = bleeding
    two_levels, one_level = (
        invert(field, head.mask, head.voxel_size, head.b0_dir, pad=20) for invert in (star, tv)
    )
    error, error_of_one = (
        nrmse(found - np.median(found[head.mask]), chi, far) for found in (two_levels, one_level)
    )
    assert error < 0.9 * error_of_one
    assert slope(two_levels, chi, head.mask) == pytest.approx(1, abs=0.12)
    assert slope(two_levels, chi, far) == pytest.approx(1, abs=0.2)


def test_without_strong_sources_it_is_total_variation(head):
    arguments = head.local_field, head.mask, head.voxel_size, head.b0_dir
    np.testing.assert_array_equal(star(*arguments, threshold=1, pad=20), tv(*arguments, pad=20))


def test_a_field_of_the_strong_source_alone(head):
    """Nothing remains for the second level but what the first left."""
    chi = np.zeros(head.chi.shape, np.float32)
    chi[13:17, 14:18, 11:15] = 2
    field = forward_field(chi, head.voxel_size, head.b0_dir) * head.mask
    found = star(field, head.mask, head.voxel_size, head.b0_dir, pad=20)
    assert nrmse(found - np.median(found[head.mask]), chi, head.mask) < 0.15
