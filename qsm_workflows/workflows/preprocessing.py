"""From stored magnitude and phase to the total field and the brain mask."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from qsm_workflows.interfaces.fieldmap import FitEchoes, ReliabilityMask
from qsm_workflows.interfaces.magnitude import CombineMagnitude
from qsm_workflows.interfaces.masking import RefineMask
from qsm_workflows.interfaces.phase import RemovePhaseOffset, ScalePhase
from qsm_workflows.interfaces.relaxation import NonlinearR2Star

from .methods import MASK_METHODS, UNWRAPPINGS, check_parameters
from .resources import memory_gb

R2STAR_ECHOES = 3
"""Echoes from which R2* is made: with two, nothing tells it from noise."""


def init_preprocessing_wf(
    *,
    echo_times: Sequence[float],
    b0: float,
    shape: tuple[int, int, int],
    phase_units: str | None = None,
    phase_sign: int = 1,
    mask_method: str = "bet",
    unwrapping: str = "romeo",
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    name: str = "preprocessing_wf",
) -> pe.Workflow:
    """Mask the brain, unwrap the phase and fit the total field.

    Parameters
    ----------
    echo_times : sequence of float
        Echo times in seconds.
    b0 : float
        Field strength in tesla.
    shape : tuple of int
        Shape of the images, from which the memory of the nodes is estimated.
    phase_units : str, optional
        ``rad`` when the phase is known to be in radians; otherwise its range tells.
    phase_sign : int
        Sign of the phase that a raised field gains.
    mask_method : str
        How the brain is masked when no mask is given; a key of
        :data:`qsm_workflows.workflows.methods.MASK_METHODS`.
    unwrapping : str
        Key of :data:`qsm_workflows.workflows.methods.UNWRAPPINGS`.
    parameters : mapping, optional
        Inputs of nodes that differ from their defaults, by step: that of `mask_method`,
        ``refine``, ``phase_offset``, that of `unwrapping`, ``fit``, ``reliability``. Masks
        are refined only if there are any of ``refine``.
    name : str
        Name of the workflow.

    Raises
    ------
    ValueError
        If a method, a step or a parameter is not known, or a value cannot be.

    Inputs
    ------
    magnitude
        Magnitude of each echo.
    phase
        Stored phase of each echo.
    mask
        Brain mask, when there is one.

    Outputs
    -------
    magnitude
        Echoes combined.
    mask
        Brain mask without voxels of unreliable phase.
    total_field
        Total field in ppm.
    r2star
        R2* in 1/s, in the brain mask; undefined with fewer than three echoes.
    bipolar
        Whether echoes were found to be read back and forth, and corrected.
    """
    chosen = parameters or {}
    check_parameters(chosen)
    times = [float(time) for time in echo_times]
    n_voxels, n_echoes = prod(shape), len(times)

    def memory(volumes: float) -> float:
        return memory_gb(n_voxels, volumes)

    workflow = pe.Workflow(name=name)
    inputnode = pe.Node(
        niu.IdentityInterface(fields=["magnitude", "phase", "mask"]), name="inputnode"
    )
    outputnode = pe.Node(
        niu.IdentityInterface(fields=["magnitude", "mask", "total_field", "r2star", "bipolar"]),
        name="outputnode",
    )
    first_echo = pe.Node(
        niu.Select(index=[0]), name="first_echo", run_without_submitting=True, mem_gb=memory(0)
    )
    combine = pe.Node(CombineMagnitude(), name="combine", mem_gb=memory(n_echoes + 5))
    mask = pe.Node(
        MASK_METHODS[mask_method](**chosen.get(mask_method, {})),
        name="mask",
        # deepbet's images have 256³ voxels, whatever those of the scan.
        mem_gb=memory(6 * n_echoes + 12) + (4 if mask_method == "deepbet" else 0),
    )
    if "refine" in chosen:
        masked = pe.Node(RefineMask(**chosen["refine"]), name="refine", mem_gb=memory(12))
        workflow.connect([(mask, masked, [("out_mask", "in_file")])])
    else:
        masked = mask
    scale = pe.Node(
        ScalePhase(units="rad" if phase_units == "rad" else "auto", sign=phase_sign),
        name="scale_phase",
        mem_gb=memory(2 * n_echoes + 6),
    )
    offset = pe.Node(
        RemovePhaseOffset(echo_times=times, **chosen.get("phase_offset", {})),
        name="phase_offset",
        mem_gb=memory(3 * n_echoes + 45),
    )
    unwrap = pe.Node(
        UNWRAPPINGS[unwrapping](echo_times=times, **chosen.get(unwrapping, {})),
        name="unwrap",
        mem_gb=memory(5 * n_echoes + 40),
    )
    fit = pe.Node(
        FitEchoes(echo_times=times, b0=float(b0), **chosen.get("fit", {})),
        name="fit",
        mem_gb=memory(2 * n_echoes + 12),
    )
    reliability = pe.Node(
        ReliabilityMask(**chosen.get("reliability", {})), name="reliability", mem_gb=memory(10)
    )
    workflow.connect(
        [
            (inputnode, combine, [("magnitude", "in_files")]),
            (inputnode, mask, [("mask", "mask_file")]),
            (inputnode, scale, [("phase", "in_files")]),
            (inputnode, offset, [("magnitude", "magnitudes")]),
            (scale, offset, [("out_files", "in_files")]),
            (masked, offset, [("out_mask", "mask")]),
            (offset, unwrap, [("out_files", "in_files")]),
            (masked, unwrap, [("out_mask", "mask")]),
            (unwrap, fit, [("out_files", "in_files")]),
            (inputnode, fit, [("magnitude", "magnitudes")]),
            (fit, reliability, [("out_residual", "residual")]),
            (masked, reliability, [("out_mask", "mask")]),
            (combine, outputnode, [("out_file", "magnitude")]),
            (offset, outputnode, [("bipolar", "bipolar")]),
            (fit, outputnode, [("out_file", "total_field")]),
            (reliability, outputnode, [("out_mask", "mask")]),
        ]
    )
    if mask_method == "phase":
        workflow.connect(
            [
                (scale, mask, [("out_files", "in_files")]),
                (inputnode, mask, [("magnitude", "magnitudes")]),
            ]
        )
    else:
        workflow.connect(
            [
                (inputnode, first_echo, [("magnitude", "inlist")]),
                (first_echo, mask, [("out", "in_file")]),
            ]
        )
    if unwrapping == "romeo":
        workflow.connect(inputnode, "magnitude", unwrap, "magnitudes")
    if n_echoes >= R2STAR_ECHOES:
        r2star = pe.Node(
            NonlinearR2Star(echo_times=times, **chosen.get("r2star", {})),
            name="r2star",
            mem_gb=memory(10 * n_echoes + 10),
        )
        workflow.connect(
            [
                (inputnode, r2star, [("magnitude", "in_files")]),
                (masked, r2star, [("out_mask", "mask")]),
                (r2star, outputnode, [("out_file", "r2star")]),
            ]
        )
    return workflow
