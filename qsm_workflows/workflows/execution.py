"""Running a graph: settings of Nipype, a sturdier process pool, progress, logs, failures."""

import gc
import getpass
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from traceback import format_exception
from typing import Any

import networkx as nx
from nipype import config as nipype_config
from nipype.pipeline import engine as pe
from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer, run_node

from .slurm import StudySLURM

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


@dataclass(frozen=True)
class NodeReport:
    """What a worker tells of a node that it ran.

    Attributes
    ----------
    warnings : tuple of str
        What our own code warned of.
    seconds : float or None
        Time that the interface itself ran; None when it did not end.
    peak_gb : float or None
        Largest memory of the worker while it ran the node; None where the system does not tell.
    was_kept : bool
        Whether the result is that of an earlier run.
    """

    warnings: tuple[str, ...] = ()
    seconds: float | None = None
    peak_gb: float | None = None
    was_kept: bool = False


class StudyMultiProc(MultiProcPlugin):
    """Nipype's MultiProc with workers that keep to the log and may be killed.

    A worker that the system kills, for memory say, breaks the whole pool, and Nipype
    1.11 then waits for its result for ever, as it does for that of a node whose folder is
    gone. Here the nodes that were running fail with the reason and the rest goes on, after a
    kill in a new pool. What happens in a worker comes back to
    the parent, which knows whose node it was.

    Parameters
    ----------
    plugin_args : mapping
        Those of MultiProc.
    log_file : Path
        Where workers write what Nipype logs.
    on_report : callable
        Called with a node and its report.
    """

    def __init__(
        self,
        plugin_args: Mapping[str, Any],
        log_file: Path,
        on_report: Callable[[pe.Node, NodeReport], None],
    ) -> None:
        super().__init__({"mp_context": "forkserver", **plugin_args})
        self._log_file, self._on_report = log_file, on_report
        self._nodes: dict[int, pe.Node] = {}
        self._steps_after: dict[pe.Node, int] = {}
        self._renew_pool()

    def _renew_pool(self) -> None:
        self.pool.shutdown(wait=False)
        self.pool: ProcessPoolExecutor = ProcessPoolExecutor(
            max_workers=self.processors,
            initializer=_start_worker,
            initargs=(self._cwd, self._log_file),
            mp_context=get_context(self.plugin_args["mp_context"]),
        )

    def stop(self) -> None:
        """End the workers, in the middle of a node too: nobody waits for it any more."""
        for process in list((self.pool._processes or {}).values()):
            process.terminate()
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _submit_job(self, node, updatehash=False):
        self._taskid += 1
        work = partial(run_and_report, node, updatehash, self._taskid)
        try:
            future = self.pool.submit(work)
        except BrokenProcessPool:
            self._renew_pool()
            future = self.pool.submit(work)
        self._task_obj[self._taskid] = future
        self._nodes[self._taskid] = node
        future.add_done_callback(partial(self._finish, self._taskid))
        return self._taskid

    def _prerun_check(self, graph):
        super()._prerun_check(graph)
        for node in reversed(list(nx.topological_sort(graph))):
            after = [self._steps_after[successor] + 1 for successor in graph.successors(node)]
            self._steps_after[node] = max(after, default=0)

    def _sort_jobs(self, jobids, scheduler="tsort"):
        """What is begun is brought to its end first: a run that stops early leaves whole scans."""
        ready = super()._sort_jobs(jobids, scheduler)
        return sorted(ready, key=lambda job: self._steps_after[self.procs[job]])

    def _finish(self, task: int, future: Future) -> None:
        try:
            result, report = future.result()
        except BrokenProcessPool:
            reason = (
                "MemoryError: the process of this node, or one beside it, was killed, most often "
                "for lack of memory; run fewer at once (--n-procs) or allow less memory (--mem)"
            )
            result, report = _failure(task, [reason]), NodeReport()
        except Exception as error:
            # Nipype reads what a failed node left behind, and raises where that is gone too.
            result, report = _failure(task, format_exception(error)), NodeReport()
        self._on_report(self._nodes.pop(task), report)
        self._taskresult[task] = result


def _failure(task: int, traceback: list[str]) -> dict:
    """Nipype's result of a node that has none."""
    return {"result": None, "traceback": traceback, "taskid": task}


