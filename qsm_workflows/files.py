"""Files that are whole or not there at all."""

import gzip
import os
import shutil
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


def copy_file(source: Path, target: Path) -> None:
    """Copy a file; one that is not compressed becomes so if its new name says it is.

    No name and no time go into the gzip header: the same image gives the same bytes.
    """
    if source.suffix == target.suffix:
        shutil.copyfile(source, target)
        return
    with (
        source.open("rb") as stream,
        target.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0, compresslevel=1) as packed,
    ):
        shutil.copyfileobj(stream, packed, 1 << 20)
