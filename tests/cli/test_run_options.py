"""Every option of `qsm-wf run` that bears on the result or its cost reaches what it is for."""

import argparse

import pytest

from qsm_workflows.cli import run
from qsm_workflows.cli.study import _plugin_args, study_config
from qsm_workflows.networks.checkpoints import write_checkpoint
from qsm_workflows.networks.lite import LiteQSM

# An option without a row here fails the last test.
STUDY_OPTIONS = {
    "--coverage": ["100,200"],
    "--order": ["T+B"],
    "--method": ["tkd"],
    "--dgm-extent": ["40"],
    "--centre": ["1", "2", "3"],
    "--slab-axis": ["1"],
    "--reference": ["white_matter"],
    "--phase-sign": ["-1"],
    "--bipolar": [],
    "--unwrap": ["bestpath"],
    "--preset": ["recommended"],
    "--bgremove": ["vsharp"],
    "--resharp-preset": ["prisma"],
    "--param": ["tkd.threshold=0.2"],
    "--weights": ["xqsm={weights}"],
    "--device": ["cuda"],
    "--threads": ["2"],
}
POOL_OPTIONS = {"--n-procs": ["7"], "--mem": ["3"], "--n-gpus": ["5"]}
# Tried from end to end in tests/workflows/test_run.py.
ELSEWHERE = {
    "--config",
    "--plugin",
    "--dry-run",
    "--write-graph",
    "--reports-only",
    "--no-progress",
}


def parser():
    main = argparse.ArgumentParser()
    subparsers = main.add_subparsers()
    run.add_parser(subparsers)
    return subparsers.choices["run"]


def parse(*options):
    return parser().parse_args(["--bids", "data", *options])


@pytest.mark.parametrize("option", STUDY_OPTIONS)
def test_options_of_the_study_reach_its_configuration(option, tmp_path, monkeypatch):
    monkeypatch.setenv("QSM_WORKFLOWS_WEIGHTS", str(tmp_path))
    weights = tmp_path / "own.safetensors"
    write_checkpoint(weights, LiteQSM(2))
    values = [value.format(weights=weights) for value in STUDY_OPTIONS[option]]
    assert study_config(parse(option, *values)) != study_config(parse())


@pytest.mark.parametrize("option", POOL_OPTIONS)
def test_options_of_the_pool_reach_the_plugin(option):
    gpu = ["--device", "cuda"]
    assert _plugin_args(parse(*gpu, option, *POOL_OPTIONS[option])) != _plugin_args(parse(*gpu))


def test_no_option_is_left_untried():
    groups = {group.title: group for group in parser()._action_groups}
    options = {
        action.option_strings[0]
        for title in ("study", "processing", "execution")
        for action in groups[title]._group_actions
    }
    assert options == set(STUDY_OPTIONS) | set(POOL_OPTIONS) | ELSEWHERE
