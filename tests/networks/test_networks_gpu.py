"""Networks on a GPU: what the CPU gives, whole or in tiles."""

import numpy as np
import pytest
import torch

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.networks.checkpoints import ARCHITECTURES, read_checkpoint
from qsm_workflows.networks.inference import apply_network
from qsm_workflows.networks.weights import package_folder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

GEOMETRY = (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)
SHIPPED = sorted(package_folder().glob("*.safetensors"))


@pytest.fixture(scope="module")
def slab() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Field of two nuclei in a slab, its mask and the nuclei."""
    x, y, z = np.meshgrid(*(np.arange(n) - n / 2 for n in (80, 96, 48)), indexing="ij")
    mask = (x / 36) ** 2 + (y / 44) ** 2 < 1
    nuclei = ((np.abs(x) - 18) / 6) ** 2 + (y / 11) ** 2 + (z / 7) ** 2 < 1
    chi = np.where(mask, -0.03, 0.0) + 0.15 * nuclei
    return forward_field(chi, *GEOMETRY), mask, nuclei


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_regions_are_those_of_the_cpu(slab, path, dtype):
    field, mask, nuclei = slab
    network = read_checkpoint(path).network
    here = apply_network(network, field, mask, *GEOMETRY)
    there = apply_network(network, field, mask, *GEOMETRY, device="cuda", dtype=dtype)

    def contrast(chi: np.ndarray) -> float:
        return float(chi[nuclei].mean() - chi[mask & ~nuclei].mean())

    assert contrast(there) == pytest.approx(contrast(here), rel=0.005)


@pytest.mark.parametrize("architecture", ["lite", "lite-unet"])
def test_tiles_give_the_map_of_the_whole(slab, architecture):
    field, mask, _ = slab
    torch.manual_seed(1)
    kind = ARCHITECTURES[architecture].network
    network, large = kind(8), np.pad(field, ((0, 160), (0, 0), (0, 0)))
    inside = np.pad(mask, ((0, 160), (0, 0), (0, 0)), mode="edge")
    whole, tiled = (
        apply_network(network, large, inside, *GEOMETRY, device="cuda", tile=tile)
        for tile in (None, 32)
    )
    assert np.abs(whole - tiled).max() <= 1e-4 * np.abs(whole).max()
