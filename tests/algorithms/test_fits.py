import logging

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from qsm_workflows.algorithms.fits import (
    fit_echoes,
    fit_echoes_nonlinear,
    reliability_mask,
    step_residual,
)
from qsm_workflows.algorithms.units import radians_per_ppm
from qsm_workflows.algorithms.unwrapping import align_echoes, unwrap_bestpath


@pytest.mark.parametrize("weighting", ["magnitude", "magnitude_squared"])
def test_fit_without_offset_is_exact(echoes, weighting):
    field = echoes.field
    fit = fit_echoes(
        echoes.phases(), echoes.magnitudes, echoes.times, echoes.b0, weighting=weighting
    )
    np.testing.assert_allclose(fit.total_field, field, atol=1e-6)
    assert fit.residual.max() < 1e-5


def test_fit_of_a_single_echo_is_phase_over_time(echoes):
    field = echoes.field
    phase = radians_per_ppm(echoes.b0, 0.02) * field
    fit = fit_echoes([phase], [np.ones(echoes.shape)], [0.02], echoes.b0)
    np.testing.assert_allclose(fit.total_field, field, atol=1e-6)
    assert fit.residual.max() < 1e-6


@pytest.mark.parametrize(("weighting", "power"), [("magnitude", 1), ("magnitude_squared", 2)])
def test_an_offset_biases_the_fit_as_predicted(echoes, weighting, power):
    # Slope bias φ₀·Σw·TE / Σw·TE², with the weights asked for.
    offset = 0.4
    magnitudes = echoes.magnitudes
    phases = [np.full(echoes.shape, offset)] * len(echoes.times)
    fit = fit_echoes(phases, magnitudes, echoes.times, echoes.b0, weighting=weighting)
    weights = np.array([m.flat[0] for m in magnitudes]) ** power
    times = np.array(echoes.times)
    slope = offset * (weights * times).sum() / (weights * times**2).sum()
    np.testing.assert_allclose(fit.total_field, slope / radians_per_ppm(echoes.b0, 1.0), rtol=1e-5)
    assert fit.residual.min() > 0.05


def test_fit_is_finite_where_there_is_no_signal(echoes):
    magnitudes = echoes.magnitudes
    for magnitude in magnitudes:
        magnitude[0] = 0
    fit = fit_echoes(echoes.phases(), magnitudes, echoes.times, echoes.b0)
    np.testing.assert_allclose(fit.total_field, echoes.field, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"echo_times": [0.01, 0.02]}, "4 echoes but 2 echo times"),
        ({"b0": 0.0}, "b0"),
        ({"weighting": "none"}, "weighting"),
        ({"magnitudes": [np.ones((24, 20, 16))] * 3}, "3 images of magnitude for 4 echoes"),
        ({"magnitudes": [np.ones((2, 2, 2))] * 4}, "magnitude of echo 1"),
    ],
)
def test_bad_input_of_the_fit_is_named(echoes, change, message):
    inputs = {
        "unwrapped": echoes.phases(),
        "magnitudes": echoes.magnitudes,
        "echo_times": echoes.times,
        "b0": echoes.b0,
    }
    with pytest.raises(ValueError, match=message):
        fit_echoes(**(inputs | change))


def noisy(echoes, sigma, seed=3):
    """Phase and magnitude of the echoes with complex noise; phase near its true turns."""
    rng = np.random.default_rng(seed)
    phases, magnitudes = [], []
    for magnitude, phase in zip(echoes.magnitudes, echoes.phases(echoes.offset), strict=True):
        parts = rng.normal(0, sigma, (2, *echoes.shape))
        signal = magnitude * np.exp(1j * phase) + parts[0] + 1j * parts[1]
        phases.append(phase + np.angle(signal * np.exp(-1j * phase)))
        magnitudes.append(np.abs(signal))
    return phases, magnitudes


def test_nonlinear_fit_finds_field_and_offset(echoes):
    # Whole turns in the phases do not matter once the start is right.
    fit = fit_echoes_nonlinear(
        echoes.phases(echoes.offset), echoes.magnitudes, echoes.times, echoes.b0
    )
    np.testing.assert_allclose(fit.total_field, echoes.field, atol=1e-5)
    assert fit.residual.max() < 1e-4
    assert fit.noise.max() < 1e-5


