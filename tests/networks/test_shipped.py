"""Weights that come with the package, on sources that no anatomy foretells."""

import numpy as np
import pytest
import torch

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.networks.cards import check_card, read_card
from qsm_workflows.networks.checkpoints import read_checkpoint
from qsm_workflows.networks.inference import apply_network
from qsm_workflows.networks.weights import package_folder, sha256

SHIPPED = sorted(package_folder().glob("*.safetensors"))
GEOMETRY = (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)
THICKNESS = 48
SLAB = slice(32 - THICKNESS // 2, 32 + THICKNESS // 2)


def sources(iron: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """χ, brain and nuclei: two ellipsoids of iron in a larger one of white matter."""
    x, y, z = np.meshgrid(*(np.arange(n) - n / 2 for n in (80, 96, 64)), indexing="ij")
    brain = (x / 36) ** 2 + (y / 44) ** 2 + (z / 30) ** 2 < 1
    nuclei = ((np.abs(x) - 18) / 6) ** 2 + (y / 11) ** 2 + (z / 7) ** 2 < 1
    chi = np.where(brain, -0.03, 0.0)
    chi[nuclei] = iron
    return chi.astype(np.float32), brain, nuclei


def contrast(network, chi, brain, nuclei, keep, dtype="auto", device="cpu") -> float:
    field = forward_field(chi, *GEOMETRY)[:, :, keep]
    found = apply_network(network, field, brain[:, :, keep], *GEOMETRY, dtype=dtype, device=device)
    inside = nuclei[:, :, keep]
    return float(found[inside].mean() - found[brain[:, :, keep] & ~inside].mean())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_card_says_what_they_are(path):
    card = read_card(path)
    check_card(path, sha256(path))
    for key in ("method", "data", "licence", "steps", "hours", "hardware", "accuracy"):
        assert card[key]
    assert card["known_failures"]
    assert path.stat().st_size < 16 * 2**20


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_response_to_iron_is_linear_in_a_slab(path):
    network = read_checkpoint(path).network
    iron = np.array([0.03, 0.1, 0.2, 0.3])
    found = [contrast(network, *sources(value), SLAB) for value in iron]
    slope, _ = np.polyfit(iron, found, 1)
    assert 0.9 <= slope <= 1.15
    assert np.corrcoef(iron, found)[0, 1] > 0.99


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_slab_gives_what_the_whole_gives(path):
    network = read_checkpoint(path).network
    part, whole = (contrast(network, *sources(0.15), keep) for keep in (SLAB, slice(None)))
    assert part == pytest.approx(whole, rel=0.1)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_half_precision_changes_no_regional_value(path):
    network = read_checkpoint(path).network
    exact, rounded = (
        contrast(network, *sources(0.15), slice(28, 36), dtype) for dtype in ("float32", "bfloat16")
    )
    assert rounded == pytest.approx(exact, rel=0.005)
    assert rounded != exact


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_gpu_gives_what_the_cpu_gives(path, dtype):
    network = read_checkpoint(path).network
    here = contrast(network, *sources(0.15), SLAB, "float32")
    there = contrast(network, *sources(0.15), SLAB, dtype, "cuda")
    assert there == pytest.approx(here, rel=0.005)
