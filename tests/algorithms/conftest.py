"""A small head for the numerical tests."""

from typing import NamedTuple

import numpy as np
import pytest

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.algorithms.units import radians_per_ppm


class Head(NamedTuple):
    chi: np.ndarray
    mask: np.ndarray
    local_field: np.ndarray
    magnitude: np.ndarray
    voxel_size: tuple[float, float, float]
    b0_dir: tuple[float, float, float]


def ball(shape, centre, radius, voxel_size=(1.0, 1.0, 1.0)):
    """Distance from a point, in mm, less than a radius."""
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    squares = ((a - c) * s for a, c, s in zip(axes, centre, voxel_size, strict=True))
    return sum(square**2 for square in squares) <= radius**2


@pytest.fixture(scope="session")
def head() -> Head:
    """Nuclei of ±0.1 ppm in a mask; odd sizes, voxels and B0 that favour no axis."""
    shape, voxel_size, b0_dir = (30, 33, 27), (1.0, 1.1, 1.3), (0.36, -0.48, 0.8)
    mask = ball(shape, (15, 16, 13), 13.5, voxel_size)
    chi = np.zeros(shape, np.float32)
    for centre, radius, value in (
        ((11, 13, 12), 3.5, 0.1),
        ((20, 14, 13), 3.0, 0.15),
        ((14, 21, 14), 3.0, -0.1),
        ((16, 15, 8), 2.5, 0.2),
    ):
        chi[ball(shape, centre, radius, voxel_size)] = value
    rng = np.random.default_rng(1)
    magnitude = (100 - 200 * chi + rng.normal(0, 0.5, shape)).astype(np.float32) * mask
    noise = rng.normal(0, 1e-3, shape)
    local_field = ((forward_field(chi, voxel_size, b0_dir) + noise) * mask).astype(np.float32)
    return Head(chi, mask, local_field, magnitude, voxel_size, b0_dir)


@pytest.fixture(scope="session")
def total(head) -> np.ndarray:
    """Local field and that of air-like spheres outside the head."""
    field = head.local_field.astype(float)
    for centre in ((2, 34, 10), (30, 14, 0), (15, 16, 30)):
        offset = (np.indices(field.shape).T - centre) * head.voxel_size
        distance = np.linalg.norm(offset, axis=-1)
        cosine = offset @ head.b0_dir / distance
        field += (3 * (3 / distance) ** 3 * (3 * cosine**2 - 1)).T * head.mask
    return field.astype(np.float32)


class Echoes:
    """A smooth field, a smooth offset and decaying echoes at 3 T."""

    b0, times, shape = 3.0, [0.004, 0.010, 0.016, 0.022], (24, 20, 16)

    def __init__(self) -> None:
        x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in self.shape), indexing="ij")
        self.field = 0.1 * (x + 0.5 * y**2 - z)
        self.offset = 0.8 + 0.3 * x - 0.2 * y + 0.1 * z
        self.magnitudes = [np.full(self.shape, np.exp(-30 * time)) for time in self.times]

    def phases(self, offset=0.0, times=None):
        """Phase of each echo, not wrapped."""
        return [offset + radians_per_ppm(self.b0, t) * self.field for t in times or self.times]


@pytest.fixture
def echoes() -> Echoes:
    return Echoes()
