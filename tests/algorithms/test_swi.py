import numpy as np
import pytest

from qsm_workflows.algorithms.swi import susceptibility_weighted

SHAPE, SIZE = (40, 36, 24), (1.0, 1.0, 2.0)


@pytest.fixture
def vein():
    """Phase of a straight background and a thin vein, magnitude that does not show it, mask."""
    x, y, z = np.indices(SHAPE)
    mask = (x - 20) ** 2 + (y - 18) ** 2 < 16**2
    inside = (abs(x - 20) <= 1) & (abs(z - 12) <= 1)
    phase = np.where(inside, 1.5, 0) + 0.3 * x + 0.1 * y + 20
    return phase, np.full(SHAPE, 100.0), mask, inside & mask


def test_veins_are_darkened_and_the_background_is_not(vein):
    phase, magnitude, mask, inside = vein
    image = susceptibility_weighted(phase, magnitude, mask, SIZE).image
    x, y, _ = np.indices(SHAPE)
    core = np.hypot(x - 20, y - 18) < 8
    assert image[inside & core].max() < 45
    assert np.median(image[core & ~inside]) > 95
    assert (image[~mask] == 0).all()
    weak = susceptibility_weighted(phase, magnitude, mask, SIZE, power=1).image
    # A mask of m⁴ and one of m.
    np.testing.assert_allclose((weak[core] / 100) ** 4, image[core] / 100, atol=1e-4)


def test_calcium_is_what_the_other_sign_darkens(vein):
    phase, magnitude, mask, inside = vein
    veins = susceptibility_weighted(phase, magnitude, mask, SIZE).image
    calcium = susceptibility_weighted(-phase, magnitude, mask, SIZE, darken="diamagnetic").image
    np.testing.assert_allclose(calcium, veins, atol=1e-3)
    spared = susceptibility_weighted(phase, magnitude, mask, SIZE, darken="diamagnetic").image
    assert spared[inside].min() > 99


def test_projection_is_the_minimum_over_its_slab_in_mm(vein):
    phase, magnitude, mask, _ = vein
    swi = susceptibility_weighted(phase, magnitude, mask, SIZE, thickness=10)
    image, projection = swi.image, swi.projection
    for k in (8, 12):
        expected = image[:, :, k - 2 : k + 3].min(axis=2)  # five slices of 2 mm
        np.testing.assert_array_equal(projection[:, :, k], expected)
    across = susceptibility_weighted(phase, magnitude, mask, SIZE, thickness=5, axis=0).projection
    np.testing.assert_array_equal(across[20, 18], image[18:23, 18].min(axis=0))
    # Beside the brain the projection is of the brain, not of the outside.
    edge = susceptibility_weighted(phase, magnitude, mask, SIZE, axis=0).projection
    assert edge[mask].min() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"smoothing": 0}, "smoothing must be positive"),
        ({"power": -1}, "power"),
        ({"thickness": 0}, "thickness"),
        ({"darken": "iron"}, "darken must be"),
        ({"axis": 3}, "axis must be"),
        ({"magnitude": np.ones((3, 3, 3))}, "magnitude has shape"),
        ({"unwrapped": np.full(SHAPE, np.nan)}, "NaN"),
        ({"mask": np.zeros(SHAPE)}, "mask is empty"),
    ],
)
def test_bad_input_is_named(vein, change, message):
    phase, magnitude, mask, _ = vein
    given = {"unwrapped": phase, "magnitude": magnitude, "mask": mask, "voxel_size": SIZE}
    with pytest.raises(ValueError, match=message):
        susceptibility_weighted(**(given | change))
