"""Nodes of qsm-workflows in a Nipype workflow of your own.

A local field that you already have is cut to a slab, inverted by TKD and MEDI, and each map
is stated relative to the mean of its mask:

    python nodes_in_your_workflow.py LOCAL_FIELD MASK MAGNITUDE OUT_DIR
"""

import sys
from pathlib import Path

from nipype import Node, Workflow
from nipype.interfaces.io import DataSink
from nipype.interfaces.utility import IdentityInterface

from qsm_workflows.interfaces.coverage import Truncate
from qsm_workflows.interfaces.inversion import MEDI, TKD
from qsm_workflows.interfaces.measurement import SubtractReference


def init_my_wf(out_dir: str) -> Workflow:
    """Build a workflow that inverts a slab of 48 mm about the world's origin."""
    inputs = Node(IdentityInterface(fields=["local_field", "mask", "magnitude"]), name="inputs")
    truncate = Node(Truncate(centre=(0.0, 0.0, 0.0), thickness=48.0), name="truncate")
    # Our nodes take relative paths from where they are given, a DataSink from where it runs.
    sink = Node(DataSink(base_directory=str(Path(out_dir).absolute())), name="sink")
    workflow = Workflow(name="my_wf", base_dir=out_dir)
    workflow.connect(
        [
            (
                inputs,
                truncate,
                [("local_field", "field"), ("mask", "mask"), ("magnitude", "magnitude")],
            )
        ]
    )
    for name, inversion in (("tkd", TKD(threshold=0.15)), ("medi", MEDI(regularisation=1000))):
        invert = Node(inversion, name=name)
        refer = Node(SubtractReference(), name=f"{name}_reference")
        workflow.connect(
            [
                (truncate, invert, [("field", "in_file"), ("mask", "mask")]),
                (invert, refer, [("out_file", "in_file")]),
                (truncate, refer, [("mask", "mask")]),
                (refer, sink, [("out_file", f"{name}.@chi")]),
            ]
        )
    workflow.connect(truncate, "magnitude", workflow.get_node("medi"), "magnitude")
    return workflow


if __name__ == "__main__":
    local_field, mask, magnitude, out_dir = sys.argv[1:]
    workflow = init_my_wf(out_dir)
    node = workflow.get_node("inputs")
    node.inputs.trait_set(local_field=local_field, mask=mask, magnitude=magnitude)
    workflow.run()
