"""What ``qsm-wf run`` does with its options: prepare, show the plan, run, report."""

import argparse
import os
import sys
import tomllib
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

from nipype.pipeline import plugins
from tqdm import tqdm

from qsm_workflows.algorithms.presets import RESHARP_PRESETS
from qsm_workflows.bids.index import Index, index_dataset
from qsm_workflows.bids.names import Derivatives
from qsm_workflows.bids.sidecars import Provenance
from qsm_workflows.report.page import write_report
from qsm_workflows.report.sections import Failure
from qsm_workflows.workflows.config import FULL, Coverage, StudyConfig, parse_coverages
from qsm_workflows.workflows.estimate import Estimate, estimate_study
from qsm_workflows.workflows.machine import allotted_cores, allotted_memory_gb
from qsm_workflows.workflows.methods import (
    BACKGROUND_REMOVALS,
    MASK_METHODS,
    METHODS,
    UNWRAPPINGS,
    check_parameters,
    total_field_methods,
)
from qsm_workflows.workflows.plan import ScanPlan
from qsm_workflows.workflows.presets import PRESETS, default_preset
from qsm_workflows.workflows.runner import (
    Execution,
    Preparation,
    ScanFailure,
    count_study_nodes,
    draw_graphs,
    prepare,
    run_study,
)

from .choices import check_device_exists, choose_methods


def run(args: argparse.Namespace) -> int:
    """Run a study; the exit status is 0, or 1 when a scan is not complete."""
    out_dir = args.out or args.bids / "derivatives" / "qsm-workflows"
    provenance = Provenance(args.bids.absolute(), out_dir.absolute(), args.command_line)
    if args.reports_only:
        print(write_report(provenance.out_dir))
        return 0
    config = study_config(args)
    _check_plugin(args.plugin)
    for option, folder in (("--out", out_dir), ("--work", args.work)):
        _check_writable(option, folder)
    _show_unused(args.param, config)
    execution = Execution(
        work_dir=args.work.absolute(), plugin=args.plugin, plugin_args=_plugin_args(args)
    )
    check_device_exists(args.device, args.plugin)
    index = _find_scans(args)
    faults = [refusal for refusal in index.refused if refusal.is_fault]
    preparation = _prepare(args, index, config, provenance)
    _show_warnings(preparation)
    estimate = estimate_study(preparation.plans, config)
    if args.write_graph:
        for path in draw_graphs(preparation.plans, config, provenance, execution.work_dir):
            print(path)
    if args.dry_run:
        n_nodes = count_study_nodes(preparation.plans, config, provenance)
        _show_plan(preparation, config, estimate, n_nodes, execution.plugin_args["n_procs"])
        return 1 if preparation.failures or faults else 0
    incomplete = []
    if preparation.plans:
        bar = _NoProgress if args.no_progress else _ProgressBar
        incomplete = run_study(preparation.plans, config, provenance, execution, bar)
    _show_failures(preparation, incomplete, Derivatives(provenance.out_dir))
    failures = [*preparation.failures, *incomplete]
    if not preparation.plans:
        # Nothing was done: the page of an earlier run, where there is one, still holds.
        return 1
    page = write_report(
        provenance.out_dir,
        failures=[
            *(
                Failure(fault.file.name.split(".")[0], f"{fault.reason}. {fault.remedy}.")
                for fault in faults
            ),
            *(Failure(f.scan.prefix, f.reason, f.step) for f in failures),
        ],
    )
    print(page)
    return 1 if failures or faults else 0


def study_config(args: argparse.Namespace) -> StudyConfig:
    """Configuration that the options ask for.

    Raises
    ------
    ValueError
        If an option cannot be met.
    """
    coverages = parse_coverages(args.coverage)
    name = args.preset or default_preset(coverages)
    preset = PRESETS[name]
    removal = args.bgremove or preset.background_removal
    parameters = preset.with_changes(read_parameters(args.param))
    if args.bipolar:
        parameters.setdefault("phase_offset", {})["readout"] = "bipolar"
    check_parameters(parameters)
    if args.resharp_preset not in RESHARP_PRESETS:
        known = ", ".join(RESHARP_PRESETS)
        raise ValueError(f"--resharp-preset {args.resharp_preset} is not one of {known}")
    if args.resharp_preset != "study" and removal != "resharp":
        raise ValueError(f"--resharp-preset is for RESHARP, not for --bgremove {removal}")
    wanted = args.method or preset.methods
    methods, weights = choose_methods(wanted, dict(_pairs("--weights", args.weights)))
    orders = tuple(dict.fromkeys(args.order))
    _check_total_field(methods, coverages, orders, args.bgremove)
    return StudyConfig(
        coverages=coverages,
        orders=orders,
        methods=methods,
        parameters=parameters,
        weights=weights,
        unwrapping=args.unwrap,
        preset=f"{name} with changes" if args.bgremove or args.method or args.param else name,
        background_removal=removal,
        resharp_preset=args.resharp_preset,
        reference=args.reference,
        dgm_extent=_extent(args.dgm_extent),
        centre=None if args.centre is None else tuple(args.centre),
        slab_axis=args.slab_axis,
        phase_sign=args.phase_sign,
        mask_method=args.mask_method,
        device=args.device,
        num_threads=args.threads,
    )


