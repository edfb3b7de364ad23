import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.algorithms.background import resharp
from qsm_workflows.algorithms.presets import RESHARP_PRESETS
from qsm_workflows.interfaces.background import RESHARP

AFFINE = np.diag([1.0, 1.0, 1.5, 1.0])


@pytest.fixture
def files(tmp_path):
    """A total field and its mask, as files; the node works in the same folder."""
    rng = np.random.default_rng(0)
    mask = np.zeros((16, 17, 15), np.uint8)
    mask[1:-1, 1:-1, 1:-1] = 1
    volumes = {"field": rng.normal(size=mask.shape).astype(np.float32), "mask": mask}
    for name, volume in volumes.items():
        nib.save(nib.Nifti1Image(volume, AFFINE), tmp_path / f"{name}.nii.gz")
    return tmp_path


def run(folder, **keywords):
    node = RESHARP(in_file=folder / "field.nii.gz", mask=folder / "mask.nii.gz", **keywords)
    outputs = node.run(cwd=str(folder)).outputs
    return nib.load(outputs.out_file), nib.load(outputs.out_mask)


def expected(folder, **keywords):
    field, mask = (nib.load(folder / f"{name}.nii.gz").get_fdata() for name in ("field", "mask"))
    return resharp(field, mask, (1.0, 1.0, 1.5), **keywords)


def test_node_writes_local_field_and_mask(files):
    local, mask = run(files)
    field, eroded = expected(files)
    np.testing.assert_allclose(local.get_fdata(), field, atol=1e-6)
    np.testing.assert_array_equal(mask.get_fdata(), eroded)
    np.testing.assert_allclose(local.affine, AFFINE)
    assert mask.get_data_dtype() == np.uint8


@pytest.mark.parametrize("preset", sorted(RESHARP_PRESETS))
def test_preset_is_used_unless_overridden(files, preset):
    local, _ = run(files, preset=preset)
    field, _ = expected(files, **vars(RESHARP_PRESETS[preset]))
    np.testing.assert_allclose(local.get_fdata(), field, atol=1e-6)

    local, _ = run(files, preset=preset, tikhonov=0.1)
    field, _ = expected(files, **(vars(RESHARP_PRESETS[preset]) | {"tikhonov": 0.1}))
    np.testing.assert_allclose(local.get_fdata(), field, atol=1e-6)


def test_default_of_the_node_is_that_of_the_function(files):
    local, _ = run(files)
    study, _ = run(files, preset="study")
    np.testing.assert_array_equal(local.get_fdata(), study.get_fdata())


def test_mask_on_another_grid_is_refused(files):
    shifted = AFFINE.copy()
    shifted[2, 3] = 5
    mask = nib.load(files / "mask.nii.gz")
    nib.save(nib.Nifti1Image(mask.get_fdata(), shifted), files / "mask.nii.gz")
    with pytest.raises(ValueError, match="different affines"):
        run(files)
