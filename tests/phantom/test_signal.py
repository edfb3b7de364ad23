from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from qsm_workflows.algorithms.units import radians_per_ppm
from qsm_workflows.phantom import simulate_signal
from qsm_workflows.phantom.head import SubVoxels

TIMES = (0.005, 0.010, 0.015)


@pytest.fixture(scope="module")
def clean(head):
    return simulate_signal(head, TIMES, b0=3.0, snr=np.inf, seed=3)


def test_phase_between_echoes_is_the_field_with_its_sign(head, clean):
    _, phase = clean
    # Where the field is even over a voxel, its mean phase is that of its mean field.
    even = ndimage.generic_gradient_magnitude(head.total_field, ndimage.sobel) < 0.3
    inner = head.mask & even
    gained = np.angle(np.exp(1j * (phase[1] - phase[0])))[inner]
    expected = np.angle(np.exp(1j * radians_per_ppm(3.0, 0.005) * head.total_field))[inner]
    assert inner.sum() > 1000
    assert np.median(np.abs(gained - expected)) < 0.01


def test_phase_offset_at_time_zero_is_smooth_but_not_zero(head, clean):
    _, phase = clean
    offset = np.angle(np.exp(1j * (2 * phase[0] - phase[1])))
    inner = ndimage.binary_erosion(head.mask, iterations=3)
    assert np.abs(offset[inner]).max() > 0.3
    steps = np.angle(np.exp(1j * np.diff(offset, axis=0)))[inner[1:]]
    assert np.median(np.abs(steps)) < 0.1


def test_phase_wraps(clean, head):
    _, phase = clean
    assert np.abs(phase).max() <= np.pi + 1e-5
    assert np.abs(np.diff(phase[2], axis=2))[head.mask[..., 1:]].max() > 5


def test_magnitude_decays_with_r2star(head, clean):
    magnitude, _ = clean
    white = head.labels == next(r.index for r in head.label_table if r.name == "white_matter")
    inner = ndimage.binary_erosion(white, iterations=1)
    rate = np.median(np.log(magnitude[0][inner] / magnitude[2][inner])) / 0.010
    assert rate == pytest.approx(21, abs=6)


def test_a_steep_field_within_a_voxel_dephases_it(head):
    shape = (1, 1, 1)
    ramp = np.array([-1.0, 1.0], dtype=np.float32)[:, None, None]
    part = SubVoxels((2, 1, 1), ramp, np.zeros((2, 1, 1), "f4"), np.ones((2, 1, 1), "f4"))
    voxel = replace(head, mask=np.ones(shape, bool), subvoxels=part)
    quarter_turn = np.pi / 2 / radians_per_ppm(3.0, 1.0)
    magnitude, _ = simulate_signal(voxel, (quarter_turn / 2, quarter_turn), 3.0, np.inf)
    assert magnitude[1, 0, 0, 0] < 1e-5
    assert magnitude[0, 0, 0, 0] > 0.1


def test_noise_has_the_asked_level_in_air(head):
    magnitude, _ = simulate_signal(head, TIMES, snr=20, seed=1)
    quiet = head.subvoxels.mean_proton_density() == 0
    # The magnitude of complex noise alone is Rayleigh distributed.
    sigma = magnitude[0][quiet].mean() / np.sqrt(np.pi / 2)
    assert magnitude[0][head.mask].mean() / sigma == pytest.approx(20, rel=0.03)


def test_seed_decides_the_noise(head):
    first, again, other = (simulate_signal(head, TIMES[:1], seed=s)[1] for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("times", "b0", "snr", "message"),
    [
        ((), 3, 50, "echo_times"),
        ((-0.005,), 3, 50, "echo_times"),
        ((0.01, 0.005), 3, 50, "echo_times"),
        ((4.9, 9.8), 3, 50, "between 0 and 1 s"),
        (TIMES, 0, 50, "b0"),
        (TIMES, 3, 0, "snr"),
        (TIMES, 3, float("nan"), "snr"),
    ],
)
def test_senseless_scans_are_refused(head, times, b0, snr, message):
    with pytest.raises(ValueError, match=message):
        simulate_signal(head, times, b0, snr)
