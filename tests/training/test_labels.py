import numpy as np
import pytest
import torch

from qsm_workflows.phantom.susceptibility import MATERIALS
from qsm_workflows.training.anatomy import CODES, LabelSet
from qsm_workflows.training.fields import blur, noise, sample_labels, sampling_points
from qsm_workflows.training.labels import (
    _CENTRES,
    _IRON,
    brain_volume,
    draw_values,
    shapes_volume,
)
from qsm_workflows.training.shapes import paint_lesions, paint_shapes, paint_veins

SHAPE = (40, 48, 36)


class OneBrain:
    """Stands for the anatomies on disk: a ball of tissue with a box of iron."""

    def draw(self, rng):
        axes = np.meshgrid(*(np.linspace(-1.2, 1.2, 40),) * 3, indexing="ij")
        labels = np.where(sum(a**2 for a in axes) < 1, CODES["grey_matter"], 0)
        labels[14:26, 14:26, 14:26] = CODES["pallidum"]
        return LabelSet(labels.astype(np.uint8), np.eye(4))


def test_a_volume_is_a_function_of_its_seed():
    first, again, other = (
        brain_volume(np.random.default_rng(seed), OneBrain(), SHAPE) for seed in (1, 1, 2)
    )
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[1], other[1])


def test_nothing_outside_the_mask():
    chi, mask = brain_volume(np.random.default_rng(0), OneBrain(), SHAPE)
    assert chi.shape == SHAPE
    assert 0.05 < mask.float().mean() < 0.95
    assert not chi[~mask].any()
    assert chi[mask].abs().max() > 0.02


def test_values_are_those_of_digital_heads():
    """What the docstrings say of them."""
    for name, value in _IRON.items():
        if name in MATERIALS:
            assert value == pytest.approx(MATERIALS[name].chi, abs=0.0151), name
    for name, (mean, spread) in _CENTRES.items():
        assert mean == pytest.approx(MATERIALS[name].chi, abs=spread), name
        assert 2 <= spread / MATERIALS[name].chi_spread < 3.01, name


def test_iron_is_drawn_widely():
    """The pallidum must not be predictable: from a third of the norm to twice it."""
    rng = np.random.default_rng(0)
    drawn = np.array([draw_values(rng)[CODES["pallidum"]] for _ in range(400)])
    low, high = np.percentile(drawn, (5, 95))
    assert low < 0.05
    assert high > 0.28


def test_shapes_are_flat_and_of_both_signs():
    chi, _ = shapes_volume(np.random.default_rng(0), SHAPE)
    assert len(chi.unique()) < 0.03 * chi.numel()
    assert chi.min() < -0.03 < 0.03 < chi.max()


def test_most_volumes_of_shapes_have_an_outline():
    drawn = [shapes_volume(np.random.default_rng(seed), SHAPE) for seed in range(20)]
    filled = [float(mask.float().mean()) for _, mask in drawn]
    assert not any(chi[~mask].any() for chi, mask in drawn)
    assert 10 <= sum(part < 1 for part in filled) < 20
    # Enough is left to cut patches from.
    assert min(filled) > 0.2


def test_painted_shapes_have_the_volume_asked_for():
    chi = torch.zeros((64, 64, 64))
    box, ball = 10**3, 4 / 3 * np.pi * 5**3
    volumes = []
    for seed in range(30):
        paint_shapes(np.random.default_rng(seed), chi.zero_(), count=1, size=(5, 5.001), spread=1)
        volumes.append(int((chi != 0).sum()))
    # Side 10 or radius 5; in a corner an eighth of it is left.
    assert min(volumes) > 0.8 * ball / 8
    assert max(volumes) == pytest.approx(box, rel=0.1)
    assert any(volume == pytest.approx(ball, rel=0.1) for volume in volumes)


def test_lesions_lie_in_the_mask_and_have_their_sign():
    mask = torch.zeros((48, 48, 48), dtype=torch.bool)
    mask[20:28, 20:28, 20:28] = True
    chi = torch.zeros(mask.shape)
    paint_lesions(np.random.default_rng(0), chi, mask, probability=1.0)
    assert chi.max() > 0.15
    assert chi.min() < -0.05
    paint_lesions(np.random.default_rng(0), chi.zero_(), mask, probability=0.0)
    assert not chi.any()


def test_veins_fill_parts_of_voxels():
    chi = torch.zeros((48, 48, 48))
    mask = torch.ones(chi.shape, dtype=torch.bool)
    paint_veins(np.random.default_rng(0), chi, mask, count=20)
    filled = chi[chi > 0]
    assert 0.001 < len(filled) / chi.numel() < 0.1
    assert filled.max() <= 0.4
    assert filled.min() < 0.5 * filled.max()


@pytest.mark.parametrize("spacing", [2.0, 8.0])
def test_noise_is_as_smooth_as_asked(spacing):
    field = noise(np.random.default_rng(0), (64, 64, 64), spacing)[0]
    assert field.std() == pytest.approx(1, abs=1e-5)
    near = (field[1:] - field[:-1]).std()
    assert near == pytest.approx(1.5 / spacing, rel=0.35)


def test_blur_keeps_the_sum():
    volume = torch.zeros((9, 9, 9))
    volume[4, 4, 4] = 1
    blurred = blur(volume, 0.6)
    assert blurred.sum() == pytest.approx(1, abs=1e-6)
    assert 0.1 < blurred[4, 4, 4] < 0.5


def test_deformation_keeps_the_brain_in_place():
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[12:28, 12:28, 12:28] = 3
    for seed in range(5):
        points = sampling_points(np.random.default_rng(seed), (40, 40, 40))
        moved = sample_labels(labels, np.array([19.5] * 3), points)
        assert set(moved.unique().tolist()) == {0, 3}
        assert 0.4 < float((moved == 3).sum()) / 16**3 < 2.5
        centre = (moved == 3).nonzero().float().mean(dim=0)
        assert (centre - 19.5).abs().max() < 10
