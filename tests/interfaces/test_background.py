import inspect

import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.algorithms.background.ismv import ismv
from qsm_workflows.algorithms.background.lbv import lbv
from qsm_workflows.algorithms.background.pdf import pdf
from qsm_workflows.algorithms.background.resharp import resharp
from qsm_workflows.algorithms.background.sharp import sharp, vsharp
from qsm_workflows.algorithms.geometry import b0_direction, voxel_size
from qsm_workflows.algorithms.presets import RESHARP_PRESETS
from qsm_workflows.interfaces.background import ISMV, LBV, PDF, RESHARP, SHARP, VSHARP

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


@pytest.mark.parametrize(
    ("interface", "function", "keywords"),
    [
        (SHARP, sharp, {"radius": 3.0, "threshold": 0.1, "pad": 5.0}),
        (VSHARP, vsharp, {}),
        (VSHARP, vsharp, {"radii": [4.0, 3.0], "threshold": 0.1, "pad": 5.0}),
        (ISMV, ismv, {}),
        (ISMV, ismv, {"radius": 4.0, "tolerance": 0.1, "max_iterations": 7}),
        (LBV, lbv, {}),
        (LBV, lbv, {"peel": 2.0, "tolerance": 0.1, "max_iterations": 7}),
        (PDF, pdf, {}),
        (PDF, pdf, {"tolerance": 0.1, "max_iterations": 7, "pad": 10.0}),
        (PDF, pdf, {"b0_dir": (0.0, 1.0, 0.0)}),
    ],
)
def test_node_does_what_the_function_does(files, interface, function, keywords):
    node = interface(in_file=files / "field.nii.gz", mask=files / "mask.nii.gz", **keywords)
    outputs = node.run(cwd=str(files)).outputs
    field, mask = (nib.load(files / f"{n}.nii.gz").get_fdata() for n in ("field", "mask"))
    if function is pdf:
        keywords = {"b0_dir": b0_direction(AFFINE), **keywords}
    local, kept = function(field, mask, voxel_size(AFFINE), **keywords)
    np.testing.assert_allclose(nib.load(outputs.out_file).get_fdata(), local, atol=1e-5)
    np.testing.assert_array_equal(nib.load(outputs.out_mask).get_fdata(), kept)


def test_noise_of_pdf(files):
    noise = np.random.default_rng(1).uniform(0.1, 2, (16, 17, 15)).astype(np.float32)
    nib.save(nib.Nifti1Image(noise, AFFINE), files / "noise.nii")
    paths = {"in_file": files / "field.nii.gz", "mask": files / "mask.nii.gz"}
    local = PDF(**paths, noise=files / "noise.nii").run(cwd=str(files)).outputs.out_file
    field, mask = (nib.load(files / f"{n}.nii.gz").get_fdata() for n in ("field", "mask"))
    expected, _ = pdf(field, mask, voxel_size(AFFINE), b0_direction(AFFINE), noise=noise)
    np.testing.assert_allclose(nib.load(local).get_fdata(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("interface", "function"),
    [(SHARP, sharp), (VSHARP, vsharp), (ISMV, ismv), (LBV, lbv), (PDF, pdf)],
)
def test_traits_are_the_keywords_with_their_defaults(interface, function):
    inputs = interface().inputs
    keywords = inspect.signature(function).parameters.values()
    defaults = {k.name: k.default for k in keywords if k.kind is k.KEYWORD_ONLY}
    for name, default in defaults.items():
        if default is not None:
            value = getattr(inputs, name)
            assert (tuple(value) if isinstance(default, tuple) else value) == default
    assert set(defaults) <= set(inputs.copyable_trait_names())
