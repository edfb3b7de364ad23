import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from qsm_workflows.phantom.nuclei import (
    CAUDATE,
    NUCLEI,
    OPTIC_RADIATION,
    PALLIDUM,
    PUTAMEN,
    RED_NUCLEUS,
    SUBSTANTIA_NIGRA,
    THALAMUS,
)

GRID = (
    np.stack(np.meshgrid(np.arange(0, 46), np.arange(-96, 32), np.arange(-25, 34), indexing="ij"))
    .reshape(3, -1)
    .astype(np.float32)
)

# Right-hemisphere CIT168 labels; least Dice that hard labels at 1 mm can be held to.
CIT168 = {
    "putamen": (PUTAMEN, (2,), 0.90),
    "pallidum": (PALLIDUM, (10, 12), 0.75),
    "caudate": (CAUDATE, (4,), 0.87),
    "red_nucleus": (RED_NUCLEUS, (16,), 0.88),
    "substantia_nigra": (SUBSTANTIA_NIGRA, (14, 18), 0.80),
}


def inside(solid):
    return solid.distance(GRID) < 0


@pytest.mark.parametrize(
    ("solid", "millilitres"),
    [(PUTAMEN, 6.7), (PALLIDUM, 2.1), (CAUDATE, 5.8), (THALAMUS, 7.6), (RED_NUCLEUS, 0.37)],
)
def test_volumes_in_template_space(solid, millilitres):
    assert np.count_nonzero(inside(solid)) / 1000 == pytest.approx(millilitres, rel=0.1)


def test_putamen_is_lateral_to_the_pallidum_and_hardly_overlaps_it():
    putamen, pallidum = inside(PUTAMEN), inside(PALLIDUM)
    assert GRID[0, putamen].mean() > GRID[0, pallidum].mean() + 5
    assert np.count_nonzero(putamen & pallidum) < 0.1 * np.count_nonzero(pallidum)


def test_nuclei_keep_apart():
    solids = [inside(s) for s in (PUTAMEN, CAUDATE, THALAMUS, RED_NUCLEUS, SUBSTANTIA_NIGRA)]
    shared = sum(solid.astype(int) for solid in solids) > 1
    assert np.count_nonzero(shared) < 0.02 * sum(map(np.count_nonzero, solids))


def test_caudate_runs_from_the_head_over_the_thalamus_into_a_thin_tail():
    caudate = inside(CAUDATE)
    sections = [np.count_nonzero(caudate & (np.abs(GRID[1] - y) < 1)) for y in (14, -5, -28)]
    assert sections[0] > 3 * sections[1] > 3 * sections[2] > 0


def test_optic_radiation_sweeps_forward_in_meyers_loop_and_ends_at_the_calcarine_cortex():
    ventral, *rest = (inside(tube) for tube in OPTIC_RADIATION)
    assert GRID[1, ventral].max() > -12
    assert all(GRID[1, other].max() < -18 for other in rest)
    assert all(GRID[1, tube].min() < -85 for tube in (ventral, *rest))


def test_every_nucleus_lies_on_the_right():
    for nucleus in NUCLEI:
        for solid in nucleus.solids:
            assert solid.bounds[1][0] > 5


@pytest.mark.shared
@pytest.mark.parametrize("name", CIT168)
def test_agreement_with_the_cit168_atlas(shared_data, name):
    solid, labels, least_dice = CIT168[name]
    image = nib.load(shared_data / "atlases_mni" / "CIT168_dseg_p50.nii.gz")
    index = np.rint(apply_affine(np.linalg.inv(image.affine), GRID.T)).astype(int)
    known = np.all((index >= 0) & (index < image.shape), axis=1)
    atlas = np.zeros(GRID.shape[1], dtype=bool)
    atlas[known] = np.isin(np.asarray(image.dataobj)[tuple(index[known].T)], labels)
    ours = inside(solid)
    dice = 2 * np.count_nonzero(atlas & ours) / (atlas.sum() + ours.sum())
    assert dice > least_dice
    assert np.linalg.norm(GRID[:, atlas].mean(1) - GRID[:, ours].mean(1)) < 1.5
