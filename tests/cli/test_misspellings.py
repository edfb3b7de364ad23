"""What the command line says of commands, methods and options that it does not know."""

from pathlib import Path

import pytest

from qsm_workflows.cli.main import main


@pytest.fixture
def refuse(tmp_path, monkeypatch, capsys):
    """What is written to standard error of a command line that is refused."""
    monkeypatch.chdir(tmp_path)
    Path("f.nii").touch()

    def refuse(line):
        with pytest.raises(SystemExit) as exit_:
            main(line.split())
        assert exit_.value.code == 2
        out, error = capsys.readouterr()
        assert not out
        return error

    return refuse


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("bgrmove resharp f.nii", "bgremove?"),
        ("bgremove reshrp f.nii", "resharp?"),
        ("weights sho xqsm", "show?"),
        ("run --bids d --method tdk", "tkd?"),
        ("run --bids d --order b+t", "B+T?"),
        ("run --bids d --metod tkd", "--method instead of --metod?"),
        ("run --bids d --metod=tkd", "--method instead of --metod?"),
        ("run --bdis d", "--bids instead of --bdis?"),
        ("d out participant --metod tkd", "--method instead of --metod?"),
        ("check --bids d --mask-metod phase", "--mask-method instead of --mask-metod?"),
        ("invert tkd f.nii --mask f.nii --out x.nii --treshold 1", "--threshold instead of"),
        ("invert tkd f.nii --msk f.nii --out x.nii", "--mask instead of --msk?"),
        ("--verson", "--version instead of --verson?"),
    ],
)
def test_the_nearest_name_is_suggested(refuse, line, meant):
    assert f"did you mean {meant}" in refuse(line)


@pytest.mark.parametrize(
    "line",
    [
        "dance f.nii",
        "invert magic f.nii",
        "run --bids d --quux 3",
        "run --bids d --lambda 3",
        "invert tkd f.nii",
        "run --bids d --n-procs 0",
        # An option may be cut short, and one of another command is none of `qsm-wf`.
        "run --bids d --coverag full --slab-axis 3",
        "dance f.nii --mask f.nii --threshold 1",
    ],
)
def test_nothing_is_suggested_where_nothing_is_near(refuse, line):
    assert "did you mean" not in refuse(line)


def test_an_error_leads_to_the_help_instead_of_listing_all_options(refuse):
    error = refuse("run --bids d --quux 3")
    assert error == ("qsm-wf run: error: unrecognized arguments: --quux 3\nsee qsm-wf run --help\n")
    assert refuse("invert tkd f.nii --mask f.nii").endswith("\nsee qsm-wf invert tkd --help\n")


def test_misspelt_options_of_a_configuration_file_are_told(refuse):
    Path("study.toml").write_text('bgremve = "pdf"\n')
    assert "--bgremove instead of --bgremve?" in refuse("run --bids d --config study.toml")
