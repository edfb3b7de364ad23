"""What the documentation shows runs as it stands."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nipype import config

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.algorithms.units import radians_per_ppm

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


@pytest.fixture
def run_example(tmp_path):
    """Run an example of the documentation as a user would."""

    def run(name, *arguments):
        subprocess.run(
            [sys.executable, str(EXAMPLES / name), *arguments],
            check=True,
            env={**os.environ, "NIPYPE_NO_ET": "1"},
            cwd=tmp_path,
        )

    return run


def test_nodes_run_in_a_workflow_of_ones_own(head, tmp_path, run_example):
    paths = ["local_field.nii.gz", "mask.nii.gz", "magnitude.nii.gz", "out"]
    run_example("nodes_in_your_workflow.py", *paths)
    for method in ("tkd", "medi"):
        (path,) = (tmp_path / "out" / method).glob("*.nii")
        found = nib.load(path)
        assert found.shape == (32, 32, 16)
        centre = head[:, :, 8:24] > 0
        contrast = found.get_fdata()[centre].mean()
        assert 0.12 < contrast < 0.25, method


def test_factories_run_in_a_workflow_of_ones_own(head, tmp_path, run_example):
    field, magnitude = (nib.load(f"{name}.nii.gz") for name in ("local_field", "magnitude"))
    for echo, time in enumerate((0.005, 0.01, 0.015), start=1):
        phase = field.get_fdata() * radians_per_ppm(3.0, time)
        for part, data in (("mag", magnitude.get_fdata()), ("phase", phase)):
            name = f"scan/sub-01_echo-{echo}_part-{part}_MEGRE"
            Path("scan").mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(data.astype(np.float32), field.affine), f"{name}.nii.gz")
            sidecar = {"EchoTime": time, "MagneticFieldStrength": 3.0}
            Path(f"{name}.json").write_text(json.dumps(sidecar))
    run_example("factories_in_your_workflow.py", "scan", "out")
    for coverage, first, last in (("100", 11, 22), ("200", 6, 27)):
        (path,) = (tmp_path / "out" / f"medi{coverage}").glob("*.nii*")
        found = nib.load(path)
        assert found.shape == (32, 32, last - first)
        contrast = found.get_fdata()[head[:, :, first:last] > 0].mean()
        assert 0.1 < contrast < 0.25, coverage


def test_the_node_of_the_readme_runs(head):
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict = {}
    exec(snippet, names)
    node = names["invert"]
    chi = nib.load(node.run().outputs.out_file).get_fdata()
    assert 0.12 < chi[head > 0].mean() - chi[head == 0].mean() < 0.25


def test_the_snippets_on_factories_run(head, tmp_path):
    text = (ROOT / "docs" / "nodes.md").read_text()
    snippets = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict = {}
    saved = config.get("execution", "poll_sleep_duration")
    try:
        for snippet in snippets:
            exec(snippet, names)
    finally:
        config.set("execution", "poll_sleep_duration", saved)
    workflow = names["inversion_wf"]
    workflow.base_dir = str(tmp_path / "work")
    (medi,) = (node for node in workflow.run().nodes if node.name == "medi")
    chi = nib.load(medi.result.outputs.out_file).get_fdata()
    assert 0.12 < chi[head > 0].mean() - chi[head == 0].mean() < 0.25
