"""A study from its dataset to its tables: prepare, run, measure."""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline import engine as pe

from qsm_workflows import __version__
from qsm_workflows.bids.checks import check_scan
from qsm_workflows.bids.companions import find_companions
from qsm_workflows.bids.dataset import write_dataset
from qsm_workflows.bids.names import BEFORE_THE_RUN, Derivatives
from qsm_workflows.bids.scan import Scan
from qsm_workflows.bids.sidecars import Provenance, read_json
from qsm_workflows.bids.writing import write_json

from .config import StudyConfig
from .earlier import check_earlier_maps
from .execution import NodeFailure, NodeReport, configure_nipype, nipype_log, run_workflow
from .locks import hold_scans
from .plan import ScanPlan, plan_scan
from .study import init_measurement_wf, init_scan_wf, init_study_wf


@dataclass(frozen=True)
class ScanFailure:
    """Something that kept a scan from being complete.

    Attributes
    ----------
    scan : Scan
    reason : str
        What is wrong and what to do about it.
    step : str
        Node that failed; empty when the scan was refused before the run.
    """

    scan: Scan
    reason: str
    step: str = ""


@dataclass(frozen=True)
class Preparation:
    """What is to be run, and what is not.

    Attributes
    ----------
    plans : list of ScanPlan
    failures : list of ScanFailure
        Scans that were refused.
    """

    plans: list[ScanPlan] = field(default_factory=list)
    failures: list[ScanFailure] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How graphs are run.

    Attributes
    ----------
    work_dir : Path
        Where intermediate results are kept; a later run takes up what is still valid.
    plugin : str
        Nipype plugin.
    plugin_args : mapping
        Its arguments.
    """

    work_dir: Path
    plugin: str = "MultiProc"
    plugin_args: Mapping[str, Any] = field(default_factory=dict)


Progress = Callable[[pe.Node, str], None]
"""Called with a node and ``start``, ``end`` or ``exception``."""


def prepare(
    scans: Iterable[Scan],
    config: StudyConfig,
    provenance: Provenance,
    *,
    mask_pattern: str | None = None,
    labels_pattern: str | None = None,
    use_given_masks: bool = True,
) -> Preparation:
    """Check every scan and place its slabs; a bad scan does not stop the others.

    Parameters
    ----------
    scans : iterable of Scan
    config : StudyConfig
    provenance : Provenance
    mask_pattern, labels_pattern : str, optional
        Patterns of masks and labels; see :func:`qsm_workflows.bids.companions.find_companions`.
    use_given_masks : bool
        Whether a mask found in derivatives is used, or the brain always extracted.
    """
    preparation = Preparation()
    for found in scans:
        sign = found.stated_phase_sign if config.phase_sign is None else config.phase_sign
        scan = replace(found, stated_phase_sign=sign)
        try:
            companions = find_companions(
                scan,
                provenance.bids_dir,
                mask_pattern=mask_pattern,
                labels_pattern=labels_pattern,
                exclude=provenance.out_dir,
            )
            if not use_given_masks:
                companions = replace(companions, mask=None)
            problems = check_scan(
                scan,
                companions,
                reference=config.reference,
                mask_method=config.mask_method,
            )
            errors = [str(problem) for problem in problems if problem.severity == "error"]
            if errors:
                raise ValueError("; ".join(errors))
            warnings = [problem.text for problem in problems]
            plan = plan_scan(scan, companions, config, warnings)
            check_earlier_maps(plan, config, provenance)
            preparation.plans.append(plan)
        except (ValueError, OSError) as error:
            preparation.failures.append(ScanFailure(scan, str(error)))
    return preparation


def count_nodes(workflow: pe.Workflow) -> int:
    """Nodes of a graph that do something."""
    graph = workflow._create_flat_graph()
    return sum(not isinstance(node.interface, IdentityInterface) for node in graph.nodes)


def count_study_nodes(
    plans: Sequence[ScanPlan], config: StudyConfig, provenance: Provenance
) -> int:
    """Nodes that a study would run; every scan's graph has the same."""
    first = [init_scan_wf(plan=plan, config=config, provenance=provenance) for plan in plans[:1]]
    return len(plans) * sum(count_nodes(workflow) for workflow in first)


