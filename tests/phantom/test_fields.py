import numpy as np
import pytest

from qsm_workflows.phantom.fields import (
    AtlasVolume,
    radial_field,
    random_field,
    signed_distance,
)


def test_samples_are_exact_for_a_linear_volume():
    frame = AtlasVolume(np.zeros((6, 7, 8), np.float32), np.array([-3.0, 2.0, 10.0]), 2.0)
    x, y, z = frame.grid()
    volume = frame.like(1 + 2 * x - 3 * y + z)
    points = np.random.default_rng(0).uniform(0, 1, (3, 50)).astype(np.float32)
    points = points * np.array([[10], [12], [14]]) + frame.origin[:, None]
    expected = 1 + 2 * points[0] - 3 * points[1] + points[2]
    np.testing.assert_allclose(volume.at(points.astype(np.float32)), expected, atol=1e-3)


def test_random_field_has_unit_variance_and_the_asked_smoothness():
    field = random_field(np.random.default_rng(1), (0, 0, 0), (120, 120, 120), 4.0)
    assert field.values.std() == pytest.approx(1, abs=0.01)
    lag = round(8.0 / field.spacing)
    # Noise smoothed by a Gaussian of deviation s correlates as exp(−d²/4s²).
    correlation = np.mean(field.values[lag:] * field.values[:-lag]) - field.values.mean() ** 2
    assert correlation == pytest.approx(np.exp(-((lag * field.spacing) ** 2) / 64), abs=0.1)


def test_band_removes_the_slow_part():
    rng = np.random.default_rng(2)
    field = random_field(rng, (0, 0, 0), (90, 90, 90), 1.5, band=4.0)
    assert abs(field.values.mean()) < 1e-3
    lag = round(6 / field.spacing)
    assert np.mean(field.values[lag:] * field.values[:-lag]) < 0


def test_radial_field_varies_less_outwards_than_across():
    field = radial_field(np.random.default_rng(3), 2.0)
    rng = np.random.default_rng(4)
    direction = rng.standard_normal((3, 2000))
    direction /= np.linalg.norm(direction, axis=0)
    across = np.cross(direction.T, rng.standard_normal((2000, 3))).T
    across /= np.linalg.norm(across, axis=0)
    centre = np.array([[0.0], [-18], [15]]) + 40 * direction

    def change(step):
        after, before = (
            field.at((centre + step).astype(np.float32)),
            field.at(centre.astype(np.float32)),
        )
        return np.sqrt(np.mean((after - before) ** 2))

    assert change(4 * direction) < 0.6 * change(4 * across)


def test_signed_distance_of_a_ball():
    axis = np.arange(-20, 21) * 1.5
    radius = np.sqrt(sum(np.square(a) for a in np.meshgrid(axis, axis, axis, indexing="ij")))
    distance = signed_distance(radius < 15, 1.5, 1.0)
    near = (radius > 8) & (radius < 25)
    assert np.abs(distance - (radius - 15))[near].max() < 0.8
