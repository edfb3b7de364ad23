import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.algorithms.relaxation import r2star_arlo, r2star_nonlinear

TIMES = [0.004, 0.009, 0.014, 0.019, 0.024]
METHODS = [r2star_arlo, r2star_nonlinear]


def rates(shape=(30, 20, 20)):
    return np.broadcast_to(np.linspace(5, 120, shape[0])[:, None, None], shape)


def decay(rate, times=TIMES, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return [
        np.abs(
            1000 * np.exp(-rate * time)
            + noise * (rng.normal(size=rate.shape) + 1j * rng.normal(size=rate.shape))
        )
        for time in times
    ]


@pytest.mark.parametrize("method", METHODS)
def test_rate_of_a_clean_decay(method):
    # Simpson's rule is in error by a term of fourth order, seen at fast decay.
    tolerance = {"r2star_arlo": 4e-3, "r2star_nonlinear": 1e-4}[method.__name__]
    np.testing.assert_allclose(method(decay(rates()), TIMES), rates(), rtol=tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_rate_is_unbiased_and_as_precise_as_noise_allows(method):
    truth = np.full((30, 30, 30), 30.0)
    found = method(decay(truth, noise=10), TIMES)
    assert found.mean() == pytest.approx(30, abs=0.15)
    # Cramér–Rao bound of S₀·exp(−TE·R2*) in white noise.
    times = np.array(TIMES)
    shape = np.exp(-30 * times)
    jacobian = np.stack([shape, -1000 * times * shape], axis=1)
    bound = 10 * np.sqrt(np.linalg.inv(jacobian.T @ jacobian)[1, 1])
    assert bound * 0.97 < found.std() < bound * 1.25


def test_nonlinear_takes_any_spacing_and_does_not_lean_on_dark_echoes():
    times = [0.003, 0.007, 0.020, 0.040]
    np.testing.assert_allclose(
        r2star_nonlinear(decay(rates(), times), times), rates(), rtol=1e-3, atol=0.01
    )
    dark = decay(np.full((20, 20, 20), 100.0), times, noise=10)  # two echoes are noise
    straight = -np.polyfit(times, np.log(np.stack(dark).reshape(4, -1)), 1)[0]
    found = r2star_nonlinear(dark, times)
    assert found.mean() == pytest.approx(100, abs=1)
    assert found.std() < 0.7 * straight.std()


@pytest.mark.parametrize("method", METHODS)
def test_rate_is_bounded_where_there_is_no_decay_or_no_signal(method):
    volumes = decay(rates())
    for volume in volumes:
        volume[0] = 0
    volumes[0][1] = 500
    for volume in volumes[1:]:
        volume[1] = 0
    for number, volume in enumerate(volumes):
        volume[2] = 100 * (1 + number)
    found = method(volumes, TIMES, maximum=300)
    assert (found[0] == 0).all()
    assert (found[2] == 0).all()
    assert np.isfinite(found).all()
    assert 0 <= found.min() <= found.max() <= 300


def test_bad_input_is_named():
    volumes = decay(rates((4, 4, 4)))
    with pytest.raises(ValueError, match="equally spaced echoes, and these are at 4, 9, 20 ms"):
        r2star_arlo(volumes[:3], [0.004, 0.009, 0.020])
    with pytest.raises(ValueError, match="3 echoes at least, not 2"):
        r2star_arlo(volumes[:2], TIMES[:2])
    with pytest.raises(ValueError, match="2 echoes at least, not 1"):
        r2star_nonlinear(volumes[:1], TIMES[:1])
    with pytest.raises(ValueError, match="maximum"):
        r2star_arlo(volumes, TIMES, maximum=0)
    with pytest.raises(ValueError, match="negative"):
        r2star_nonlinear([-v for v in volumes], TIMES)
    with pytest.raises(ValueError, match="NaN"):
        r2star_arlo([*volumes[:4], np.full((4, 4, 4), np.nan)], TIMES)
    with pytest.raises(ValueError, match="magnitude of echo 2 has shape"):
        r2star_arlo([volumes[0], volumes[1][1:], *volumes[2:]], TIMES)


@pytest.mark.shared
def test_methods_agree_on_a_scan(shared_data):
    folder = shared_data / "romeo_small_invivo_3echo"
    magnitudes = list(np.moveaxis(nib.load(folder / "Mag.nii.gz").get_fdata(), 3, 0))
    times = [0.004, 0.008, 0.012]
    bright = magnitudes[2] > np.median(magnitudes[2])
    first, second = (method(magnitudes, times)[bright] for method in METHODS)
    assert np.median(np.abs(first - second)) < 2
    assert 10 < np.median(first) < 80
