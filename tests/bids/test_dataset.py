"""Outputs under their names, with their sidecars, before the real BIDS validator."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from qsm_workflows.bids.dataset import write_dataset
from qsm_workflows.bids.index import index_dataset
from qsm_workflows.bids.names import Derivatives, sidecar_path
from qsm_workflows.bids.sidecars import (
    Branch,
    Provenance,
    chi_sidecar,
    field_sidecar,
    magnitude_sidecar,
    mask_sidecar,
    regions_dictionary,
)
from qsm_workflows.bids.writing import write_json, write_table, write_text


@pytest.fixture(scope="session")
def validate():
    """Run the validator on a folder and give its errors."""
    program = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))
    program = program or shutil.which("bids-validator-deno")
    if program is None:
        pytest.skip("bids-validator-deno is not installed")

    def run(folder: Path) -> list[tuple[str, str]]:
        done = subprocess.run(
            [program, str(folder), "--format", "json"], capture_output=True, text=True
        )
        issues = json.loads(done.stdout)["issues"]["issues"]
        return [(i["code"], i.get("location")) for i in issues if i["severity"] == "error"]

    return run


def write_outputs(provenance: Provenance, scan) -> None:
    """Every output of the contract for one scan, small."""
    names = Derivatives(provenance.out_dir)

    def put(path: Path, sidecar: dict) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4))
        image.header.set_xyzt_units("mm", "sec")
        nib.save(image, path)
        write_json(sidecar_path(path), sidecar)

    removal = {"Method": "RESHARP", "radius": 3.0}
    put(names.magnitude(scan), magnitude_sidecar(provenance, sources=scan.magnitude))
    put(names.brain_mask(scan), mask_sidecar(provenance, scan=scan, sources=scan.magnitude[:1]))
    put(names.total_field(scan), field_sidecar(provenance, kind="total", sources=scan.phase))
    put(
        names.local_field(scan),
        field_sidecar(
            provenance,
            kind="local",
            sources=[names.total_field(scan)],
            background_removal=removal,
        ),
    )
    for order, percent in (("B+T", 100), ("T+B", 62.5), ("full", math.inf)):
        branch = Branch(order, percent, 0.32 * percent, 2)
        put(
            names.branch_mask(scan, order, percent),
            mask_sidecar(provenance, scan=scan, sources=[names.brain_mask(scan)], branch=branch),
        )
        if order == "T+B":
            put(
                names.local_field(scan, percent),
                field_sidecar(
                    provenance, kind="local", sources=[names.total_field(scan)], branch=branch
                ),
            )
        put(
            names.chi(scan, "medi", order, percent),
            chi_sidecar(
                provenance,
                branch,
                method="medi",
                parameters={"regularization": 1000.0},
                background_removal=removal,
                reference="optic_radiation",
                sources=[names.local_field(scan)],
            ),
        )
    table = pd.DataFrame(columns=list(regions_dictionary()))
    write_table(names.regions_table(scan), table, regions_dictionary())
    write_table(names.group_table, table, regions_dictionary())
    write_text(names.report, "<!doctype html>")
    write_text(names.log(scan), "done")
    write_text(names.figures(scan) / f"{scan.prefix}_chi.png", "")


def test_inputs_and_outputs_pass_the_validator(dataset, validate):
    dataset.scan("sub-01")
    dataset.scan("sub-02_ses-a_acq-x_run-01")
    dataset.scan("sub-02_ses-a_acq-x_rec-norm_run-01")
    dataset.scan("sub-03", echoes=1)
    assert validate(dataset.root) == []
    out = dataset.root / "derivatives" / "qsm-workflows"
    provenance = Provenance(dataset.root, out, "qsm-wf run --bids raw")
    write_dataset(provenance)
    scans = index_dataset(dataset.root).scans
    assert len(scans) == 4
    for scan in scans:
        write_outputs(provenance, scan)
    assert validate(out) == []
    assert validate(dataset.root) == []
