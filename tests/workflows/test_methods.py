import pytest

from qsm_workflows.cli import run, steps
from qsm_workflows.cli.study import choose_methods
from qsm_workflows.workflows.methods import (
    BACKGROUND_REMOVALS,
    METHODS,
    check_parameters,
    node_parameters,
)


def test_known_parameters_pass():
    check_parameters({"medi": {"regularisation": 500}, "resharp": {"radius": 4}, "bet": {}})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mendi": {}}, "no such step"),
        ({"medi": {"lambda": 500}}, "regularisation"),
        ({"medi": {"regularisation": "much"}}, "cannot be 'much'"),
        # What the graph connects is no parameter.
        ({"tkd": {"in_file": "x.nii"}}, "no parameter 'in_file'"),
    ],
)
def test_unknown_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        check_parameters(parameters)


def test_choices_of_the_command_line_are_the_methods_there_are():
    assert tuple(METHODS) == run.ALL_METHODS
    assert tuple(BACKGROUND_REMOVALS) == run.BACKGROUND_REMOVALS
    for step, known in (("bgremove", BACKGROUND_REMOVALS), ("invert", METHODS)):
        nodes = {method.name: steps._load(method.interface) for method in steps._STEPS[step][1]}
        assert {name: method.interface for name, method in known.items()}.items() <= nodes.items()


def test_methods_of_a_study_that_asks_for_none(monkeypatch, tmp_path):
    monkeypatch.setenv("QSM_WORKFLOWS_WEIGHTS", str(tmp_path))
    assert choose_methods(None, {})[0][:3] == ("tkd", "ilsqr", "medi")
    assert "tv" not in choose_methods(None, {})[0]
    assert choose_methods(["tv"], {}) == (("tv",), {})


def test_sidecars_tell_defaults_and_changes():
    parameters = node_parameters(METHODS["tkd"].interface, {"threshold": 0.2})
    assert parameters["threshold"] == 0.2
    assert "pad" in parameters
    assert not {"in_file", "mask", "device", "num_threads"} & set(parameters)
