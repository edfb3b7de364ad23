"""How long a study takes and how much memory it needs, for the plan."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from qsm_workflows.algorithms.geometry import DEFAULT_PAD

from .config import StudyConfig
from .methods import BACKGROUND_REMOVALS, METHODS
from .outputs import branches, outputs
from .plan import ScanGeometry, ScanPlan
from .resources import memory_gb, padded_voxels

# CPU seconds per million voxels of everything but the inversions, measured like those.
_PREPROCESSING_SECONDS = 4.0


@dataclass(frozen=True)
class Estimate:
    """Cost of a study.

    Attributes
    ----------
    n_maps : int
        Susceptibility maps that will be made.
    seconds : float
        CPU seconds of all nodes.
    memory_gb : float
        Memory of the largest node.
    """

    n_maps: int
    seconds: float
    memory_gb: float


def estimate_study(plans: Sequence[ScanPlan], config: StudyConfig) -> Estimate:
    """Estimate the cost of a study on a machine like the one the benchmarks ran on.

    Parameters
    ----------
    plans : sequence of ScanPlan
    config : StudyConfig
    """
    n_maps, seconds, memory = 0, 0.0, 0.0
    removal = BACKGROUND_REMOVALS[config.background_removal]
    methods = {
        name: METHODS[name].with_weights(config.weights.get(name)) for name in config.methods
    }
    for plan in plans:
        geometry = plan.geometry
        seconds += prod(geometry.shape) / 1e6 * _PREPROCESSING_SECONDS
        for shape in _removal_shapes(geometry, config):
            n_voxels = padded_voxels(shape, geometry.voxel_size, DEFAULT_PAD)
            seconds += n_voxels / 1e6 * removal.seconds
            memory = max(memory, memory_gb(n_voxels, removal.volumes))
        for output in outputs(config):
            method = methods[output.method]
            n_voxels = method.n_voxels(geometry.slab_shape(output.coverage), geometry.voxel_size)
            n_maps += 1
            seconds += n_voxels / 1e6 * method.seconds
            memory = max(memory, memory_gb(n_voxels, method.volumes))
    return Estimate(n_maps, seconds, memory)


def _removal_shapes(geometry: ScanGeometry, config: StudyConfig) -> Iterator[tuple[int, int, int]]:
    """Shape of each image whose background is removed."""
    found = branches(config)
    if "B+T" in found:
        yield geometry.shape
    if "T+B" in found:
        yield from map(geometry.slab_shape, found["T+B"].coverages)
