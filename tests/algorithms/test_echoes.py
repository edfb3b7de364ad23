import json
import logging

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from qsm_workflows.algorithms.echoes import (
    detect_phase_units,
    fit_echoes,
    reliability_mask,
    remove_phase_offset,
    scale_phase,
)
from qsm_workflows.algorithms.units import radians_per_ppm
from qsm_workflows.algorithms.unwrapping import align_echoes, unwrap_bestpath

B0 = 3.0
ECHO_TIMES = [0.004, 0.010, 0.016, 0.022]
SHAPE = (24, 20, 16)


def wrap(phase):
    return np.angle(np.exp(1j * phase))


def smooth_field():
    x, y, z = (np.linspace(-1, 1, n) for n in SHAPE)
    return 0.1 * (x[:, None, None] + 0.5 * y[:, None] ** 2 - z)


def smooth_offset():
    x, y, z = (np.linspace(-1, 1, n) for n in SHAPE)
    return 0.8 + 0.3 * x[:, None, None] - 0.2 * y[:, None] + 0.1 * z


def evolve(field, offset=0.0):
    return [offset + radians_per_ppm(B0, time) * field for time in ECHO_TIMES]


def decaying_magnitudes():
    return [np.full(SHAPE, np.exp(-30 * time)) for time in ECHO_TIMES]


def uniform_radians():
    """Every phase, the ends of the range included."""
    values = np.random.default_rng(0).uniform(-np.pi, np.pi, (8, 9, 10))
    values.flat[:2] = -np.pi, np.pi
    return values


def apart(a, b):
    """Largest distance of two phases on the circle."""
    return np.abs(wrap(np.asarray(a) - np.asarray(b))).max()


@pytest.mark.parametrize(
    ("units", "store", "tolerance"),
    [
        ("rad", lambda phase: phase, 1e-5),
        ("rad", lambda phase: phase + np.pi, 1e-5),
        ("mrad", lambda phase: np.rint(1000 * phase), 1e-3),
        ("0..4095", lambda phase: np.rint((phase + np.pi) * 4095 / (2 * np.pi)), 4e-3),
        ("-4096..4095", lambda phase: 2 * np.rint(phase * 2047 / np.pi), 4e-3),
        ("range", lambda phase: 0.00367 / np.pi * phase, 1e-5),
    ],
)
def test_stored_phase_is_recognised_and_scaled(units, store, tolerance):
    phase = uniform_radians()
    stored = store(phase)
    assert detect_phase_units(stored) == units
    expected = stored if units == "rad" else phase
    for given in ("auto", units):
        radians = scale_phase(stored, units=given)
        assert apart(radians, expected) < tolerance
        assert radians.dtype == np.float32
        assert radians.min() > -np.pi
        assert radians.max() <= np.float32(np.pi)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("units", "per_radian"), [("rad", 1), ("mrad", 1000)])
def test_sign_makes_a_raised_field_give_rising_phase(sign, units, per_radian):
    # `sign` is that of the scanner: +1 where its own phase rises with the field.
    field = np.full((4, 4, 4), 0.1)
    field[0] = -0.05
    stored = sign * radians_per_ppm(B0, 0.01) * field * per_radian
    radians = scale_phase(stored, units=units, sign=sign)
    fit = fit_echoes([radians], [np.ones(field.shape)], [0.01], B0)
    np.testing.assert_allclose(fit.total_field, field, rtol=1e-5)


def test_siemens_integers_have_their_published_values():
    stored = np.array([0, 1024, 2048, 3072, 4095.0]).reshape(5, 1, 1)
    expected = [np.pi, -np.pi / 2, 0, np.pi / 2, np.pi * 2047 / 2048]
    np.testing.assert_allclose(scale_phase(stored, units="0..4095").ravel(), expected, atol=1e-6)


