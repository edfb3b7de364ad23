"""What holds for every background removal."""

import inspect
from functools import partial

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from qsm_workflows.algorithms.background.erosion import erosion
from qsm_workflows.algorithms.background.ismv import ismv
from qsm_workflows.algorithms.background.lbv import lbv, peel_mask
from qsm_workflows.algorithms.background.pdf import pdf
from qsm_workflows.algorithms.background.resharp import resharp
from qsm_workflows.algorithms.background.sharp import sharp, vsharp
from qsm_workflows.algorithms.metrics import correlation, nrmse

METHODS = {
    "resharp": resharp,
    "sharp": partial(sharp, radius=4.0, pad=10),
    "vsharp": partial(vsharp, radii=(6.0, 4.0, 2.5), pad=10),
    "ismv": partial(ismv, tolerance=1e-5),
    "lbv": partial(lbv, tolerance=1e-6),
    "pdf": partial(pdf, pad=20),
}
ERODED = {"resharp": 3, "sharp": 4, "vsharp": 2, "ismv": 3, "lbv": 1, "pdf": 0}
"""Voxels of 1 mm that are lost at a face."""


def remove(method, field, mask, voxel_size, b0_dir, **keywords):
    geometry = (voxel_size, b0_dir) if method == "pdf" else (voxel_size,)
    return METHODS[method](field, mask, *geometry, **keywords)


@pytest.fixture(scope="module")
def background(head):
    """Field of three air-like spheres of 3 mm outside the head, one of them above it."""
    field = np.zeros(head.mask.shape)
    for centre in ((2, 34, 10), (30, 14, 0), (15, 16, 30)):
        offset = (np.indices(field.shape).T - centre) * head.voxel_size
        distance = np.linalg.norm(offset, axis=-1)
        cosine = offset @ head.b0_dir / distance
        field += (9 / 3 * (3 / distance) ** 3 * (3 * cosine**2 - 1)).T
    return (field * head.mask).astype(np.float32)


