import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from qsm_workflows.interfaces.measurement import COLUMNS, MeasureRegions, SubtractReference

SHAPE = (12, 12, 20)
SLAB = slice(6, 14)
REGIONS = [
    ("optic_radiation", "both", [3]),
    ("pallidum", "L", [1]),
    ("pallidum", "both", [1, 2]),
]


def affine(start=0):
    matrix = np.eye(4)
    matrix[2, 3] = start
    return matrix


def write(path, data, start=0):
    nib.save(nib.Nifti1Image(np.asarray(data, np.float32), affine(start)), path)
    return str(path)


@pytest.fixture
def head(tmp_path):
    labels = np.zeros(SHAPE)
    labels[2:5, 2:5, 4:16] = 1
    labels[7:10, 2:5, 4:16] = 2
    labels[4:8, 8:11, 4:16] = 3
    truth = np.where(np.isin(labels, (1, 2)), 0.2, 0.0)
    return {
        "labels": write(tmp_path / "labels.nii", labels),
        "truth": write(tmp_path / "truth.nii", truth),
    }


@pytest.fixture
def maps(tmp_path, head):
    truth = nib.load(head["truth"]).get_fdata()
    whole = np.ones(SHAPE)
    eroded = np.ones((12, 12, 8))
    eroded[:, :, [0, -1]] = 0
    return {
        # The same pipeline reaches 80 % of the truth on the whole head and 60 % on the slab.
        "chi": [
            write(tmp_path / "thin.nii", 0.6 * truth[:, :, SLAB] + 0.1, 6),
            write(tmp_path / "full.nii", 0.8 * truth - 0.3),
        ],
        "mask": [
            write(tmp_path / "thin_mask.nii", eroded, 6),
            write(tmp_path / "full_mask.nii", whole),
        ],
        "order": ["T+B", "T+B"],
        "method": ["tkd", "tkd"],
        "coverage_percent": [100.0, 400.0],
        "coverage_mm": [32.0, 128.0],
    }


def test_table_compares_with_full_coverage_and_truth(head, maps, tmp_path):
    result = MeasureRegions(
        **head,
        **maps,
        regions=REGIONS,
        reference="optic_radiation",
        identifiers={"subject": "01"},
    ).run(cwd=tmp_path)
    table = pd.read_csv(result.outputs.out_file, sep="\t", dtype={"subject": str})
    assert list(table.columns) == ["subject", *COLUMNS]
    assert len(table) == 2 * len(REGIONS)
    rows = table.set_index(["coverage_percent", "region", "hemisphere"])
    thin = rows.loc[(100, "pallidum", "both")]
    assert thin["mean"] == pytest.approx(0.12, abs=1e-6)
    assert thin["mean_full"] == pytest.approx(0.16, abs=1e-6)
    assert thin["percent_full"] == pytest.approx(-25, abs=1e-3)
    assert thin["percent_truth"] == pytest.approx(-40, abs=1e-3)
    assert thin["n_voxels"] == 2 * 9 * 6
    assert thin["fraction_covered"] == pytest.approx(0.5)
    assert rows.loc[(400, "pallidum", "L"), "percent_truth"] == pytest.approx(-20, abs=1e-3)
    assert rows.loc[(400, "pallidum", "L"), "percent_full"] == 0


def test_orders_are_read_in_the_same_voxels(head, maps, tmp_path):
    for key, value in (("order", "B+T"), ("method", "tkd"), ("coverage_percent", 100.0)):
        maps[key].append(value)
    maps["coverage_mm"].append(32.0)
    maps["chi"].append(maps["chi"][0])
    maps["mask"].append(write(tmp_path / "uneroded.nii", np.ones((12, 12, 8)), 6))
    result = MeasureRegions(**head, **maps, regions=REGIONS, reference="optic_radiation").run(
        cwd=tmp_path
    )
    table = pd.read_csv(result.outputs.out_file, sep="\t")
    thin = table[(table.coverage_percent == 100) & (table.region == "pallidum")]
    assert set(thin[thin.hemisphere == "both"].n_voxels) == {2 * 9 * 6}


def test_unknown_values_are_not_invented(head, maps, tmp_path):
    del head["truth"]
    result = MeasureRegions(**head, **maps, regions=REGIONS).run(cwd=tmp_path)
    table = pd.read_csv(result.outputs.out_file, sep="\t")
    assert table["mean_truth"].isna().all()
    assert set(table["reference"]) == {"mask"}


def test_reference_region_is_taken_from_the_whole_heads_labels(head, maps, tmp_path):
    node = SubtractReference(
        in_file=maps["chi"][0], mask=maps["mask"][0], labels=head["labels"], indices=[3]
    )
    outputs = node.run(cwd=tmp_path).outputs
    assert outputs.reference_mean == pytest.approx(0.1, abs=1e-6)
    chi = nib.load(outputs.out_file)
    assert np.allclose(chi.affine, affine(6))
    assert chi.get_fdata()[3, 3, 4] == pytest.approx(0.12, abs=1e-6)
