"""How much of the machine this process may use; on clusters and in containers, not all of it."""

from collections.abc import Iterator
from pathlib import Path

import joblib
import psutil

_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def allotted_cores() -> int:
    """Cores by affinity, such as of ``taskset`` and SLURM, and by the quota of a container."""
    return joblib.cpu_count()


def allotted_memory_gb() -> float:
    """Memory of the machine, or the least that a control group around this process allows."""
    limits = [int(text) for text in _memory_limits() if text.isdigit()]
    return min([psutil.virtual_memory().total, *limits]) / 1e9


def _memory_limits() -> Iterator[str]:
    """What the files of the memory limits hold, of both versions of control groups."""
    try:
        groups = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if "memory" in controllers.split(","):
            root, name = _GROUPS / "memory", "memory.limit_in_bytes"
        elif not controllers:
            root, name = _GROUPS, "memory.max"
        else:
            continue
        folder = root / path.lstrip("/")
        # Seen from a container, the path may be that of the host; the root is always there.
        for above in (folder, *folder.parents):
            if not above.is_relative_to(root):
                break
            try:
                yield (above / name).read_text().strip()
            except OSError:
                continue
