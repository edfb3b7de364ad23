import shutil
import signal
import subprocess
import sys

import pytest

from qsm_workflows.cli.main import main
from qsm_workflows.networks.cards import check_card, read_card, write_card
from qsm_workflows.networks.checkpoints import read_checkpoint, write_checkpoint
from qsm_workflows.networks.lite import LiteQSM
from qsm_workflows.networks.methods import check_trained, find_installed
from qsm_workflows.networks.weights import (
    FOLDER_VARIABLE,
    find_weights,
    package_folder,
    sha256,
)


@pytest.fixture
def user_folder(tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "trained.safetensors"
    write_checkpoint(path, LiteQSM(2), metadata={"method": "xqsm"})
    return path


@pytest.fixture
def packaged(tmp_path, monkeypatch, weights):
    """A file that comes with the package, in a folder that a test may spoil."""
    folder = tmp_path / "package"
    folder.mkdir()
    path = folder / "xqsm-individual.safetensors"
    shutil.copy(weights, path)
    monkeypatch.setattr("qsm_workflows.networks.weights.package_folder", lambda: folder)
    return path


def test_add_then_list_then_show(weights, user_folder, capsys):
    write_card(weights, {"architecture": "lite", "width": 2, "licence": "mine alone"})
    assert main(["weights", "add", "xqsm", str(weights)]) == 0
    assert find_weights("xqsm") == user_folder / "xqsm.safetensors"
    assert main(["weights"]) == 0
    assert "xqsm: lite of width 2" in capsys.readouterr().out
    assert main(["weights", "show", "xqsm"]) == 0
    assert "licence: mine alone" in capsys.readouterr().out


def test_list_is_what_there_is_without_an_action(user_folder, capsys):
    assert main(["weights"]) == 0
    bare = capsys.readouterr().out
    assert main(["weights", "list"]) == 0
    assert capsys.readouterr().out == bare
    assert "xqsm-individual: lite" in bare


def test_weights_that_are_used_instead_of_the_packages_are_told_until_removed(
    weights, user_folder, packaged, capsys
):
    own = user_folder / packaged.name
    assert main(["weights", "add", "xqsmindividual", str(weights)]) == 0
    assert "instead of the package's xqsm-individual" in capsys.readouterr().out
    assert main(["weights", "list"]) == 0
    (row,) = capsys.readouterr().out.splitlines()
    assert row.startswith("xqsm-individual: lite of width 2,")
    assert row.endswith(f"{own} (instead of the package's)")
    assert main(["weights", "remove", "xQSM-Individual"]) == 0
    assert f"xqsm-individual is {packaged} from now on" in capsys.readouterr().out
    assert find_weights("xqsm-individual") == packaged
    assert list(user_folder.iterdir()) == []


def test_weights_that_the_package_has_none_of_come_and_go_without_a_note(
    weights, user_folder, packaged, capsys
):
    assert main(["weights", "add", "xqsm", str(weights)]) == 0
    assert main(["weights"]) == 0
    assert main(["weights", "remove", "xqsm"]) == 0
    shown = capsys.readouterr().out
    assert "instead of" not in shown
    assert "from now on" not in shown
    assert find_weights("xqsm") is None


def test_only_weights_of_the_user_are_removed(weights, user_folder, packaged, capsys):
    for name in ("xqsm-individual", str(weights)):
        assert main(["weights", "remove", name]) == 2
        assert f"only weights of your own, in {user_folder}," in capsys.readouterr().err
    assert packaged.exists()
    assert weights.exists()
    assert main(["weights", "remove", "xqsm"]) == 2
    assert "there are no weights xqsm" in capsys.readouterr().err


def test_accuracy_of_shipped_weights_is_shown_a_line_for_each_field(capsys):
    assert main(["weights", "show", "xqsm-individual"]) == 0
    shown = capsys.readouterr().out
    block = shown[shown.index("  percent_of_truth:") :].splitlines()
    assert [line.split(":")[0].strip() for line in block[1:5]] == ["ideal", "B+T", "T+B", "noisy"]
    assert "32 mm" in block[1]
    assert "{" not in shown


def test_weights_without_a_card_get_one(weights, user_folder):
    assert main(["weights", "add", "xqsm", str(weights)]) == 0
    card = read_card(user_folder / "xqsm.safetensors")
    assert card["architecture"] == "lite"
    assert card["sha256"] == sha256(weights)


@pytest.mark.parametrize("other", ['{"epochs": 100}', "[1, 2]"])
def test_json_of_another_kind_beside_weights_is_no_card(weights, user_folder, capsys, other):
    weights.with_suffix(".json").write_text(other)
    assert main(["weights", "add", "xqsm", str(weights)]) == 0
    card = read_card(user_folder / "xqsm.safetensors")
    assert card == {
        "method": "xqsm",
        "architecture": "lite",
        "width": 2,
        "voxel_size": 1.0,
        "sha256": sha256(weights),
    }
    assert main(["weights"]) == 0
    assert "xqsm: lite of width 2" in capsys.readouterr().out


def test_what_the_file_says_of_itself_goes_before_its_card(weights, user_folder):
    write_card(weights, {"architecture": "unet", "width": 64, "licence": "mine alone"})
    assert main(["weights", "add", "xqsm", str(weights)]) == 0
    card = read_card(user_folder / "xqsm.safetensors")
    assert (card["architecture"], card["width"], card["licence"]) == ("lite", 2, "mine alone")


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ('{"architecture": "li', "xqsm: bad card: cannot read the card"),
        ('{"epochs": 100, "sha256": "0"}', "xqsm: bad card: it names no architecture"),
        ('{"epochs": 100}', "xqsm: no card"),
    ],
)
def test_a_bad_card_is_marked_and_the_rest_listed(weights, user_folder, capsys, text, row):
    user_folder.mkdir()
    weights.rename(user_folder / "xqsm.safetensors")
    (user_folder / "xqsm.json").write_text(text)
    assert main(["weights"]) == 0
    listed = capsys.readouterr().out
    assert row in listed
    assert "xqsm-individual: lite of width 32" in listed


