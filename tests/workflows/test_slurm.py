"""Nodes as jobs of SLURM, with stand-ins for its commands that run a job at once or lose it."""

import sys
from itertools import pairwise

import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline import engine as pe

from qsm_workflows.interfaces.inversion import TKD
from qsm_workflows.workflows import slurm
from qsm_workflows.workflows.execution import configure_nipype, run_workflow

SBATCH = """#!/bin/bash
echo "$@" >> {folder}/asked
for script; do :; done
case "$*" in
    *name=wf.after_refused" "*) echo "no node has so much memory" >&2; exit 1 ;;
    *name=wf.waiting" "*) echo $$ >> {folder}/queue ;;
    *name=wf.killed" "* | *comment=lost*) ;;
    *) bash "$script" > {folder}/output 2>&1 ;;
esac
echo "$$;cluster"
"""


def double(value):
    return 2 * value


def fail(value):
    raise ValueError(f"the value {value} is wrong; use another")


def node(name, function=double, **resources):
    interface = Function(input_names=["value"], output_names=["out"], function=function)
    interface.inputs.value = 1
    return pe.Node(interface, name=name, **resources)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Folder of the stand-ins, with what they were asked for."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / "queue").touch()
    for name, text in (
        ("sbatch", SBATCH.format(folder=folder)),
        ("squeue", f"#!/bin/sh\ncat {folder}/queue\n"),
        ("scancel", f'#!/bin/sh\necho "$@" > {folder}/cancelled\n'),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("PYTHONPATH", ":".join(filter(None, sys.path)))
    monkeypatch.setattr(slurm, "SECONDS_BETWEEN_LOOKS", 0.05)
    monkeypatch.setattr(slurm, "SECONDS_FOR_A_RESULT", 0.1)
    return folder


@pytest.fixture
def run(tmp_path):
    """Run a workflow; gives what failed and which nodes ended."""

    def run(*nodes):
        configure_nipype(tmp_path / "crashes")
        workflow = pe.Workflow(name="wf", base_dir=str(tmp_path))
        workflow.add_nodes(list(nodes))
        for first, second in pairwise(nodes):
            if second.name.startswith("after"):
                workflow.connect(first, "out", second, "value")
        ended = []
        failures = run_workflow(
            workflow,
            plugin="SLURM",
            plugin_args={"n_procs": 1, "memory_gb": 4, "raise_insufficient": False},
            crash_dir=tmp_path / "crashes",
            log_file=tmp_path / "nipype.log",
            on_status=lambda node, status: ended.append(node.name) if status == "end" else None,
            on_report=lambda node, report: None,
        )
        return failures, ended

    return run


def test_results_pass_from_job_to_job(cluster, run):
    assert run(node("first"), node("after")) == ([], ["first", "after"])


def test_a_job_asks_for_what_its_node_declares(cluster, run):
    run(node("small", mem_gb=0.25, n_procs=3))
    asked = (cluster / "asked").read_text().split()
    assert {"--cpus-per-task=3", "--mem=250M", "--job-name=wf.small"} <= {*asked}
    assert "--gres=gpu:1" not in asked


def test_a_job_with_a_gpu_asks_for_one():
    assert "--gres=gpu:1" in slurm.job_options(pe.Node(TKD(use_gpu=True), name="tkd"))


def test_failed_and_killed_jobs_are_told_and_the_rest_goes_on(cluster, run):
    failures, ended = run(node("killed"), node("broken", fail), node("first"), node("after"))
    reasons = {failure.node: failure.reason for failure in failures}
    assert reasons.keys() == {"wf.killed", "wf.broken"}
    assert "SBATCH_TIMELIMIT" in reasons["wf.killed"]
    assert reasons["wf.broken"] == "ValueError: the value 1 is wrong; use another"
    assert ended == ["first", "after"]


def test_a_killed_job_does_not_pass_on_the_result_of_an_earlier_run(cluster, run, monkeypatch):
    assert run(node("first"))[0] == []
    monkeypatch.setattr(slurm, "job_options", lambda node: ["--comment=lost"])
    changed = node("first")
    changed.inputs.value = 5
    failures, ended = run(changed)
    assert ([failure.node for failure in failures], ended) == (["wf.first"], [])


def test_a_refused_job_is_told_and_nothing_is_left_in_the_queue(cluster, run):
    with pytest.raises(RuntimeError, match=r"refused.*no node has so much memory"):
        run(node("waiting"), node("first"), node("after_refused"))
    assert (cluster / "cancelled").read_text() == (cluster / "queue").read_text()


def test_jobs_are_waited_for_while_slurm_does_not_answer(cluster, run):
    silent = "#!/bin/sh\n[ -e {0}/asked_once ] || {{ touch {0}/asked_once; exit 1; }}\n"
    (cluster / "squeue").write_text(silent.format(cluster))
    assert run(node("first")) == ([], ["first"])
    assert (cluster / "asked_once").exists()
