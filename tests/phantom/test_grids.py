import numpy as np
import pytest
from nibabel.affines import apply_affine

from qsm_workflows.algorithms.geometry import b0_direction, voxel_size
from qsm_workflows.phantom.grids import (
    block_majority,
    block_mean,
    fine_grid,
    image_affine,
    repeat_blocks,
)


def test_image_is_centred_on_the_isocentre_whatever_its_tilt():
    affine = image_affine((1, 2, 3), (11, 12, 13), (10, -5, 20))
    np.testing.assert_allclose(apply_affine(affine, (5, 5.5, 6)), 0, atol=1e-12)
    np.testing.assert_allclose(voxel_size(affine), (1, 2, 3))


def test_tilt_about_x_makes_b0_oblique():
    affine = image_affine((1, 1, 2), (8, 8, 8), (30, 0, 0))
    expected = (0, np.sin(np.radians(30)), np.cos(np.radians(30)))
    np.testing.assert_allclose(b0_direction(affine), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "matrix", "tilt", "message"),
    [
        ((1, 0, 1), (8, 8, 8), (0, 0, 0), "voxel_size"),
        ((1, 1, 1), (8, 0, 8), (0, 0, 0), "matrix"),
        ((1, 1, 1), (8, 8.5, 8), (0, 0, 0), "matrix"),
        ((1, 1, 1), (8, 8), (0, 0, 0), "matrix"),
        ((1, 1, 1), (8, 8, 8), (np.nan, 0, 0), "tilt"),
    ],
)
def test_senseless_grids_are_refused(size, matrix, tilt, message):
    with pytest.raises(ValueError, match=message):
        image_affine(size, matrix, tilt)


@pytest.mark.parametrize("tilt", [(0, 0, 0), (20, 10, -15)])
def test_fine_grid_cuts_image_voxels_exactly_and_holds_the_box(tilt):
    affine = image_affine((1, 1, 3), (10, 9, 5), tilt)
    low, high = (-12, -9, -20), (9, 14, 11)
    grid = fine_grid(affine, (10, 9, 5), low, high)
    assert grid.factor == (2, 2, 6)
    coordinates = np.stack(np.indices(grid.shape)).astype(np.float32)
    positions = apply_affine(grid.affine, np.moveaxis(coordinates, 0, -1))
    image = positions[grid.image_slices]
    means = np.stack([block_mean(image[..., axis], grid.factor) for axis in range(3)], axis=-1)
    expected = apply_affine(affine, np.moveaxis(np.indices((10, 9, 5)), 0, -1))
    np.testing.assert_allclose(means, expected, atol=1e-4)
    corners = np.array(np.meshgrid(*np.transpose([low, high]))).reshape(3, -1).T
    inside = apply_affine(np.linalg.inv(grid.affine), corners)
    assert np.all(inside >= -0.5)
    assert np.all(inside <= np.array(grid.shape) - 0.5)


def test_slab_positions_are_those_of_the_affine():
    affine = image_affine((2, 1, 1), (4, 5, 6), (15, 5, -8))
    grid = fine_grid(affine, (4, 5, 6), (-3, -3, -3), (3, 3, 3))
    index = np.stack(np.indices(grid.shape))[:, 2:4].reshape(3, -1)
    expected = apply_affine(grid.affine, index.T).T
    np.testing.assert_allclose(grid.slab_positions(2, 4), expected, atol=1e-4)


def test_too_fine_a_grid_is_refused():
    affine = image_affine((0.1, 0.1, 0.1), (10, 10, 10), (0, 0, 0))
    with pytest.raises(ValueError, match="memory"):
        fine_grid(affine, (10, 10, 10), (-80, -80, -80), (80, 80, 80))


def test_block_mean_undoes_repetition():
    coarse = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
    means = block_mean(repeat_blocks(coarse, (2, 3, 1)), (2, 3, 1))
    np.testing.assert_allclose(means, coarse, rtol=1e-6)


def test_majority_leaves_out_zero_and_prefers_the_smaller_of_equals():
    fine = np.zeros((2, 2, 4), dtype=np.uint8)
    fine[0, 0, 0] = 5
    fine[..., 2:] = [[[3, 9], [9, 3]], [[3, 9], [9, 3]]]
    np.testing.assert_array_equal(block_majority(fine, (2, 2, 2)), [[[5, 3]]])
