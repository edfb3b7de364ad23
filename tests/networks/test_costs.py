"""Estimates for planning hold against a real run."""

import subprocess
import sys

import pytest

from qsm_workflows.networks.checkpoints import ARCHITECTURES
from qsm_workflows.networks.costs import network_cost

# Not `getrusage`, whose peak of a new process is at least that of the one it came from.
PEAK = """
import re
from pathlib import Path
import numpy as np
from qsm_workflows.networks.inference import apply_network
from qsm_workflows.networks.xqsm import XQSM
apply_network(XQSM(32), np.ones((96, 96, 64)), np.ones((96, 96, 64)), (1, 1, 1))
status = Path("/proc/self/status").read_text()
print(int(re.search(r"VmHWM:\\s*(\\d+)", status)[1]) * 1024 / 1e9)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak")
def test_memory_is_enough_and_not_far_too_much():
    peak = float(subprocess.check_output([sys.executable, "-c", PEAK], text=True))
    estimate = network_cost("xqsm", 96 * 96 * 64, width=32).memory_gb
    assert peak < estimate < 2 * peak


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_has_an_estimate(architecture):
    small, large = (network_cost(architecture, n) for n in (10**6, 4 * 10**6))
    assert large.cpu_seconds == pytest.approx(4 * small.cpu_seconds)
    assert large.memory_gb > small.memory_gb
    assert network_cost(architecture, 10**6, dtype="bfloat16").cpu_seconds < small.cpu_seconds


def test_unknown_networks_are_refused():
    with pytest.raises(ValueError, match="unknown architecture 'vnet'; there are xqsm"):
        network_cost("vnet", 1)
    with pytest.raises(ValueError, match="dtype"):
        network_cost("xqsm", 1, dtype="int8")
