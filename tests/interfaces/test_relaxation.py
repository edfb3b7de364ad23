import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.interfaces.relaxation import ARLO, NonlinearR2Star

TIMES = [0.005, 0.010, 0.015, 0.020]
AFFINE = np.diag([1.5, 2.0, 2.5, 1.0])


@pytest.mark.parametrize("node", [ARLO, NonlinearR2Star])
def test_rate_in_the_mask(node, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rate = np.broadcast_to(np.linspace(10, 60, 12)[:, None, None], (12, 10, 8))
    mask = np.zeros(rate.shape)
    mask[2:-2, 2:-2] = 1
    files = []
    for number, time in enumerate(TIMES):
        files.append(f"mag{number}.nii")
        nib.save(nib.Nifti1Image(100 * np.exp(-rate * time), AFFINE), files[-1])
    nib.save(nib.Nifti1Image(mask, AFFINE), "mask.nii")
    image = nib.load(node(in_files=files, echo_times=TIMES, mask="mask.nii").run().outputs.out_file)
    np.testing.assert_allclose(image.affine, AFFINE)
    np.testing.assert_allclose(image.get_fdata(), rate * mask, rtol=2e-3)
    nib.save(nib.Nifti1Image(mask[1:], AFFINE), "small.nii")
    with pytest.raises(ValueError, match=r"small\.nii"):
        node(in_files=files, echo_times=TIMES, mask="small.nii").run()
