import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from qsm_workflows.algorithms.masking import (
    MIN_EXTENT,
    _icosphere,
    _winding_number,
    bet,
    check_whole_head,
)


def ellipsoid(shape, voxel_size, semi_axes):
    axes = [
        ((np.arange(n) - (n - 1) / 2) * size / radius) ** 2
        for n, size, radius in zip(shape, voxel_size, semi_axes, strict=True)
    ]
    return axes[0][:, None, None] + axes[1][:, None] + axes[2] <= 1


def head(voxel_size=(3.0, 3.0, 3.0)):
    """Brain, dark skull of 6 mm and bright scalp of 9 mm, shaded and noisy."""
    shape = tuple(
        int(length / size) for length, size in zip((190, 220, 180), voxel_size, strict=True)
    )
    brain = ellipsoid(shape, voxel_size, (65, 80, 60))
    skull = ellipsoid(shape, voxel_size, (71, 86, 66))
    scalp = ellipsoid(shape, voxel_size, (80, 95, 75))
    clean = np.select([brain, skull, scalp], [1.0, 0.1, 1.3])
    shading = np.linspace(0.7, 1.3, shape[1])[:, None]
    noise = np.random.default_rng(0).normal(0, 0.03, (2, *shape))
    return np.hypot(clean * shading + noise[0], noise[1]), brain


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.fixture(scope="module")
def isotropic():
    magnitude, brain = head()
    return magnitude, brain, bet(magnitude, (3, 3, 3))


def test_bet_finds_the_brain_under_shading_and_noise(isotropic):
    _, brain, mask = isotropic
    assert dice(mask, brain) > 0.96
    assert not (mask & ~ndimage.binary_dilation(brain, iterations=2)).any()


def test_bet_follows_the_axes_of_the_image(isotropic):
    magnitude, _, mask = isotropic
    turned = bet(magnitude.transpose(2, 0, 1)[::-1], (3, 3, 3))
    assert dice(turned[::-1].transpose(1, 2, 0), mask) > 0.98


def test_bet_does_not_depend_on_the_scale_of_the_magnitude(isotropic):
    magnitude, _, mask = isotropic
    assert dice(bet(1e-5 * magnitude, (3, 3, 3)), mask) > 0.995


def test_bet_of_anisotropic_voxels():
    voxel_size = (2.0, 2.5, 5.0)
    magnitude, brain = head(voxel_size)
    assert dice(bet(magnitude, voxel_size), brain) > 0.95


def test_larger_fractional_intensity_gives_a_smaller_brain(isotropic):
    magnitude, _, mask = isotropic
    generous = bet(magnitude, (3, 3, 3), fractional_intensity=0.3)
    assert np.count_nonzero(generous) > np.count_nonzero(mask)


def test_thin_slab_is_refused_with_the_remedy(isotropic):
    magnitude, _, _ = isotropic
    with pytest.raises(ValueError, match=r"190 × 220 × 60|--mask"):
        bet(magnitude[:, :, 20:40], (3, 3, 3))
    with pytest.raises(ValueError, match="--mask"):
        check_whole_head((100, 100, 100), (1, 1, MIN_EXTENT / 100 - 0.01))
    check_whole_head((100, 100, 100), (1, 1, MIN_EXTENT / 100))


def test_cut_off_head_is_warned_of(isotropic, caplog):
    magnitude, _, _ = isotropic
    bet(magnitude[:, :, 14:50], (3, 3, 3), iterations=10)
    assert "only 108 mm" in caplog.text
    caplog.clear()
    bet(magnitude, (3, 3, 3), iterations=10)
    assert "look at the brain mask" not in caplog.text


@pytest.mark.parametrize(
    ("volume", "keywords", "message"),
    [
        (np.ones((60, 60, 60)), {}, "constant"),
        (np.ones((60, 60, 60, 2)), {}, "shape"),
        (np.full((60, 60, 60), np.nan), {}, "NaN"),
        (np.ones((60, 60, 60)), {"fractional_intensity": 1.2}, "fractional_intensity"),
        (np.ones((60, 60, 60)), {"smoothness": 0}, "smoothness"),
    ],
)
def test_bad_input_is_named(volume, keywords, message):
    with pytest.raises(ValueError, match=message):
        bet(volume, (3, 3, 3), **keywords)


def test_icosphere_is_closed_and_faces_outward():
    sphere = _icosphere(3)
    assert len(sphere.vertices) == 642
    assert len(sphere.faces) == 1280
    outward = np.einsum("ij,ij->i", sphere.normals(sphere.vertices), sphere.vertices)
    assert outward.min() > 0.99
    neighbours = np.diff(sphere.neighbour_mean.indptr)
    assert sorted(set(neighbours.tolist())) == [5, 6]
    assert np.count_nonzero(neighbours == 5) == 12


def test_winding_number_fills_a_sphere_and_sees_folds():
    shape = (41, 47, 44)
    sphere = _icosphere(4)
    centre = np.array([20.0, 23.0, 21.5])
    winding = _winding_number(centre + 15 * sphere.vertices, sphere.faces, shape)
    assert set(np.unique(winding)) == {0, 1}
    analytic = ellipsoid(shape, (1, 1, 1), (15, 15, 15))
    assert np.count_nonzero((winding > 0) != analytic) < 0.02 * analytic.sum()
    # Two spheres through each other, and one turned inside out.
    both = np.concatenate([centre + 15 * sphere.vertices, centre + 8 * sphere.vertices])
    faces = np.concatenate([sphere.faces, sphere.faces + len(sphere.vertices)])
    assert set(np.unique(_winding_number(both, faces, shape))) == {0, 1, 2}
    inverted = _winding_number(centre + 15 * sphere.vertices, sphere.faces[:, ::-1], shape)
    assert set(np.unique(inverted)) == {-1, 0}


def test_winding_number_of_a_surface_that_leaves_the_image():
    sphere = _icosphere(3)
    winding = _winding_number(12 * sphere.vertices, sphere.faces, (10, 9, 8))
    x, y, z = np.ogrid[:10, :9, :8]
    inside = x**2 + y**2 + z**2 < 11.5**2
    outside = x**2 + y**2 + z**2 > 12**2
    assert (winding[inside] == 1).all()
    assert (winding[outside] == 0).all()


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "millilitres"),
    [
        (
            "philips_dualecho_invivo_wholehead/nii/sub-philips_echo-1_part-mag_MEGRE.nii.gz",
            (1400, 1650),
        ),
        (
            "siemens_gre_fieldmap_invivo_wholehead/nii/sub-rordie_magnitude1.nii.gz",
            (1300, 1550),
        ),
    ],
)
def test_bet_of_real_heads(shared_data, name, millilitres):
    # Bounds about what was seen to be right slice by slice.
    image = nib.load(shared_data / name)
    size = np.array(image.header.get_zooms()[:3], dtype=float)
    magnitude = np.asarray(image.dataobj, dtype=np.float32)
    mask = bet(magnitude, size)
    assert millilitres[0] < mask.sum() * size.prod() / 1000 < millilitres[1]
    assert ndimage.label(mask)[1] == 1
    # Hardly any air inside, and the middle of the head is brain.
    assert np.mean(magnitude[mask] < 0.1 * np.median(magnitude[mask])) < 0.01
    assert mask[tuple(np.rint(ndimage.center_of_mass(mask)).astype(int))]
