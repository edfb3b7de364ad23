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
        branch = Branch(order, percent, 0.32 * percent, 2, (0.0, 5.0, -3.0))
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
                preset="study",
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


@pytest.fixture
def provenance(tmp_path):
    return Provenance(tmp_path / "raw", tmp_path / "out", "qsm-wf run")


def test_sources_are_uris_of_the_datasets_that_the_description_links(provenance, tmp_path):
    assert provenance.uri(tmp_path / "raw" / "sub-01" / "a.nii") == "bids:raw:sub-01/a.nii"
    assert provenance.uri(tmp_path / "out" / "sub-01" / "b.nii") == "bids::sub-01/b.nii"
    assert provenance.uri(tmp_path / "masks" / "c.nii") == "../masks/c.nii"
    write_dataset(provenance)
    description = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    linked = tmp_path / "out" / description["DatasetLinks"]["raw"]
    assert linked.resolve() == (tmp_path / "raw").resolve()
    assert description["GeneratedBy"][0]["Description"] == "qsm-wf run"


def test_links_are_uris_and_are_read_back(tmp_path):
    raw, other, out = (tmp_path / name for name in ("raw dätä", "other dätä", "out"))
    raw.mkdir()
    other.mkdir()
    for _ in range(2):
        write_dataset(Provenance(raw, out, "qsm-wf run"))
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["DatasetLinks"] == {"raw": "../raw%20d%C3%A4t%C3%A4"}
    assert description["SourceDatasets"] == [{"URL": "../raw%20d%C3%A4t%C3%A4"}]
    with pytest.raises(ValueError, match=r"the maps of another dataset, .*raw dätä"):
        write_dataset(Provenance(other, out, "qsm-wf run"))


def test_description_may_be_written_again_but_no_other_dataset_is_touched(provenance):
    write_dataset(provenance)
    write_dataset(provenance)
    path = Derivatives(provenance.out_dir).description
    foreign = '{"Name": "fMRIPrep", "GeneratedBy": [{"Name": "fMRIPrep"}]}'
    path.write_text(foreign)
    with pytest.raises(ValueError, match="qsm-workflows did not write"):
        write_dataset(provenance)
    assert path.read_text() == foreign


def test_raw_dataset_is_no_output_folder(tmp_path):
    with pytest.raises(ValueError, match="is the raw dataset"):
        write_dataset(Provenance(tmp_path, tmp_path / "x" / "..", "qsm-wf run"))


def test_tables_state_missing_values_as_bids_does_and_have_a_dictionary(tmp_path):
    path = tmp_path / "new" / "a_stats.tsv"
    write_table(path, pd.DataFrame({"region": ["OR"], "mean": [math.nan]}), regions_dictionary())
    assert path.read_text() == "region\tmean\nOR\tn/a\n"
    dictionary = json.loads((tmp_path / "new" / "a_stats.json").read_text())
    assert dictionary["mean"]["Units"] == "ppm"
    assert "inf: the whole image" in dictionary["coverage_percent"]["Description"]


def test_what_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"x": math.nan})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half of it \ud800")
    assert json.loads(path.read_text()) == {"x": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
