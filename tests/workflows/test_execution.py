"""Running of graphs: a killed worker, warnings of nodes, reasons of failures."""

import os
import sys

import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline import engine as pe

from qsm_workflows.interfaces.outputs import SaveDerivative
from qsm_workflows.workflows.execution import configure_nipype, read_crashes, run_workflow


def warn_and_pass(value):
    import logging

    logging.getLogger("qsm_workflows.algorithms.test").warning("did not converge")
    return value


def kill_own_process(value):
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)
    return value


def lose_own_folder(value):
    import os
    import shutil

    shutil.rmtree(os.getcwd())
    raise ValueError("the folder is gone")


def take_memory(value):
    return len(bytearray(400_000_000))


def write_file(value):
    from pathlib import Path

    path = Path("made.txt").absolute()
    path.write_text(str(value))
    return str(path)


def fail(value):
    raise ValueError(f"the value {value} is wrong; use another")


def node(name, function):
    interface = Function(input_names=["value"], output_names=["out"], function=function)
    interface.inputs.value = 1
    return pe.Node(interface, name=name)


@pytest.fixture
def run(tmp_path):
    crash_dir = tmp_path / "crashes"
    configure_nipype(crash_dir)

    def run(*nodes, plugin="MultiProc"):
        workflow = pe.Workflow(name="wf", base_dir=str(tmp_path))
        workflow.add_nodes(list(nodes))
        seen = {"status": [], "reports": {}}
        failures = run_workflow(
            workflow,
            plugin=plugin,
            plugin_args={"n_procs": 1, "memory_gb": 4, "raise_insufficient": False},
            crash_dir=crash_dir,
            log_file=tmp_path / "nipype.log",
            on_status=lambda node, status: seen["status"].append((node.name, status)),
            on_report=lambda node, report: seen["reports"].update({node.name: report}),
        )
        return failures, seen

    return run


def test_killed_worker_fails_its_node_and_not_the_run(run):
    failures, seen = run(node("killed", kill_own_process), node("passed", warn_and_pass))
    assert [failure.node for failure in failures] == ["wf.killed"]
    assert "memory" in failures[0].reason
    assert ("passed", "end") in seen["status"]


def test_node_whose_folder_is_gone_fails_and_not_the_run(run):
    failures, seen = run(node("lost", lose_own_folder), node("passed", warn_and_pass))
    assert [failure.node for failure in failures] == ["wf.lost"]
    assert ("passed", "end") in seen["status"]


def test_warnings_of_a_worker_reach_the_parent(run):
    failures, seen = run(node("passed", warn_and_pass))
    assert failures == []
    assert seen["reports"]["passed"].warnings == ("did not converge",)


def test_what_is_made_is_saved_before_more_is_made(tmp_path):
    configure_nipype(tmp_path)
    workflow = pe.Workflow(name="wf", base_dir=str(tmp_path))
    for number in range(3):
        save = pe.Node(SaveDerivative(out_path=str(tmp_path / f"{number}.txt")), f"save{number}")
        workflow.connect(node(f"make{number}", write_file), "out", save, "in_file")
    ended = []
    failures = run_workflow(
        workflow,
        plugin="MultiProc",
        plugin_args={"n_procs": 1, "memory_gb": 4},
        crash_dir=tmp_path,
        log_file=tmp_path / "nipype.log",
        on_status=lambda node, status: ended.append(node.name) if status == "end" else None,
        on_report=lambda node, report: None,
    )
    assert failures == []
    made = [name for name in ended if name.startswith("make")]
    assert len(made) == 3
    assert ended == [name for make in made for name in (make, make.replace("make", "save"))]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of one node")
def test_memory_of_a_node_is_its_own(run):
    _, seen = run(node("large", take_memory), node("small", warn_and_pass))
    peaks = {name: report.peak_gb for name, report in seen["reports"].items()}
    assert peaks["large"] - peaks["small"] == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize("plugin", ["MultiProc", "Linear"])
def test_reason_of_a_failure_is_that_of_the_node(run, plugin):
    failures, _ = run(node("broken", fail), plugin=plugin)
    assert failures[0].reason == "ValueError: the value 1 is wrong; use another"
    assert read_crashes([failures[0].crash_file])[0].node == "wf.broken"
    assert os.path.isfile(failures[0].crash_file)


def test_a_user_without_a_name_runs_nodes(monkeypatch, tmp_path):
    """As in a container that runs as the number of a user outside."""

    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")
    # After it was set, so that what the code sets is taken back.
    monkeypatch.delenv("LOGNAME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    configure_nipype(tmp_path)
    assert os.environ["LOGNAME"] == f"UID{os.getuid()}"
