"""Things drawn into training volumes: geometric shapes, an outline, veins and lesions."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from qsm_workflows.algorithms.fft import Shape3

from .fields import noise


def paint_shapes(
    rng: np.random.Generator,
    chi: torch.Tensor,
    *,
    count: int,
    size: tuple[float, float],
    spread: float,
) -> None:
    """Paint ellipsoids and boxes, turned at random, over what is there.

    Parameters
    ----------
    rng : numpy.random.Generator
    chi : (X, Y, Z) torch.Tensor
        Susceptibility in ppm; changed in place.
    count : int
    size : tuple of float
        Least and greatest half-axis in voxels; small ones are more frequent.
    spread : float
        Standard deviation of the values, ppm.
    """
    for _ in range(count):
        half = np.exp(rng.uniform(np.log(size[0]), np.log(size[1]), 3))
        is_box = rng.random() < 0.5
        part, local = _surroundings(rng, chi, half, rng.uniform(0, 1, 3) * chi.shape)
        distance = local.abs().amax(dim=0) if is_box else local.square().sum(dim=0).sqrt()
        part[distance < 1] = float(rng.normal(0, spread))


def draw_outline(rng: np.random.Generator, shape: Shape3) -> torch.Tensor:
    """Draw a large ragged ellipsoid near the middle of a volume; bool, True inside."""
    inside = torch.zeros(shape, dtype=torch.bool)
    half = rng.uniform(0.4, 0.65, 3) * shape
    part, local = _surroundings(rng, inside, half, rng.uniform(0.4, 0.6, 3) * shape)
    x, y, z = part.shape
    ragged = 0.08 * noise(rng, (x, y, z), 6.0)[0]
    part.copy_(local.square().sum(dim=0).sqrt() + ragged < 1)
    return inside


def paint_lesions(
    rng: np.random.Generator, chi: torch.Tensor, mask: torch.Tensor, probability: float = 0.35
) -> None:
    """Paint a haemorrhage and a calcification, each with this probability, in place."""
    inside = mask.nonzero()
    for low, high in ((0.2, 1.2), (-0.7, -0.1)):
        if rng.random() > probability or not len(inside):
            continue
        centre = inside[rng.integers(len(inside))].numpy()
        half = rng.uniform(2, 12) * rng.uniform(0.7, 1.4, 3)
        part, local = _surroundings(rng, chi, 1.5 * half, centre)
        x, y, z = part.shape
        ragged = 0.25 * noise(rng, (x, y, z), 4.0)[0]
        core = 1.5 * local.square().sum(dim=0).sqrt() + ragged < 1
        values = rng.uniform(low, high) * (1 + 0.12 * noise(rng, (x, y, z), 2.0)[0])
        part[core] = values[core]


def _surroundings(
    rng: np.random.Generator, chi: torch.Tensor, half: np.ndarray, centre: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """View of the volume about a point, and turned coordinates there in units of `half`."""
    reach = np.ceil(np.linalg.norm(half)).astype(int)
    low = np.clip(np.floor(centre).astype(int) - reach, 0, np.array(chi.shape) - 1)
    high = np.minimum(np.ceil(centre).astype(int) + reach + 1, chi.shape)
    axes = [
        torch.arange(a, b, dtype=torch.float32) - float(c)
        for a, b, c in zip(low, high, centre, strict=True)
    ]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    turn = Rotation.random(random_state=rng).as_matrix() / half[:, None]
    local = torch.einsum("ij,jxyz->ixyz", torch.from_numpy(turn).float(), grid)
    return chi[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], local


def paint_veins(
    rng: np.random.Generator, chi: torch.Tensor, mask: torch.Tensor, count: int
) -> None:
    """Paint thin, winding vessels; each adds what part of a voxel it fills, in place."""
    inside = mask.nonzero().numpy()
    if not len(inside):
        return
    starts = inside[rng.integers(len(inside), size=count)].astype(float)
    paths = [_path(rng, start) for start in starts]
    points = np.concatenate([path[:, :3] for path in paths])
    filled = np.concatenate([path[:, 3] for path in paths])
    fraction = _splat(points, filled, chi.shape).clamp_(max=1)
    chi += fraction * (rng.uniform(0.1, 0.4) - chi)


_STEP = 0.5


def _path(rng: np.random.Generator, start: np.ndarray) -> np.ndarray:
    """Points along a vessel with the volume, mm³, that belongs to each; (N, 4)."""
    steps = int(rng.uniform(10, 50) / _STEP)
    bends = 0.12 * rng.standard_normal((steps, 3))
    direction = rng.standard_normal(3) + np.cumsum(bends, axis=0)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    radius = np.linspace(rng.uniform(0.3, 1.0), 0.2, steps)
    points = start + _STEP * np.cumsum(direction, axis=0)
    return np.column_stack([points, np.pi * radius**2 * _STEP])


def _splat(points: np.ndarray, amounts: np.ndarray, shape: torch.Size) -> torch.Tensor:
    """Distribute amounts at points over the eight voxels round each."""
    volume = torch.zeros(shape)
    base = np.floor(points).astype(int)
    for corner in np.ndindex(2, 2, 2):
        index = base + corner
        weight = np.prod(1 - np.abs(points - index), axis=1) * amounts
        inside = np.all((index >= 0) & (index < shape), axis=1)
        voxels = tuple(torch.from_numpy(axis) for axis in index[inside].T)
        volume.index_put_(voxels, torch.from_numpy(weight[inside]).float(), accumulate=True)
    return volume
