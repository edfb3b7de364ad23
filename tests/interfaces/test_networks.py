"""Nodes of the networks."""

import nibabel as nib
import numpy as np
import pytest
import torch
from nipype import Node

from qsm_workflows.interfaces.networks import XQSM, DeepQSM, XQSMCropped, XQSMIndividual
from qsm_workflows.networks import lite, unet, xqsm
from qsm_workflows.networks.checkpoints import write_checkpoint
from qsm_workflows.networks.weights import sha256


@pytest.fixture
def images(tmp_path):
    """Field and mask on a grid whose B0 lies along the second array axis."""
    affine = np.array([[1, 0, 0, -8], [0, 0, -1, 12], [0, 1, 0, -10], [0, 0, 0, 1]], float)
    field = 0.1 * np.random.default_rng(0).standard_normal((16, 20, 24)).astype(np.float32)
    mask = np.zeros(field.shape, np.uint8)
    mask[2:14, 3:17, 2:20] = 1
    paths = {"in_file": tmp_path / "field.nii.gz", "mask": tmp_path / "mask.nii.gz"}
    nib.save(nib.Nifti1Image(field, affine), paths["in_file"])
    nib.save(nib.Nifti1Image(mask, affine), paths["mask"])
    return {name: str(path) for name, path in paths.items()}


@pytest.fixture
def xqsm_weights(tmp_path):
    path = tmp_path / "xqsm.safetensors"
    write_checkpoint(path, xqsm.XQSM(8))
    return str(path)


def test_xqsm_node_writes_a_map_on_the_grid_of_the_field(tmp_path, images, xqsm_weights):
    node = Node(XQSM(**images, weights=xqsm_weights), "xqsm", base_dir=tmp_path)
    result = nib.load(node.run().outputs.out_file)
    field, mask = nib.load(images["in_file"]), nib.load(images["mask"])
    np.testing.assert_allclose(result.affine, field.affine)
    # An untrained xQSM returns its input.
    expected = field.get_fdata() * mask.get_fdata()
    np.testing.assert_allclose(result.get_fdata(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("voxels", "warned"),
    [((1.5, 1.5, 1.5), ""), ((1.5, 1.5, 2), "voxels of up to 2 mm are resampled")],
)
def test_coarse_voxels_are_warned_of(tmp_path, images, xqsm_weights, caplog, voxels, warned):
    for path in images.values():
        nib.save(nib.Nifti1Image(nib.load(path).get_fdata(), np.diag([*voxels, 1])), path)
    Node(XQSM(**images, weights=xqsm_weights), "xqsm", base_dir=tmp_path).run()
    assert warned in caplog.text
    assert ("resampled" in caplog.text) == bool(warned)


def test_order_of_the_axes_does_not_matter(tmp_path, images):
    """A network that favours directions sees the same head, however its axes are stored."""
    field, mask = (nib.load(images[name]) for name in ("in_file", "mask"))
    upright = {name: nib.as_closest_canonical(nib.load(path)) for name, path in images.items()}
    for name, image in upright.items():
        nib.save(image, tmp_path / f"upright_{name}.nii")
    again = {name: str(tmp_path / f"upright_{name}.nii") for name in images}
    assert nib.aff2axcodes(field.affine) != nib.aff2axcodes(upright["in_file"].affine)
    maps = [
        nib.load(Node(XQSMIndividual(**inputs), name, base_dir=tmp_path).run().outputs.out_file)
        for name, inputs in (("stored", images), ("upright", again))
    ]
    inside = mask.get_fdata() > 0
    assert maps[0].get_fdata()[inside].std() > 1e-3
    np.testing.assert_array_equal(
        nib.as_closest_canonical(maps[0]).get_fdata(), maps[1].get_fdata()
    )


def test_deepqsm_node_takes_an_original_checkpoint(tmp_path, images):
    path = tmp_path / "unet.pth"
    torch.save({f"module.{k}": v for k, v in unet.UNet(8).state_dict().items()}, path)
    node = Node(DeepQSM(**images, weights=str(path)), "deepqsm", base_dir=tmp_path)
    assert nib.load(node.run().outputs.out_file).shape == (16, 20, 24)


def test_deepqsm_node_refuses_xqsm_weights(tmp_path, images, xqsm_weights):
    node = Node(DeepQSM(**images, weights=xqsm_weights), "deepqsm", base_dir=tmp_path)
    with pytest.raises(Exception, match="deepqsm needs unet or deepqsm or lite"):
        node.run()


def test_weights_with_another_checksum_are_refused(tmp_path, images, xqsm_weights):
    node = Node(
        XQSM(**images, weights=xqsm_weights, weights_sha256="0" * 64), "xqsm", base_dir=tmp_path
    )
    with pytest.raises(Exception, match=sha256(xqsm_weights)):
        node.run()


def test_only_the_checksum_of_the_weights_enters_the_hash(images, xqsm_weights):
    def inputs_hash(**more):
        return XQSM(**images, weights=xqsm_weights, **more).inputs.get_hashval("content")[1]

    plain = inputs_hash()
    assert inputs_hash(weights_sha256="1" * 64) != inputs_hash(weights_sha256="2" * 64)
    assert inputs_hash(num_threads=2, device="cpu", use_gpu=True) == plain
    write_checkpoint(xqsm_weights, xqsm.XQSM(8))
    assert inputs_hash() == plain


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_gpu_demanded_but_absent(tmp_path, images, xqsm_weights):
    node = Node(XQSM(**images, weights=xqsm_weights, use_gpu=True), "xqsm", base_dir=tmp_path)
    with pytest.raises(Exception, match="CUDA"):
        node.run()


def test_weights_that_are_installed_are_taken_by_default(tmp_path, images, monkeypatch):
    monkeypatch.setenv("QSM_WORKFLOWS_WEIGHTS", str(tmp_path))
    write_checkpoint(tmp_path / "xqsm-cropped.safetensors", lite.LiteQSM(2))
    node = Node(XQSMCropped(**images), "cropped", base_dir=tmp_path)
    assert nib.load(node.run().outputs.out_file).shape == (16, 20, 24)
    node = Node(XQSM(**images), "xqsm", base_dir=tmp_path)
    with pytest.raises(Exception, match="xqsm has no weights: give a file"):
        node.run()
