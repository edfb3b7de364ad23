import numpy as np
import pytest
import torch

from qsm_workflows.algorithms import differences

VOXEL_SIZE = (0.8, 1.0, 2.5)


def random(*shape):
    values = np.random.default_rng(sum(shape)).normal(size=shape)
    return torch.from_numpy(values)


@pytest.fixture
def positions():
    x, y, z = (np.arange(n) * s for n, s in zip((9, 8, 10), VOXEL_SIZE, strict=True))
    return [torch.from_numpy(a) for a in np.meshgrid(x, y, z, indexing="ij")]


def test_adjoint_of_the_gradient():
    volume, components = random(5, 6, 7), random(3, 5, 6, 7)
    left = (differences.gradient(volume, VOXEL_SIZE) * components).sum()
    right = (volume * differences.gradient_adjoint(components, VOXEL_SIZE)).sum()
    assert float(left) == pytest.approx(float(right))


def test_gradient_is_periodic_and_per_mm(positions):
    slopes = differences.gradient(3 * positions[2], VOXEL_SIZE)
    torch.testing.assert_close(slopes[2, :, :, :-1], torch.full((9, 8, 9), 3.0).double())
    torch.testing.assert_close(slopes.sum(dim=3), torch.zeros(3, 9, 8).double())


def test_derivatives_within_a_mask_do_not_see_outside(positions):
    x, y, z = positions
    mask = torch.zeros(x.shape, dtype=torch.bool)
    mask[:6, 2:7, 3:] = True  # touches the image's faces on two sides
    quadratic = x**2 + 2 * y**2 - z**2 + x - y
    volume = torch.where(mask, quadratic, torch.full_like(x, 1e3))

    curvature = differences.laplacian_within(volume, mask, VOXEL_SIZE)
    torch.testing.assert_close(curvature[mask], torch.full_like(curvature[mask], 4.0))
    assert not curvature[~mask].any()

    slopes = differences.gradient_within(
        torch.where(mask, x - 2 * y + 3 * z, 1e3), mask, VOXEL_SIZE
    )
    for slope, expected in zip(slopes, (1.0, -2.0, 3.0), strict=True):
        torch.testing.assert_close(slope[mask], torch.full_like(slope[mask], expected))
    assert not slopes[:, ~mask].any()


def test_a_mask_of_one_voxel_has_no_derivative(positions):
    mask = torch.zeros(positions[0].shape, dtype=torch.bool)
    mask[4, 4, 4] = True
    assert not differences.laplacian_within(positions[0] ** 2, mask, VOXEL_SIZE).any()
    assert not differences.gradient_within(positions[0], mask, VOXEL_SIZE).any()


@pytest.mark.parametrize("voxels", [1, 40, 10**6])
def test_blocks_make_no_difference(monkeypatch, voxels):
    """One plane, two planes and a rest, all planes at once."""
    monkeypatch.setattr(differences, "_BLOCK", voxels)
    volume, weights = torch.rand(5, 4, 5), torch.rand(3, 5, 4, 5)
    size = (1.0, 2.0, 0.5)
    expected = differences.gradient_adjoint(differences.gradient(volume, size) * weights, size)
    torch.testing.assert_close(differences.weighted_laplacian(volume, weights, size), expected)