def test_nonlinear_fit_shrugs_off_a_wrong_turn_of_a_dark_echo(echoes):
    phases = echoes.phases()
    phases[3] = phases[3] + 2 * np.pi
    magnitudes = [*echoes.magnitudes[:3], 0.3 * echoes.magnitudes[3]]
    wrong = fit_echoes(phases, magnitudes, echoes.times, echoes.b0)
    right = fit_echoes_nonlinear(phases, magnitudes, echoes.times, echoes.b0)
    assert np.abs(wrong.total_field - echoes.field).min() > 0.02
    np.testing.assert_allclose(right.total_field, echoes.field, atol=1e-4)


@pytest.mark.parametrize("method", ["magnitude", "magnitude_squared", "nonlinear", "single"])
def test_noise_map_is_the_scatter_of_the_field(echoes, method):
    echoes.magnitudes = [m * np.linspace(0.6, 1.4, 16) for m in echoes.magnitudes]
    fields, noises = [], []
    for seed in range(30):
        phases, magnitudes = noisy(echoes, 0.03, seed)
        if method == "nonlinear":
            fit = fit_echoes_nonlinear(phases, magnitudes, echoes.times, echoes.b0)
        elif method == "single":
            fit = fit_echoes(phases[:1], magnitudes[:1], echoes.times[:1], echoes.b0)
        else:
            flat = [p - echoes.offset for p in phases]
            fit = fit_echoes(flat, magnitudes, echoes.times, echoes.b0, weighting=method)
        fields.append(fit.total_field)
        noises.append(fit.noise)
    scatter = np.sqrt(np.var(fields, axis=0, ddof=1).mean(axis=(0, 1)))
    np.testing.assert_allclose(np.mean(noises, axis=(0, 1, 2)), scatter, rtol=0.08)
    assert scatter[0] > 2 * scatter[-1]


def test_noise_is_zero_without_signal_and_blind_to_what_was_not_unwrapped(echoes):
    phases, magnitudes = noisy(echoes, 0.03)
    whole = fit_echoes(phases, magnitudes, echoes.times, echoes.b0)
    inside = np.zeros(echoes.shape, bool)
    inside[4:-4, 4:-4] = True
    part = fit_echoes([p * inside for p in phases], magnitudes, echoes.times, echoes.b0)
    assert np.median(part.noise[inside]) == pytest.approx(np.median(whole.noise[inside]), rel=0.1)
    for magnitude in magnitudes:
        magnitude[0] = 0
    for fit in (fit_echoes, fit_echoes_nonlinear):
        assert (fit(phases, magnitudes, echoes.times, echoes.b0).noise[0] == 0).all()


def test_nonlinear_fit_needs_two_echoes(echoes):
    with pytest.raises(ValueError, match="two echoes"):
        fit_echoes_nonlinear(echoes.phases()[:1], echoes.magnitudes[:1], [0.004], echoes.b0)
    with pytest.raises(ValueError, match="negative"):
        fit_echoes(echoes.phases(), [-m for m in echoes.magnitudes], echoes.times, echoes.b0)


@pytest.mark.shared
def test_nonlinear_fit_and_its_noise_are_those_of_the_reference(shared_data):
    folder = shared_data / "reference_outputs"

    def load(name):
        return np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj, dtype=np.float32)

    mask, times = load("in_mask") > 0, [0.004, 0.010, 0.016, 0.022]
    phases = np.moveaxis(load("in_phase_4echo"), 3, 0)
    magnitudes = np.moveaxis(load("in_magnitude_4echo"), 3, 0)
    unwrapped = align_echoes([unwrap_bestpath(p, mask) for p in phases], mask, times)
    fit = fit_echoes_nonlinear(unwrapped, magnitudes, times, 3.0)
    # Theirs is in radians an echo spacing, wrapped; the file has the sign of their conjugate.
    theirs = -load("out_medi_fitppm_rad_per_dTE")
    difference = fit.total_field * radians_per_ppm(3.0, 0.006) - theirs
    difference -= 2 * np.pi * np.rint(difference / (2 * np.pi))
    assert np.mean(np.abs(difference[mask]) < 1e-3) > 0.995
    # Theirs has no unit.
    ratio = fit.noise[mask] / load("out_medi_fitppm_Nstd")[mask]
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-4)
    # The field of the brain scatters about the truth as the map says.
    truth = load("truth_field_local_ppm") + load("truth_field_background_ppm")
    score = (fit.total_field - truth)[mask] / fit.noise[mask]
    assert np.median(np.abs(score)) / 0.6745 == pytest.approx(1, abs=0.05)


