"""``qsm-wf check``: what a run would assume of a dataset, and what is wrong with it."""

import argparse
import json
from dataclasses import replace
from typing import Any

from qsm_workflows.workflows.config import DEFAULT_REFERENCE

from .run import add_dataset_options


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the ``check`` command."""
    parser = subparsers.add_parser(
        "check",
        help="what a run would assume of a dataset, and what is wrong with it",
        description="Look at every gradient echo scan of a BIDS dataset: echo times, phase units "
        "and sign, grids, direction of B0, masks, labels and sidecars. Each fault comes with its "
        "remedy. The exit status is 0 when all scans can be processed, else 1.",
    )
    parser.set_defaults(func=main)
    add_dataset_options(parser.add_argument_group("data"))
    parser.add_argument(
        "--reference",
        default=DEFAULT_REFERENCE,
        metavar="REGION",
        help="region that susceptibility will be relative to (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    """Run ``qsm-wf check``; returns the exit status."""
    # Imported here, so that `qsm-wf --help` need not load NumPy.
    from qsm_workflows.bids.index import index_dataset

    index = index_dataset(
        args.bids,
        participants=args.participant_label,
        sessions=args.session_label,
        runs=args.run_label,
        acquisitions=args.acquisition_label,
    )
    refused = [
        {"file": str(refusal.file), "what": refusal.reason, "remedy": refusal.remedy}
        for refusal in index.refused
    ]
    scans = [_examine(scan, args) for scan in index.scans]
    faulty = any(refusal.is_fault for refusal in index.refused)
    sound = bool(scans) and not faulty and all(scan["ok"] for scan in scans)
    report = {"dataset": str(args.bids), "ok": sound, "scans": scans, "refused": refused}
    print(json.dumps(report, indent=2, ensure_ascii=False) if args.json else _format(report))
    return 0 if sound else 1


def _examine(scan, args: argparse.Namespace) -> dict[str, Any]:
    """What is assumed of a scan and what is wrong with it."""
    from qsm_workflows.bids.checks import check_scan
    from qsm_workflows.bids.companions import Companions, find_companions
    from qsm_workflows.bids.overview import describe_scan

    given = args.mask not in ("auto", "make")
    problems = []
    try:
        companions = find_companions(
            scan,
            args.bids,
            mask_pattern=args.mask if given else None,
            labels_pattern=args.labels,
            exclude=args.out or args.bids / "derivatives" / "qsm-workflows",
        )
    except ValueError as error:
        problems.append(
            {
                "severity": "error",
                "file": str(args.bids),
                "what": str(error),
                "remedy": "Correct the pattern, or leave it out",
            }
        )
        companions = Companions()
    if args.mask == "make":
        companions = replace(companions, mask=None)
    problems += [
        {
            "severity": problem.severity,
            "file": str(problem.file),
            "what": problem.what,
            "remedy": problem.remedy,
        }
        for problem in check_scan(
            scan, companions, reference=args.reference, mask_method=args.mask_method
        )
    ]
    ok = all(problem["severity"] != "error" for problem in problems)
    return {**describe_scan(scan, companions), "ok": ok, "problems": problems}


def _format(report: dict[str, Any]) -> str:
    """Report for a reader."""
    from qsm_workflows.bids.overview import format_scan

    lines = []
    for scan in report["scans"]:
        lines.append(format_scan(scan))
        lines += [f"  note: {note}" for note in scan["notes"]]
        lines += [f"  {problem['severity']}: {_sentence(problem)}" for problem in scan["problems"]]
        lines.append("  can be processed" if scan["ok"] else "  CANNOT be processed")
    lines += [f"left out: {_sentence(refusal)}" for refusal in report["refused"]]
    good = sum(scan["ok"] for scan in report["scans"])
    lines.append(
        f"{good} of {len(report['scans'])} scans can be processed; "
        f"{len(report['refused'])} left out"
    )
    return "\n".join(lines)


def _sentence(problem: dict[str, str]) -> str:
    return f"{problem['file']}: {problem['what']}. {problem['remedy']}."
