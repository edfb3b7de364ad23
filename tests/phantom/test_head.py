import numpy as np
import pytest
from scipy import ndimage

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.phantom import simulate_head
from qsm_workflows.phantom.anatomy import make_anatomy
from qsm_workflows.phantom.grids import image_affine
from qsm_workflows.phantom.head import image_labels

COARSE = {"voxel_size": (3.0, 3.0, 3.0), "matrix": (48, 64, 43)}


def region(head, name, hemisphere=None):
    indices = [
        row.index
        for row in head.label_table
        if row.name == name and hemisphere in (None, row.hemisphere)
    ]
    return np.isin(head.labels, indices)


def mean_chi(head, name):
    # Inside, where no voxel is shared with a neighbour; veins cross some structures.
    inner = ndimage.binary_erosion(region(head, name))
    return float(np.median(head.chi[inner if inner.any() else region(head, name)]))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("pallidum", 0.12, 0.19),
        ("putamen", 0.04, 0.10),
        ("caudate", 0.03, 0.07),
        ("thalamus", 0.0, 0.03),
        ("white_matter", -0.05, -0.02),
        ("optic_radiation", -0.06, -0.02),
        ("haemorrhage", 0.65, 0.95),
        ("calcification", -0.55, -0.25),
    ],
)
def test_regional_susceptibilities_are_those_of_the_literature(head, name, low, high):
    assert low < mean_chi(head, name) < high


def test_volumes_are_those_of_an_adult(head):
    voxel = np.prod(head.voxel_size) / 1000
    assert 1000 < head.mask.sum() * voxel < 1400
    for name, low, high in (("pallidum", 0.9, 2.0), ("putamen", 3.0, 5.5), ("caudate", 2.5, 5)):
        for hemisphere in ("L", "R"):
            assert low < region(head, name, hemisphere).sum() * voxel < high


def test_left_has_the_smaller_world_x(head):
    left, right = (np.argwhere(region(head, "putamen", side))[:, 0].mean() for side in "LR")
    assert right - left > 30 / head.voxel_size[0]


def test_deep_grey_extent_is_about_32_mm_and_the_pallidum_is_near_the_middle(head):
    deep = region(head, "caudate") | region(head, "putamen") | region(head, "pallidum")
    slices = np.flatnonzero(deep.any(axis=(0, 1)))
    assert (slices[-1] - slices[0] + 1) * head.voxel_size[2] == pytest.approx(32, abs=5)
    centre = np.argwhere(region(head, "pallidum"))[:, 2].mean()
    assert abs(centre - (head.mask.shape[2] - 1) / 2) * head.voxel_size[2] < 10


def test_background_field_is_that_of_a_head_in_air(head):
    field = np.abs(head.total_field[head.mask])
    assert np.mean(field < 0.4) > 0.8
    assert 1.0 < np.percentile(head.total_field[head.mask], 99.7) < 5.0


def test_local_field_is_that_of_the_truth_inside_the_mask(head):
    coarse = forward_field(head.chi * head.mask, head.voxel_size, head.b0_dir)
    inner = ndimage.binary_erosion(head.mask, iterations=3)
    fine = head.local_field[inner]
    assert np.corrcoef(coarse[inner], fine)[0, 1] > 0.97
    # Not the same to rounding: the truth was computed on a finer grid.
    assert np.std(coarse[inner] - fine) > 1e-4


def test_background_field_is_harmonic_inside_the_brain(head):
    background = head.total_field - head.local_field
    inner = ndimage.binary_erosion(head.mask, iterations=4)
    curvature = ndimage.laplace(background)[inner]
    assert np.median(np.abs(curvature)) < 0.1 * np.median(
        np.abs(ndimage.laplace(head.local_field)[inner])
    )


def test_labels_are_inside_the_mask_and_fill_it(head):
    assert not np.any(head.labels[~head.mask])
    assert np.mean(head.labels[head.mask] > 0) == 1


def test_labels_alone_are_those_of_the_head(head):
    anatomy = make_anatomy(7, 1)
    affine = image_affine(COARSE["voxel_size"], COARSE["matrix"], (0, 0, 0))
    np.testing.assert_array_equal(image_labels(anatomy, affine, COARSE["matrix"]), head.labels)


def test_same_seed_and_subject_give_the_same_head_with_and_without_lesions(head):
    twin = simulate_head(7, 1, **COARSE, lesions=False)
    assert not region(twin, "haemorrhage").any()
    lesions = region(head, "haemorrhage") | region(head, "calcification")
    elsewhere = ~ndimage.binary_dilation(lesions, iterations=2)
    np.testing.assert_array_equal(twin.chi[elsewhere], head.chi[elsewhere])


def test_another_subject_has_another_head(head):
    other = simulate_head(7, 2, **COARSE)
    overlap = np.count_nonzero(other.mask & head.mask)
    dice = 2 * overlap / (other.mask.sum() + head.mask.sum())
    assert 0.85 < dice < 0.99
    assert mean_chi(other, "pallidum") != pytest.approx(mean_chi(head, "pallidum"), abs=1e-4)


@pytest.mark.slow
def test_an_oblique_anisotropic_image_shows_the_same_head(head):
    oblique = simulate_head(7, 1, voxel_size=(3, 3, 4), matrix=(52, 68, 40), tilt=(20, 0, 5))
    assert oblique.b0_dir[2] == pytest.approx(np.cos(np.radians(20)), abs=0.01)
    for name in ("putamen", "pallidum", "white_matter"):
        volumes = [region(h, name).sum() * np.prod(h.voxel_size) for h in (head, oblique)]
        assert volumes[1] == pytest.approx(volumes[0], rel=0.1)
        assert mean_chi(oblique, name) == pytest.approx(mean_chi(head, name), abs=0.015)
    # The scanner's field does not turn with the image.
    spread = [np.std(h.local_field[h.mask]) for h in (head, oblique)]
    assert spread[1] == pytest.approx(spread[0], rel=0.15)


@pytest.mark.parametrize(("seed", "subject"), [(-1, 1), (0, 0)])
def test_negative_seeds_and_subjects_are_refused(seed, subject):
    with pytest.raises(ValueError, match="seed"):
        simulate_head(seed, subject)


def test_a_field_of_view_without_brain_is_refused():
    # One voxel that holds the whole head, and much more air.
    with pytest.raises(ValueError, match="no brain"):
        simulate_head(0, 1, voxel_size=(400, 400, 400), matrix=(1, 1, 1))