@pytest.fixture(scope="module")
def results(head, background):
    total = head.local_field + background
    return {method: remove(method, total, head.mask, *head[4:]) for method in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_background_goes_and_local_field_stays(head, background, results, method):
    local, mask = results[method]
    assert local.dtype == np.float32
    assert mask.dtype == bool
    assert not local[~mask].any()
    assert not (mask & ~head.mask).any()
    # Part of the local field is harmonic in the mask, most of all at its rim.
    inner = mask & peel_mask(head.mask, head.voxel_size, 3.5)
    assert correlation(background + head.local_field, head.local_field, inner) < 0.7
    assert correlation(local, head.local_field, inner) > 0.95
    rest, _ = remove(method, background, head.mask, *head[4:])
    assert np.std(rest[inner]) < 0.01 * np.std(background[inner])


@pytest.mark.parametrize("method", METHODS)
def test_only_the_mask_matters(head, background, results, method):
    total = np.where(head.mask, head.local_field + background, 7.0)
    again, _ = remove(method, total, head.mask, *head[4:])
    np.testing.assert_array_equal(again, results[method][0])


@pytest.mark.parametrize("method", METHODS)
def test_empty_image_around_the_mask_changes_nothing(head, background, results, method):
    margin = ((5, 0), (2, 9), (11, 3))
    volumes = [np.pad(v, margin) for v in (head.local_field + background, head.mask)]
    wider, mask = remove(method, *volumes, *head[4:])
    np.testing.assert_array_equal(wider[5:, 2:-9, 11:-3], results[method][0])
    np.testing.assert_array_equal(mask[5:, 2:-9, 11:-3], results[method][1])


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("method", METHODS)
def test_a_quarter_turn_of_head_and_b0(head, background, results, method, axes):
    first, second = axes
    volumes = [np.rot90(v, axes=axes) for v in (head.local_field + background, head.mask)]
    size, b0_dir = list(head.voxel_size), list(head.b0_dir)
    size[first], size[second] = size[second], size[first]
    b0_dir[first], b0_dir[second] = -b0_dir[second], b0_dir[first]
    turned, mask = remove(method, *volumes, size, b0_dir)
    expected, expected_mask = (np.rot90(result, axes=axes) for result in results[method])
    np.testing.assert_array_equal(mask, expected_mask)
    assert nrmse(turned, expected, mask) < (2e-3 if method == "pdf" else 1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_slab_may_lie_anywhere_in_its_box(head, background, method):
    slab = [v[:, :, 7:20] for v in (head.local_field + background, head.mask)]
    results = []
    for before, after in (((0, 0, 0), (7, 6, 9)), ((7, 2, 9), (0, 4, 0))):
        margin = tuple(zip(before, after, strict=True))
        local, mask = remove(method, *(np.pad(v, margin) for v in slab), *head[4:])
        results.append([np.roll(v, [-n for n in before], (0, 1, 2)) for v in (local, mask)])
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_eroded_at_the_faces_of_a_slab(method):
    slab = np.ones((20, 22, 24), bool)
    field = np.random.default_rng(0).normal(size=slab.shape)
    _, mask = remove(method, field, slab, (1, 1, 1), (0, 0, 1))
    lost = ERODED[method]
    assert np.count_nonzero(mask) == np.prod([n - 2 * lost for n in slab.shape])
    assert erosion(slab, mask, (1, 1, 1)).faces == ((lost, lost),) * 3


def test_erosion_is_told_by_face_and_in_mm():
    mask = np.zeros((12, 12, 12), bool)
    mask[1:11, 2:10, :] = True
    eroded = np.zeros_like(mask)
    eroded[2:11, 4:9, 3:12] = True
    loss = erosion(mask, eroded, (1.0, 2.0, 1.5))
    assert loss.faces == ((1, 0), (4, 2), (4.5, 0))
    assert loss.kept == pytest.approx(9 * 5 * 9 / (10 * 8 * 12))
    assert str(loss).startswith("42 % of the mask kept; mm lost along i 1.0 and 0.0, j 4.0")
    with pytest.raises(ValueError, match="beyond"):
        erosion(eroded, mask, (1, 1, 1))
    with pytest.raises(ValueError, match="empty"):
        erosion(mask, mask & False, (1, 1, 1))


@pytest.mark.parametrize("method", ["sharp", "vsharp", "pdf"])
def test_padding_matters_for_a_slab(head, background, method):
    slab = [v[:, :, 6:20] for v in (head.local_field + background, head.mask)]
    function = {"sharp": partial(sharp, radius=3), "vsharp": vsharp, "pdf": pdf}[method]
    geometry = head[4:] if method == "pdf" else head[4:5]
    (padded, mask), (periodic, _) = (function(*slab, *geometry, pad=pad) for pad in (20, 0))
    assert nrmse(periodic, padded, mask) > 0.05


def test_pdf_takes_its_sources_from_above_and_below_a_slab(head, background):
    """The third source lies above the slab's field of view."""
    slab = np.s_[:, :, 6:20]
    inner = peel_mask(head.mask[slab], head.voxel_size, 3.5)
    total, truth = (head.local_field + background)[slab], head.local_field[slab]
    padded, periodic = (pdf(total, head.mask[slab], *head[4:], pad=pad)[0] for pad in (20, 0))
    assert nrmse(padded, truth, inner) < 0.85 * nrmse(periodic, truth, inner)


def test_pdf_needs_room_for_sources(head):
    everywhere = np.ones((6, 6, 6), bool)
    with pytest.raises(ValueError, match="pad"):
        pdf(np.ones((6, 6, 6)), everywhere, (1, 1, 1), (0, 0, 1), pad=0)


def test_pdf_trusts_voxels_of_low_noise(head, background):
    spoilt = head.local_field + background
    spoilt[12:15, 12:15, 12:15] += 2
    noise = np.where(spoilt - head.local_field - background > 1, 0.0, 1.0)
    inner = peel_mask(head.mask, head.voxel_size, 3.5) & (noise > 0)
    plain, weighted = (pdf(spoilt, head.mask, *head[4:], pad=20, noise=n)[0] for n in (None, noise))
    assert nrmse(weighted, head.local_field, inner) < nrmse(plain, head.local_field, inner)


def test_pdf_follows_b0(head, background, results):
    wrong, mask = pdf(head.local_field + background, head.mask, head.voxel_size, (1, 0, 0), pad=20)
    assert nrmse(wrong, results["pdf"][0], mask) > 0.1


def test_local_field_of_lbv_has_the_laplacian_of_the_total_field(head, background):
    total = head.local_field + background
    local, _ = lbv(total, head.mask, (1, 1, 1), tolerance=1e-6)
    rest = (total - local).astype(float)
    laplacian = sum(np.roll(rest, step, axis) for axis in range(3) for step in (-1, 1)) - 6 * rest
    inner = peel_mask(head.mask, (1, 1, 1), 1)
    assert np.abs(laplacian[inner]).max() < 1e-4 * np.ptp(total)


def test_peel_is_in_mm():
    mask = np.ones((20, 20, 20), bool)
    peeled = peel_mask(mask, (1.0, 2.0, 0.5), 4)
    assert [np.count_nonzero(peeled.any(axis=o)) for o in ((1, 2), (0, 2), (0, 1))] == [12, 16, 4]
    np.testing.assert_array_equal(peel_mask(mask, (1.0, 2.0, 0.5), 0), mask)


def test_ismv_is_the_limit_of_repeated_means(head, background):
    """b ← S∗b within the eroded mask, b = f in its rim, from b = f."""
    from scipy.ndimage import convolve

    from qsm_workflows.algorithms import smv

    total = (head.local_field + background).astype(float)
    local, mask = ismv(total, head.mask, head.voxel_size, radius=4, tolerance=1e-6)
    kernel = smv.mean_kernel(smv.ellipsoid(4 / np.array(head.voxel_size)), head.voxel_size)
    smooth = total.copy()
    for _ in range(150):
        smooth = np.where(mask, convolve(smooth, kernel, mode="constant"), total)
    assert nrmse(local, total - smooth, mask) < 1e-3


def test_sphere_of_ismv_is_never_a_single_voxel(head, background):
    total = head.local_field + background
    local, mask = ismv(total, head.mask, head.voxel_size, radius=0.1)
    assert mask.any()
    # With a single voxel nothing would be background.
    assert nrmse(local, head.local_field, mask) < 0.2 * nrmse(total, head.local_field, mask)


def test_vsharp_leaves_out_spheres_that_fit_nowhere(head, background):
    slab = [v[:, :, 6:20] for v in (head.local_field + background, head.mask)]
    with_large, mask = vsharp(*slab, head.voxel_size, radii=(30, 4, 3), pad=10)
    without, _ = vsharp(*slab, head.voxel_size, radii=(3, 4), pad=10)
    np.testing.assert_array_equal(with_large, without)
    assert mask.any()


def test_vsharp_of_one_radius_is_sharp(head, background, results):
    alone, mask = vsharp(
        head.local_field + background, head.mask, head.voxel_size, radii=[4.0], pad=10
    )
    np.testing.assert_array_equal(alone, results["sharp"][0])
    np.testing.assert_array_equal(mask, results["sharp"][1])


def test_every_method_takes_keywords_only():
    for function in (ismv, lbv, pdf, resharp, sharp, vsharp):
        kinds = {p.kind for p in inspect.signature(function).parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD not in kinds


def test_lbv_bears_what_is_wrong_at_the_rim(head, background):
    """Fields in the outermost voxels are those of partial volume, and of little signal."""
    rim = head.mask & ~binary_erosion(head.mask)
    spoilt = np.random.default_rng(0).normal(0, 0.05, rim.shape) * rim
    total, within = head.local_field + background + spoilt, peel_mask(head.mask, head.voxel_size, 3)
    errors = [
        nrmse(lbv(total, head.mask, head.voxel_size, boundary=b)[0], head.local_field, within)
        for b in ("inside", "outside")
    ]
    assert errors[0] < 0.6 * errors[1]
