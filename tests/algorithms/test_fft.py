import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from qsm_workflows.algorithms import fft


def test_padded_shape_keeps_the_zeros_asked_for_and_is_even():
    shape = fft.padded_shape((31, 40, 17), (1.0, 0.5, 2.0), 20.0)
    assert all(n >= m for n, m in zip(shape, (51, 80, 27), strict=True))
    assert all(n % 2 == 0 and n < 1.2 * m for n, m in zip(shape, (51, 80, 27), strict=True))


def test_no_padding_keeps_the_shape():
    assert fft.padded_shape((31, 40, 17), (1, 1, 1), 0) == (31, 40, 17)


@pytest.mark.parametrize("pad", [-1.0, float("nan"), float("inf")])
def test_bad_padding_is_refused(pad):
    with pytest.raises(ValueError, match="pad"):
        fft.padded_shape((8, 8, 8), (1, 1, 1), pad)


@pytest.mark.parametrize("shape", [(7, 9, 11), (8, 10, 12), (7, 10, 11)])
def test_transform_round_trip(shape):
    volume = torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    back = fft.inverse(fft.forward(volume, shape), shape, shape)
    torch.testing.assert_close(back, volume)


def test_product_of_padded_spectra_is_a_convolution():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(9, 8, 7)), rng.normal(size=(4, 5, 3))
    grid = fft.padded_shape(a.shape, (1, 1, 1), 5)
    spectra = (fft.forward(fft.to_tensor(x, "cpu"), grid) for x in (a, b))
    product = fft.inverse(next(spectra) * next(spectra), grid, (12, 12, 9))
    np.testing.assert_allclose(product, fftconvolve(a, b), atol=1e-5)


def test_frequencies_are_in_cycles_per_mm():
    x, y, z = fft.frequencies((8, 7, 6), (1.0, 2.0, 0.5))
    assert x.shape == (8, 1, 1)
    assert y.shape == (1, 7, 1)
    assert z.shape == (1, 1, 4)
    assert x[1, 0, 0] == pytest.approx(1 / 8)
    assert y[0, 1, 0] == pytest.approx(1 / 14)
    assert z[0, 0, 1] == pytest.approx(1 / 3)


def test_padded_grid_round_trip():
    mask = np.zeros((12, 13, 14), bool)
    mask[2:7, 3:9, 4:8] = True
    volume = np.random.default_rng(0).normal(size=mask.shape).astype(np.float32) * mask
    grid = fft.PaddedGrid.around(mask, (1, 1, 2), 6)
    np.testing.assert_array_equal(grid.extract(grid.embed(volume)), volume)
    assert all(n >= m for n, m in zip(grid.shape, (11, 12, 7), strict=True))
    moved = fft.PaddedGrid.around(np.roll(mask, 3, axis=1), (1, 1, 2), 6)
    assert moved.shape == grid.shape


def test_padded_grid_without_padding_is_the_image():
    mask = np.zeros((5, 6, 7), bool)
    mask[2, 2, 2] = True
    assert fft.PaddedGrid.around(mask, (1, 1, 1), 0).shape == (5, 6, 7)