def _check_plugin(name: str) -> None:
    """Refuse a plugin that Nipype does not have."""
    known = [key.removesuffix("Plugin") for key in vars(plugins) if key.endswith("Plugin")]
    if name not in known:
        raise ValueError(f"--plugin {name} is none of Nipype's; it has {', '.join(sorted(known))}")


def _check_writable(option: str, folder: Path) -> None:
    """Refuse a folder that cannot be made or written to."""
    there = next(
        above for above in (folder.absolute(), *folder.absolute().parents) if above.exists()
    )
    if not there.is_dir():
        raise ValueError(f"{option} {folder}: {there} is not a folder; choose another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{option} {folder}: {there} may not be written to; choose another")


def _show_unused(parameters: Sequence[str], config: StudyConfig) -> None:
    """Tell of parameters that change nothing: a file of settings may serve several studies."""
    chosen = {*config.methods, config.background_removal, config.mask_method, config.unwrapping}
    optional = {*METHODS, *BACKGROUND_REMOVALS, *MASK_METHODS, *UNWRAPPINGS}
    for step in sorted(read_parameters(parameters).keys() & optional - chosen):
        print(f"parameters of {step} change nothing: it is not used here", file=sys.stderr)


def _check_total_field(
    methods: Sequence[str],
    coverages: Sequence[Coverage],
    orders: Sequence[str],
    background_removal: str | None,
) -> None:
    """Refuse methods that would give no map, and a background removal that none would use.

    Raises
    ------
    ValueError
        If methods take the total field and there is no order or coverage for that.
    """
    total = total_field_methods(methods)
    if total and "T+B" not in orders and FULL not in coverages:
        raise ValueError(
            f"{', '.join(total)} would give no map: B+T leaves no total field to invert; "
            "add --order T+B or --coverage full"
        )
    if background_removal and total == tuple(methods):
        raise ValueError(
            f"--bgremove {background_removal} is of no use to {', '.join(total)}, "
            "from the total field"
        )


