import numpy as np
import pytest

from qsm_workflows.phantom.shapes import Loft, Mirrored, Tube, boxes_meet, inside_box


def grid(low, high, step):
    axes = [np.arange(a, b, step, dtype=np.float32) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)


def volume(solid, step=0.4):
    low, high = solid.bounds
    return np.count_nonzero(solid.distance(grid(low, high, step)) < 0) * step**3


def test_loft_of_equal_circles_is_a_sphere_with_round_caps():
    row = (10.0, -5.0, 6.0, 6.0, 0.0, 0.0)
    sphere = Loft(((-6.0, *row), (0.0, *row), (6.0, *row)), exponent=2.0, cap=2.0)
    points = grid((2, -8, -13), (18, 8, 3), 0.5)
    radius = np.linalg.norm(points - np.array([[10], [0], [-5]]), axis=0)
    inside = sphere.distance(points) < 0
    assert np.all(inside[radius < 5.9])
    assert not np.any(inside[radius > 6.1])


def test_loft_round_an_axis_follows_the_arc():
    row = (0.0, 20.0, 3.0, 3.0, 0.0, 0.0)
    ring = Loft(((0.0, *row), (90.0, *row), (180.0, *row)), arc=(5.0, -2.0), cap=20.0)
    angles = np.radians([10, 90, 170])
    on_arc = np.stack([0 * angles, 5 + 20 * np.cos(angles), -2 + 20 * np.sin(angles)])
    assert np.all(ring.distance(on_arc.astype(np.float32)) < -2.5)
    below = np.array([[0], [5], [-22]], dtype=np.float32)
    assert ring.distance(below)[0] > 0


def test_long_axis_turns_towards_positive_x():
    row = (0.0, 0.0, 1.0, 10.0, 45.0, 0.0)
    plate = Loft(((-5.0, *row), (0.0, *row), (5.0, *row)))
    points = np.array([[5, -5], [0, 0], [5, 5]], dtype=np.float32)
    inside, outside = plate.distance(points)
    assert inside < 0 < outside


def test_tube_has_the_volume_and_the_distances_of_a_capsule():
    tube = Tube(((0, 0, 0, 3), (0, 0, 10, 3), (0, 0, 20, 3)))
    capsule = np.pi * 9 * 20 + 4 / 3 * np.pi * 27
    assert volume(tube) == pytest.approx(capsule, rel=0.03)
    points = np.array([[3.0, 4.0, 1.0], [0, 0, 0], [10, 10, 10]], dtype=np.float32)
    np.testing.assert_allclose(tube.distance(points), [0, 1, -2], atol=0.03)


def test_mirrored_solid_swaps_sides():
    tube = Tube(((10, 0, 0, 2), (12, 5, 0, 3)))
    mirrored = Mirrored(tube)
    points = grid((-16, -4, -4), (16, 9, 4), 1.0)
    flipped = points * np.array([[-1], [1], [1]], dtype=np.float32)
    np.testing.assert_array_equal(mirrored.distance(points), tube.distance(flipped))
    assert mirrored.bounds[1][0] < 0


@pytest.mark.parametrize("cap", [2.0, 5.0])
def test_bounds_hold_the_whole_solid(cap):
    solid = Loft(
        (
            (-9.0, 3.0, 1.0, 2.0, 8.0, 30, 0.03),
            (0.0, 5.0, 2.0, 4.0, 9.0, 10, 0.0),
            (9.0, 6.0, 0.0, 3.0, 7.0, -20, -0.03),
        ),
        cap=cap,
    )
    points = grid((-25, -25, -25), (35, 25, 25), 1.0)
    inside = np.flatnonzero(solid.distance(points) < 0)
    assert inside.size
    assert set(inside) <= set(inside_box(points, solid))


def test_boxes_meet_only_when_they_overlap_on_every_axis():
    a = (np.zeros(3), np.ones(3))
    assert boxes_meet(a, (np.full(3, 0.5), np.full(3, 2.0)))
    assert not boxes_meet(a, (np.array([0.5, 0.5, 1.1]), np.full(3, 2.0)))
