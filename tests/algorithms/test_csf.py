"""The ventricles, found by their R2*."""

import numpy as np
import pytest

from qsm_workflows.algorithms.csf import csf_mask

SIZE = (1.0, 2.0, 1.5)


@pytest.fixture
def brain():
    """An ellipsoid with two ventricles, a sulcus, and fluid far from the middle."""
    axes = np.ogrid[:80, :50, :56]
    x, y, z = ((a - n / 2) * s for a, n, s in zip(axes, (80, 50, 56), SIZE, strict=True))
    mask = (x / 38) ** 2 + (y / 48) ** 2 + (z / 40) ** 2 < 1
    r2star = np.where(mask, 20.0, 0.0)
    ventricles = np.zeros(mask.shape, bool)
    for side in (-8, 8):
        ventricles |= ((x - side) / 4) ** 2 + (y / 14) ** 2 + (z / 6) ** 2 < 1
    others = (x > 29) | (y > 37)
    r2star[(ventricles | others) & mask] = 1.0
    return r2star, mask, ventricles


def test_ventricles_are_found_and_sulci_are_not(brain):
    r2star, mask, ventricles = brain
    np.testing.assert_array_equal(csf_mask(r2star, mask, SIZE), ventricles)


def test_the_largest_regions_are_kept(brain):
    r2star, mask, ventricles = brain
    r2star[ventricles & (np.arange(56) > 29)] = 20.0
    ventricles &= np.arange(56) <= 29
    r2star[38:42, 20:22, 12:14] = 1.0
    np.testing.assert_array_equal(csf_mask(r2star, mask, SIZE, regions=2), ventricles)
    assert csf_mask(r2star, mask, SIZE)[40, 21, 13]


def test_voxels_without_a_rate_do_not_count(brain):
    r2star, mask, ventricles = brain
    r2star[38:42, 20:22, 12:14] = 0.0
    np.testing.assert_array_equal(csf_mask(r2star, mask, SIZE), ventricles)


def test_end_faces_of_a_slab_are_no_surface(brain):
    r2star, mask, ventricles = (volume[:, :, 24:32] for volume in brain)
    np.testing.assert_array_equal(csf_mask(r2star, mask, SIZE), ventricles)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 0}, "threshold"),
        ({"radius": -1}, "radius"),
        ({"depth": -1}, "depth"),
        ({"regions": 0}, "regions"),
        ({"threshold": 0.5}, "no voxel of R2"),
    ],
)
def test_what_cannot_be_is_refused(brain, changes, message):
    with pytest.raises(ValueError, match=message):
        csf_mask(*brain[:2], SIZE, **changes)
