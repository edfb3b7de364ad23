import numpy as np
import pytest

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.algorithms.inversion.direct import l2, tkd, tsvd


@pytest.mark.parametrize("shape", [(16, 18, 20), (15, 17, 20), (15, 18, 19)])
def test_susceptibility_is_exact_where_the_kernel_is_large(shape):
    geometry = (1.0, 1.2, 0.9), (0.48, 0.6, 0.64)
    chi = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    everywhere = np.ones(shape, bool)
    impulse = np.zeros(shape)
    impulse[0, 0, 0] = 1
    kernel = np.fft.fftn(forward_field(impulse, *geometry, pad=0)).real
    field = forward_field(chi, *geometry, pad=0)
    estimate = tkd(field, everywhere, *geometry, threshold=0.15, pad=0)

    ratio = np.fft.fftn(estimate) / np.fft.fftn(chi)
    large = np.abs(kernel) > 0.151
    np.testing.assert_allclose(ratio[large], 1, atol=1e-3)
    small = (np.abs(kernel) < 0.149) & (np.abs(kernel) > 1e-3)
    np.testing.assert_allclose(ratio[small], np.abs(kernel[small]) / 0.15, atol=1e-3)


def test_a_higher_threshold_shrinks_susceptibility(head):
    def pallidum(threshold):
        chi = tkd(
            head.local_field, head.mask, head.voxel_size, head.b0_dir, threshold=threshold, pad=20
        )
        return chi[head.chi > 0.14].mean()

    assert pallidum(0.1) > pallidum(0.2) > pallidum(0.4) > 0


def test_a_wrong_sign_of_the_field_turns_susceptibility_negative(head):
    chi = tkd(-head.local_field, head.mask, head.voxel_size, head.b0_dir, pad=20)
    assert chi[head.chi > 0.14].mean() < 0


@pytest.mark.parametrize("threshold", [0, -0.1, 0.7])
def test_bad_threshold_is_refused(head, threshold):
    with pytest.raises(ValueError, match="threshold"):
        tkd(head.local_field, head.mask, head.voxel_size, head.b0_dir, threshold=threshold)


@pytest.mark.parametrize("invert", [tkd, tsvd])
@pytest.mark.parametrize("threshold", [0, 0.7])
def test_threshold_out_of_range(head, invert, threshold):
    with pytest.raises(ValueError, match="threshold"):
        invert(head.local_field, head.mask, *head[4:], threshold=threshold)


def test_tsvd_is_tkd_without_the_cone():
    """On white noise, what TSVD gives is exactly what TKD gives where |D| is large."""
    geometry = (1.0, 1.2, 0.9), (0.48, 0.6, 0.64)
    field = np.random.default_rng(0).normal(size=(15, 18, 20))
    everywhere = np.ones(field.shape, bool)
    divided, truncated = (
        np.fft.fftn(invert(field, everywhere, *geometry, threshold=0.2, pad=0))
        for invert in (tkd, tsvd)
    )
    zero = np.abs(truncated) < 1e-3
    np.testing.assert_allclose(truncated[~zero], divided[~zero], rtol=1e-3, atol=1e-3)
    assert 0.2 < zero.mean() < 0.6


def test_l2_minimises_its_cost():
    geometry = (1.0, 1.2, 0.9), (0.48, 0.6, 0.64)
    field = np.random.default_rng(0).normal(size=(15, 18, 20))
    everywhere = np.ones(field.shape, bool)

    def cost(chi):
        rest = forward_field(chi, *geometry, pad=0) - field
        slopes = [
            (np.roll(chi, -1, axis) - chi) / length for axis, length in enumerate(geometry[0])
        ]
        return (rest**2).sum() + 0.05 * sum((slope**2).sum() for slope in slopes)

    chi = l2(field, everywhere, *geometry, regularisation=0.05, pad=0).astype(float)
    change = 1e-2 * np.random.default_rng(1).normal(size=chi.shape)
    assert cost(chi) < min(cost(chi + change), cost(chi - change))
    assert cost(chi) < min(cost(0.95 * chi), cost(1.05 * chi))


def test_l2_refuses_a_regularisation_of_zero(head):
    with pytest.raises(ValueError, match="regularisation"):
        l2(head.local_field, head.mask, *head[4:], regularisation=0)
