"""The study on a scan of a person, from files as a scanner gives them."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.cli.main import main

pytestmark = pytest.mark.shared


@pytest.fixture
def philips(shared_data, tmp_path):
    """Dual-echo scan of a whole head, 3 mm voxels, arranged as BIDS."""
    bids = tmp_path / "bids"
    anat = bids / "sub-philips" / "anat"
    anat.mkdir(parents=True)
    for path in (shared_data / "philips_dualecho_invivo_wholehead" / "nii").iterdir():
        shutil.copyfile(path, anat / path.name)
    description = {"Name": "Dual echo", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (bids / "dataset_description.json").write_text(json.dumps(description))
    return bids


def test_whole_head_of_a_person(philips, tmp_path, capsys):
    out = tmp_path / "out"
    folders = ["--bids", str(philips), "--out", str(out), "--work", str(tmp_path / "work")]
    options = ["--coverage", "100,full", "--method", "tkd", "--plugin", "Linear", "--no-progress"]
    status = main(["run", *folders, *options])
    assert status == 0
    # Without labels the user is told what that costs.
    assert "relative to the mean of the brain mask" in capsys.readouterr().err
    folder = out / "sub-philips"
    mask = nib.load(folder / "anat" / "sub-philips_desc-brain_mask.nii.gz")
    litres = np.count_nonzero(mask.dataobj) * np.prod(mask.header.get_zooms()) / 1e6
    assert 1.1 < litres < 1.9
    inside = np.asarray(mask.dataobj) != 0
    total = nib.load(folder / "fmap" / "sub-philips_desc-total_fieldmap.nii.gz").get_fdata()
    assert 0.05 < np.abs(total[inside]).mean() < 0.6
    # The strongest field of a head is above the sinuses, at the front and low down.
    highest = np.argwhere((total > np.percentile(total[inside], 99.5)) & inside).mean(axis=0)
    centre = np.argwhere(inside).mean(axis=0)
    front, up = (mask.affine[:3, :3] @ (highest - centre))[1:]
    assert front > 20
    assert up < 0
    local = nib.load(folder / "fmap" / "sub-philips_desc-local+B+T_fieldmap.nii.gz").get_fdata()
    assert np.abs(local[inside]).mean() < 0.25 * np.abs(total[inside]).mean()
    chi = nib.load(folder / "anat" / "sub-philips_rec-tkd_desc-full_Chimap.nii.gz").get_fdata()
    valid = nib.load(folder / "anat" / "sub-philips_desc-full_mask.nii.gz").get_fdata() != 0
    assert chi[valid].mean() == pytest.approx(0, abs=1e-6)
    assert np.percentile(np.abs(chi[valid]), 95) < 0.5
    slab = nib.load(folder / "anat" / "sub-philips_rec-tkd_desc-T+B100_Chimap.nii.gz")
    assert slab.shape[2] == 11
