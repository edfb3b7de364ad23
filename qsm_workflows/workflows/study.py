"""The whole study: every scan, both orders, all coverages and methods; then the measurement."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path

from nipype.pipeline import engine as pe

from qsm_workflows import __version__
from qsm_workflows.bids.names import Derivatives
from qsm_workflows.bids.sidecars import Provenance, regions_dictionary
from qsm_workflows.interfaces.measurement import MeasureRegions
from qsm_workflows.interfaces.outputs import SaveDerivative
from qsm_workflows.interfaces.phase import SplitComplex

from .branches import init_bt_wf, init_tb_wf
from .config import FULL, TOTAL_FIELD, StudyConfig
from .outputs import SavedMap, branches, saved_maps
from .plan import ScanPlan
from .preprocessing import init_preprocessing_wf
from .resources import memory_gb
from .saving import Saver

_BRANCHES: Mapping[str, Callable[..., pe.Workflow]] = {
    "B+T": init_bt_wf,
    "T+B": init_tb_wf,
    TOTAL_FIELD: partial(init_tb_wf, remove_background=False, name="total_wf"),
}


def study_name() -> str:
    """Name of the study's graph and folder; Nipype does not hash code, so the version is in."""
    return "qsm_" + __version__.replace(".", "_") + "_wf"


def init_study_wf(
    *,
    plans: Sequence[ScanPlan],
    config: StudyConfig,
    provenance: Provenance,
    work_dir: Path,
) -> pe.Workflow:
    """Graph of the whole study: one sub-workflow a scan.

    Parameters
    ----------
    plans : sequence of ScanPlan
    config : StudyConfig
    provenance : Provenance
        Where inputs are and outputs go.
    work_dir : Path
        Where intermediate results are kept.
    """
    workflow = pe.Workflow(name=study_name(), base_dir=str(work_dir))
    workflow.add_nodes(
        [init_scan_wf(plan=plan, config=config, provenance=provenance) for plan in plans]
    )
    return workflow


def init_scan_wf(*, plan: ScanPlan, config: StudyConfig, provenance: Provenance) -> pe.Workflow:
    """Everything of one scan, from echoes to saved susceptibility maps.

    Parameters
    ----------
    plan : ScanPlan
    config : StudyConfig
    provenance : Provenance
    """
    scan, geometry = plan.scan, plan.geometry
    workflow = pe.Workflow(name=plan.node_name)
    preprocessing_wf = init_preprocessing_wf(
        echo_times=scan.echo_times,
        b0=scan.b0,
        phase_units=scan.phase_units,
        phase_sign=scan.phase_sign or 1,
        shape=geometry.shape,
        mask_method=config.mask_method,
        unwrapping=config.unwrapping,
        parameters=config.parameters,
    )
    if scan.real:
        split = pe.Node(
            SplitComplex(
                in_files=[str(path) for path in scan.real],
                imaginary=[str(path) for path in scan.imaginary],
            ),
            name="split_complex",
            mem_gb=memory_gb(prod(geometry.shape), 8 * len(scan.real) + 6),
        )
        made = [("out_magnitudes", "inputnode.magnitude"), ("out_files", "inputnode.phase")]
        workflow.connect([(split, preprocessing_wf, made)])
    else:
        preprocessing_wf.inputs.inputnode.magnitude = [str(path) for path in scan.magnitude]
        preprocessing_wf.inputs.inputnode.phase = [str(path) for path in scan.phase]
    if plan.companions.mask is not None:
        preprocessing_wf.inputs.inputnode.mask = str(plan.companions.mask)
    saver = Saver(workflow, plan, config, provenance)
    saver.save_preprocessed(preprocessing_wf)
    reference = None if plan.reference is None else plan.reference.indices
    for branch, branch_config in branches(config).items():
        branch_wf = _BRANCHES[branch](
            geometry=geometry, config=branch_config, reference_indices=reference
        )
        if plan.companions.labels is not None:
            branch_wf.inputs.inputnode.labels = str(plan.companions.labels)
        workflow.connect(
            [
                (
                    preprocessing_wf,
                    branch_wf,
                    [
                        ("outputnode.total_field", "inputnode.field"),
                        ("outputnode.mask", "inputnode.mask"),
                        ("outputnode.magnitude", "inputnode.magnitude"),
                    ],
                )
            ]
        )
        saver.save_branch(branch_wf, branch, branch_config)
    return workflow


def init_measurement_wf(
    *,
    plans: Sequence[ScanPlan],
    provenance: Provenance,
    work_dir: Path,
) -> pe.Workflow | None:
    """Graph that reads the regions of all maps that the study left; None when there are none.

    It is a graph of its own, run after the study's, because it takes whatever maps there
    are: a node that failed leaves the others to be measured, and a method that is added
    later leaves those of the runs before.

    Parameters
    ----------
    plans : sequence of ScanPlan
    provenance : Provenance
    work_dir : Path
    """
    names = Derivatives(provenance.out_dir)
    workflow = pe.Workflow(name=f"measure_{study_name()}", base_dir=str(work_dir))
    for plan in plans:
        found = saved_maps(plan.scan, names)
        if plan.companions.labels is None or not found:
            continue
        measure = _init_measure_node(plan, names, found)
        save = pe.Node(
            SaveDerivative(
                out_path=str(names.regions_table(plan.scan)), metadata=regions_dictionary()
            ),
            name=f"save_{plan.node_name}",
        )
        workflow.connect([(measure, save, [("out_file", "in_file")])])
    return workflow if workflow.list_node_names() else None


def _init_measure_node(plan: ScanPlan, names: Derivatives, found: Sequence[SavedMap]) -> pe.Node:
    scan, made = plan.scan, [saved.output for saved in found]
    whole = plan.geometry.thickness(FULL)
    measure = MeasureRegions(
        chi=[str(saved.path) for saved in found],
        mask=[
            str(names.branch_mask(scan, o.order, o.coverage.percent, total_field=o.of_total_field))
            for o in made
        ],
        order=[o.order for o in made],
        method=[o.method for o in made],
        coverage_percent=[o.coverage.percent for o in made],
        coverage_mm=[saved.millimetres or whole for saved in found],
        labels=str(plan.companions.labels),
        regions=[(r.name, r.hemisphere, list(r.indices)) for r in plan.regions],
        identifiers={
            "subject": scan.subject,
            "session": scan.session or "n/a",
            "run": scan.run or "n/a",
            "acquisition": scan.acquisition or "n/a",
        },
    )
    if plan.reference is not None:
        measure.inputs.reference = plan.reference.name
    if plan.companions.truth_chi is not None:
        measure.inputs.truth = str(plan.companions.truth_chi)
    return pe.Node(measure, name=plan.node_name, mem_gb=memory_gb(prod(plan.geometry.shape), 12))
