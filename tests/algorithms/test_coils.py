import numpy as np
import pytest

from qsm_workflows.algorithms.coils import combine_coils
from qsm_workflows.algorithms.echoes import wrap

SIZE = (1.0, 1.0, 1.5)


@pytest.fixture
def channels(echoes):
    """Complex noise and 6 channels, each with a sensitivity and phase offset of its own."""

    def make(noise=0.0, seed=0):
        rng = np.random.default_rng(seed)
        axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in echoes.shape), indexing="ij")
        phases, magnitudes = [], []
        coils = []
        for number in range(6):
            place = rng.normal(0, 1, 3)
            near = np.exp(-sum((a - p) ** 2 for a, p in zip(axes, place, strict=True)) / 3)
            turn = number + sum(rng.normal(0, 0.6) * a for a in axes) + 0.3 * axes[0] ** 2
            coils.append(near * np.exp(1j * turn))
        for magnitude, phase in zip(echoes.magnitudes, echoes.phases(), strict=True):
            signal = np.stack([magnitude * np.exp(1j * phase) * coil for coil in coils], axis=-1)
            parts = rng.normal(0, noise, (2, *signal.shape))
            signal = signal + parts[0] + 1j * parts[1]
            phases.append(np.angle(signal))
            magnitudes.append(np.abs(signal))
        return phases, magnitudes, np.abs(np.stack(coils, axis=-1))

    return make


def test_phase_is_that_of_the_field_and_magnitude_that_of_all_channels(echoes, channels):
    phases, magnitudes, coils = channels()
    mask = np.ones(echoes.shape)
    combined, sizes = combine_coils(phases, magnitudes, echoes.times, SIZE, mask=mask, smoothing=1)
    inner = np.s_[3:-3, 3:-3, 3:-3]
    for phase, expected in zip(combined, echoes.phases(), strict=True):
        assert np.abs(wrap(phase - expected))[inner].max() < 0.05
    root = np.sqrt((coils**2).sum(axis=-1))
    for size, expected in zip(sizes, echoes.magnitudes, strict=True):
        np.testing.assert_allclose(size[inner], (expected * root)[inner], rtol=0.01)


def test_combined_phase_has_the_noise_of_the_best_combination(echoes, channels):
    clean = channels()
    noisy = channels(noise=0.05)
    common = (echoes.times, SIZE)
    (_, reference), (_, found) = (
        combine_coils(*scan[:2], *common)[0][:2] for scan in (clean, noisy)
    )
    # Weights that are right up to their own noise: σ over the root of the sum of squares.
    signal = np.sqrt((clean[1][1] ** 2).sum(axis=-1))
    inner = np.s_[3:-3, 3:-3, 3:-3]
    score = wrap(found - reference)[inner] * signal[inner] / 0.05
    assert score.std() < 1.3
    plain = wrap(np.angle((noisy[1][1] * np.exp(1j * noisy[0][1])).sum(axis=-1)))
    assert np.std(wrap(plain - np.angle(np.exp(1j * echoes.phases()[1])))[inner]) > 0.5


def test_a_dead_channel_does_no_harm(echoes, channels):
    phases, magnitudes, _ = channels()
    for magnitude in magnitudes:
        magnitude[..., 2] = 0
    combined, sizes = combine_coils(phases, magnitudes, echoes.times, SIZE)
    inner = np.s_[3:-3, 3:-3, 3:-3]
    assert np.abs(wrap(combined[3] - echoes.phases()[3]))[inner].max() < 0.2
    assert np.isfinite(sizes).all()


def test_bad_input_is_named(echoes, channels):
    phases, magnitudes, _ = channels()
    with pytest.raises(ValueError, match="two echoes"):
        combine_coils(phases[:1], magnitudes[:1], echoes.times[:1], SIZE)
    with pytest.raises(ValueError, match=r"phase of echo 1 has shape .* expected \(X, Y, Z, chan"):
        combine_coils([p[..., 0] for p in phases], magnitudes, echoes.times, SIZE)
    with pytest.raises(ValueError, match="magnitude of echo 2 has shape"):
        combine_coils(
            phases, [magnitudes[0], magnitudes[1][..., :2], *magnitudes[2:]], echoes.times, SIZE
        )
    with pytest.raises(ValueError, match="3 images of magnitude for 4 echoes"):
        combine_coils(phases, magnitudes[:3], echoes.times, SIZE)
    magnitudes[3][0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="echo 4 holds NaN"):
        combine_coils(phases, magnitudes, echoes.times, SIZE)
    dark = [np.zeros_like(m) for m in magnitudes]
    with pytest.raises(ValueError, match="mask is empty"):
        combine_coils(phases, dark, echoes.times, SIZE)
