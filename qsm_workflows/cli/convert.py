"""``qsm-wf convert``: DICOM to a BIDS dataset."""

import argparse
import sys
import tempfile
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the ``convert`` command."""
    parser = subparsers.add_parser(
        "convert",
        help="DICOM to a BIDS dataset",
        description="Find the gradient echo scans with magnitude and phase among DICOM files, "
        "classic or enhanced, in any order, and put them into a BIDS dataset, phase in radians. "
        "Names, dates and places are not written; patients become sub-01, sub-02, …",
    )
    parser.set_defaults(func=main)
    parser.add_argument(
        "dicom", type=Path, nargs="+", metavar="DICOM", help="folders, files, .zip or .tar archives"
    )
    parser.add_argument(
        "--bids", type=Path, required=True, metavar="OUT", help="BIDS dataset, new or not"
    )
    for name in ("subject", "session", "acquisition"):
        parser.add_argument(f"--{name}", metavar="LABEL", help=f"label of the {name}")
    parser.add_argument(
        "--series",
        type=int,
        nargs="+",
        metavar="N",
        help="numbers of the series to look at (default: all)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="list the series and what each would become"
    )


def main(args: argparse.Namespace) -> int:
    """Run ``qsm-wf convert``; returns the exit status."""
    from qsm_workflows.bids.scan import strip_key
    from qsm_workflows.intake.archives import gather_files
    from qsm_workflows.intake.dicom import name_acquisitions, read_headers
    from qsm_workflows.intake.raw import check_target, join_entities
    from qsm_workflows.intake.series import describe_acquisition, sort_series

    given = {"sub": args.subject, "ses": args.session, "acq": args.acquisition}
    labels = {key: strip_key(key, label) for key, label in given.items() if label is not None}
    check_target(args.bids, [])
    with tempfile.TemporaryDirectory(prefix="qsm-wf-") as scratch:
        headers, others, faults = read_headers(gather_files(args.dicom, Path(scratch)))
        for fault in faults:
            print(f"left out: {fault}", file=sys.stderr)
        if not headers:
            raise ValueError(f"there is no DICOM file among {others + len(faults)} files")
        sorting = sort_series(
            header for header in headers if not args.series or header.number in args.series
        )
        for series, reason in sorting.left_out:
            header = series.header
            print(f"series {header.number} ({header.description}) is left out: {reason}")
        named = name_acquisitions(sorting.acquisitions, labels)
        if not named:
            raise ValueError(
                "there is no gradient echo scan with magnitude and phase in the DICOM files; see "
                "above for what was found. Phase must be reconstructed and exported by the scanner"
            )
        failed = 0
        for item in named:
            what = {"scan": "", "field map": " — phase DIFFERENCE, kept as a field map in fmap/"}
            print(
                f"{describe_acquisition(item.acquisition)} → {join_entities(item.entities)}"
                f"{what[item.acquisition.kind]}"
            )
            failed += not (args.dry_run or _convert(item, args.bids))
    if not any(item.acquisition.kind == "scan" for item in named):
        print(
            "no susceptibility can be mapped: the phase of each echo is needed, not their "
            "difference",
            file=sys.stderr,
        )
    done = "can be converted" if args.dry_run else f"converted into {args.bids}"
    print(f"{len(named) - failed} of {len(named)} scans {done}")
    return 1 if failed or faults else 0


def _convert(named, bids_dir: Path) -> bool:
    """Convert one acquisition; says what went wrong."""
    from qsm_workflows.intake.dicom import load_acquisition
    from qsm_workflows.intake.raw import join_entities, write_scan

    try:
        scan, notes = load_acquisition(named)
        write_scan(bids_dir, scan)
    except ValueError as error:
        print(f"{join_entities(named.entities)} is left out: {error}", file=sys.stderr)
        return False
    for note in notes:
        print(f"  note: {note}")
    return True
