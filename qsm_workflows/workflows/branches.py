"""The orders of the study: background removal before (B+T) or after (T+B) truncation, or none."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from qsm_workflows.algorithms.geometry import DEFAULT_PAD
from qsm_workflows.algorithms.presets import RESHARP_PRESETS
from qsm_workflows.interfaces.coverage import Truncate

from .config import Coverage, StudyConfig
from .inversion import init_inversion_wf
from .methods import BACKGROUND_REMOVALS, METHODS, check_parameters, node_parameters
from .plan import ScanGeometry
from .resources import memory_gb, padded_voxels

INPUTS = ("field", "mask", "magnitude", "labels")
"""Fields of every branch's input node."""

EROSION = ("eroded_mm", "kept_fraction")
"""What a background removal tells of the mask it leaves."""


def coverage_outputs(methods: Sequence[str]) -> list[str]:
    """Fields of the output node of :func:`init_coverage_wf`."""
    maps = [f"{what}_{method}" for method in methods for what in ("chi", "reference_mean")]
    return ["field", "mask", "actual_thickness", *EROSION, *maps]


def init_coverage_wf(
    *,
    coverage: Coverage,
    remove_background: bool,
    geometry: ScanGeometry,
    config: StudyConfig,
    reference_indices: Sequence[int] | None = None,
    name: str = "coverage_wf",
) -> pe.Workflow:
    """Cut a field to one coverage and invert it with every method.

    Parameters
    ----------
    coverage : Coverage
    remove_background : bool
        Whether the field is a total field whose background is removed on the slab.
    geometry : ScanGeometry
    config : StudyConfig
    reference_indices : sequence of int, optional
        Values of the reference region in the label image.
    name : str
        Name of the workflow.

    Raises
    ------
    ValueError
        If a method, a step or a parameter is not known, or a value cannot be.

    Inputs
    ------
    field
        Total or local field of the whole image, in ppm.
    mask
        Where it is valid.
    magnitude
        Magnitude on the same grid.
    labels
        Label image on the same grid.

    Outputs
    -------
    field
        Field of the slab that is inverted, in ppm.
    mask
        Where it is valid.
    actual_thickness
        Thickness, in mm, of the slices that lie in the image; undefined for the whole image.
    eroded_mm, kept_fraction
        What background removal took off the mask of the slab, see
        :func:`qsm_workflows.algorithms.background.erosion.erosion`; undefined without it.
    chi_<method>
        Susceptibility relative to the reference, in ppm.
    reference_mean_<method>
        What was subtracted, in ppm.
    """
    check_parameters(config.parameters)
    workflow = pe.Workflow(name=name)
    inputnode = pe.Node(niu.IdentityInterface(fields=list(INPUTS)), name="inputnode")
    outputnode = pe.Node(
        niu.IdentityInterface(fields=coverage_outputs(config.methods)), name="outputnode"
    )
    shape = geometry.slab_shape(coverage)
    n_padded = padded_voxels(shape, geometry.voxel_size, DEFAULT_PAD)
    field: tuple[pe.Node, str] = (inputnode, "field")
    mask: tuple[pe.Node, str] = (inputnode, "mask")
    magnitude: tuple[pe.Node, str] = (inputnode, "magnitude")
    if not coverage.is_full:
        truncate = pe.Node(
            Truncate(
                centre=geometry.centre,
                thickness=geometry.thickness(coverage),
                axis=geometry.axis,
            ),
            name="truncate",
            mem_gb=memory_gb(padded_voxels(geometry.shape, geometry.voxel_size, 0), 4),
        )
        workflow.connect([(inputnode, truncate, [(f, f) for f in ("field", "mask", "magnitude")])])
        workflow.connect(truncate, "actual_thickness", outputnode, "actual_thickness")
        field, mask, magnitude = ((truncate, f) for f in ("field", "mask", "magnitude"))
    if remove_background:
        removal = init_background_node(n_padded, config)
        workflow.connect([(field[0], removal, [(field[1], "in_file")])])
        workflow.connect([(mask[0], removal, [(mask[1], "mask")])])
        workflow.connect([(removal, outputnode, [(name, name) for name in EROSION])])
        field, mask = (removal, "out_file"), (removal, "out_mask")
    workflow.connect(*field, outputnode, "field")
    workflow.connect(*mask, outputnode, "mask")
    for method in config.methods:
        inversion_wf = init_inversion_wf(
            method=method,
            n_voxels=METHODS[method].n_voxels(shape, geometry.voxel_size),
            parameters=config.parameters.get(method),
            weights=config.weights.get(method),
            reference_indices=reference_indices,
            device=config.device,
            num_threads=config.num_threads,
            name=f"{method}_wf",
        )
        workflow.connect(*field, inversion_wf, "inputnode.field")
        workflow.connect(*mask, inversion_wf, "inputnode.mask")
        workflow.connect(*magnitude, inversion_wf, "inputnode.magnitude")
        workflow.connect(inputnode, "labels", inversion_wf, "inputnode.labels")
        for what in ("chi", "reference_mean"):
            workflow.connect(inversion_wf, f"outputnode.{what}", outputnode, f"{what}_{method}")
    return workflow


