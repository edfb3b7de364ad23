"""deepbet as it is installed, on a real head turned in every way."""

import sys

import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.networks.brain import deepbet

NAME = "philips_dualecho_invivo_wholehead/nii/sub-philips_echo-1_part-mag_MEGRE.nii.gz"


@pytest.fixture
def head(shared_data):
    pytest.importorskip("deepbet", reason="deepbet is not installed")
    image = nib.load(shared_data / NAME)
    return np.asarray(image.dataobj, np.float32), image.affine


@pytest.mark.shared
def test_real_head_whatever_its_axes(head):
    magnitude, affine = head
    mask = deepbet(magnitude, affine)
    assert 1450 < mask.sum() * 0.027 < 1650
    turned = affine.copy()
    turned[:, :3] = np.stack([-affine[:, 2], affine[:, 0], affine[:, 1]], axis=1)
    sagittal = deepbet(magnitude.transpose(2, 0, 1)[::-1], turned)
    np.testing.assert_array_equal(sagittal[::-1].transpose(1, 2, 0), mask)


def test_what_is_no_head_is_refused():
    pytest.importorskip("deepbet", reason="deepbet is not installed")
    with pytest.raises(ValueError, match="constant"):
        deepbet(np.ones((20, 20, 20)), np.eye(4))
    with pytest.raises(ValueError, match="threshold"):
        deepbet(np.ones((20, 20, 20)), np.eye(4), threshold=0)


def test_without_the_package_the_user_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepbet", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install qsm-workflows\[deepbet\]"):
        deepbet(np.random.default_rng(0).random((20, 20, 20)), np.eye(4))
