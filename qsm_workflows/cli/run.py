"""``qsm-wf run``: the study of a BIDS dataset, or a plain QSM pipeline."""

import argparse
from pathlib import Path
from typing import Any

from qsm_workflows.networks.methods import method_key
from qsm_workflows.workflows.config import DEFAULT_REFERENCE
from qsm_workflows.workflows.presets import PRESETS

BACKGROUND_REMOVALS = ("resharp", "sharp", "vsharp", "ismv", "pdf", "lbv")
MASK_METHODS = ("bet", "deepbet", "phase")
UNWRAPPINGS = ("romeo", "bestpath", "laplacian")
ALL_METHODS = (
    "tkd",
    "tsvd",
    "l2",
    "ilsqr",
    "medi",
    "tv",
    "rts",
    "ndi",
    "star",
    "lnqsm",
    "tfi",
    "xqsmindividual",
    "xqsmcropped",
    "deepqsm",
    "xqsm",
    "unet",
    "ir2qsm",
    "lpcnn",
)
_STUDY_METHODS = ("tkd", "ilsqr", "medi", "xqsmindividual", "xqsmcropped", "deepqsm")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the ``run`` command."""
    parser = subparsers.add_parser(
        "run",
        help="maps, tables and a page from a BIDS dataset",
        description="Compute susceptibility maps of every multi-echo gradient echo scan of a BIDS "
        "dataset at several coverages, with the background field removed before (B+T) or after "
        "(T+B) truncation, measure regions, and show everything on one page.",
    )
    parser.set_defaults(func=main)
    _add_data_options(parser.add_argument_group("data"))
    _add_study_options(parser.add_argument_group("study"))
    _add_processing_options(parser.add_argument_group("processing"))
    _add_execution_options(parser.add_argument_group("execution"))


def _add_data_options(group) -> None:
    add_dataset_options(group)
    group.add_argument(
        "--work",
        type=Path,
        default=Path("qsm-work"),
        metavar="DIR",
        help="intermediate results, from which a later run goes on (default: %(default)s)",
    )


def add_dataset_options(group) -> None:
    """Add the options that say which scans are meant and what comes with them."""
    group.add_argument("--bids", type=Path, required=True, metavar="DIR", help="raw BIDS dataset")
    group.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="output dataset (default: derivatives/qsm-workflows in the dataset)",
    )
    for key, name in (
        ("participant", "participants"),
        ("session", "sessions"),
        ("run", "runs"),
        ("acquisition", "acquisitions"),
    ):
        group.add_argument(
            f"--{key}-label",
            # As BIDS-Apps spell it.
            f"--{key}_label",
            nargs="+",
            metavar="LABEL",
            help=f"{name} to process, with or without their key (default: all)",
        )
    group.add_argument(
        "--mask",
        default="auto",
        metavar="PATTERN",
        help="brain masks: a path, which may hold {subject}, {session}, {run}, {acquisition} and "
        "wildcards; 'auto' takes desc-brain_mask of a derivative, else makes one; 'make' always "
        "makes one (default: %(default)s)",
    )
    group.add_argument(
        "--mask-method",
        choices=MASK_METHODS,
        default="bet",
        help="how brain masks are made: bet (FSL's where it is installed, else ours) or deepbet (a "
        "network, installed apart) by the magnitude, or phase (what has usable phase; for thin "
        "slabs) (default: %(default)s)",
    )
    group.add_argument(
        "--labels",
        metavar="PATTERN",
        help="label images of regions, as --mask (default: dseg of a derivative)",
    )


def _add_study_options(group) -> None:
    group.add_argument(
        "--coverage",
        default="100:400:50",
        metavar="LIST",
        help="slab thicknesses in %% of the deep grey matter: 100,200 or start:stop:step; 'full' "
        "is the whole image (default: %(default)s)",
    )
    group.add_argument(
        "--order",
        nargs="+",
        choices=("B+T", "T+B"),
        default=["B+T", "T+B"],
        help="background removal before or after truncation (default: both); methods of the total "
        "field have no B+T",
    )
    group.add_argument(
        "--method",
        nargs="+",
        type=method_key,
        choices=ALL_METHODS,
        metavar="NAME",
        help=f"dipole inversions: {', '.join(ALL_METHODS)}; also as their authors write them, such "
        "as xQSM-Individual; lnqsm and tfi (total-field MEDI) take the total field, without a "
        "background removal (default: those of --preset)",
    )
    group.add_argument(
        "--dgm-extent",
        default="32",
        metavar="MM",
        help="extent of the deep grey matter that is 100 %%, in mm; 'auto' measures it from the "
        "labels (default: %(default)s)",
    )
    group.add_argument(
        "--centre",
        nargs=3,
        type=float,
        metavar=("X", "Y", "Z"),
        help="world position, in mm, that slabs are centred on (default: globus pallidus)",
    )
    group.add_argument(
        "--slab-axis",
        type=int,
        choices=(0, 1, 2),
        help="voxel axis across the slabs (default: nearest to inferior-superior)",
    )
    group.add_argument(
        "--reference",
        default=DEFAULT_REFERENCE,
        metavar="REGION",
        help="region that susceptibility is relative to; 'mask' is the mean of the brain "
        "(default: %(default)s)",
    )


def _preset_help() -> str:
    """Every preset, with what it takes."""
    return "; ".join(
        f"{name}, {preset.summary}: --bgremove {preset.background_removal} --method "
        f"{' '.join(preset.methods or _STUDY_METHODS)}"
        + "".join(
            f" --param {step}.{key}={value}"
            for step, values in preset.parameters.items()
            for key, value in values.items()
        )
        for name, preset in PRESETS.items()
    )


def _add_processing_options(group) -> None:
    group.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        help=f"methods and parameters to start from; {_preset_help()}. Options that are given as "
        "well win (default: recommended with --coverage full alone, else study)",
    )
    group.add_argument(
        "--phase-sign",
        type=int,
        choices=(1, -1),
        help="sign of the phase where the field is raised (default: -1 for GE, else 1)",
    )
    group.add_argument(
        "--bipolar",
        action="store_true",
        help="echoes were read back and forth: remove what that adds to every second one (default: "
        "where three echoes show a ramp between odd and even ones)",
    )
    group.add_argument(
        "--unwrap",
        choices=UNWRAPPINGS,
        default="romeo",
        help="phase unwrapping (default: %(default)s)",
    )
    group.add_argument(
        "--bgremove",
        choices=BACKGROUND_REMOVALS,
        help="background removal (default: that of --preset)",
    )
    group.add_argument(
        "--resharp-preset",
        default="study",
        metavar="NAME",
        help="parameters of RESHARP: ge, prisma or study (default: %(default)s)",
    )
    group.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="STEP.NAME=VALUE",
        help="parameter of a step or method, such as medi.regularisation=500; may be repeated",
    )
    group.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="METHOD=FILE",
        help="weights of a network (default: those installed); may be repeated",
    )
    group.add_argument(
        "--config",
        type=Path,
        metavar="FILE.toml",
        help="options by their long names, and parameters in tables such as [param.medi]; "
        "options of the command line win",
    )


def _add_execution_options(group) -> None:
    group.add_argument(
        "--n-procs",
        type=_positive(int),
        metavar="N",
        help="nodes at once (default: all cores that it may use)",
    )
    group.add_argument(
        "--mem",
        type=_positive(float),
        metavar="GB",
        help="memory to use (default: 90 %% of what the machine, job or container has)",
    )
    group.add_argument(
        "--threads",
        type=_positive(int),
        default=1,
        metavar="N",
        help="threads of each node (default: %(default)s)",
    )
    group.add_argument(
        "--device",
        default="cpu",
        help="torch device of inversion and background removal, cpu or cuda (default: %(default)s)",
    )
    group.add_argument(
        "--n-gpus",
        type=_positive(int),
        default=1,
        metavar="N",
        help="GPU nodes at once, with --device cuda (default: %(default)s)",
    )
    group.add_argument(
        "--plugin",
        default="MultiProc",
        metavar="NAME",
        help="Nipype plugin: MultiProc, Linear, SLURM, … (default: %(default)s)",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="show what would be done, with time and memory"
    )
    group.add_argument(
        "--write-graph",
        action="store_true",
        help="draw the graph of each step in the work folder; needs Graphviz (dot)",
    )
    group.add_argument(
        "--reports-only", action="store_true", help="only make the page and group table again"
    )
    group.add_argument("--no-progress", action="store_true", help="show no progress bar")


def main(args: argparse.Namespace) -> int:
    """Run ``qsm-wf run``; returns the exit status."""
    # Imported here, so that `qsm-wf --help` need not load Nipype.
    from .study import run

    return run(args)


def _positive(kind: type) -> Any:
    """Type of an option that must be a positive number."""

    def convert(text: str):
        number = kind(text)
        if not number > 0:
            raise argparse.ArgumentTypeError(f"{text} is not positive")
        return number

    convert.__name__ = kind.__name__
    return convert
