"""Memory that nodes declare to the scheduler, and time for the plan."""

from math import prod

from qsm_workflows.algorithms.geometry import Triple

# A worker's Python with torch, NumPy and nibabel loaded.
BASE_GB = 0.4


def memory_gb(n_voxels: float, volumes: float) -> float:
    """Peak memory of a node that holds `volumes` float32 volumes at once."""
    return round(BASE_GB + n_voxels * volumes * 4e-9, 2)


def padded_voxels(shape: tuple[int, ...], voxel_size: Triple, pad: float) -> float:
    """Voxels of the grid that inversions work on, `pad` mm larger along every axis."""
    return prod(n + pad / size for n, size in zip(shape, voxel_size, strict=True))
