import dataclasses

import pytest

from qsm_workflows.networks.checkpoints import ARCHITECTURES
from qsm_workflows.training.config import TrainingConfig, builtin_configs

MINIMAL = 'method = "xqsm"\narchitecture = "lite"\nwidth = 32\nmode = "cropped"\nsteps = 10\n'


def test_reads_a_file(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(MINIMAL + "learning_rate = 1\npatches = [[48, 48, 48]]\n")
    config = TrainingConfig.read(path)
    assert config.mode == "cropped"
    assert config.patches == ((48, 48, 48),)
    assert isinstance(config.learning_rate, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "lr = 1\n", "unknown key 'lr'"),
        (MINIMAL.replace("width = 32\n", ""), "lacks width"),
        (MINIMAL + 'batch = "two"\n', "batch = 'two' is of the wrong type"),
        (MINIMAL.replace("cropped", "whole"), "mode must be one of individual, cropped"),
        (MINIMAL + "patches = [[400, 64, 64]]\n", "no patch of"),
        (MINIMAL + "pool = 4\n", "pool must be more than the 4"),
        (MINIMAL.replace("lite", "unet"), "no xqsm is of the architecture unet"),
        (MINIMAL.replace("xqsm", "qsmnet"), "no qsmnet is of the architecture lite"),
        (MINIMAL + "weight_decay = -1\n", "weight_decay must not be negative"),
        (MINIMAL + "seed = -1\n", "seed must not be negative"),
        (MINIMAL + "learning_rate = nan\n", "learning_rate must be positive"),
        (MINIMAL + "patches = [16, 16, 16]\n", r"of the wrong type; it must be like \[\[64, 64"),
        (MINIMAL + "patches = [[16, 16]]\n", r"patches = \[\[16, 16\]\] is of the wrong type"),
        (MINIMAL + "patches = []\n", "patches needs at least one shape"),
        (MINIMAL + "volume_shape = [64, 64]\n", "of the wrong type; it must be like"),
        (MINIMAL + "volume_shape = 64\n", "of the wrong type; it must be like"),
        (MINIMAL + "noise_snr = []\n", "noise_snr needs at least one ratio"),
        (MINIMAL + "noise_snr = [10, 0]\n", "noise_snr needs at least one ratio, each of them pos"),
        (MINIMAL + 'noise_snr = ["ten"]\n', r"noise_snr = \['ten'\] is of the wrong type"),
        (MINIMAL + "noise_probability = 20\n", "noise_probability must be from 0 to 1"),
        ("steps = ", "cannot read the configuration"),
    ],
)
def test_says_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        TrainingConfig.read(path)


@pytest.mark.parametrize("name", builtin_configs())
def test_built_in_configurations_can_be_trained(name):
    config = TrainingConfig.read(builtin_configs()[name])
    multiple = ARCHITECTURES[config.architecture].network.multiple
    assert all(n % multiple == 0 for patch in config.patches for n in patch)


def test_modes_differ_in_nothing_else():
    built_in = {name: TrainingConfig.read(path) for name, path in builtin_configs().items()}
    for suffix in ("", "-full"):
        individual = built_in[f"xqsm-individual{suffix}"]
        cropped = built_in[f"xqsm-cropped{suffix}"]
        assert dataclasses.replace(individual, mode="cropped") == cropped


def test_patch_sizes_see_as_many_voxels():
    built_in = {name: TrainingConfig.read(path) for name, path in builtin_configs().items()}
    seen = [built_in[f"xqsm-individual-p{n}"].steps * n**3 for n in (48, 64, 80)]
    assert max(seen) < 1.02 * min(seen)


def test_every_published_network_can_be_trained_in_full():
    published = {
        "xqsm-individual": ("xqsm", 64),
        "xqsm-cropped": ("xqsm", 64),
        "unet": ("unet", 64),
        "deepqsm": ("unet", 64),
        "ir2qsm": ("ir2qsm", 16),
        "lpcnn": ("lpcnn", 32),
    }
    for name, expected in published.items():
        config = TrainingConfig.read(builtin_configs()[f"{name}-full"])
        assert (config.architecture, config.width) == expected
