"""Files that are whole or not there at all."""

import os
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name, then give it its own.

    Whoever looks for the file meanwhile, or after a failure, finds the old one or none.

    Parameters
    ----------
    path : Path
        Final name; its folder is made where it is missing.
    write : callable
        Called with the temporary name, in the same folder and with the same extensions.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}_{path.name}")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
