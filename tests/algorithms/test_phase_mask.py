import numpy as np
import pytest

from qsm_workflows.algorithms.phase_mask import phase_coherence, phase_mask

SIZE = (3.0, 2.5, 4.0)
SHAPE = (50, 64, 36)
TIMES = (1.0, 2.0, 3.0)


def distance():
    axes = [(np.arange(n) - (n - 1) / 2) * size for n, size in zip(SHAPE, SIZE, strict=True)]
    return np.sqrt(axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2)


@pytest.fixture(scope="module")
def scan():
    """A brain of 50 mm in a dark skull and a bright scalp: echoes with steep, noisy phase."""
    rng = np.random.default_rng(0)
    brain, scalp = distance() < 50, (distance() > 56) & (distance() < 64)
    x = np.arange(SHAPE[0])[:, None, None]
    echoes = []
    for time in TIMES:
        clean = np.where(brain, 100, np.where(scalp, 120, 1)) * np.exp(1j * 0.8 * time * x)
        noise = rng.normal(0, 5, (2, *SHAPE))
        echoes.append(clean + noise[0] + 1j * noise[1])
    return [np.angle(e) for e in echoes], [np.abs(e) for e in echoes], brain


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_coherence_is_one_in_tissue_however_steep_and_low_in_noise(scan):
    phases, magnitudes, _ = scan
    coherence = phase_coherence(phases, magnitudes, SIZE)
    assert coherence[distance() < 40].min() > 0.95
    assert coherence[distance() > 72].mean() < 0.3
    assert coherence.max() <= 1 + 1e-6


def test_voxels_without_signal_are_not_coherent(scan):
    phases, magnitudes, _ = scan
    blank = [np.where(distance() > 66, 0, m) for m in magnitudes]
    still = [np.where(distance() > 66, 0, p) for p in phases]
    coherence = phase_coherence(still, blank, SIZE)
    assert coherence[distance() > 75].max() < 1e-6


def test_brain_is_parted_from_the_scalp(scan):
    phases, magnitudes, brain = scan
    mask = phase_mask(phases, magnitudes, SIZE)
    assert dice(mask, brain) > 0.95
    assert not mask[distance() > 57].any()


def test_slab_keeps_its_ends_and_agrees_with_the_whole(scan):
    phases, magnitudes, brain = scan
    part = np.s_[:, :, 16:20]
    mask = phase_mask([p[part] for p in phases], [m[part] for m in magnitudes], SIZE)
    assert mask[..., 0].any()
    assert mask[..., -1].any()
    assert dice(mask, brain[part]) > 0.95


@pytest.mark.parametrize("turn", [(2, 0, 1), (1, 2, 0)])
def test_axes_do_not_matter(scan, turn):
    phases, magnitudes, _ = scan
    size = [SIZE[axis] for axis in turn]
    turned = phase_mask(
        [p.transpose(turn) for p in phases], [m.transpose(turn) for m in magnitudes], size
    )
    back = turned.transpose(np.argsort(turn))
    assert dice(back, phase_mask(phases, magnitudes, SIZE)) > 0.999


def test_strong_noise_does_not_empty_the_mask(scan):
    _, magnitudes, brain = scan
    rng = np.random.default_rng(1)
    # As noisy as a signal-to-noise ratio of 2.
    noisy = [m + rng.normal(0, 50, SHAPE) + 1j * rng.normal(0, 50, SHAPE) for m in magnitudes]
    mask = phase_mask([np.angle(x) for x in noisy], [np.abs(x) for x in noisy], SIZE)
    assert dice(mask, brain) > 0.8


def test_higher_threshold_gives_less(scan):
    phases, magnitudes, _ = scan
    sizes = [phase_mask(phases, magnitudes, SIZE, threshold=t).sum() for t in (0.2, 0.4, 0.9)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[2]


def test_noise_alone_is_refused(scan):
    _, magnitudes, _ = scan
    rng = np.random.default_rng(2)
    with pytest.raises(ValueError, match="noise everywhere"):
        phase_mask([rng.uniform(-3, 3, SHAPE)] * 2, magnitudes[:2], SIZE)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"threshold": 0}, "threshold must lie between"),
        ({"threshold": 1.5}, "threshold must lie between"),
        ({"opening": -1}, "opening must not be negative"),
        ({"opening": 90}, "thicker than 180 mm"),
    ],
)
def test_options_out_of_range_are_named(scan, keywords, message):
    phases, magnitudes, _ = scan
    with pytest.raises(ValueError, match=message):
        phase_mask(phases, magnitudes, SIZE, **keywords)


def test_images_must_fit_together(scan):
    phases, magnitudes, _ = scan
    with pytest.raises(ValueError, match="3 phase and 2 magnitude"):
        phase_mask(phases, magnitudes[:2], SIZE)
    with pytest.raises(ValueError, match="magnitude of echo 2 has shape"):
        phase_mask(phases, [magnitudes[0], magnitudes[1][1:], magnitudes[2]], SIZE)
