import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from qsm_workflows.algorithms.dipole import dipole_kernel, forward_field

AXES = np.eye(3)


def whole_kernel(shape, voxel_size, b0_dir):
    """Kernel of the full spectrum, by its action on an impulse."""
    impulse = np.zeros(shape, np.float32)
    impulse[0, 0, 0] = 1
    return np.fft.fftn(forward_field(impulse, voxel_size, b0_dir, pad=0)).real


def test_kernel_along_and_across_b0():
    kernel = dipole_kernel((16, 18, 20), (1, 1, 2), (0, 0, 1))
    assert kernel[0, 0, 0] == 0
    torch.testing.assert_close(kernel[0, 0, 1:], torch.full((10,), -2 / 3))
    torch.testing.assert_close(kernel[1:, 0, 0], torch.full((15,), 1 / 3))
    torch.testing.assert_close(kernel[0, 1:, 0], torch.full((17,), 1 / 3))


def test_kernel_is_zero_at_the_magic_angle():
    kernel = dipole_kernel((16, 16, 16), (1, 1, 1), (0, 0, 1))
    assert abs(kernel[3, 3, 3]) < 1e-7


@pytest.mark.parametrize("shape", [(15, 17, 19), (16, 18, 20), (15, 18, 20)])
def test_kernel_is_even_and_its_operator_real(shape):
    direction = np.array([0.48, 0.6, 0.64])
    kernel = whole_kernel(shape, (0.9, 1.0, 1.7), direction)
    mirrored = np.roll(np.flip(kernel), 1, axis=(0, 1, 2))
    np.testing.assert_allclose(kernel, mirrored, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_turning_b0_permutes_the_axes(axis):
    along_z = whole_kernel((14, 14, 14), (1, 1, 1), AXES[2])
    turned = whole_kernel((14, 14, 14), (1, 1, 1), AXES[axis])
    np.testing.assert_allclose(turned, np.swapaxes(along_z, axis, 2), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "voxel_size", "b0_dir"),
    [
        ((64, 64, 64), (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)),
        ((63, 65, 47), (1.0, 1.0, 1.4), (0.0, 0.6, 0.8)),
    ],
)
def test_field_of_a_sphere(shape, voxel_size, b0_dir):
    # Sub-voxel occupancy, as a voxelised surface would dominate the error.
    fine = 4
    radius, jump = 10.0, 1.0
    centre = np.array(shape) // 2
    offsets = (np.arange(fine) + 0.5) / fine - 0.5
    axes = [
        ((np.arange(n) - c)[:, None] + offsets).ravel() * s
        for n, c, s in zip(shape, centre, voxel_size, strict=True)
    ]
    inside = axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2 <= radius**2
    x, y, z = shape
    chi = jump * inside.reshape(x, fine, y, fine, z, fine).mean(axis=(1, 3, 5))
    field = forward_field(chi, voxel_size, b0_dir)

    position = np.stack(
        np.meshgrid(
            *((np.arange(n) - c) * s for n, c, s in zip(shape, centre, voxel_size, strict=True)),
            indexing="ij",
        )
    )
    distance = np.linalg.norm(position, axis=0)
    distance[tuple(centre)] = 1
    cosine = np.tensordot(b0_dir, position, axes=1) / distance
    outside = jump / 3 * (radius / distance) ** 3 * (3 * cosine**2 - 1)
    away = (distance > radius + 5) & (distance < 20)
    # With an oblique B0 the band-limited kernel rings at the Nyquist frequency.
    difference = gaussian_filter(np.where(distance > radius + 1, field - outside, 0), 1.0)
    assert np.linalg.norm(difference[away]) < 0.01 * np.linalg.norm(outside[away])
    assert np.abs(gaussian_filter(field, 1.0)[distance < radius - 5]).max() < 2e-3 * jump


def test_paramagnetic_source_raises_the_field_along_b0():
    chi = np.zeros((21, 21, 21), np.float32)
    chi[10, 10, 10] = 1
    field = forward_field(chi, (1, 1, 1), (0, 1, 0))
    assert field[10, 13, 10] > 0
    assert field[13, 10, 10] < 0


def test_field_does_not_depend_on_empty_image_around_a_slab(head):
    slab = head.chi[:, :, 8:18]
    wider = np.pad(slab, ((3, 2), (0, 4), (20, 9)))
    field = forward_field(slab, head.voxel_size, head.b0_dir, pad=150)
    again = forward_field(wider, head.voxel_size, head.b0_dir, pad=150)
    inner = again[3:-2, :-4, 20:-9]
    np.testing.assert_allclose(inner - inner.mean(), field - field.mean(), atol=2e-4)


def test_periodic_model_is_wrong_for_a_slab(head):
    slab = head.chi[:, :, 8:18]
    true = forward_field(slab, head.voxel_size, head.b0_dir)
    periodic = forward_field(slab, head.voxel_size, head.b0_dir, pad=0)
    assert np.linalg.norm(periodic - true) > 0.3 * np.linalg.norm(true)


def test_bad_geometry_is_refused():
    chi = np.zeros((4, 4, 4))
    with pytest.raises(ValueError, match="voxel_size"):
        forward_field(chi, (1, 0, 1), (0, 0, 1))
    with pytest.raises(ValueError, match="unit vector"):
        forward_field(chi, (1, 1, 1), (0, 0, 2))
    with pytest.raises(ValueError, match="NaN"):
        forward_field(chi * np.nan, (1, 1, 1), (0, 0, 1))
