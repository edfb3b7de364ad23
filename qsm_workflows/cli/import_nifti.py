"""``qsm-wf import``: NIfTI files of any naming to a BIDS dataset."""

import argparse
import sys
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the ``import`` command."""
    parser = subparsers.add_parser(
        "import",
        help="NIfTI files of any naming to a BIDS dataset",
        description="Put magnitude and phase, or complex images, of gradient echo scans into a "
        "BIDS dataset: 4-D files are split by echo, phase is converted to radians. Patterns may "
        "hold wildcards and {subject}, {session}, {acquisition}, {run} and {echo}; quote them.",
    )
    parser.set_defaults(func=main)
    parser.add_argument(
        "--bids", type=Path, required=True, metavar="DIR", help="BIDS dataset, new or not"
    )
    files = parser.add_argument_group("files")
    for kind in ("magnitude", "phase", "complex", "real", "imaginary"):
        files.add_argument(
            f"--{kind}",
            nargs="+",
            default=[],
            metavar="PATTERN",
            help=f"{kind} images, 4-D or one for each echo",
        )
    files.add_argument(
        "--mapping",
        type=Path,
        metavar="FILE.toml",
        help="tables [[scan]] with the options of this command, instead of patterns",
    )
    labels = parser.add_argument_group("labels")
    for name in ("subject", "session", "acquisition", "run"):
        labels.add_argument(f"--{name}", metavar="LABEL", help=f"label of the {name}")
    facts = parser.add_argument_group("facts that the files do not tell")
    facts.add_argument(
        "--te",
        type=float,
        nargs="+",
        metavar="S",
        help="echo times in seconds (default: EchoTime of JSON files beside the images)",
    )
    facts.add_argument(
        "--b0",
        type=float,
        metavar="T",
        help="field strength in tesla (default: MagneticFieldStrength of the JSON files)",
    )
    facts.add_argument(
        "--phase-units",
        default="auto",
        metavar="UNITS",
        help="rad, mrad, deg, turns, 0..4095, -4096..4095 (after an equals sign), range (lowest to "
        "highest value is one turn), or the number that is one turn (default: auto, by the values)",
    )
    facts.add_argument(
        "--phase-sign",
        type=int,
        choices=(1, -1),
        help="sign of the phase where the field is raised (default: -1 for GE, else 1)",
    )
    facts.add_argument("--manufacturer", metavar="NAME", help="maker of the scanner")
    facts.add_argument(
        "--b0-dir",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="direction of B0 in voxel axes, for images that have lost their orientation; "
        "replaces their affine",
    )
    facts.add_argument(
        "--channels",
        type=int,
        choices=(4, 5),
        help="axis of the receive channels, counted from one, of images in which they are not "
        "combined: 4 where each file is one echo, 5 where the fourth axis is that of the echoes; "
        "they are combined by their phase offsets, which takes two echoes",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be written, and what is wrong"
    )


def main(args: argparse.Namespace) -> int:
    """Run ``qsm-wf import``; returns the exit status."""
    from qsm_workflows.intake.nifti import describe_import, load_scan
    from qsm_workflows.intake.raw import check_target, preview_scan, write_scan
    from qsm_workflows.intake.sources import check_entities

    check_target(args.bids, [])
    failed = 0
    sources = _sources(args)
    for source in sources:
        try:
            check_entities(source)
            scan, notes = load_scan(source)
            print(describe_import(source, scan, notes))
            if args.dry_run:
                check_target(args.bids, [path for path, _, _ in scan.files()])
                preview_scan(scan)
            else:
                write_scan(args.bids, scan)
        except ValueError as error:
            failed += 1
            name = "_".join(f"{key}-{label}" for key, label in source.entities.items())
            print(f"{name} is left out: {error}", file=sys.stderr)
    done = "can be imported" if args.dry_run else f"imported into {args.bids}"
    print(f"{len(sources) - failed} of {len(sources)} scans {done}")
    return 1 if failed else 0


def _sources(args: argparse.Namespace):
    """Scans that the options mean."""
    from qsm_workflows.intake.sources import KINDS, Facts, find_sources, read_mapping

    patterns = {kind: getattr(args, kind) for kind in KINDS}
    if args.mapping is not None:
        if any(patterns.values()):
            raise ValueError("--mapping names the files: leave out --magnitude, --phase and others")
        return read_mapping(args.mapping)
    labels = {"sub": args.subject, "ses": args.session, "acq": args.acquisition, "run": args.run}
    return find_sources(
        patterns,
        {key: label for key, label in labels.items() if label is not None},
        Facts(
            te=None if args.te is None else tuple(args.te),
            b0=args.b0,
            phase_units=args.phase_units,
            phase_sign=args.phase_sign,
            manufacturer=args.manufacturer,
            b0_dir=None if args.b0_dir is None else tuple(args.b0_dir),
            channels=args.channels,
        ),
    )