def init_bt_wf(
    *,
    geometry: ScanGeometry,
    config: StudyConfig,
    reference_indices: Sequence[int] | None = None,
    name: str = "bt_wf",
) -> pe.Workflow:
    """B+T: remove the background once on the whole field, then truncate and invert.

    Parameters
    ----------
    geometry : ScanGeometry
    config : StudyConfig
    reference_indices : sequence of int, optional
        Values of the reference region in the label image.
    name : str
        Name of the workflow.

    Raises
    ------
    ValueError
        If a method, a step or a parameter is not known, or a value cannot be.

    Inputs
    ------
    field
        Total field of the whole image, in ppm.
    mask
        Brain mask.
    magnitude
        Magnitude on the same grid.
    labels
        Label image on the same grid.

    Outputs
    -------
    local_field
        Local field of the whole image, in ppm.
    eroded_mm, kept_fraction
        What background removal took off its mask.
    cov<coverage>_<output>
        Outputs of :func:`init_coverage_wf` for each coverage, such as ``cov150_chi_medi``.
    """
    workflow, inputnode, outputnode = _init_branch(config, name, ["local_field", *EROSION])
    n_voxels = padded_voxels(geometry.shape, geometry.voxel_size, DEFAULT_PAD)
    removal = init_background_node(n_voxels, config)
    workflow.connect(
        [
            (inputnode, removal, [("field", "in_file"), ("mask", "mask")]),
            (
                removal,
                outputnode,
                [("out_file", "local_field"), *((name, name) for name in EROSION)],
            ),
        ]
    )
    for coverage in config.coverages:
        coverage_wf = _add_coverage(
            workflow, coverage, False, geometry, config, reference_indices, outputnode
        )
        workflow.connect(
            [
                (
                    removal,
                    coverage_wf,
                    [("out_file", "inputnode.field"), ("out_mask", "inputnode.mask")],
                ),
                (
                    inputnode,
                    coverage_wf,
                    [("magnitude", "inputnode.magnitude"), ("labels", "inputnode.labels")],
                ),
            ]
        )
    return workflow


def init_tb_wf(
    *,
    geometry: ScanGeometry,
    config: StudyConfig,
    remove_background: bool = True,
    reference_indices: Sequence[int] | None = None,
    name: str = "tb_wf",
) -> pe.Workflow:
    """T+B: truncate the total field, then remove the background of each slab and invert.

    Parameters
    ----------
    geometry : ScanGeometry
    config : StudyConfig
    remove_background : bool
        Whether the methods want it removed; those of the total field do not.
    reference_indices : sequence of int, optional
        Values of the reference region in the label image.
    name : str
        Name of the workflow.

    Raises
    ------
    ValueError
        If a method, a step or a parameter is not known, or a value cannot be.

    Inputs
    ------
    field
        Total field of the whole image, in ppm.
    mask
        Brain mask.
    magnitude
        Magnitude on the same grid.
    labels
        Label image on the same grid.

    Outputs
    -------
    cov<coverage>_<output>
        Outputs of :func:`init_coverage_wf` for each coverage, such as ``cov150_chi_medi``.
    """
    workflow, inputnode, outputnode = _init_branch(config, name, [])
    for coverage in config.coverages:
        coverage_wf = _add_coverage(
            workflow,
            coverage,
            remove_background,
            geometry,
            config,
            reference_indices,
            outputnode,
        )
        workflow.connect([(inputnode, coverage_wf, [(f, f"inputnode.{f}") for f in INPUTS])])
    return workflow


def background_parameters(config: StudyConfig) -> dict[str, Any]:
    """Parameters of a study's background removal, as they are told in sidecars."""
    inputs = _background_inputs(config)
    interface = BACKGROUND_REMOVALS[config.background_removal].interface
    preset = asdict(RESHARP_PRESETS[inputs["preset"]]) if "preset" in inputs else {}
    return preset | node_parameters(interface, inputs)


def _background_inputs(config: StudyConfig) -> dict[str, Any]:
    name = config.background_removal
    preset = {"preset": config.resharp_preset} if name == "resharp" else {}
    return {**preset, **config.parameters.get(name, {})}


def init_background_node(n_voxels: float, config: StudyConfig) -> pe.Node:
    """Background removal with the study's method and parameters, on a grid of `n_voxels`."""
    removal = BACKGROUND_REMOVALS[config.background_removal]
    settings = {"device": config.device, "use_gpu": config.device != "cpu"}
    return pe.Node(
        removal.interface(**settings, **_background_inputs(config)),
        name=removal.name,
        n_procs=config.num_threads,
        mem_gb=memory_gb(n_voxels, removal.volumes),
    )


def _init_branch(
    config: StudyConfig, name: str, outputs: Sequence[str]
) -> tuple[pe.Workflow, pe.Node, pe.Node]:
    """Empty branch with its input and output nodes."""
    fields = [
        f"cov{coverage.label}_{output}"
        for coverage in config.coverages
        for output in coverage_outputs(config.methods)
    ]
    return (
        pe.Workflow(name=name),
        pe.Node(niu.IdentityInterface(fields=list(INPUTS)), name="inputnode"),
        pe.Node(niu.IdentityInterface(fields=[*outputs, *fields]), name="outputnode"),
    )


def _add_coverage(
    workflow: pe.Workflow,
    coverage: Coverage,
    remove_background: bool,
    geometry: ScanGeometry,
    config: StudyConfig,
    reference_indices: Sequence[int] | None,
    outputnode: pe.Node,
) -> pe.Workflow:
    """Add one coverage to a branch and bring its outputs to the branch's."""
    coverage_wf = init_coverage_wf(
        coverage=coverage,
        remove_background=remove_background,
        geometry=geometry,
        config=config,
        reference_indices=reference_indices,
        name=f"cov{coverage.label}_wf",
    )
    for output in coverage_outputs(config.methods):
        workflow.connect(
            coverage_wf, f"outputnode.{output}", outputnode, f"cov{coverage.label}_{output}"
        )
    return coverage_wf
