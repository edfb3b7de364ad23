import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.training.anatomy import (
    CODES,
    TISSUES,
    Anatomies,
    LabelSet,
    digital_head,
    find_label_images,
    graft,
    read_labels,
)

WHOLE = "index\tname\n1\tWM\n2\tGM\n3\tCaudate\n4\tPutamen\n5\tGP\n6\tThalamus\n"
NUCLEI = (
    "index\tname\n3\tCaudate Left\n4\tPutamen Left\n5\tGlobus Pallidus Left\n6\tThalamus Left\n"
)
CENTRES = {3: (4, 24, 22), 4: (9, 18, 16), 5: (6, 17, 15), 6: (4, 9, 18)}


def brain(size: float = 2.0, *, whole: bool = True) -> np.ndarray:
    """Boxes on both sides of the middle of 40³ voxels."""
    labels = np.zeros((40, 40, 40), np.uint8)
    if whole:
        labels[4:36, 4:36, 4:36] = 2
        labels[7:33, 7:33, 7:33] = 1
    half = round(size)
    for index, (x, y, z) in CENTRES.items():
        for column in (20 - x, 19 + x):
            box = (slice(c - half, c + half + 1) for c in (column, y, z))
            labels[tuple(box)] = index
    return labels


def folder_of(root, name, labels, table, affine=None):
    folder = root / name
    folder.mkdir(parents=True)
    image = nib.Nifti1Image(labels, np.eye(4) if affine is None else affine)
    nib.save(image, folder / "a_dseg.nii.gz")
    (folder / "dseg.tsv").write_text(table)
    return folder


def test_names_of_other_tables_are_understood(tmp_path):
    folder = folder_of(tmp_path, "nuclei", brain(whole=False), NUCLEI)
    labels = read_labels(folder / "a_dseg.nii.gz", folder / "dseg.tsv").labels
    present = {TISSUES[code] for code in np.unique(labels)}
    assert present == {"outside", "caudate", "putamen", "pallidum", "thalamus"}


def test_orientation_is_that_of_the_affine(tmp_path):
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = 39
    lopsided = brain()
    lopsided[:10] = 0
    straight = folder_of(tmp_path, "one", lopsided, WHOLE)
    flipped = folder_of(tmp_path, "two", lopsided[::-1], WHOLE, flip)
    a, b = (read_labels(f / "a_dseg.nii.gz", f / "dseg.tsv") for f in (straight, flipped))
    np.testing.assert_array_equal(a.labels, b.labels)


def test_graft_brings_the_nuclei_of_another(tmp_path):
    whole = folder_of(tmp_path, "whole", brain(), WHOLE)
    # The same person, twice as fine and moved: grafting restores what was there.
    fine = np.kron(brain(whole=False), np.ones((2, 2, 2), np.uint8))
    affine = np.diag([0.5, 0.5, 0.5, 1])
    affine[:3, 3] = -0.25 + np.array([3, -5, 7])
    nuclei = folder_of(tmp_path, "nuclei", fine, NUCLEI, affine)
    head, donor = (read_labels(f / "a_dseg.nii.gz", f / "dseg.tsv") for f in (whole, nuclei))
    np.testing.assert_array_equal(graft(head, donor).labels, head.labels)


def test_shifted_labels_are_refused():
    codes = np.array([0, *(CODES[n] for n in ("white_matter", "grey_matter", "caudate"))], np.uint8)
    codes = np.append(codes, [CODES[n] for n in ("putamen", "pallidum", "thalamus")]).astype(
        np.uint8
    )
    head = LabelSet(codes[brain()], np.diag([2.0, 2, 2, 1]))
    wrong = codes.copy()
    wrong[3:7] = np.roll(codes[3:7], 1)
    with pytest.raises(ValueError, match="lie elsewhere"):
        graft(head, LabelSet(wrong[brain(whole=False)], head.affine))


def test_folder_without_a_whole_brain_is_refused(tmp_path):
    folder_of(tmp_path, "nuclei", brain(whole=False), NUCLEI)
    with pytest.raises(ValueError, match="no label image of a whole brain"):
        Anatomies.read(tmp_path)