def study_folder(work_dir: Path, provenance: Provenance) -> Path:
    """Folder of the intermediate results of one dataset and one output.

    Participants of one name in two datasets must not share nodes.
    """
    folders = f"{provenance.bids_dir.resolve()}\n{provenance.out_dir.resolve()}"
    return work_dir / f"{provenance.bids_dir.name}_{sha256(folders.encode()).hexdigest()[:8]}"


def run_study(
    plans: Sequence[ScanPlan],
    config: StudyConfig,
    provenance: Provenance,
    execution: Execution,
    start: Callable[[int], Progress],
) -> list[ScanFailure]:
    """Run the study and measure its maps.

    Parameters
    ----------
    plans : sequence of ScanPlan
    config : StudyConfig
    provenance : Provenance
    execution : Execution
    start : callable
        Called with the number of nodes before each graph is run; gives what to call
        whenever a node starts or ends.

    Returns
    -------
    list of ScanFailure
        Nodes that failed, and scans that another run works on.

    Raises
    ------
    RuntimeError
        If a graph could not be run at all.
    """
    write_dataset(provenance)
    lock_file = Derivatives(provenance.out_dir).logs / "running.lock"
    with hold_scans(lock_file, [plan.scan.prefix for plan in plans]) as free:
        failures = [
            ScanFailure(
                plan.scan,
                f"another run is writing it to {provenance.out_dir}; wait until that ends, or "
                "choose another output folder",
            )
            for plan in plans
            if plan.scan.prefix not in free
        ]
        held = [plan for plan in plans if plan.scan.prefix in free]
        if held:
            failures += _run_graphs(held, config, provenance, execution, start)
    return failures


def _run_graphs(
    plans: Sequence[ScanPlan],
    config: StudyConfig,
    provenance: Provenance,
    execution: Execution,
    start: Callable[[int], Progress],
) -> list[ScanFailure]:
    """Run the graph of the scans, then that of the measurement; gives the nodes that failed."""
    names = Derivatives(provenance.out_dir)
    work_dir = study_folder(execution.work_dir, provenance)
    work_dir.mkdir(parents=True, exist_ok=True)
    logs = _ScanLogs(names, plans, provenance)
    failures: list[ScanFailure] = []
    log_file = names.logs / "nipype.log"
    # Crash files of another run must not be taken for those of this one.
    with nipype_log(log_file), TemporaryDirectory(prefix="crashes_", dir=work_dir) as folder:
        crash_dir = Path(folder)
        configure_nipype(crash_dir)
        for init_wf in (partial(init_study_wf, config=config), init_measurement_wf):
            workflow = init_wf(plans=plans, provenance=provenance, work_dir=work_dir)
            if workflow is None:
                continue
            progress = start(count_nodes(workflow))

            def on_status(node: pe.Node, status: str, progress: Progress = progress) -> None:
                logs.write(node, status)
                progress(node, status)

            failed = run_workflow(
                workflow,
                plugin=execution.plugin,
                plugin_args=execution.plugin_args,
                crash_dir=crash_dir,
                log_file=log_file,
                on_status=on_status,
                on_report=logs.note,
            )
            failures += [logs.report(failure) for failure in failed]
    return failures