def read_parameters(items: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read ``step.name=value`` items.

    Examples
    --------
    >>> read_parameters(["medi.regularisation=500", "medi.merit=true"])
    {'medi': {'regularisation': 500, 'merit': True}}
    """
    parameters: dict[str, dict[str, Any]] = {}
    for key, text in _pairs("--param", items):
        step, dot, name = key.partition(".")
        if not dot or not name:
            raise ValueError(f"--param {key}={text} is not STEP.NAME=VALUE")
        parameters.setdefault(step, {})[name] = _value(text)
    return parameters


def _value(text: str) -> Any:
    """A number, truth value or list as TOML writes it; any other text as it is."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return {"True": True, "False": False}.get(text, text)


def _pairs(option: str, items: Sequence[str]) -> list[tuple[str, str]]:
    pairs = []
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key or not value:
            raise ValueError(f"{option} {item} is not NAME=VALUE")
        pairs.append((key, value))
    return pairs


def _extent(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        extent = float(text)
    except ValueError:
        extent = 0.0
    if not extent > 0:
        raise ValueError(f"--dgm-extent {text} is neither a length in mm nor 'auto'")
    return extent


def _plugin_args(args: argparse.Namespace) -> dict[str, Any]:
    memory = args.mem or 0.9 * allotted_memory_gb()
    gpus = args.n_gpus if args.device != "cpu" else 0
    return {
        "n_procs": args.n_procs or allotted_cores(),
        "memory_gb": memory,
        "n_gpu_procs": gpus,
        # A node that wants more than there is runs alone instead of not at all.
        "raise_insufficient": False,
    }


def _find_scans(args: argparse.Namespace) -> Index:
    """Index the dataset; says what is left out, and refuses a dataset without any scan."""
    index = index_dataset(
        args.bids,
        participants=args.participant_label,
        sessions=args.session_label,
        runs=args.run_label,
        acquisitions=args.acquisition_label,
    )
    for refusal in index.refused:
        print(f"left out: {refusal}", file=sys.stderr)
    if not index.scans:
        raise ValueError(f"{args.bids} holds no scan that can be processed; see above")
    return index


def _prepare(
    args: argparse.Namespace, index: Index, config: StudyConfig, provenance: Provenance
) -> Preparation:
    """Check the scans and place their slabs."""
    given = args.mask not in ("auto", "make")
    return prepare(
        index.scans,
        config,
        provenance,
        mask_pattern=args.mask if given else None,
        labels_pattern=args.labels,
        use_given_masks=args.mask != "make",
    )


def _show_warnings(preparation: Preparation) -> None:
    for plan in preparation.plans:
        for warning in (*plan.warnings, *plan.remarks):
            print(f"{plan.scan.prefix}: {warning}", file=sys.stderr)
    for failure in preparation.failures:
        print(f"{failure.scan.prefix} is left out: {failure.reason}", file=sys.stderr)


def _show_plan(
    preparation: Preparation,
    config: StudyConfig,
    estimate: Estimate,
    n_nodes: int,
    n_procs: int,
) -> None:
    for plan in preparation.plans:
        print(describe(plan, config))
    total = total_field_methods(config.methods)
    if total and "B+T" in config.orders:
        print(f"from the total field, so without B+T: {', '.join(total)}")
    print(
        f"{estimate.n_maps} maps by {', '.join(config.methods)}; {n_nodes} nodes, "
        f"about {ceil(estimate.seconds / n_procs / 60)} min on {n_procs} idle cores, "
        f"largest node {estimate.memory_gb:.1f} GB"
    )


def describe(plan: ScanPlan, config: StudyConfig) -> str:
    """What would be done with a scan, for a reader."""
    scan, geometry = plan.scan, plan.geometry
    shape = " × ".join(str(n) for n in geometry.shape)
    size = " × ".join(f"{length:g}" for length in geometry.voxel_size)
    lines = [
        f"{scan.prefix}: {shape} voxels of {size} mm, {len(scan.echo_times)} echoes, {scan.b0:g} T",
        f"  mask: {plan.companions.mask or f'made by {config.mask_method}'}",
        f"  labels: {plan.companions.labels or 'none'}",
        f"  reference: {plan.reference.name if plan.reference else 'mean of the mask'}",
    ]
    for coverage in config.coverages:
        if coverage.is_full:
            lines.append("  whole image")
            continue
        slab = geometry.slabs[coverage]
        lines.append(
            f"  {coverage.label:>5} %: {slab.actual_thickness:g} mm, slices {slab.start} to "
            f"{slab.stop - 1} of axis {'ijk'[slab.axis]}"
        )
    return "\n".join(lines)


def _show_failures(
    preparation: Preparation, incomplete: Sequence[ScanFailure], names: Derivatives
) -> None:
    """Tell what went wrong in the run; why scans were left out was told before it."""
    for failure in incomplete:
        step = f" at {failure.step}" if failure.step else ""
        log = names.log(failure.scan)
        where = f"; log: {log}" if log.exists() else ""
        print(
            f"{failure.scan.prefix} is not complete{step}: {failure.reason}{where}", file=sys.stderr
        )
    if preparation.failures:
        left_out = ", ".join(failure.scan.prefix for failure in preparation.failures)
        print(f"left out, see above: {left_out}", file=sys.stderr)


class _ProgressBar:
    """Progress of one graph, with the step that started last and the time left."""

    def __init__(self, n_nodes: int) -> None:
        self._bar = tqdm(total=n_nodes, unit="node", dynamic_ncols=True, smoothing=0.1)

    def __call__(self, node, status: str) -> None:
        if status == "start":
            self._bar.set_postfix_str(".".join(node.fullname.split(".")[1:]), refresh=True)
        else:
            self._bar.update()
        if self._bar.n >= self._bar.total:
            self._bar.close()


class _NoProgress:
    def __init__(self, n_nodes: int) -> None:
        pass

    def __call__(self, node, status: str) -> None:
        pass
