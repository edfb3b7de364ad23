"""Display orientation and slabs in the field of view of the head."""

import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.report.volumes import Volume, embed, focus, load_volume, take_plane

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


def save(path, data, affine):
    nib.save(nib.Nifti1Image(data.astype(np.float32), affine), path)
    return path


def test_slab_is_embedded_where_its_affine_says(tmp_path):
    whole = np.arange(5 * 6 * 7).reshape(5, 6, 7)
    shifted = AFFINE.copy()
    shifted[:3, 3] = AFFINE[:3, :3] @ (0, 1, 2)
    head = load_volume(save(tmp_path / "whole.nii.gz", whole, AFFINE))
    slab = load_volume(save(tmp_path / "slab.nii.gz", whole[:, 1:4, 2:6], shifted))
    placed = embed(slab, head)
    expected = np.full(whole.shape, np.nan)
    expected[:, 1:4, 2:6] = whole[:, 1:4, 2:6]
    np.testing.assert_array_equal(placed, expected)


def test_slab_is_embedded_in_flipped_and_turned_images(tmp_path):
    # Voxel axes: posterior, superior, left, tilted by ten degrees about left–right.
    angle = np.radians(10)
    tilt = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    axes = tilt @ np.array([[0, 0, -1.0], [-1.5, 0, 0], [0, 2.0, 0]])
    affine = nib.affines.from_matvec(axes, (50, 60, 70))
    data = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    slab_affine = nib.affines.from_matvec(axes, axes @ (0, 2, 0) + (50, 60, 70))
    head = load_volume(save(tmp_path / "whole.nii.gz", data, affine))
    slab = load_volume(save(tmp_path / "slab.nii.gz", data[:, 2:4], slab_affine))
    placed = embed(slab, head)
    inside = ~np.isnan(placed)
    np.testing.assert_array_equal(placed[inside], head.data[inside])
    assert np.count_nonzero(inside) == 4 * 2 * 6
    # Superior is the last axis of the display.
    assert inside.any(axis=(0, 1)).tolist() == [False, False, True, True, False]
    assert head.tilt == pytest.approx(10, abs=0.01)


@pytest.mark.parametrize("shift", [(0, 0, 4), (0, 0, 0.5), (-1, 0, 0)])
def test_a_slab_off_the_grid_is_refused(shift):
    affine = AFFINE.copy()
    affine[:3, 3] = AFFINE[:3, :3] @ shift
    head = Volume(np.zeros((4, 4, 6), np.float32), AFFINE)
    with pytest.raises(ValueError, match="not a block"):
        embed(Volume(np.zeros((4, 4, 3), np.float32), affine), head)


def test_planes_have_superior_up_and_right_to_the_right():
    data = np.zeros((4, 5, 6))
    data[3, 1, 5] = 1
    everything = tuple(slice(0, n) for n in data.shape)
    coronal = take_plane(data, "coronal", 1, everything)
    assert coronal.shape == (6, 4)
    assert coronal[5, 3] == 1
    axial = take_plane(data, "axial", 5, (slice(2, 4), slice(0, 3), slice(0, 6)))
    assert axial.shape == (3, 2)
    assert axial[1, 1] == 1


def test_sections_go_through_the_middle_of_the_thin_direction():
    mask = np.zeros((20, 30, 40), bool)
    mask[2:18, 3:27, 4:36] = True
    slab = np.zeros_like(mask)
    slab[:, :, 8:13] = True
    across = focus(mask, slab)
    assert across[2] == 10
    assert across[:2] == focus(mask)[:2]
    coronal_slab = np.zeros_like(mask)
    coronal_slab[:, 20:23] = True
    assert focus(mask, coronal_slab)[1] == 21