@pytest.mark.parametrize("name", ["xqsm-individual", "xqsmindividual", "xQSM-Individual"])
def test_weights_are_shown_by_the_name_of_their_method_too(user_folder, capsys, name):
    assert main(["weights", "show", name]) == 0
    assert "xqsm-individual.safetensors" in capsys.readouterr().out


def test_unknown_weights_are_told_with_the_known_names(weights, user_folder, capsys):
    assert main(["weights", "show", "qsmnet"]) == 2
    error = capsys.readouterr().err
    assert "there are no weights qsmnet: give a file or a name" in error
    names = sorted(path.stem for path in package_folder().glob("*.safetensors"))
    assert f"(installed are {', '.join(names)})" in error


def test_weights_for_another_method_are_not_added(weights, user_folder, capsys):
    assert main(["weights", "add", "DeepQSM", str(weights)]) == 2
    assert "trained for xqsm" in capsys.readouterr().err
    assert not user_folder.exists()


def test_a_way_of_training_is_a_method_of_its_own(tmp_path, user_folder, capsys):
    path = tmp_path / "trained.safetensors"
    write_checkpoint(path, LiteQSM(2), metadata={"method": "xqsm", "mode": "cropped"})
    assert main(["weights", "add", "xQSM-Individual", str(path)]) == 2
    assert "mode cropped, not for xqsmindividual" in capsys.readouterr().err
    assert main(["weights", "add", "xQSM-Cropped", str(path)]) == 0
    assert find_installed("xqsmcropped") == user_folder / "xqsm-cropped.safetensors"
    check_trained("xqsmcropped", path)
    with pytest.raises(ValueError, match="not for xqsmindividual"):
        check_trained("xqsmindividual", path)


def test_a_file_that_is_not_that_of_its_card_is_refused(weights):
    write_card(weights, {})
    check_card(weights, sha256(weights))
    with open(weights, "ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="damaged or was exchanged"):
        check_card(weights, sha256(weights))
    with pytest.raises(ValueError, match="damaged or was exchanged"):
        read_checkpoint(weights)
    assert main(["weights", "show", str(weights)]) == 2


def test_a_reader_that_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "qsm_workflows.cli.main", "weights", "show", "deepqsm"]
    shown = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    shown.stdout.close()
    assert shown.stderr.read() == b""
    assert shown.wait() == 128 + signal.SIGPIPE