def magnitude_image():
    """Noise, and a head that few voxels outshine."""
    values = np.abs(np.random.default_rng(0).normal(0, 20, (20, 20, 20)))
    values[5:15, 5:15, 5:15] += 1200
    values[5] *= 2
    return np.rint(values * 4095 / values.max())


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((4, 4, 4), 2048.0), "in every voxel"),
        (magnitude_image(), "magnitude"),
        (magnitude_image() / 3, "magnitude"),
        (np.linspace(0, 1000, 64).reshape(4, 4, 4), "not recognised"),
        (np.linspace(-20, 5000, 64).reshape(4, 4, 4), "not recognised"),
        (np.full((4, 4, 4), np.nan), "NaN"),
        (np.zeros((4, 4, 4, 2)), "shape"),
    ],
)
def test_what_cannot_be_phase_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        scale_phase(image)


def test_values_beyond_the_given_units_are_refused():
    with pytest.raises(ValueError, match=r"0 to 4095.*'rad'"):
        scale_phase(np.linspace(0, 4095, 64).reshape(4, 4, 4), units="rad")
    with pytest.raises(ValueError, match="units"):
        scale_phase(uniform_radians(), units="degrees")
    with pytest.raises(ValueError, match="sign"):
        scale_phase(uniform_radians(), sign=0)


@pytest.mark.parametrize("weighting", ["magnitude", "magnitude_squared"])
def test_fit_without_offset_is_exact(weighting):
    field = smooth_field()
    fit = fit_echoes(evolve(field), decaying_magnitudes(), ECHO_TIMES, B0, weighting=weighting)
    np.testing.assert_allclose(fit.total_field, field, atol=1e-6)
    assert fit.residual.max() < 1e-5


def test_fit_of_a_single_echo_is_phase_over_time():
    field = smooth_field()
    phase = radians_per_ppm(B0, 0.02) * field
    fit = fit_echoes([phase], [np.ones(SHAPE)], [0.02], B0)
    np.testing.assert_allclose(fit.total_field, field, atol=1e-6)
    assert fit.residual.max() < 1e-6


@pytest.mark.parametrize(("weighting", "power"), [("magnitude", 1), ("magnitude_squared", 2)])
def test_an_offset_biases_the_fit_as_predicted(weighting, power):
    # Slope bias φ₀·Σw·TE / Σw·TE², with the weights asked for.
    offset = 0.4
    magnitudes = decaying_magnitudes()
    phases = [np.full(SHAPE, offset)] * len(ECHO_TIMES)
    fit = fit_echoes(phases, magnitudes, ECHO_TIMES, B0, weighting=weighting)
    weights = np.array([m.flat[0] for m in magnitudes]) ** power
    times = np.array(ECHO_TIMES)
    slope = offset * (weights * times).sum() / (weights * times**2).sum()
    np.testing.assert_allclose(fit.total_field, slope / radians_per_ppm(B0, 1.0), rtol=1e-5)
    assert fit.residual.min() > 0.05


def test_fit_is_finite_where_there_is_no_signal():
    magnitudes = decaying_magnitudes()
    for magnitude in magnitudes:
        magnitude[0] = 0
    fit = fit_echoes(evolve(smooth_field()), magnitudes, ECHO_TIMES, B0)
    np.testing.assert_allclose(fit.total_field, smooth_field(), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"echo_times": [0.01, 0.02]}, "4 echoes but 2 echo times"),
        ({"b0": 0.0}, "b0"),
        ({"weighting": "none"}, "weighting"),
        ({"magnitudes": [np.ones(SHAPE)] * 3}, "3 images of magnitude for 4 echoes"),
        ({"magnitudes": [np.ones((2, 2, 2))] * 4}, "magnitude of echo 1"),
    ],
)
def test_bad_input_of_the_fit_is_named(change, message):
    inputs = {
        "unwrapped": evolve(smooth_field()),
        "magnitudes": decaying_magnitudes(),
        "echo_times": ECHO_TIMES,
        "b0": B0,
    }
    with pytest.raises(ValueError, match=message):
        fit_echoes(**(inputs | change))


def field_after(phases, mask):
    unwrapped = align_echoes([unwrap_bestpath(p, mask) for p in phases], mask, ECHO_TIMES)
    return fit_echoes(unwrapped, decaying_magnitudes(), ECHO_TIMES, B0)


