"""Heads that several test modules look at."""

import pytest

from qsm_workflows.phantom import Head, simulate_head

COARSE = {"voxel_size": (3.0, 3.0, 3.0), "matrix": (48, 64, 43)}


@pytest.fixture(scope="session")
def head() -> Head:
    """One subject at 3 mm."""
    return simulate_head(7, 1, **COARSE)
