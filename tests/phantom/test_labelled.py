import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.phantom.labelled import read_labelled, simulate_labelled

TABLE = "index\tname\tchi\n1\tball\t1.0\n0\tbackground\t0.0\n"


@pytest.fixture
def ball(tmp_path):
    """A ball of 12 mm radius on a 2 mm grid that is not centred in the world."""
    axis = 2.0 * (np.arange(33) - 16)
    radius = np.sqrt(sum(np.square(a) for a in np.meshgrid(axis, axis, axis, indexing="ij")))
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (100, -40, 7)
    path = tmp_path / "ball.nii.gz"
    nib.save(nib.Nifti1Image((radius < 12).astype(np.uint8), affine), path)
    return path


def write_table(folder, text):
    path = folder / "table.tsv"
    path.write_text(text)
    return path


def test_field_of_a_ball_is_that_of_a_dipole(ball, tmp_path):
    head = simulate_labelled(ball, write_table(tmp_path, TABLE))
    assert head.mask.shape == (33, 33, 33)
    assert head.chi[16, 16, 16] == pytest.approx(1.0, abs=0.06)
    distance = 2.0 * np.arange(10, 16)
    volume = np.count_nonzero(head.labels) * 8.0
    moment = volume / (4 * np.pi * distance**3)
    along, across = head.total_field[16, 16, 26:32], head.total_field[26:32, 16, 16]
    np.testing.assert_allclose(along, 2 * moment, rtol=0.06)
    np.testing.assert_allclose(across, -moment, rtol=0.06)
    assert abs(head.total_field[16, 16, 16]) < 0.02


def test_tilted_image_turns_the_dipole(ball, tmp_path):
    table = write_table(tmp_path, TABLE)
    head = simulate_labelled(ball, table, matrix=(33, 33, 33), tilt=(90, 0, 0))
    np.testing.assert_allclose(np.abs(head.b0_dir), (0, 1, 0), atol=1e-6)
    assert head.total_field[16, 26, 16] > 0 > head.total_field[16, 16, 26]


def test_optional_columns_and_known_names(ball, tmp_path):
    text = "index\tname\tchi\themisphere\tr2s\n1\tpallidum\t0.2\tL\t55\n"
    anatomy = read_labelled(ball, write_table(tmp_path, text))
    label, material = anatomy.table[1]
    assert (label.hemisphere, material.r2star, material.proton_density) == ("L", 55, 0.70)
    assert anatomy.outside.chi == 9.2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index\tname\n1\tball\n", "no column chi"),
        ("index\tname\tchi\n2\tball\t1.0\n", r"does not list: \[1\]"),
        ("index\tname\tchi\n1\tball\t\n", "needs an index"),
        ("index\tname\tchi\n1\tball\t1\n1\tbat\t1\n", "needs an index"),
        ("index\tname\tchi\n1\tbone\t1.0\n", "no brain"),
    ],
)
def test_bad_tables_are_refused(ball, tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        simulate_labelled(ball, write_table(tmp_path, text))


def test_an_image_of_fractions_is_refused(tmp_path):
    path = tmp_path / "fractions.nii.gz"
    nib.save(nib.Nifti1Image(np.full((4, 4, 4), 0.5, np.float32), np.eye(4)), path)
    with pytest.raises(ValueError, match="whole numbers"):
        read_labelled(path, write_table(tmp_path, TABLE))


@pytest.mark.shared
def test_the_rc2_head(shared_data, tmp_path):
    folder = shared_data / "rc2_head_labels"
    text = (folder / "head_labels_dseg.tsv").read_text().replace("chi_ppm", "chi")
    labels = folder / "head_labels_1mm_dseg.nii.gz"
    head = simulate_labelled(labels, write_table(tmp_path, text), voxel_size=(4, 4, 4))
    names = {row.name: row.index for row in head.label_table}
    assert "Bone" not in names
    assert np.median(head.chi[head.labels == names["WM"]]) == pytest.approx(-0.03, abs=0.02)
    assert np.mean(np.abs(head.total_field[head.mask]) < 0.4) > 0.9