def test_removing_the_offset_cures_the_bias():
    field, mask = smooth_field(), np.ones(SHAPE, bool)
    noise = np.random.default_rng(5).normal(0, 0.03, (4, *SHAPE))
    phases = [
        wrap(phase + error)
        for phase, error in zip(evolve(field, smooth_offset()), noise, strict=True)
    ]
    biased = field_after(phases, mask)
    assert np.abs(biased.total_field - field).mean() > 0.04
    corrected = remove_phase_offset(
        phases, decaying_magnitudes(), ECHO_TIMES, mask, (1, 1, 1), smoothing=1.5
    )
    cured = field_after(corrected, mask)
    assert np.abs(cured.total_field - field).mean() < 0.004
    assert np.median(cured.residual) < 0.1 * np.median(biased.residual)


def test_phase_without_offset_is_left_alone():
    phases = [wrap(phase) for phase in evolve(smooth_field())]
    mask = np.ones(SHAPE)
    same = remove_phase_offset(phases, decaying_magnitudes(), ECHO_TIMES, mask, (1, 1, 1))
    for before, after in zip(phases, same, strict=True):
        assert apart(before, after) < 1e-4


def test_smoothing_of_the_offset_is_in_millimetres():
    offset = np.zeros(SHAPE)
    offset[:12] = 1.0
    phases = [wrap(phase) for phase in evolve(smooth_field(), offset)]

    def removed(voxel_size):
        arguments = (decaying_magnitudes(), ECHO_TIMES, np.ones(SHAPE), voxel_size)
        return wrap(phases[0] - remove_phase_offset(phases, *arguments, smoothing=3.0)[0])

    coarse, fine = removed((3.0, 1.0, 1.0)), removed((1.0, 1.0, 1.0))
    # The same length is fewer voxels across the step where they are larger.
    assert np.ptp(coarse[10:14], axis=0).mean() > np.ptp(fine[10:14], axis=0).mean() + 0.1


def test_offset_of_a_single_echo_cannot_be_found():
    with pytest.raises(ValueError, match="two echoes"):
        remove_phase_offset([np.zeros(SHAPE)], [np.ones(SHAPE)], [0.01], np.ones(SHAPE), (1, 1, 1))


def test_reliability_mask_leaves_out_what_does_not_fit():
    mask = np.zeros(SHAPE, bool)
    mask[2:22, 2:18, 2:14] = True
    residual = np.full(SHAPE, 0.05)
    residual[2:6] = 1.5  # at the border of the brain
    residual[12:15, 8:11, 6:9] = 3.0  # enclosed: a haemorrhage
    kept = reliability_mask(residual, mask, (1, 1, 1))
    assert not kept[2:6].any()
    assert kept[8:22, 2:18, 2:14].all()
    assert not (kept & ~mask).any()


def test_reliable_residual_keeps_the_whole_mask():
    mask = ndimage.binary_erosion(np.ones(SHAPE, bool))
    residual = np.where(mask, 0.1, 100.0)  # noise outside must not leak in
    np.testing.assert_array_equal(reliability_mask(residual, mask, (1, 1, 1)), mask)


def test_losing_much_of_the_mask_is_said(caplog):
    mask = np.ones(SHAPE, bool)
    residual = np.zeros(SHAPE)
    residual[:12] = 2.0
    with caplog.at_level(logging.WARNING):
        reliability_mask(residual, mask, (1, 1, 1))
    assert "% of the mask was left out" in caplog.text
    with pytest.raises(ValueError, match="no voxel"):
        reliability_mask(np.full(SHAPE, 2.0), mask, (1, 1, 1))


