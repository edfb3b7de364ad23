import numpy as np
import pytest

from qsm_workflows.bids.companions import find_companions
from qsm_workflows.bids.dataset import write_dataset
from qsm_workflows.bids.index import index_dataset
from qsm_workflows.bids.labels import Label
from qsm_workflows.bids.sidecars import Provenance

ONES = np.ones((8, 8, 8), np.uint8)
TABLE = "index\tname\themisphere\n1\tpallidum\tL\n2\tpallidum\tR\n"


def only_scan(dataset):
    (scan,) = index_dataset(dataset.root).scans
    return scan


def test_nothing_to_find(dataset):
    dataset.scan("sub-01", echoes=1)
    companions = find_companions(only_scan(dataset), dataset.root)
    assert (companions.mask, companions.labels, companions.truth_chi) == (None, None, None)
    assert companions.notes == ()


def test_mask_labels_and_truth_of_a_derivative(dataset):
    dataset.scan("sub-01_ses-a", echoes=1)
    folder = "derivatives/truth/sub-01/ses-a/anat/sub-01_ses-a_"
    mask = dataset.image(folder + "desc-brain_mask.nii.gz", ONES)
    labels = dataset.image(folder + "dseg.nii.gz", ONES)
    truth = dataset.image(folder + "desc-truth_Chimap.nii.gz", ONES)
    dataset.image(folder + "desc-T+B100_mask.nii.gz", ONES)
    dataset.text("derivatives/truth/dseg.tsv", TABLE)
    companions = find_companions(only_scan(dataset), dataset.root)
    assert (companions.mask, companions.labels, companions.truth_chi) == (mask, labels, truth)
    assert companions.label_table == (Label(1, "pallidum", "L"), Label(2, "pallidum", "R"))
    assert companions.notes == ()


def test_the_output_folder_is_left_out(dataset):
    dataset.scan("sub-01", echoes=1)
    dataset.image("derivatives/out/sub-01/anat/sub-01_desc-brain_mask.nii.gz", ONES)
    # Written in another way than the dataset's own path.
    scan, out = only_scan(dataset), dataset.root / ".." / "raw" / "derivatives" / "out"
    assert find_companions(scan, dataset.root).mask is not None
    assert find_companions(scan, dataset.root, exclude=out).mask is None


def test_outputs_of_another_run_are_left_out(dataset):
    dataset.scan("sub-01", echoes=1)
    dataset.image("derivatives/first/sub-01/anat/sub-01_desc-brain_mask.nii.gz", ONES)
    scan, earlier = only_scan(dataset), dataset.root / "derivatives" / "first"
    assert find_companions(scan, dataset.root).mask is not None
    write_dataset(Provenance(dataset.root, earlier, "qsm-wf run"))
    assert find_companions(scan, dataset.root).mask is None


def test_the_name_that_says_most_is_taken_and_told(dataset):
    dataset.scan("sub-01_acq-x_run-1", echoes=1)
    general = dataset.image("derivatives/a/sub-01/anat/sub-01_desc-brain_mask.nii.gz", ONES)
    own = dataset.image("derivatives/b/sub-01/anat/sub-01_acq-x_desc-brain_mask.nii.gz", ONES)
    dataset.image("derivatives/a/sub-01/anat/sub-01_run-2_desc-brain_mask.nii.gz", ONES)
    companions = find_companions(only_scan(dataset), dataset.root)
    assert companions.mask == own
    assert companions.notes == (f"brain mask: took {own} rather than {general}",)


def test_masks_on_another_grid_are_left(dataset):
    dataset.scan("sub-01", echoes=1)
    name = "derivatives/fmriprep/sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    path = dataset.image(name, np.ones((9, 8, 8), np.uint8))
    companions = find_companions(only_scan(dataset), dataset.root)
    assert companions.mask is None
    (note,) = companions.notes
    assert note == f"brain mask: {path} is not used, as it is not on the grid of the scan"


def test_labels_without_a_table_are_left(dataset):
    dataset.scan("sub-01", echoes=1)
    path = dataset.image("derivatives/a/sub-01/anat/sub-01_desc-gm_dseg.nii.gz", ONES)
    companions = find_companions(only_scan(dataset), dataset.root)
    assert companions.labels is None
    assert "put sub-01_desc-gm_dseg.tsv beside it" in companions.notes[0]
    dataset.text("derivatives/a/desc-gm_dseg.tsv", TABLE)
    assert find_companions(only_scan(dataset), dataset.root).labels == path


def test_patterns_win_over_derivatives(dataset, tmp_path):
    dataset.scan("sub-01_ses-a", echoes=1)
    dataset.image("derivatives/a/sub-01/ses-a/anat/sub-01_ses-a_desc-brain_mask.nii.gz", ONES)
    mask = dataset.image("masks/01_a.nii", ONES)
    labels = dataset.image("../elsewhere/01/seg.nii.gz", ONES)
    dataset.text("../elsewhere/01/seg.tsv", "index\tname\n1\tLeft-Pallidum\n")
    companions = find_companions(
        only_scan(dataset),
        dataset.root,
        mask_pattern="masks/{subject}_{session}.*",
        labels_pattern=str(tmp_path / "elsewhere" / "{subject}" / "seg.nii.gz"),
    )
    assert companions.mask == mask
    assert companions.labels.samefile(labels)
    assert companions.label_table == (Label(1, "pallidum", "L"),)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("masks/{subject}.nii", r"no such file \(masks/01.nii\)"),
        ("masks/*.nii", "several files: .*a.nii, .*b.nii"),
        ("masks/{session}.nii", "sub-01 has no session"),
        ("masks/{sub}.nii", r"\{sub\} is not one of \{subject\}"),
    ],
)
def test_patterns_that_mean_no_one_file_are_refused(dataset, pattern, message):
    dataset.scan("sub-01", echoes=1)
    dataset.image("masks/a.nii", ONES)
    dataset.image("masks/b.nii", ONES)
    with pytest.raises(ValueError, match=message):
        find_companions(only_scan(dataset), dataset.root, mask_pattern=pattern)
