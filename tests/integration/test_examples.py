"""What the documentation shows runs as it stands."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from qsm_workflows.algorithms.dipole import forward_field

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_nodes_run_in_a_workflow_of_ones_own(tmp_path):
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = -48
    x, y, z = np.indices((32, 32, 32)) - 15.5
    brain = x**2 + y**2 + z**2 < 14**2
    chi = np.where(x**2 + y**2 + z**2 < 4**2, 0.2, 0.0).astype(np.float32)
    paths = []
    for name, data in (
        ("local_field", forward_field(chi, (3, 3, 3), (0, 0, 1)) * brain),
        ("mask", brain),
        ("magnitude", brain * (1.0 + (chi > 0))),
    ):
        paths.append(str(tmp_path / f"{name}.nii.gz"))
        nib.save(nib.Nifti1Image(data.astype(np.float32), affine), paths[-1])
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(
        [sys.executable, str(EXAMPLES / "nodes_in_your_workflow.py"), *paths, str(out)],
        check=True,
        env={**os.environ, "NIPYPE_NO_ET": "1"},
        cwd=tmp_path,
    )
    for method in ("tkd", "medi"):
        (path,) = (out / method).glob("*.nii")
        found = nib.load(path)
        assert found.shape == (32, 32, 16)
        centre = chi[:, :, 8:24] > 0
        contrast = found.get_fdata()[centre].mean()
        assert 0.12 < contrast < 0.25, method
