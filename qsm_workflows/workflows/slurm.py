"""Nodes as jobs of a SLURM cluster."""

import subprocess
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from time import monotonic
from typing import Any

from nipype.pipeline import engine as pe
from nipype.pipeline.plugins.base import SGELikeBatchManagerBase

SECONDS_BETWEEN_LOOKS = 2
# A file that another machine wrote may take this long to be seen here.
SECONDS_FOR_A_RESULT = 60


class StudySLURM(SGELikeBatchManagerBase):
    """Jobs that ask for what their node needs, and may be refused or killed.

    Nipype 1.11 asks for neither cores nor memory, which on many clusters gives each job a whole
    machine, calls ``squeue`` for each job twenty times a second, and ends the whole run with an
    error of its own when SLURM refuses or kills a job. Partition, account, time and such are
    taken by ``sbatch`` from its own variables, ``SBATCH_PARTITION`` and so on.

    Parameters
    ----------
    plugin_args : mapping
        Those of Nipype's batch systems.
    """

    def __init__(self, plugin_args: Mapping[str, Any]) -> None:
        super().__init__("#!/bin/bash", plugin_args)
        self._ended: set[int] = set()
        self._next_look = 0.0

    def run(self, graph, config, updatehash=False):
        """Run a graph to its end; one that stops early takes its jobs out of the queue."""
        config["execution"]["poll_sleep_duration"] = SECONDS_BETWEEN_LOOKS
        config["execution"]["job_finished_timeout"] = SECONDS_FOR_A_RESULT
        try:
            super().run(graph, config, updatehash=updatehash)
        finally:
            if self._pending:
                subprocess.run(["scancel", *map(str, self._pending)], check=False)

    def _submit_batchtask(self, scriptfile, node):
        # Of a job that never starts, the result of an earlier run would be taken for its own.
        for result in Path(node.output_dir()).glob("result_*.pklz"):
            result.unlink()
        command = ["sbatch", "--parsable", *job_options(node), f"--job-name={node.fullname}"]
        command += [f"--output={Path(scriptfile).with_suffix('.out')}", scriptfile]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise RuntimeError(f"SLURM refused {node.fullname}: {answer.stderr.strip()}")
        # On some clusters the name of the cluster follows.
        job = int(answer.stdout.split(";")[0])
        self._pending[job] = node.output_dir()
        return job

    def _is_pending(self, taskid):
        if monotonic() >= self._next_look:
            self._next_look = monotonic() + SECONDS_BETWEEN_LOOKS
            self._ended = self._find_ended()
        return taskid not in self._ended

    def _find_ended(self) -> set[int]:
        """Jobs of this run that SLURM lists no more; none while it does not answer."""
        command = ["squeue", "--me", "--noheader", "--format=%A"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode:
            return set()
        return self._pending.keys() - set(map(int, answer.stdout.split()))

    def _get_result(self, taskid):
        result = super()._get_result(taskid)
        # Nipype's own, of a job that left no result, is one text and breaks its crash file.
        if result and isinstance(result["traceback"], str):
            reason = (
                f"RuntimeError: SLURM ended job {taskid} before its node was done, most often for "
                "lack of time (give more by SBATCH_TIMELIMIT) or memory"
            )
            result["traceback"] = [reason]
        return result


def job_options(node: pe.Node) -> list[str]:
    """Options of ``sbatch`` for what a node declares."""
    options = [f"--cpus-per-task={node.n_procs}", f"--mem={ceil(1000 * node.mem_gb)}M"]
    return [*options, "--gres=gpu:1"] if node.is_gpu_node() else options
