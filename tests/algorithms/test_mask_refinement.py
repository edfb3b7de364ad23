import numpy as np
import pytest

from qsm_workflows.algorithms.mask_refinement import refine_mask

SIZE = (1.0, 1.5, 2.0)
SHAPE = (60, 40, 30)


def ball(radius, centre=(30.0, 30.0, 30.0)):
    axes = [np.arange(n) * size - c for n, size, c in zip(SHAPE, SIZE, centre, strict=True)]
    return axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2 <= radius**2


def test_defaults_drop_islands_and_fill_holes():
    mask = ball(15) & ~ball(4)
    mask[2:4, 2:4, 2:4] = True
    np.testing.assert_array_equal(refine_mask(mask, SIZE), ball(15))


def test_both_can_be_left_out():
    mask = ball(15) & ~ball(4)
    mask[2:4, 2:4, 2:4] = True
    kept = refine_mask(mask, SIZE, keep_largest=False, fill_holes=False)
    np.testing.assert_array_equal(kept, mask)


@pytest.mark.parametrize("margin", [4.0, -4.0])
def test_margin_is_in_mm_along_every_axis(margin):
    grown = refine_mask(ball(14), SIZE, margin=margin)
    # Within a voxel of a ball that is as much larger or smaller.
    assert not (ball(14 + margin - 2) & ~grown).any()
    assert not (grown & ~ball(14 + margin + 2)).any()


def test_closing_bridges_narrow_gaps_and_leaves_wide_ones():
    mask = ball(18)
    narrow, wide = mask.copy(), mask.copy()
    narrow[:, 19:21] = False  # 3 mm
    wide[:, 16:24] = False  # 12 mm
    closed = refine_mask(narrow, SIZE, closing=3, fill_holes=False, keep_largest=False)
    assert closed[28:32, 19:21, 13:17].all()
    still = refine_mask(wide, SIZE, closing=3, fill_holes=False, keep_largest=False)
    assert not still[28:32, 19:21, 13:17].any()


def test_ends_of_a_slab_are_not_eroded():
    mask = np.zeros(SHAPE, bool)
    mask[10:50, 5:35] = True  # through the first and last slice
    eroded = refine_mask(mask, SIZE, margin=-3)
    assert eroded[..., 0].sum() == eroded[..., 15].sum() == eroded[..., -1].sum()
    assert 0 < eroded.sum() < mask.sum()
    np.testing.assert_array_equal(refine_mask(np.ones(SHAPE), SIZE, margin=-5), np.ones(SHAPE))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"margin": -20}, "nothing of the mask is left after 20 mm"),
        ({"margin": float("nan")}, "margin be finite"),
        ({"closing": -1}, "closing must not be negative"),
    ],
)
def test_what_makes_no_sense_is_refused(keywords, message):
    with pytest.raises(ValueError, match=message):
        refine_mask(ball(10), SIZE, **keywords)


def test_empty_mask_is_refused():
    with pytest.raises(ValueError, match="mask is empty"):
        refine_mask(np.zeros(SHAPE), SIZE)
