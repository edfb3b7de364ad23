"""One coverage and one method: inversion and referencing."""

from collections.abc import Mapping, Sequence
from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from qsm_workflows.interfaces.measurement import SubtractReference
from qsm_workflows.networks.weights import sha256

from .methods import METHODS
from .resources import memory_gb


def init_inversion_wf(
    *,
    method: str,
    n_voxels: float,
    parameters: Mapping[str, Any] | None = None,
    weights: str | None = None,
    reference_indices: Sequence[int] | None = None,
    device: str = "cpu",
    num_threads: int = 1,
    name: str = "inversion_wf",
) -> pe.Workflow:
    """Invert a field with one method and state the result relative to a region.

    Parameters
    ----------
    method : str
        Key of :data:`qsm_workflows.workflows.methods.METHODS`.
    n_voxels : float
        Voxels of the grid it works on, from which the memory of the node is estimated; see
        :meth:`qsm_workflows.workflows.methods.Method.n_voxels`.
    parameters : mapping, optional
        Inputs of the inversion's node that differ from their defaults.
    weights : str, optional
        Checkpoint of a network.
    reference_indices : sequence of int, optional
        Values of the reference region in `labels`; the whole mask when not given.
    device : str
        Torch device; anything but the CPU takes a GPU slot of the scheduler.
    num_threads : int
        Threads of the inversion.
    name : str
        Name of the workflow.

    Raises
    ------
    ValueError
        If there is no such method.

    Inputs
    ------
    field
        Field that the method takes, local or total, in ppm.
    mask
        Where it is valid.
    magnitude
        Magnitude on the same grid, for methods that use it.
    labels
        Label image whose grid contains that of the field.

    Outputs
    -------
    chi
        Susceptibility relative to the reference, in ppm.
    reference_mean
        What was subtracted, in ppm.
    """
    definition = METHODS[method].with_weights(weights)
    workflow = pe.Workflow(name=name)
    inputnode = pe.Node(
        niu.IdentityInterface(fields=["field", "mask", "magnitude", "labels"]),
        name="inputnode",
    )
    outputnode = pe.Node(niu.IdentityInterface(fields=["chi", "reference_mean"]), name="outputnode")
    settings = {"device": device, "use_gpu": device != "cpu", **(parameters or {})}
    if weights is not None:
        settings |= {"weights": weights, "weights_sha256": sha256(weights)}
    invert = pe.Node(
        definition.interface(**settings),
        name=method,
        n_procs=num_threads,
        mem_gb=memory_gb(n_voxels, definition.volumes),
    )
    refer = pe.Node(SubtractReference(), name="reference", mem_gb=memory_gb(n_voxels, 4))
    workflow.connect(
        [
            (inputnode, invert, [("field", "in_file"), ("mask", "mask")]),
            (inputnode, refer, [("mask", "mask")]),
            (invert, refer, [("out_file", "in_file")]),
            (refer, outputnode, [("out_file", "chi"), ("reference_mean", "reference_mean")]),
        ]
    )
    if definition.uses_magnitude:
        workflow.connect(inputnode, "magnitude", invert, "magnitude")
    if reference_indices is not None:
        refer.inputs.indices = list(reference_indices)
        workflow.connect(inputnode, "labels", refer, "labels")
    return workflow
