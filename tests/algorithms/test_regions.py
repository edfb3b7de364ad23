import numpy as np
import pytest

from qsm_workflows.algorithms.regions import (
    Region,
    find_reference,
    measure_regions,
    reference_mean,
    subtract_reference,
)

PALLIDUM = Region("pallidum", "both", (1, 2))
LEFT = Region("pallidum", "L", (1,))
OPTIC = Region("optic_radiation", "both", (3,))


@pytest.fixture
def head():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (12, 14, 10))
    chi = rng.normal(0, 0.02, labels.shape).astype(np.float32)
    chi[np.isin(labels, (1, 2))] += 0.15
    mask = np.ones(labels.shape, bool)
    mask[:, :, 7:] = False
    return chi, mask, labels


def test_means_equal_those_taken_voxel_by_voxel(head):
    chi, mask, labels = head
    found = measure_regions(chi, mask, labels, [PALLIDUM, LEFT], reference=OPTIC)
    offset = chi[(labels == 3) & mask].mean(dtype=float)
    for result, inside in zip(found, (np.isin(labels, (1, 2)), labels == 1), strict=True):
        values = chi[inside & mask].astype(float)
        assert result.mean == pytest.approx(values.mean() - offset, abs=1e-9)
        assert result.sd == pytest.approx(values.std(), abs=1e-9)
        assert result.n_voxels == values.size
        assert result.fraction_covered == pytest.approx(values.size / inside.sum())


def test_result_does_not_depend_on_the_maps_own_offset(head):
    chi, mask, labels = head
    means = [
        measure_regions(shifted, mask, labels, [PALLIDUM], reference=OPTIC)[0].mean
        for shifted in (chi, chi + np.float32(0.5))
    ]
    assert means[0] == pytest.approx(means[1], abs=1e-6)


def test_region_outside_the_slab_is_not_known(head):
    chi, mask, labels = head
    labels = labels.copy()
    labels[labels == 1] = 0
    labels[:, :, 8] = 1
    (result,) = measure_regions(chi, mask, labels, [LEFT], reference=OPTIC)
    assert np.isnan(result.mean)
    assert result.n_voxels == 0
    assert result.fraction_covered == 0


def test_reference_is_subtracted_inside_the_mask_only(head):
    chi, mask, labels = head
    relative, mean = subtract_reference(chi, mask, labels == 3)
    assert mean == reference_mean(chi, mask, labels == 3)
    assert relative[mask & (labels == 3)].mean() == pytest.approx(0, abs=1e-6)
    assert not relative[~mask].any()


def test_reference_without_voxels_is_refused(head):
    chi, mask, labels = head
    with pytest.raises(ValueError, match="reference region"):
        subtract_reference(chi, mask, labels == 99)


def test_reference_falls_back_to_the_mask_where_it_is_not_covered(head):
    _, mask, labels = head
    assert find_reference([PALLIDUM, OPTIC], "optic_radiation", labels, mask) == OPTIC
    assert find_reference([PALLIDUM], "optic_radiation", labels, mask) is None
    assert find_reference([OPTIC], "optic_radiation", labels, np.zeros_like(mask)) is None
