import logging

import numpy as np
import pytest
from scipy.linalg import lstsq

from qsm_workflows.algorithms import smv
from qsm_workflows.algorithms.background.resharp import resharp
from qsm_workflows.algorithms.metrics import slope
from qsm_workflows.algorithms.presets import RESHARP_PRESETS


def harmonic(shape, voxel_size):
    """A field whose sources are all far outside: polynomials of zero Laplacian."""
    x, y, z = np.meshgrid(
        *((np.arange(n) - n / 2) * s for n, s in zip(shape, voxel_size, strict=True)),
        indexing="ij",
    )
    return (
        0.5
        + 0.03 * x
        - 0.02 * z
        + 1e-3 * (x**2 - z**2)
        + 2e-3 * x * y
        + 1e-5 * (x**3 - 3 * x * y**2)
    )


@pytest.mark.parametrize("voxel_size", [(1, 1, 1), (1, 1.1, 1.3), (0.9, 0.9, 2), (2, 1, 1)])
def test_harmonic_field_is_removed(head, voxel_size):
    background = harmonic(head.mask.shape, voxel_size) * head.mask
    local, eroded = resharp(background, head.mask, voxel_size)
    assert np.ptp(background[eroded]) > 0.5
    assert np.abs(local[eroded]).max() < 1e-3 * np.ptp(background[eroded])


def test_equal_weights_would_leave_a_harmonic_field_with_anisotropic_voxels():
    sphere, size = smv.ellipsoid((3, 3, 2)), np.array([1, 1, 2])
    x, _, z = ((np.indices(sphere.shape).T - (3, 3, 2)) * size).T
    assert abs((x**2 - z**2)[sphere].mean()) > 0.5
    assert (smv.mean_kernel(sphere, size) * (x**2 - z**2)).sum() == pytest.approx(0, abs=1e-5)


def test_weights_are_equal_for_cubic_voxels():
    sphere = smv.ellipsoid((3, 3, 3))
    assert np.count_nonzero(sphere) == 123
    np.testing.assert_allclose(smv.mean_kernel(sphere, (2, 2, 2))[sphere], 1 / 123, rtol=1e-6)


def test_local_field_survives_and_its_gain_falls_with_regularisation(head):
    total = (head.local_field + harmonic(head.mask.shape, head.voxel_size)) * head.mask
    gains = []
    for tikhonov in (1e-5, 1e-4, 1e-3, 1e-2):
        local, eroded = resharp(
            total, head.mask, head.voxel_size, tikhonov=tikhonov, max_iterations=1000
        )
        gains.append(slope(local, head.local_field, eroded))
    assert gains[0] > 0.8
    assert np.all(np.diff(gains) < 0)


def test_solution_of_the_published_normal_equations():
    """(Cᵀ·M·C + λ)·x = Cᵀ·M·C·f, solved densely on a small grid."""
    shape, tikhonov = (9, 8, 10), 1e-2
    rng = np.random.default_rng(0)
    field = rng.normal(size=shape)
    mask = np.ones(shape, bool)
    mask[0, :3] = mask[-1, -1] = False
    kernel = smv.mean_kernel(smv.ellipsoid((2, 2, 2)), (1, 1, 1))
    index = np.argwhere(np.ones(shape))
    offset = index[:, None] - index[None] + 2
    near = np.all((offset >= 0) & (offset < 5), axis=2)
    mean = np.zeros((index.shape[0],) * 2)
    mean[near] = kernel[tuple(offset[near].T)]
    eroded = mean @ mask.ravel() > 0.999
    high_pass = eroded[:, None] * (np.eye(mean.shape[0]) - mean)
    stacked = np.vstack([high_pass, tikhonov**0.5 * np.eye(mean.shape[0])])
    right = np.concatenate([high_pass @ (field * mask).ravel(), np.zeros(mean.shape[0])])
    expected = lstsq(stacked, right)[0] * eroded

    local, eroded_mask = resharp(field, mask, (1, 1, 1), radius=2, tikhonov=tikhonov)
    np.testing.assert_array_equal(eroded_mask.ravel(), eroded)
    np.testing.assert_allclose(local.ravel(), expected, atol=1e-5)


def test_end_faces_of_a_slab_erode():
    """A slab of 32 mm keeps 26 slices of 1 mm."""
    slab = np.ones((20, 20, 32), bool)
    field = np.random.default_rng(0).normal(size=slab.shape)
    _, eroded = resharp(field, slab, (1, 1, 1))
    assert np.count_nonzero(eroded.any(axis=(0, 1))) == 26
    assert np.count_nonzero(eroded) == 14 * 14 * 26


def test_radius_is_in_mm():
    mask = np.ones((24, 24, 24), bool)
    field = np.random.default_rng(0).normal(size=mask.shape)
    _, eroded = resharp(field, mask, (1.0, 2.0, 0.5), radius=4)
    extents = [np.count_nonzero(eroded.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    assert extents == [24 - 2 * 4, 24 - 2 * 2, 24 - 2 * 8]


def test_only_the_mask_matters(head):
    elsewhere = np.where(head.mask, head.local_field, 7.0)
    local, eroded = resharp(head.local_field, head.mask, head.voxel_size)
    again, _ = resharp(elsewhere, head.mask, head.voxel_size)
    np.testing.assert_array_equal(again, local)
    assert not local[~eroded].any()
    assert not (eroded & ~head.mask).any()


@pytest.mark.parametrize("axes", [(0, 1), (1, 2)])
def test_rotated_head_gives_the_rotated_field(head, axes):
    size = (1.0, 1.0, 1.0)
    local, _ = resharp(head.local_field, head.mask, size)
    turned, _ = resharp(np.rot90(head.local_field, axes=axes), np.rot90(head.mask, axes=axes), size)
    np.testing.assert_allclose(turned, np.rot90(local, axes=axes), atol=1e-5)


def test_sphere_that_does_not_fit_is_refused(head):
    with pytest.raises(ValueError, match="smaller radius or a thicker slab"):
        resharp(head.local_field[:, :, :4], head.mask[:, :, :4], head.voxel_size)


@pytest.mark.parametrize("keywords", [{"radius": 0}, {"tikhonov": -1e-3}])
def test_bad_parameters_are_refused(head, keywords):
    with pytest.raises(ValueError, match=next(iter(keywords))):
        resharp(head.local_field, head.mask, head.voxel_size, **keywords)


def test_an_unfinished_solve_is_reported(head, caplog):
    with caplog.at_level(logging.WARNING):
        resharp(head.local_field, head.mask, head.voxel_size, max_iterations=2)
    assert "RESHARP stopped after 2 iterations" in caplog.text


def test_presets_name_the_laboratory_settings():
    assert RESHARP_PRESETS["ge"].tikhonov == 1e-4
    assert RESHARP_PRESETS["prisma"].tikhonov == 1e-3
    assert set(RESHARP_PRESETS) == {"ge", "prisma", "study"}
