"""Running a graph: settings of Nipype, a sturdier process pool, progress, logs, failures."""

import getpass
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from nipype import config as nipype_config
from nipype.pipeline import engine as pe
from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer

NIPYPE_LOGGERS = ("nipype.workflow", "nipype.interface", "nipype.utils")


@dataclass(frozen=True)
class NodeFailure:
    """A node that did not finish.

    Attributes
    ----------
    node : str
        Full name of the node.
    reason : str
        Last line of its traceback.
    crash_file : Path
        Text with the node's inputs and the whole traceback.
    """

    node: str
    reason: str
    crash_file: Path


class StudyMultiProc(MultiProcPlugin):
    """Nipype's MultiProc that outlives a killed worker.

    A worker that the system kills, for memory say, breaks the whole pool, and Nipype
    1.11 then waits for its result for ever. Here the nodes that were running fail with
    the reason and the rest goes on in a new pool.
    """

    def _async_callback(self, args):
        try:
            super()._async_callback(args)
        except BrokenProcessPool:
            task = next(task for task, future in self._task_obj.items() if future is args)
            self._taskresult[task] = {
                "result": None,
                "traceback": [
                    "The process of this node, or one beside it, was killed, most often for lack "
                    "of memory; use fewer processes (--n-procs) or tell how much there is (--mem)"
                ],
                "taskid": task,
            }

    def _submit_job(self, node, updatehash=False):
        try:
            return super()._submit_job(node, updatehash)
        except BrokenProcessPool:
            self.pool = ProcessPoolExecutor(
                max_workers=self.processors,
                initializer=process_initializer,
                initargs=(self._cwd,),
                mp_context=get_context(self.plugin_args.get("mp_context")),
            )
            return super()._submit_job(node, updatehash)


def configure_nipype(crash_dir: Path) -> None:
    """Set Nipype up for a study; call it before any workflow is built.

    Workflows copy the configuration when they are made, so a later call has no effect.
    """
    # Nipype's SLURM plugin and crash reports ask for these without looking.
    os.environ.setdefault("LOGNAME", getpass.getuser())
    nipype_config.update_config(
        {
            "execution": {
                # The default of 2 s a scheduling round would be most of the run.
                "poll_sleep_duration": 0.05,
                "crashfile_format": "txt",
                "crashdump_dir": str(crash_dir),
                "stop_on_first_crash": False,
                "create_report": False,
                "hash_method": "content",
                "remove_unnecessary_outputs": False,
                "check_version": False,
            },
            # Nipype's own log file hangs MultiProc with filelock ≥ 3.30.
            "logging": {"log_to_file": False},
        }
    )


@contextmanager
def nipype_log(log_file: Path):
    """Send what Nipype logs to a file instead of the console."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(log_file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    loggers = [logging.getLogger(name) for name in NIPYPE_LOGGERS]
    before = [(logger, logger.handlers[:], logger.propagate) for logger in loggers]
    try:
        for logger in loggers:
            logger.handlers, logger.propagate = [handler], False
        yield
    finally:
        for logger, handlers, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
        handler.close()


def run_workflow(
    workflow: pe.Workflow,
    *,
    plugin: str,
    plugin_args: Mapping[str, Any],
    crash_dir: Path,
    on_status: Callable[[pe.Node, str], None],
) -> list[NodeFailure]:
    """Run a graph to its end and tell which nodes failed.

    Parameters
    ----------
    workflow : nipype Workflow
    plugin : str
        Nipype plugin; ``MultiProc`` is replaced by :class:`StudyMultiProc`.
    plugin_args : mapping
        Arguments of the plugin.
    crash_dir : Path
        Where :func:`configure_nipype` had crash files written.
    on_status : callable
        Called with a node and ``start``, ``end`` or ``exception``.

    Raises
    ------
    RuntimeError
        If the graph could not be run at all.
    """
    arguments = {**plugin_args, "status_callback": on_status}
    known = set(crash_dir.glob("crash-*.txt"))
    runner: Any = plugin
    if plugin == "MultiProc":
        runner = StudyMultiProc({"mp_context": "forkserver", **arguments})
    try:
        workflow.run(plugin=runner, plugin_args=arguments)
    except Exception as error:
        # Nipype ends a run with failed nodes by raising; which they are is in their files.
        failures = read_crashes(set(crash_dir.glob("crash-*.txt")) - known)
        if not failures:
            raise RuntimeError(f"the workflow could not be run: {error}") from error
        return failures
    return []


def read_crashes(files: Iterable[Path]) -> list[NodeFailure]:
    """Node and reason of each of Nipype's crash files."""
    return [_read_crash(path) for path in sorted(files)]


def _read_crash(path: Path) -> NodeFailure:
    text = path.read_text(encoding="utf-8", errors="replace")
    node = re.search(r"^Node: (.+)$", text, re.MULTILINE)
    errors = re.findall(
        r"^\s*((?:[\w.]+(?:Error|Exception|Warning|NotPresent))(?:: .*)?)$", text, re.M
    )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return NodeFailure(
        node.group(1) if node else path.stem,
        errors[-1] if errors else (lines[-1] if lines else "no reason was recorded"),
        path,
    )