def test_reliability_mask_leaves_out_what_does_not_fit(echoes):
    mask = np.zeros(echoes.shape, bool)
    mask[2:22, 2:18, 2:14] = True
    residual = np.full(echoes.shape, 0.05)
    residual[2:6] = 1.5  # at the border of the brain
    residual[12:15, 8:11, 6:9] = 3.0  # enclosed: a haemorrhage
    kept = reliability_mask(residual, mask, (1, 1, 1))
    assert not kept[2:6].any()
    assert kept[8:22, 2:18, 2:14].all()
    assert not (kept & ~mask).any()


def test_residual_of_steps_is_that_of_the_noise():
    rng = np.random.default_rng(0)
    shape = (30, 24, 20)
    steep = np.add.outer(2.5 * np.arange(30), np.zeros(shape[1:])) + 0.1
    inside = np.zeros(shape, bool)
    inside[2:28, 2:22, 2:18] = True
    noisy = steep + rng.normal(0, 0.3, shape)
    noisy[2:8] = rng.uniform(-np.pi, np.pi, (6, *shape[1:]))
    turns = 2 * np.pi * rng.integers(-1, 2, shape)

    # What lies outside is zero, and no step to it counts.
    assert step_residual(steep * inside)[inside].max() < 0.01
    found = step_residual(noisy * inside)
    np.testing.assert_allclose(step_residual((noisy + turns) * inside), found, atol=1e-3)
    # Steps have twice the variance of the phase.
    assert np.median(found[10:28][inside[10:28]]) == pytest.approx(0.3 / np.sqrt(2), abs=0.02)
    kept = reliability_mask(found, inside, (1, 1, 1))
    assert np.mean(kept[2:7][inside[2:7]]) < 0.05
    assert kept[10:28][inside[10:28]].all()


def test_voxel_without_neighbours_has_no_step_to_deviate():
    phase = np.zeros((5, 5, 1))
    phase[2, 2] = 1.0
    assert not step_residual(phase).any()


def test_reliable_residual_keeps_the_whole_mask(echoes):
    mask = ndimage.binary_erosion(np.ones(echoes.shape, bool))
    residual = np.where(mask, 0.1, 100.0)  # noise outside must not leak in
    np.testing.assert_array_equal(reliability_mask(residual, mask, (1, 1, 1)), mask)


def test_losing_much_of_the_mask_is_said(echoes, caplog):
    mask = np.ones(echoes.shape, bool)
    residual = np.zeros(echoes.shape)
    residual[:12] = 2.0
    with caplog.at_level(logging.WARNING):
        reliability_mask(residual, mask, (1, 1, 1))
    assert "% of the mask was left out" in caplog.text
    with pytest.raises(ValueError, match="no voxel"):
        reliability_mask(np.full(echoes.shape, 2.0), mask, (1, 1, 1))


@pytest.mark.shared
def test_fit_agrees_with_the_reference_phantom(echoes, shared_data):
    folder = shared_data / "reference_outputs"

    def load(name):
        return np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj, dtype=np.float32)

    mask = load("in_mask") > 0
    phase, magnitude = load("in_phase_4echo"), load("in_magnitude_4echo")
    phases, magnitudes = np.moveaxis(phase, 3, 0), np.moveaxis(magnitude, 3, 0)
    unwrapped = align_echoes([unwrap_bestpath(p, mask) for p in phases], mask, echoes.times)
    # Theirs unwrapped otherwise in the haemorrhage and in veins: 0.2 % of the voxels. Their
    # gyromagnetic ratio, 2.675e8 rad/s/T, makes 0.008 % of a field of up to 1 ppm.
    for weighting, name, tolerance in (
        ("magnitude", "out_hf_echofit_total_ppm", 1e-4),
        ("magnitude_squared", "in_field_total_ppm", 1e-6),
    ):
        fit = fit_echoes(unwrapped, magnitudes, echoes.times, echoes.b0, weighting=weighting)
        difference = np.abs(fit.total_field - load(name))[mask]
        assert np.mean(difference < tolerance) > 0.997
    # Their residual is the number of echoes times the mean square that ours is the root of.
    fit = fit_echoes(unwrapped, magnitudes, echoes.times, echoes.b0)
    ours = ndimage.uniform_filter(np.where(mask, 4 * fit.residual**2, 0), 3)
    core = ndimage.binary_erosion(mask, iterations=2)
    theirs = load("out_hf_echofit_residual_blur")[core]
    assert np.median(np.abs(ours[core] - theirs)) < 2e-4
    # The mask loses less than a hundredth, and none of the lesions.
    kept = reliability_mask(fit.residual, mask, (1, 1, 1))
    labels = load("truth_labels")
    assert np.mean(kept[mask]) > 0.99
    assert kept[(labels == 14) | (labels == 15)].all()
