"""Entry point of ``qsm-wf``."""

import argparse
import os
import select
import shlex
import signal
import sys
import threading
from collections.abc import Sequence

from qsm_workflows import __version__

from . import check, config_file, convert, import_nifti, run, simulate, steps, train, weights
from .parser import Parser

_COMMANDS = (run, check, convert, import_nifti, simulate, steps, train, weights)


def build_parser() -> argparse.ArgumentParser:
    """Parser of all commands."""
    parser = Parser(
        prog="qsm-wf",
        description="Quantitative susceptibility mapping of whole heads and thin slabs.",
        epilog="The BIDS-App form works too: qsm-wf BIDS_DIR OUT_DIR participant [options of run].",
    )
    parser.add_argument("--version", action="version", version=f"qsm-workflows {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_parser(subparsers)
    return parser


def from_bids_app(arguments: Sequence[str]) -> list[str]:
    """Turn the BIDS-App form into the one of ``run``; anything else is left as it is.

    Examples
    --------
    >>> from_bids_app(["data", "out", "participant", "--coverage", "full"])
    ['run', '--bids', 'data', '--out', 'out', '--coverage', 'full']
    >>> from_bids_app(["run", "--bids", "data"])
    ['run', '--bids', 'data']
    """
    if len(arguments) >= 3 and arguments[2] in ("participant", "group"):
        bids_dir, out_dir, level, *rest = arguments
        only = ["--reports-only"] if level == "group" else []
        return ["run", "--bids", bids_dir, "--out", out_dir, *only, *rest]
    return list(arguments)


class _Terminated(KeyboardInterrupt):
    """A scheduler or the system asks the process to end; it ends as on Ctrl-C."""


def _on_sigterm(number: int, frame: object) -> None:
    raise _Terminated


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, 1 when a scan failed, 2 for bad input."""
    # Nipype asks a server for its latest version unless told not to.
    os.environ.setdefault("NIPYPE_NO_ET", "1")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _on_sigterm)
    given = from_bids_app(sys.argv[1:] if argv is None else argv)
    try:
        if given[:1] == ["run"]:
            given = ["run", *config_file.expand_config(given[1:])]
        arguments = build_parser().parse_args(given)
        arguments.command_line = shlex.join(["qsm-wf", *given])
        status = arguments.func(arguments)
        sys.stdout.flush()
        return status
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        # A pipe to a worker may break as well, and that is an error.
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            # What is left must not be flushed at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        # Python's own MemoryError has no message.
        print(f"qsm-wf: error: {str(error) or 'too little memory'}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print("qsm-wf: stopped; run the same command again to go on", file=sys.stderr)
        return 128 + (signal.SIGTERM if isinstance(stop, _Terminated) else signal.SIGINT)


def _reader_is_gone() -> bool:
    """Whether whoever read the output has seen enough, as `head` has."""
    poll = select.poll()
    poll.register(sys.stdout, select.POLLERR)
    return any(event & select.POLLERR for _, event in poll.poll(0))


if __name__ == "__main__":
    sys.exit(main())
