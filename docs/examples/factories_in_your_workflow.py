"""Graph factories of qsm-workflows in a Nipype workflow of your own.

Magnitude and phase of each echo of one scan become a total field, which is cut to slabs of 100
and 200 % of the deep-grey extent. The background is removed from each slab (T+B), and MEDI
inverts what is left:

    python factories_in_your_workflow.py FOLDER_WITH_NIFTI_AND_JSON OUT_DIR
"""

import json
import sys
from pathlib import Path

from nipype import Node, Workflow
from nipype.interfaces.io import DataSink

from qsm_workflows.workflows.branches import init_tb_wf
from qsm_workflows.workflows.config import StudyConfig, parse_coverages
from qsm_workflows.workflows.plan import ScanGeometry
from qsm_workflows.workflows.preprocessing import init_preprocessing_wf


def init_my_wf(folder: Path, out_dir: Path) -> Workflow:
    """Build a workflow of one scan, whose files are named as BIDS names them."""
    magnitude, phase = (
        sorted(str(path) for path in folder.glob(f"*_part-{part}_*.nii.gz"))
        for part in ("mag", "phase")
    )
    sidecars = [json.loads(Path(path.replace(".nii.gz", ".json")).read_text()) for path in phase]
    config = StudyConfig(coverages=parse_coverages("100,200"), methods=("medi",))
    # Slabs are centred on the globus pallidus, here at the world's origin.
    geometry = ScanGeometry.of_image(magnitude[0], config.coverages, centre=(0.0, 0.0, 0.0))

    preprocessing_wf = init_preprocessing_wf(
        echo_times=[sidecar["EchoTime"] for sidecar in sidecars],
        b0=sidecars[0]["MagneticFieldStrength"],
        shape=geometry.shape,
    )
    preprocessing_wf.inputs.inputnode.magnitude = magnitude
    preprocessing_wf.inputs.inputnode.phase = phase
    tb_wf = init_tb_wf(geometry=geometry, config=config)
    sink = Node(DataSink(base_directory=str(out_dir)), name="sink")

    workflow = Workflow(name="my_wf", base_dir=str(out_dir))
    workflow.connect(
        [
            (
                preprocessing_wf,
                tb_wf,
                [
                    ("outputnode.total_field", "inputnode.field"),
                    ("outputnode.mask", "inputnode.mask"),
                    ("outputnode.magnitude", "inputnode.magnitude"),
                ],
            ),
            (
                tb_wf,
                sink,
                [
                    (f"outputnode.cov{coverage.label}_chi_medi", f"medi{coverage.label}.@chi")
                    for coverage in config.coverages
                ],
            ),
        ]
    )
    return workflow


if __name__ == "__main__":
    init_my_wf(*(Path(argument).absolute() for argument in sys.argv[1:])).run()
