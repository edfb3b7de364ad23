import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from qsm_workflows.cli import train
from qsm_workflows.cli.main import main
from qsm_workflows.networks.checkpoints import read_checkpoint
from qsm_workflows.training.anatomy import fingerprint
from qsm_workflows.training.config import TrainingConfig
from qsm_workflows.training.pool import make_pool


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(
        'method = "deepqsm"\narchitecture = "unet"\nwidth = 2\nmode = "individual"\n'
        'volumes = "shapes"\nsteps = 2\npool = 2\nvalidation = 1\nbatch = 1\n'
        "volume_shape = [16, 16, 16]\npatches = [[16, 16, 16]]\n"
    )
    return path


def test_trains_and_writes_weights_with_a_card(config, tmp_path):
    out = tmp_path / "run"
    assert main(["train", str(config), "--out", str(out)]) == 0
    checkpoint = read_checkpoint(out / "tiny.safetensors", "deepqsm")
    assert checkpoint.network.width == 2
    card = json.loads((out / "tiny.json").read_text())
    assert card["sha256"] == checkpoint.sha256
    assert card["steps"] == 2
    assert "random boxes" in card["data"]
    assert (out / "metrics.tsv").read_text().startswith("step\t")


def test_the_card_says_everything_once(config, tmp_path):
    config.write_text(config.read_text().replace("steps = 2", "steps = 5000") + "clip = 3\n")
    out = tmp_path / "run"
    make_pool(out / "pool", TrainingConfig.read(config))
    command = ["train", str(config), "--out", str(out), "--minutes", "0.05", "--export"]
    # On a busy machine time may be up before the first step.
    statuses = (main(command) for _ in range(20))
    assert next(status for status in statuses if status != 1) == 0
    card = json.loads((out / "tiny.json").read_text())
    wanted = TrainingConfig.read(config).as_json() | {"steps": card["steps"], "planned_steps": 5000}
    assert wanted.items() <= card.items()
    assert card["steps"] < 5000
    assert card["clip"] == 3
    assert card["precision"] in ("float32", "bfloat16")
    assert card["hardware"] == f"{train._processor()}, {torch.get_num_threads()} thread(s)"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("processor\t: 0\nmodel name\t: Some CPU: 2\n\nmodel name\t: another\n", " (Some CPU: 2)"),
        ("processor\t: 0\n", ""),
        (None, ""),
    ],
)
def test_the_card_names_the_processor(monkeypatch, told, expected):
    def read_text(path, **options):
        assert path == Path("/proc/cpuinfo")
        if told is None:
            raise FileNotFoundError
        return told

    monkeypatch.setattr(Path, "read_text", read_text)
    assert train._processor() == f"{platform.machine()} CPU{expected}"


def test_time_bounds_the_volumes_too(config, tmp_path, capsys):
    config.write_text(config.read_text().replace("pool = 2", "pool = 4"))
    command = ["train", str(config), "--out", str(tmp_path / "run")]
    assert main([*command, "--minutes", "1e-9"]) == 0
    assert "1 of 4 volumes" in (out := capsys.readouterr().out)
    assert "the same command goes on" in out
    assert not (tmp_path / "run" / "state.json").exists()
    assert main(command) == 0
    assert (tmp_path / "run" / "tiny.safetensors").exists()


@pytest.mark.parametrize("has_pool", [False, True])
def test_nothing_is_exported_without_a_step_and_that_is_said(config, tmp_path, capsys, has_pool):
    out = tmp_path / "run"
    if has_pool:
        make_pool(out / "pool", TrainingConfig.read(config))
    command = ["train", str(config), "--out", str(out), "--minutes", "1e-9"]
    assert main([*command, "--export"]) == 1
    assert "no weights were written: time was up" in capsys.readouterr().err
    assert not (out / "tiny.safetensors").exists()
    assert main(command) == 0


