"""A progress bar of one node's work, for somebody who watches."""

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[float], None]]:
    """Bar that is told the part that is done, from 0 to 1.

    Shown on a terminal only, and not by the workers of a study, which has a bar of its own.
    """
    is_worker = multiprocessing.parent_process() is not None
    with tqdm(total=100, desc=name, unit="%", disable=is_worker or not sys.stderr.isatty()) as bar:

        def report(part: float) -> None:
            bar.update(round(100 * part) - bar.n)

        yield report
