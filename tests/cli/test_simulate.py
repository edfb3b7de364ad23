import pytest

from qsm_workflows.cli.main import main


def run(*arguments):
    return main(["simulate", *map(str, arguments)])


def test_a_voxel_size_alone_keeps_the_field_of_view(tmp_path):
    import nibabel as nib

    out = tmp_path / "out"
    assert run(out, "--voxel-size", 6, "--echo-times", 0.005, 0.01, "--no-lesions") == 0
    image = nib.load(out / "sub-01" / "anat" / "sub-01_echo-1_part-mag_MEGRE.nii.gz")
    assert image.shape == (24, 32, 21)
    assert (out / "participants.tsv").read_text() == "participant_id\nsub-01\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--matrix", 0, 10, 10], "matrix"),
        (["--voxel-size", 2, 2], "one number or three"),
        (["--voxel-size", -1], "positive"),
        (["--echo-times", -0.005], "echo_times"),
        (["--labels", "labels.nii"], "need each other"),
        (["--labels", "labels.nii", "--chi", "table.tsv"], "table.tsv"),
        (["--labels", "a", "--chi", "b", "--subjects", 2], "one head"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, capsys, arguments, message):
    out = tmp_path / "out"
    assert run(out, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not out.exists()


def test_a_folder_with_something_in_it_is_refused(tmp_path, capsys):
    (tmp_path / "scan.nii").touch()
    assert run(tmp_path) == 2
    assert "not empty" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "100", "two"])
def test_senseless_numbers_of_subjects_are_refused(tmp_path, count):
    with pytest.raises(SystemExit):
        run(tmp_path / "out", "--subjects", count)
