"""``qsm-wf simulate``: digital heads as a BIDS dataset."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qsm_workflows.phantom.head import Head

VOXEL_SIZE = (1.0, 1.0, 1.0)
MATRIX = (144, 192, 128)
ECHO_TIMES = (0.0049, 0.0098, 0.0147, 0.0196, 0.0245)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the ``simulate`` command."""
    parser = subparsers.add_parser(
        "simulate",
        help="make digital heads with known susceptibility, as a BIDS dataset",
        description="Write multi-echo gradient echo scans of digital heads as a raw BIDS "
        "dataset, and the susceptibility and fields they were made from as its derivative.",
    )
    parser.set_defaults(func=main)
    parser.add_argument("out", type=Path, metavar="OUT", help="new or empty folder")
    parser.add_argument("--subjects", type=_count, default=1, metavar="N", help="number of heads")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other heads")
    grid = parser.add_argument_group("image grid")
    grid.add_argument(
        "--voxel-size",
        type=float,
        nargs="+",
        metavar="MM",
        help="voxel edge lengths, one or three (default 1 mm, or that of --labels)",
    )
    grid.add_argument(
        "--matrix",
        type=int,
        nargs=3,
        metavar=("NX", "NY", "NZ"),
        help="number of voxels (default: what covers 144 × 192 × 128 mm, or --labels)",
    )
    grid.add_argument(
        "--tilt",
        type=float,
        nargs="+",
        default=[0.0],
        metavar="DEG",
        help="turn the image about the left-right axis, or with three angles about "
        "x, y and z; B0 becomes oblique in the image",
    )
    scan = parser.add_argument_group("scan")
    scan.add_argument("--b0", type=float, default=3.0, metavar="T", help="field (default 3 T)")
    scan.add_argument(
        "--echo-times",
        type=float,
        nargs="+",
        default=list(ECHO_TIMES),
        metavar="S",
        help="echo times in seconds (default 0.0049 to 0.0245 in steps of 0.0049)",
    )
    scan.add_argument("--snr", type=float, default=50.0, help="of the brain at the first echo")
    head = parser.add_argument_group("head")
    head.add_argument(
        "--no-lesions", action="store_true", help="no haemorrhage and no calcification"
    )
    head.add_argument(
        "--labels", type=Path, metavar="FILE", help="simulate this label image instead"
    )
    head.add_argument(
        "--chi",
        type=Path,
        metavar="TABLE",
        help="TSV with the columns index, name, chi (ppm) for --labels; hemisphere, "
        "r2s (1/s) and m0 may follow",
    )


def main(args: argparse.Namespace) -> int:
    """Run ``qsm-wf simulate``; returns the exit status."""
    # Imported here, so that `qsm-wf --help` need not load torch.
    from qsm_workflows.phantom.dataset import (
        check_output,
        finish_dataset,
        start_dataset,
        write_subject,
    )
    from qsm_workflows.phantom.signal import check_scan

    check_scan(args.echo_times, args.b0, args.snr)
    check_output(args.out)
    make_head = _head_maker(args)
    participants = [f"sub-{number:02d}" for number in range(1, args.subjects + 1)]
    for number, participant in enumerate(participants, start=1):
        start = time.monotonic()
        head = make_head(number)
        if number == 1:
            start_dataset(args.out, head.label_table, args.command_line)
        write_subject(
            args.out,
            participant,
            head,
            echo_times=args.echo_times,
            b0=args.b0,
            snr=args.snr,
            seed=args.seed + number,
        )
        print(f"{participant}: {time.monotonic() - start:.0f} s", flush=True)
    finish_dataset(args.out, participants)
    print(args.out)
    return 0


def _head_maker(args: argparse.Namespace) -> Callable[[int], "Head"]:
    """What makes the head of a given subject number."""
    from qsm_workflows.phantom.head import simulate_head
    from qsm_workflows.phantom.labelled import simulate_labelled

    size = args.voxel_size and _triple("--voxel-size", args.voxel_size, args.voxel_size * 3)
    tilt = _triple("--tilt", args.tilt, [*args.tilt, 0.0, 0.0])
    matrix = args.matrix and tuple(args.matrix)
    if (args.labels is None) != (args.chi is None):
        raise ValueError("--labels and --chi need each other")
    if args.labels is None:
        size = size or VOXEL_SIZE
        return lambda number: simulate_head(
            args.seed,
            number,
            voxel_size=size,
            matrix=matrix or _covering_matrix(size),
            tilt=tilt,
            lesions=not args.no_lesions,
        )
    if args.subjects > 1:
        raise ValueError("--labels is one head: leave out --subjects")
    return lambda number: simulate_labelled(
        args.labels, args.chi, voxel_size=size, matrix=matrix, tilt=tilt, seed=args.seed
    )


def _triple(option: str, given: list[float], filled: list[float]) -> tuple[float, float, float]:
    """Three numbers from one or three."""
    if len(given) not in (1, 3):
        raise ValueError(f"{option} takes one number or three, not {len(given)}")
    x, y, z = filled[:3]
    return x, y, z


def _covering_matrix(voxel_size: tuple[float, float, float]) -> tuple[int, int, int]:
    """Voxels that cover the field of view of the default grid."""
    if min(voxel_size) <= 0:
        raise ValueError(f"--voxel-size must be positive, not {voxel_size}")
    x, y, z = (max(1, round(n / size)) for n, size in zip(MATRIX, voxel_size, strict=True))
    return x, y, z


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 99:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 99")
    return number