class _ScanLogs:
    """One log file a scan: what ran, when, and what failed; and what was warned of, by step."""

    def __init__(
        self, names: Derivatives, plans: Sequence[ScanPlan], provenance: Provenance
    ) -> None:
        self._names = names
        self._plans = {plan.node_name: plan for plan in plans}
        self._started: dict[str, float] = {}
        self._warnings: dict[str, dict[str, list[str]]] = {}
        names.logs.mkdir(parents=True, exist_ok=True)
        for plan in plans:
            self._append(plan, f"qsm-workflows {__version__}: {provenance.command_line}")
            for path in plan.scan.images:
                self._append(plan, f"input {path}")
            for warning in (*plan.warnings, *plan.remarks):
                self._append(plan, f"warning: {warning}")
            # Steps that are not run again said what they said before.
            told = read_json(names.warnings(plan.scan.prefix))
            # The page is shared: where the dataset lies is nobody's business.
            inside = [w.replace(f"{provenance.bids_dir}/", "") for w in plan.warnings]
            self._warnings[plan.node_name] = told | {BEFORE_THE_RUN: inside}
            self._write_warnings(plan)

    def write(self, node: pe.Node, status: str) -> None:
        """Note that a node started, ended or failed."""
        plan = self._plan_of(node.fullname)
        if plan is None:
            return
        step = _step(node.fullname)
        took = ""
        if status == "start":
            self._started[node.fullname] = time.monotonic()
        elif node.fullname in self._started:
            took = f" after {time.monotonic() - self._started.pop(node.fullname):.1f} s"
        self._append(plan, f"{status} {step}{took}")

    def note(self, node: pe.Node, report: NodeReport) -> None:
        """Note what a node's code warned of, and the memory that it took."""
        plan = self._plan_of(node.fullname)
        if plan is None:
            return
        step = _step(node.fullname)
        for warning in report.warnings:
            self._append(plan, f"warning: {step}: {warning}")
        told = self._warnings[plan.node_name]
        if not report.was_kept and told.get(step, []) != list(report.warnings):
            told[step] = list(report.warnings)
            self._write_warnings(plan)
        if report.seconds is not None and report.peak_gb is not None:
            cost = f"{report.seconds:.2f} s, at most {report.peak_gb:.2f} GB"
            self._append(plan, f"cost of {step}: {cost}")

    def report(self, failure: NodeFailure) -> ScanFailure:
        """Note a failure, keep its crash file with the logs and tell whose it is."""
        plan = self._plan_of(failure.node)
        if plan is None:
            raise RuntimeError(f"{failure.node} failed: {failure.reason}")
        kept = self._names.logs / failure.crash_file.name
        shutil.copyfile(failure.crash_file, kept)
        self._append(plan, f"failed {_step(failure.node)}: {failure.reason} (see {kept.name})")
        return ScanFailure(plan.scan, failure.reason, _step(failure.node))

    def _write_warnings(self, plan: ScanPlan) -> None:
        told = {step: said for step, said in self._warnings[plan.node_name].items() if said}
        write_json(self._names.warnings(plan.scan.prefix), told)

    def _plan_of(self, fullname: str) -> ScanPlan | None:
        return next(
            (self._plans[part] for part in fullname.split(".") if part in self._plans), None
        )

    def _append(self, plan: ScanPlan, text: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with self._names.log(plan.scan).open("a", encoding="utf-8") as log:
            log.write(f"{stamp} {text}\n")


def _step(fullname: str) -> str:
    """Name of a node within its scan, such as ``bt_wf.cov100_wf.medi_wf.medi``."""
    return ".".join(fullname.split(".")[2:]) or fullname


def draw_graphs(
    plans: Sequence[ScanPlan], config: StudyConfig, provenance: Provenance, work_dir: Path
) -> list[Path]:
    """Draw the graph of the first scan, and of one coverage of each order.

    The graph of a whole study is too wide to be read; all scans have the same.

    Raises
    ------
    RuntimeError
        If Graphviz is not installed.
    """
    if shutil.which("dot") is None:
        raise RuntimeError("--write-graph needs Graphviz: install it so that 'dot' is found")
    folder = work_dir / "graphs"
    folder.mkdir(parents=True, exist_ok=True)
    coverage = config.coverages[0].label
    drawn = []
    with nipype_log(Derivatives(provenance.out_dir).logs / "nipype.log"):
        for plan in plans[:1]:
            scan_wf = init_scan_wf(plan=plan, config=config, provenance=provenance)
            branches = ("bt_wf", "tb_wf", "total_wf")
            names = ["preprocessing_wf", *(f"{branch}.cov{coverage}_wf" for branch in branches)]
            for part in (scan_wf, *map(scan_wf.get_node, names)):
                if part is not None:
                    path = folder / f"{part.fullname}.dot"
                    drawn.append(part.write_graph(str(path), graph2use="colored", format="svg"))
    return [Path(path) for path in drawn]
