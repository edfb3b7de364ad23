import math

import pytest
from traits.api import BaseFloat, BaseInt

from qsm_workflows.cli import run, steps
from qsm_workflows.cli.choices import choose_methods
from qsm_workflows.networks.checkpoints import write_checkpoint
from qsm_workflows.networks.ir2qsm import IR2QSM
from qsm_workflows.networks.lite import LiteQSM
from qsm_workflows.workflows.methods import (
    _STEPS,
    _WIRED,
    BACKGROUND_REMOVALS,
    METHODS,
    UNWRAPPINGS,
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
        ({"tkd": {"threshold": 3}}, "^tkd.threshold cannot be 3: .* above 0 and below 2/3$"),
        ({"medi": {"max_inner": 0}}, "^medi.max_inner cannot be 0: it must be a whole number from"),
        ({"vsharp": {"radii": [9, 0]}}, "^vsharp.radii cannot be 0: it must be a finite number"),
        (
            {"vsharp": {"radii": []}},
            r"^vsharp.radii cannot be \[\]: .* a list of at least 1 ",
        ),
        ({"resharp": {"preset": "gee"}}, "^resharp.preset cannot be 'gee': it must be 'study' or"),
        # One of the two is the default.
        ({"star": {"regularisation": 0.1}}, "strong_regularisation must be larger .* 0.005 with"),
        ({"star": {"strong_regularisation": 1e-5}}, "strong_regularisation must be larger"),
        ({"medi": {"regularization": 5}}, "; did you mean regularisation[?]$"),
        ({"medii": {"b0": 7}}, "; did you mean medi[?]$"),
        ({"tkd": {"quux": 3}}, "it has pad, threshold$"),
        # What the graph connects is no parameter.
        ({"tkd": {"in_file": "x.nii"}}, "no parameter 'in_file'"),
    ],
)
def test_unknown_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        check_parameters(parameters)


def numbers():
    """Every number that a user may set: step, name of the input, and its trait."""
    interfaces = {**_STEPS, **UNWRAPPINGS}
    for methods in (BACKGROUND_REMOVALS, METHODS):
        interfaces |= {name: method.interface for name, method in methods.items()}
    for step, interface in interfaces.items():
        for name, trait in interface.input_spec().traits().items():
            if name not in _WIRED and isinstance(trait.trait_type, BaseFloat | BaseInt):
                yield pytest.param(step, name, trait, id=f"{step}.{name}")


NUMBERS = list(numbers())


def test_numbers_are_found():
    assert len(NUMBERS) > 90


@pytest.mark.parametrize(("step", "name", "trait"), NUMBERS)
def test_no_number_takes_what_no_algorithm_does(step, name, trait):
    impossible = [math.nan, math.inf, -math.inf]
    if (step, name) != ("refine", "margin"):  # negative to shrink the mask
        impossible.append(-1)
    for value in impossible:
        with pytest.raises(ValueError, match=f"^{step}.{name} cannot be {value}: it must be a "):
            check_parameters({step: {name: value}})
    check_parameters({step: {name: trait.default if trait.usedefault else 3}})


def test_choices_of_the_command_line_are_the_methods_there_are():
    assert tuple(METHODS) == run.ALL_METHODS
    by_default = tuple(name for name, method in METHODS.items() if method.by_default)
    assert by_default == run._STUDY_METHODS
    assert tuple(BACKGROUND_REMOVALS) == run.BACKGROUND_REMOVALS
    for step, known in (("bgremove", BACKGROUND_REMOVALS), ("invert", METHODS)):
        nodes = {method.name: steps._load(method.interface) for method in steps._STEPS[step][1]}
        assert {name: method.interface for name, method in known.items()}.items() <= nodes.items()


def test_methods_of_a_study_that_asks_for_none(monkeypatch, tmp_path):
    monkeypatch.setenv("QSM_WORKFLOWS_WEIGHTS", str(tmp_path))
    assert choose_methods(None, {})[0][:3] == ("tkd", "ilsqr", "medi")
    assert "tv" not in choose_methods(None, {})[0]
    assert choose_methods(["tv"], {}) == (("tv",), {})


def test_networks_of_a_study_are_those_with_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("QSM_WORKFLOWS_WEIGHTS", str(tmp_path))
    methods, weights = choose_methods(None, {})
    assert "xqsmindividual" in methods
    assert "ir2qsm" not in methods
    assert weights["xqsmindividual"].endswith("xqsm-individual.safetensors")
    # One that is not there by default is taken once the user has weights, installed or given.
    write_checkpoint(tmp_path / "ir2qsm.safetensors", IR2QSM(2))
    write_checkpoint(tmp_path / "mine.safetensors", LiteQSM(2))
    methods, weights = choose_methods(None, {"xQSM": str(tmp_path / "mine.safetensors")})
    assert {"xqsmindividual", "xqsm", "ir2qsm"} <= set(methods)
    assert weights["xqsm"].endswith("mine.safetensors")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("deepqsm", b"no weights at all", "damaged or not a file of weights"),
        ("deepqsm", None, "was trained for xqsm, not for deepqsm"),
        ("unet", None, "architecture lite, but unet needs unet"),
        ("xqsmindividual", None, "mode cropped, not for xqsmindividual"),
        ("tkd", None, "weights are for"),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_any_work(name, content, message, tmp_path):
    path = tmp_path / "given.safetensors"
    if content is None:
        write_checkpoint(path, LiteQSM(2), metadata={"method": "xqsm", "mode": "cropped"})
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        choose_methods(None, {name: str(path)})


def test_a_small_network_costs_little(tmp_path):
    path = tmp_path / "small.safetensors"
    write_checkpoint(path, LiteQSM(32))
    published, small = METHODS["xqsm"], METHODS["xqsm"].with_weights(str(path))
    # Though it runs once for each of four mirror images.
    assert small.seconds < 0.4 * published.seconds
    assert small.volumes < 0.2 * published.volumes


def test_sidecars_tell_defaults_and_changes():
    parameters = node_parameters(METHODS["tkd"].interface, {"threshold": 0.2})
    assert parameters["threshold"] == 0.2
    assert "pad" in parameters
    assert not {"in_file", "mask", "device", "num_threads"} & set(parameters)
