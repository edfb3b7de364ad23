"""Scans that one run works on at a time, whatever process or machine the other is on."""

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

_HELD = (errno.EACCES, errno.EAGAIN)


@contextmanager
def hold_scans(lock_file: Path, names: Iterable[str]) -> Iterator[set[str]]:
    """Hold those scans that no other run holds; gives their names.

    A lock is on one byte of a file that all runs share, so that any number of scans needs
    one open file, and goes with the process, however that ends. Where the file system knows
    no locks, every scan counts as free.

    Parameters
    ----------
    lock_file : Path
        Made where it is missing, and left: another run may be waiting on it.
    names : iterable of str
        Names of the scans.
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("a+b") as file:
        yield {name for name in names if _hold(file.fileno(), name)}


def _hold(descriptor: int, name: str) -> bool:
    byte = int.from_bytes(sha256(os.fsencode(name)).digest()[:4])
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except OSError as error:
        return error.errno not in _HELD
    return True