def test_volumes_of_another_machine_are_trained_on_without_nibabel(config, tmp_path):
    pool = tmp_path / "pool"
    make_pool(pool, TrainingConfig.read(config))
    program = (
        "import sys; sys.modules['nibabel'] = None; from qsm_workflows.cli.main import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    command = ["train", str(config), "--out", str(tmp_path / "run"), "--pool", str(pool)]
    subprocess.run([sys.executable, "-c", program, *command], check=True)
    assert (tmp_path / "run" / "tiny.safetensors").exists()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_too_little_memory_is_said_with_what_to_do(config, tmp_path, capsys, monkeypatch, error):
    def exhausted(*arguments, **options):
        raise error

    monkeypatch.setattr("qsm_workflows.training.loop.train", exhausted)
    assert main(["train", str(config), "--out", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err
    assert "cpu has too little memory to train unet of width 2 with 1 patches" in message
    assert "use a smaller batch" in message


def test_names_the_configurations_of_the_package(tmp_path, capsys):
    assert main(["train", "nothing.toml", "--out", str(tmp_path)]) == 2
    assert "xqsm-individual" in capsys.readouterr().err


def test_refuses_no_time(config, tmp_path, capsys):
    assert main(["train", str(config), "--out", str(tmp_path), "--minutes", "0"]) == 2
    assert "--minutes must be positive" in capsys.readouterr().err


def test_starts_from_weights_and_says_so(config, tmp_path):
    main(["train", str(config), "--out", str(tmp_path / "first")])
    first = tmp_path / "first" / "tiny.safetensors"
    out = tmp_path / "second"
    assert main(["train", str(config), "--out", str(out), "--start", str(first)]) == 0
    history = json.loads((out / "tiny.json").read_text())["started_from"]
    assert history["sha256"] == read_checkpoint(first).sha256
    assert history["steps"] == "2"


def test_weights_that_do_not_fit_are_refused_before_volumes_are_made(config, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", str(config), "--out", str(out), "--start", "deepqsm"]) == 2
    assert "of lite, width 32, but the configuration is of unet" in capsys.readouterr().err
    assert not out.exists()


def test_a_run_that_started_otherwise_is_refused_before_volumes_are_made(config, tmp_path, capsys):
    main(["train", str(config), "--out", str(tmp_path / "first")])
    first = str(tmp_path / "first" / "tiny.safetensors")
    command = ["train", str(config), "--out", str(tmp_path / "first"), "--start", first]
    assert main([*command, "--pool", str(tmp_path / "other")]) == 2
    assert "did not start from these weights" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_patches_that_the_network_cannot_take_are_refused_before_volumes_are_made(
    config, tmp_path, capsys
):
    config.write_text(config.read_text().replace("[[16, 16, 16]]", "[[16, 10, 16]]"))
    out = tmp_path / "run"
    assert main(["train", str(config), "--out", str(out)]) == 2
    assert "multiples of 4 only, such as [16, 12, 16]" in capsys.readouterr().err
    assert not out.exists()


def test_a_width_that_no_network_has_is_refused_before_volumes_are_made(config, tmp_path, capsys):
    text = config.read_text().replace("deepqsm", "xqsm").replace('"unet"', '"xqsm"')
    config.write_text(text.replace("width = 2", "width = 5"))
    out = tmp_path / "run"
    assert main(["train", str(config), "--out", str(out)]) == 2
    assert "width must be an even number of channels, not 5" in capsys.readouterr().err
    assert not out.exists()


def test_another_configuration_is_refused_before_volumes_are_made(config, tmp_path, capsys):
    command = ["train", str(config), "--out", str(tmp_path / "run")]
    assert main(command) == 0
    config.write_text(config.read_text() + "seed = 5\n")
    assert main([*command, "--pool", str(tmp_path / "other")]) == 2
    assert "another configuration (seed is 0, not 5)" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_another_anatomy_is_refused_before_volumes_are_made(config, anatomy, tmp_path, capsys):
    text = config.read_text().replace('"shapes"', '"mixed"')
    config.write_text(text.replace("volume_shape = [16, 16, 16]", "volume_shape = [40, 40, 40]"))
    command = ["train", str(config), "--out", str(tmp_path / "run"), "--anatomy", str(anatomy)]
    assert main(command) == 0
    card = json.loads((tmp_path / "run" / "tiny.json").read_text())
    assert card["anatomy"] == fingerprint(anatomy)
    with open(anatomy / "head" / "dseg.tsv", "a") as table:
        table.write("9\tvein\n")
    assert main([*command, "--pool", str(tmp_path / "other")]) == 2
    message = capsys.readouterr().err
    assert f"(anatomy is {card['anatomy']}, not {fingerprint(anatomy)})" in message
    assert "the same label images" in message
    assert not (tmp_path / "other").exists()
