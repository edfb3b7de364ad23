import numpy as np
import pytest

from qsm_workflows.algorithms.echoes import detect_phase_units, scale_phase
from qsm_workflows.algorithms.fits import fit_echoes
from qsm_workflows.algorithms.units import radians_per_ppm

B0 = 3.0


def wrap(phase):
    return np.angle(np.exp(1j * phase))


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
