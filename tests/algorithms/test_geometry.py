import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from qsm_workflows.algorithms import geometry


def affine(rotation=None, spacing=(1.0, 1.0, 1.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if rotation is None else rotation.as_matrix()) * spacing
    matrix[:3, 3] = (-80, 12, 5)
    return matrix


def test_voxel_size_and_b0_of_an_oblique_acquisition():
    matrix = affine(Rotation.from_euler("x", 30, degrees=True), (0.9, 1.0, 2.5))
    np.testing.assert_allclose(geometry.voxel_size(matrix), (0.9, 1.0, 2.5))
    # The third world axis as the tilted second and third voxel axes see it.
    np.testing.assert_allclose(geometry.b0_direction(matrix), (0, 0.5, np.sqrt(0.75)))


def test_b0_follows_a_sagittal_acquisition():
    sagittal = np.array([[0, 0, 1.2, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(geometry.b0_direction(sagittal), (0, 1, 0))


def test_b0_of_a_flipped_axis_points_the_other_way():
    np.testing.assert_allclose(geometry.b0_direction(np.diag([-1, 1, -2, 1])), (0, 0, -1))


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3)])
def test_bad_affine_is_refused(bad):
    with pytest.raises(ValueError, match="affine"):
        geometry.voxel_size(bad)


def test_volumes_become_contiguous_float32():
    volume = geometry.check_volume("phase", np.ones((4, 5, 6), np.float64).T)
    assert volume.dtype == np.float32
    assert volume.flags.c_contiguous


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (np.ones((3, 3)), "phase has shape"),
        (np.ones((3, 3, 4)), "expected"),
        (np.full((3, 3, 3), np.inf), "27 NaN or infinite"),
    ],
)
def test_bad_volume_is_refused(volume, message):
    with pytest.raises(ValueError, match=message):
        geometry.check_volume("phase", volume, (3, 3, 3))


def test_bad_mask_is_refused():
    with pytest.raises(ValueError, match="empty"):
        geometry.check_mask(np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match="expected"):
        geometry.check_mask(np.ones((3, 3, 3)), (3, 3, 4))


def test_bounding_box_is_tight():
    mask = np.zeros((9, 8, 7), bool)
    mask[2, 3, 6] = mask[5, 1, 4] = True
    box = geometry.bounding_box(mask)
    assert box == (slice(2, 6), slice(1, 4), slice(4, 7))