@pytest.mark.parametrize("left", ["nothing", "a plane"])
@pytest.mark.parametrize("has_donor", [False, True])
def test_a_head_without_a_landmark_is_refused(tmp_path, left, has_donor):
    """Volumes could not be centred on it, nor nuclei be laid on it."""
    labels = brain()
    pallidum = labels == 5
    if left == "a plane":
        pallidum[20 - CENTRES[5][0]] = False
    labels[pallidum] = 1
    folder = folder_of(tmp_path, "whole", labels, WHOLE)
    if has_donor:
        folder_of(tmp_path, "nuclei", brain(whole=False), NUCLEI)
    with pytest.raises(ValueError, match="has no left and right pallidum") as raised:
        Anatomies.read(tmp_path)
    assert str(folder / "a_dseg.nii.gz") in str(raised.value)


def test_donors_none_of_which_fits_end_the_draw(tmp_path):
    folder_of(tmp_path, "whole", brain(), WHOLE)
    lacking = brain(whole=False)
    lacking[lacking == 6] = 0
    shifted = "index\tname\n3\tPutamen\n4\tGP\n5\tThalamus\n6\tCaudate\n"
    folder_of(tmp_path, "a", lacking, NUCLEI)
    folder_of(tmp_path, "b", brain(whole=False), shifted)
    anatomies = Anatomies.read(tmp_path)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="none of the 2 label images that lend") as raised:
        anatomies.draw(rng)
    for name, reason in (("a", "no left and right thalamus"), ("b", "the nuclei lie elsewhere")):
        assert f"{tmp_path / name / 'a_dseg.nii.gz'}: {reason}" in str(raised.value)


def test_a_donor_that_does_not_fit_is_passed_over(tmp_path):
    folder_of(tmp_path, "whole", brain(), WHOLE)
    lacking = brain(whole=False)
    lacking[lacking == 6] = 0
    folder_of(tmp_path, "a", lacking, NUCLEI)
    folder_of(tmp_path, "b", brain(1.0, whole=False), NUCLEI)
    anatomies = Anatomies.read(tmp_path)
    for seed in range(10):
        drawn = anatomies.draw(np.random.default_rng(seed)).labels
        assert np.any(drawn == CODES["thalamus"])


def test_draws_differ_only_by_the_seed(tmp_path):
    folder_of(tmp_path, "whole", brain(), WHOLE)
    folder_of(tmp_path, "nuclei", brain(1.0, whole=False), NUCLEI)
    anatomies = Anatomies.read(tmp_path)
    assert "1 heads, 1 donors" in anatomies.source
    one, again = (anatomies.draw(np.random.default_rng(0)).labels for _ in range(2))
    np.testing.assert_array_equal(one, again)
    sizes = {
        int((anatomies.draw(np.random.default_rng(n)).labels == CODES["putamen"]).sum())
        for n in range(40)
    }
    assert len(sizes) == 2


@pytest.mark.shared
def test_public_label_sets(shared_data):
    images = list(find_label_images(shared_data))
    heads = [pair for pair in images if pair[0].name.startswith("head_labels")]
    donors = {pair[0].name[:6]: pair for pair in images if pair not in heads}
    assert len(heads) == 1
    assert len(donors) == 100
    head = read_labels(*heads[0])
    with pytest.raises(ValueError, match="lie elsewhere"):
        graft(head, read_labels(*donors["192540"]))
    grafted = graft(head, read_labels(*donors["100307"]))
    # Both of them 1.9 to 2 ml a side, by the people who drew them.
    assert 2000 < np.sum(grafted.labels == CODES["pallidum"]) < 5000


@pytest.mark.slow
def test_digital_heads_can_be_trained_on():
    head = digital_head(0)
    present = {TISSUES[code] for code in np.unique(head.labels)}
    assert {"white_matter", "pallidum", "putamen", "caudate", "thalamus", "red_nucleus"} <= present
    assert "dentate" in present
    # A brain of 1.0 to 1.6 litres.
    assert 1.0e6 < np.sum(head.labels > 0) < 1.6e6
    # Fluid in the ventricles is part of the brain.
    assert np.sum(head.labels == CODES["csf"]) > 2e4
