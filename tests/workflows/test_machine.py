"""What a job or container allows is what counts, not what the machine has."""

import os
import subprocess
import sys

import psutil
import pytest

from qsm_workflows.workflows import machine


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_cores_are_those_of_the_affinity():
    one = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, [{one}]); "
        "from qsm_workflows.workflows.machine import allotted_cores; print(allotted_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 1


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/job/step\n", {"job/memory.max": 2_000_000_000, "job/step/memory.max": "max"}, 2),
        (
            "9:cpu:/x\n4:memory:/job\n0::/\n",
            {
                "memory/job/memory.limit_in_bytes": 9_223_372_036_854_771_712,
                "memory/memory.limit_in_bytes": 3_000_000_000,
            },
            3,
        ),
        # The path of the host, as a container sees it.
        ("0::/docker/abc\n", {"memory.max": 1_500_000_000}, 1.5),
        ("0::/\n", {}, None),
        (None, {}, None),
    ],
)
def test_memory_is_the_least_limit_of_the_groups(tmp_path, monkeypatch, groups, files, expected):
    own = tmp_path / "own"
    if groups is not None:
        own.write_text(groups)
    root = tmp_path / "groups"
    for name, limit in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{limit}\n")
    monkeypatch.setattr(machine, "_OWN_GROUPS", own)
    monkeypatch.setattr(machine, "_GROUPS", root)
    total = psutil.virtual_memory().total / 1e9
    assert machine.allotted_memory_gb() == pytest.approx(min(expected or total, total))
