"""What the documentation shows runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.algorithms.dipole import forward_field

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture
def head(tmp_path, monkeypatch):
    """Local field, mask and magnitude of a bright ball in the working folder; its χ."""
    monkeypatch.chdir(tmp_path)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = -48
    x, y, z = np.indices((32, 32, 32)) - 15.5
    brain = x**2 + y**2 + z**2 < 14**2
    chi = np.where(x**2 + y**2 + z**2 < 4**2, 0.2, 0.0).astype(np.float32)
    for name, data in (
        ("local_field", forward_field(chi, (3, 3, 3), (0, 0, 1)) * brain),
        ("mask", brain),
        ("magnitude", brain * (1.0 + (chi > 0))),
    ):
        nib.save(nib.Nifti1Image(data.astype(np.float32), affine), f"{name}.nii.gz")
    return chi


def test_nodes_run_in_a_workflow_of_ones_own(head, tmp_path):
    paths = ["local_field.nii.gz", "mask.nii.gz", "magnitude.nii.gz", "out"]
    subprocess.run(
        [sys.executable, str(EXAMPLES / "nodes_in_your_workflow.py"), *paths],
        check=True,
        env={**os.environ, "NIPYPE_NO_ET": "1"},
        cwd=tmp_path,
    )
    for method in ("tkd", "medi"):
        (path,) = (tmp_path / "out" / method).glob("*.nii")
        found = nib.load(path)
        assert found.shape == (32, 32, 16)
        centre = head[:, :, 8:24] > 0
        contrast = found.get_fdata()[centre].mean()
        assert 0.12 < contrast < 0.25, method


def test_the_node_of_the_readme_runs(head):
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict = {}
    exec(snippet, names)
    node = names["invert"]
    chi = nib.load(node.run().outputs.out_file).get_fdata()
    assert 0.12 < chi[head > 0].mean() - chi[head == 0].mean() < 0.25