def run_and_report(node: pe.Node, updatehash: bool, task: int) -> tuple[dict, NodeReport]:
    """Run a node in a worker; returns Nipype's result and our own report."""
    handler = _Collector(logging.WARNING)
    logger = logging.getLogger("qsm_workflows")
    logger.addHandler(handler)
    _forget_peak_memory()
    start = datetime.now(UTC)
    try:
        result = run_node(node, updatehash, task)
        runtime = getattr(result["result"], "runtime", None)
        seconds = getattr(runtime, "duration", None)
        was_kept = runtime is not None and _time(runtime.startTime) < start
        return result, NodeReport(tuple(handler.messages), seconds, _peak_memory_gb(), was_kept)
    finally:
        logger.removeHandler(handler)


def _time(text: str) -> datetime:
    """Time as Nipype writes it, in UTC whether it says so or not."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class _Collector(logging.Handler):
    """Keeps the messages that it is sent, each once."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.messages: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.messages[record.getMessage()] = None


# Linux keeps the peak of a process's memory and can start to count again.
_PROCESS = Path("/proc/self")


def _forget_peak_memory() -> None:
    with suppress(OSError):
        (_PROCESS / "clear_refs").write_text("5")


def _peak_memory_gb() -> float | None:
    try:
        status = (_PROCESS / "status").read_text()
    except OSError:
        return None
    peak = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(peak[1]) * 1024 / 1e9 if peak else None


def _start_worker(cwd: str, log_file: Path) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    process_initializer(cwd)
    _log_to(log_file)


def _end_with_parent() -> None:
    """A run that is killed cannot end its workers, which would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _log_to(log_file: Path) -> logging.Handler:
    """Send what Nipype logs in this process to a file instead of the console."""
    handler = logging.FileHandler(log_file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in NIPYPE_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
    return handler


def configure_nipype(crash_dir: Path) -> None:
    """Set Nipype up for a study; call it before any workflow is built.

    Workflows copy the configuration when they are made, so a later call has no effect.
    """
    # Nipype's SLURM plugin and crash reports ask for these without looking.
    os.environ.setdefault("LOGNAME", _login_name())
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


def _login_name() -> str:
    """Name of the user; a container may run as a number that has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"UID{os.getuid()}"


@contextmanager
def nipype_log(log_file: Path):
    """Send what Nipype logs to a file instead of the console."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    loggers = [logging.getLogger(name) for name in NIPYPE_LOGGERS]
    before = [(logger, logger.handlers[:], logger.propagate) for logger in loggers]
    handler = _log_to(log_file)
    try:
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
    log_file: Path,
    on_status: Callable[[pe.Node, str], None],
    on_report: Callable[[pe.Node, NodeReport], None],
) -> list[NodeFailure]:
    """Run a graph to its end and tell which nodes failed.

    Parameters
    ----------
    workflow : nipype Workflow
    plugin : str
        Nipype plugin; ``MultiProc`` is replaced by :class:`StudyMultiProc`, ``SLURM`` by
        :class:`qsm_workflows.workflows.slurm.StudySLURM`.
    plugin_args : mapping
        Arguments of the plugin.
    crash_dir : Path
        Where :func:`configure_nipype` had crash files written.
    log_file : Path
        Where workers write what Nipype logs.
    on_status : callable
        Called with a node and ``start``, ``end`` or ``exception``.
    on_report : callable
        Called with a node and its report; by MultiProc only.

    Raises
    ------
    RuntimeError
        If the graph could not be run at all.
    """
    arguments = {**plugin_args, "status_callback": on_status}
    known = set(crash_dir.glob("crash-*.txt"))
    runner: Any = plugin
    if plugin == "MultiProc":
        runner = StudyMultiProc(arguments, log_file, on_report)
    elif plugin == "SLURM":
        runner = StudySLURM(arguments)
    # Nipype collects garbage for every node that it submits. What is there already is no
    # garbage: frozen, it is not looked through each time.
    gc.freeze()
    try:
        workflow.run(plugin=runner, plugin_args=arguments)
    except Exception as error:
        # Nipype ends a run with failed nodes by raising; which they are is in their files.
        failures = read_crashes(set(crash_dir.glob("crash-*.txt")) - known)
        if not failures:
            raise RuntimeError(f"the workflow could not be run: {error}") from error
        return failures
    except BaseException:
        if isinstance(runner, StudyMultiProc):
            runner.stop()
        raise
    finally:
        gc.unfreeze()
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