@pytest.mark.shared
def test_fit_agrees_with_the_reference_phantom(shared_data):
    folder = shared_data / "reference_outputs"

    def load(name):
        return np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj, dtype=np.float32)

    mask = load("in_mask") > 0
    phase, magnitude = load("in_phase_4echo"), load("in_magnitude_4echo")
    phases, magnitudes = np.moveaxis(phase, 3, 0), np.moveaxis(magnitude, 3, 0)
    unwrapped = align_echoes([unwrap_bestpath(p, mask) for p in phases], mask, ECHO_TIMES)
    # Theirs unwrapped otherwise in the haemorrhage and in veins: 0.2 % of the voxels. Their
    # gyromagnetic ratio, 2.675e8 rad/s/T, makes 0.008 % of a field of up to 1 ppm.
    for weighting, name, tolerance in (
        ("magnitude", "out_hf_echofit_total_ppm", 1e-4),
        ("magnitude_squared", "in_field_total_ppm", 1e-6),
    ):
        fit = fit_echoes(unwrapped, magnitudes, ECHO_TIMES, B0, weighting=weighting)
        difference = np.abs(fit.total_field - load(name))[mask]
        assert np.mean(difference < tolerance) > 0.997
    # Their residual is the number of echoes times the mean square that ours is the root of.
    fit = fit_echoes(unwrapped, magnitudes, ECHO_TIMES, B0)
    ours = ndimage.uniform_filter(np.where(mask, 4 * fit.residual**2, 0), 3)
    core = ndimage.binary_erosion(mask, iterations=2)
    theirs = load("out_hf_echofit_residual_blur")[core]
    assert np.median(np.abs(ours[core] - theirs)) < 2e-4
    # The mask loses less than a hundredth, and none of the lesions.
    kept = reliability_mask(fit.residual, mask, (1, 1, 1))
    labels = load("truth_labels")
    assert np.mean(kept[mask]) > 0.99
    assert kept[(labels == 14) | (labels == 15)].all()


@pytest.mark.shared
def test_siemens_phantom_is_linear_in_echo_time(shared_data):
    paths = sorted((shared_data / "siemens_6echo_phantom" / "nii").glob("*part-phase*.nii.gz"))
    images = [nib.load(path) for path in paths]
    times = np.array(
        [
            json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())[
                "EchoTime"
            ]
            for path in paths
        ]
    )
    magnitudes = [nib.load(str(path).replace("phase", "mag")).get_fdata() for path in paths]
    bright = magnitudes[0] > 0.3 * np.percentile(magnitudes[0], 99)
    mask = ndimage.binary_erosion(ndimage.binary_fill_holes(bright))
    parts, _ = ndimage.label(mask)
    mask = parts == np.argmax(np.bincount(parts[mask]))
    phases = [scale_phase(image.dataobj) for image in images]

    def deviation(wrapped):
        unwrapped = align_echoes([unwrap_bestpath(p, mask) for p in wrapped], mask, list(times))
        samples = np.stack(unwrapped)[:, mask]
        line = np.stack([times, np.ones_like(times)], axis=1)
        fitted = line @ np.linalg.lstsq(line, samples, rcond=None)[0]
        through_zero = fit_echoes(unwrapped, magnitudes, list(times), B0).residual[mask]
        return np.sqrt(np.mean((samples - fitted) ** 2)), np.sqrt(np.mean(through_zero**2))

    size = images[0].header.get_zooms()
    line, through_zero = deviation(phases)
    assert line < 0.1
    assert through_zero > 1
    corrected = remove_phase_offset(phases, magnitudes, list(times), mask, size)
    line, through_zero = deviation(corrected)
    assert line < 0.1
    assert through_zero < 0.15


@pytest.mark.shared
def test_tiny_range_of_an_in_vivo_crop_is_rescaled(shared_data):
    folder = shared_data / "romeo_small_invivo_3echo"
    stored = nib.load(folder / "Phase.nii.gz").get_fdata()
    magnitude = nib.load(folder / "Mag.nii.gz").get_fdata()
    assert detect_phase_units(stored) == "range"
    times = [0.004, 0.008, 0.012]
    phases = [scale_phase(stored[..., echo]) for echo in range(3)]
    magnitudes = [magnitude[..., echo] for echo in range(3)]
    mask = np.ones(stored.shape[:3])
    phases = remove_phase_offset(phases, magnitudes, times, mask, (0.47, 0.47, 1.0))
    unwrapped = align_echoes([unwrap_bestpath(p, mask) for p in phases], mask, times)
    # A wrong scale would not be linear in echo time once it is unwrapped.
    assert np.median(fit_echoes(unwrapped, magnitudes, times, B0).residual) < 0.05
