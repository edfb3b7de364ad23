import gzip
import json
import os

import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.interfaces.outputs import SaveDerivative


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "node" / "chi.nii"
    path.parent.mkdir()
    data = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    nib.save(nib.Nifti1Image(data, np.eye(4)), path)
    return path


def test_image_and_sidecar_are_kept(image, tmp_path):
    target = tmp_path / "out" / "anat" / "sub-01_Chimap.nii.gz"
    SaveDerivative(
        in_file=str(image),
        out_path=str(target),
        metadata={"Units": "ppm", "Reference": {"region": "optic_radiation"}},
        reference_mean=-0.02,
        eroded_mm=[(3.0, 3.0), (2.0, 4.0), (3.0, 3.0)],
        kept_fraction=0.75,
        actual_thickness=30.0,
    ).run(cwd=tmp_path)
    assert np.array_equal(nib.load(target).get_fdata(), nib.load(image).get_fdata())
    sidecar = json.loads((target.parent / "sub-01_Chimap.json").read_text())
    assert sidecar == {
        "Units": "ppm",
        "Reference": {"region": "optic_radiation", "mean_ppm": -0.02},
        "MaskErosion": {
            "MillimetersByAxis": [[3.0, 3.0], [2.0, 4.0], [3.0, 3.0]],
            "KeptFraction": 0.75,
        },
        "CoverageMillimetersActual": 30.0,
    }
    assert {path.name for path in target.parent.iterdir()} == {
        "sub-01_Chimap.nii.gz",
        "sub-01_Chimap.json",
    }


def test_same_image_gives_the_same_bytes(image, tmp_path):
    files = [tmp_path / f"{name}.nii.gz" for name in ("first", "second")]
    for path in files:
        SaveDerivative(in_file=str(image), out_path=str(path)).run(cwd=tmp_path)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_kept_file_is_renewed_only_when_its_source_is(image, tmp_path):
    target = tmp_path / "kept.nii.gz"
    node = SaveDerivative(in_file=str(image), out_path=str(target))
    node.run(cwd=tmp_path)
    before = target.stat().st_mtime_ns
    node.run(cwd=tmp_path)
    assert target.stat().st_mtime_ns == before
    os.utime(image, ns=(before + 10**9, before + 10**9))
    node.run(cwd=tmp_path)
    assert target.stat().st_mtime_ns > before
    target.unlink()
    node.run(cwd=tmp_path)
    assert target.exists()


def test_nothing_is_left_under_the_final_name_when_writing_fails(image, tmp_path, monkeypatch):
    def break_off(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(gzip.GzipFile, "write", break_off)
    target = tmp_path / "out" / "chi.nii.gz"
    with pytest.raises(OSError, match="No space left"):
        SaveDerivative(in_file=str(image), out_path=str(target)).run(cwd=tmp_path)
    assert list(target.parent.iterdir()) == []
