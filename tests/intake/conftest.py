"""Images as people have them."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

SHAPE = (10, 9, 8)
SIZE = 8.0
TIMES = (0.004, 0.008, 0.012)


class Images:
    """Magnitude and phase of three echoes, and where to save them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        rng = np.random.default_rng(1)
        self.magnitude = rng.uniform(50, 100, (*SHAPE, 3)).astype(np.float32)
        phase = rng.uniform(-np.pi, np.pi, (*SHAPE, 3))
        phase[0, 0, 0], phase[0, 0, 1] = -3.1415, 3.1415
        self.phase = phase.astype(np.float32)

    @property
    def signal(self):
        return (self.magnitude * np.exp(1j * self.phase)).astype(np.complex64)

    def save(self, name: str, data, affine=None) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        affine = np.diag([SIZE, SIZE, SIZE, 1]) if affine is None else affine
        nib.save(nib.Nifti1Image(np.asarray(data), affine), path)
        return str(path)


@pytest.fixture
def images(tmp_path):
    return Images(tmp_path / "given images")
