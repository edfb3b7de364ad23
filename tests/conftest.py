"""Fixtures shared by all tests."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

SHAPE = (8, 8, 8)
AFFINE = np.diag([8.0, 8.0, 8.0, 1.0])


class Dataset:
    """A raw dataset under construction, with 8³ voxels of 8 mm."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.json("dataset_description.json", {"Name": "test", "BIDSVersion": "1.10.0"})
        self.text("README.md", "Test data.\n")

    def text(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def json(self, name: str, content: dict) -> Path:
        return self.text(name, json.dumps(content))

    def image(self, name: str, data, affine=AFFINE) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = nib.Nifti1Image(np.asarray(data), affine)
        image.header.set_xyzt_units("mm", "sec")
        image.set_sform(affine, code=1)
        nib.save(image, path)
        return path

    def scan(
        self, prefix: str = "sub-01", *, echoes: int = 3, extension: str = ".nii.gz"
    ) -> dict[str, Path]:
        """Add magnitude and phase of some echoes with sidecars; return images by name."""
        rng = np.random.default_rng(0)
        folder = "/".join(x for x in prefix.split("_") if x.startswith(("sub-", "ses-")))
        paths = {}
        for echo in range(1, echoes + 1):
            for part in ("mag", "phase"):
                key = f"echo-{echo}_part-{part}_MEGRE" if echoes > 1 else f"part-{part}_T2starw"
                name = f"{folder}/anat/{prefix}_{key}"
                data = (
                    rng.uniform(-np.pi, np.pi, SHAPE)
                    if part == "phase"
                    else rng.uniform(50, 100, SHAPE)
                )
                paths[f"{part}{echo}"] = self.image(name + extension, data.astype(np.float32))
                fields = {"EchoTime": 0.005 * echo, "MagneticFieldStrength": 3}
                self.json(f"{name}.json", fields | ({"Units": "rad"} if part == "phase" else {}))
        return paths

    def edit(self, image: Path, **fields) -> None:
        """Change fields of an image's sidecar; None removes one."""
        path = image.with_name(image.name.removesuffix(".gz").removesuffix(".nii") + ".json")
        content = json.loads(path.read_text()) | fields
        path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path / "raw")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real scans and reference outputs, kept beside the checkout."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return folder


@pytest.fixture
def anatomy(tmp_path):
    """Label images to train on, of one whole brain: a box of grey matter with nuclei in it."""
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[2:22, 2:22, 2:22] = 1
    for index, place in enumerate((6, 10, 14, 17), start=2):
        labels[5:8, place, 12] = labels[16:19, place, 12] = index
    labels[4:20, 4, 4] = 6
    folder = tmp_path / "anatomy" / "head"
    folder.mkdir(parents=True)
    nib.save(nib.Nifti1Image(labels, np.eye(4)), folder / "a_dseg.nii.gz")
    names = ("GM", "Caudate", "Putamen", "GP", "Thalamus", "WM")
    rows = [f"{index}\t{name}" for index, name in enumerate(names, start=1)]
    (folder / "dseg.tsv").write_text("\n".join(["index\tname", *rows]) + "\n")
    return tmp_path / "anatomy"
