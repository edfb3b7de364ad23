import numpy as np
import pytest

from qsm_workflows.algorithms.coverage import extract, place_slab, slab_axis, truncate

AFFINE = np.array([[1.0, 0, 0, -20], [0, 1, 0, -25], [0, 0, 2, -40], [0, 0, 0, 1]])
SHAPE = (40, 50, 40)


def world_z(affine, index):
    return (np.asarray(affine) @ [0, 0, index, 1])[2]


@pytest.mark.parametrize("thickness", [10.0, 14.0, 32.0])
@pytest.mark.parametrize("centre_z", [-4.0, 0.0, 1.0])
def test_slab_is_symmetric_about_its_centre(thickness, centre_z):
    slab = place_slab(SHAPE, AFFINE, (0, 0, centre_z), thickness)
    assert (slab.stop - slab.start) * 2.0 == thickness == slab.actual_thickness
    middle = (world_z(AFFINE, slab.start - 0.5) + world_z(AFFINE, slab.stop - 0.5)) / 2
    # Slices cannot be split: half a slice is as near as it gets.
    assert abs(middle - centre_z) <= 1.0
    assert not slab.is_clipped


def test_thickness_is_in_millimetres_not_slices():
    thin = place_slab(SHAPE, AFFINE, (0, 0, 0), 32)
    finer = AFFINE @ np.diag([1, 1, 0.5, 1])
    assert thin.stop - thin.start == 16
    slab = place_slab((40, 50, 80), finer, (0, 0, 0), 32)
    assert slab.stop - slab.start == 32


def test_what_lies_outside_the_image_is_told():
    slab = place_slab(SHAPE, AFFINE, (0, 0, 30), 40)
    assert slab.is_clipped
    assert slab.stop == SHAPE[2]
    assert slab.thickness == 40
    assert slab.actual_thickness == 2 * (slab.stop - slab.start) < 40


def test_slab_outside_the_image_is_refused():
    with pytest.raises(ValueError, match="outside the image"):
        place_slab(SHAPE, AFFINE, (0, 0, 300), 32)


@pytest.mark.parametrize("thickness", [0, -5, np.nan])
def test_thickness_must_be_positive(thickness):
    with pytest.raises(ValueError, match="thickness"):
        place_slab(SHAPE, AFFINE, (0, 0, 0), thickness)


def test_axis_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="must be 0, 1 or 2, not 5"):
        place_slab(SHAPE, AFFINE, (0, 0, 0), 32, axis=5)


def test_slab_follows_the_head_not_the_array_order():
    sagittal = np.array([[0.0, 0, 2, -40], [1, 0, 0, -20], [0, 1, 0, -25], [0, 0, 0, 1]])
    assert slab_axis(AFFINE) == 2
    assert slab_axis(sagittal) == 1


def test_truncated_voxels_stay_where_they_were():
    volume = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    slab = place_slab(SHAPE, AFFINE, (0, 0, -10), 20)
    cut, affine = truncate(volume, AFFINE, slab)
    assert cut.shape == (40, 50, 10)
    assert np.allclose(affine @ [3, 4, 0, 1], AFFINE @ [3, 4, slab.start, 1])
    assert np.array_equal(cut, volume[:, :, slab.start : slab.stop])
    assert np.array_equal(extract(volume, AFFINE, cut.shape, affine), cut)


def test_extract_refuses_another_lattice():
    volume = np.zeros(SHAPE, np.float32)
    shifted = AFFINE.copy()
    shifted[0, 3] += 0.4
    with pytest.raises(ValueError, match="share a grid"):
        extract(volume, AFFINE, (5, 5, 5), shifted)
    outside = AFFINE.copy()
    outside[2, 3] += 70
    with pytest.raises(ValueError, match="share a grid"):
        extract(volume, AFFINE, (5, 5, 10), outside)
