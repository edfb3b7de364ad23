import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.interfaces.coverage import Truncate

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
SHAPE = (10, 12, 30)


def write(path, data, affine=AFFINE):
    nib.save(nib.Nifti1Image(np.asarray(data, np.float32), affine), path)
    return str(path)


@pytest.fixture
def images(tmp_path):
    field = np.broadcast_to(np.arange(30.0), SHAPE)
    mask = np.ones(SHAPE)
    return {
        "field": write(tmp_path / "field.nii", field),
        "mask": write(tmp_path / "mask.nii", mask),
    }


def test_all_images_are_cut_alike(images, tmp_path):
    magnitude = write(tmp_path / "magnitude.nii", np.full(SHAPE, 7.0))
    node = Truncate(**images, magnitude=magnitude, centre=(0, 0, 30.0), thickness=12.0)
    outputs = node.run(cwd=tmp_path).outputs
    field = nib.load(outputs.field)
    assert field.shape == (10, 12, 6)
    # The field tells its own slice number: voxels kept their world position.
    z = field.affine[2, 2] * np.arange(6) + field.affine[2, 3]
    assert np.allclose(field.get_fdata()[0, 0], z / 2)
    assert nib.load(outputs.mask).get_data_dtype() == np.uint8
    assert np.all(nib.load(outputs.magnitude).get_fdata() == 7)
    assert outputs.actual_thickness == 12


def test_images_of_different_grids_are_refused(images, tmp_path):
    images["mask"] = write(tmp_path / "other.nii", np.ones(SHAPE), AFFINE * 1.5)
    node = Truncate(**images, centre=(0, 0, 30.0), thickness=12.0)
    with pytest.raises(ValueError, match="different affines"):
        node.run(cwd=tmp_path)


def test_slab_without_brain_is_refused(images, tmp_path):
    mask = np.zeros(SHAPE)
    mask[:, :, 25:] = 1
    images["mask"] = write(tmp_path / "top.nii", mask)
    node = Truncate(**images, centre=(0, 0, 10.0), thickness=8.0)
    with pytest.raises(ValueError, match="no brain is left"):
        node.run(cwd=tmp_path)
