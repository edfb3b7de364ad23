"""Random fields and deformations of training volumes, on tensors."""

import numpy as np
import torch
import torch.nn.functional as F

from qsm_workflows.algorithms.fft import Shape3


def noise(rng: np.random.Generator, shape: Shape3, spacing: float, channels: int = 1):
    """Gaussian noise of unit variance on a grid of `spacing` voxels, interpolated.

    Returns
    -------
    (channels, X, Y, Z) torch.Tensor of float32
    """
    nodes = [max(2, round(n / spacing) + 1) for n in shape]
    values = torch.from_numpy(rng.standard_normal((1, channels, *nodes), dtype=np.float32))
    field = F.interpolate(values, shape, mode="trilinear", align_corners=True)[0]
    return field / field.std()


def blur(volume: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of a volume by `sigma` voxels, which is at most about one."""
    offsets = torch.arange(-2.0, 3.0)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum())[None, None]
    blurred = volume[None, None]
    for axes in ((5, 1, 1), (1, 5, 1), (1, 1, 5)):
        padding = [n // 2 for n in axes]
        blurred = F.conv3d(blurred, kernel.reshape(1, 1, *axes), padding=padding)
    return blurred[0, 0]


def sampling_points(
    rng: np.random.Generator, shape: Shape3, *, tilt: float = 12.0, stretch: float = 0.12
) -> torch.Tensor:
    """Where each voxel of a randomly placed and deformed volume comes from.

    An affine map, and smooth displacements at two scales. Left and right are exchanged in
    every second volume.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
    tilt : float
        Greatest rotation about each axis, degrees, where a normal distribution with half of
        it as standard deviation is cut off.
    stretch : float
        Greatest relative change of size along each axis.

    Returns
    -------
    (3, X, Y, Z) torch.Tensor
        Voxels from the centre of the source.
    """
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in shape]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    matrix = np.diag(rng.uniform(1 - stretch, 1 + stretch, 3))
    for axis, angle in enumerate(np.radians(tilt * np.clip(rng.standard_normal(3), -2, 2) / 2)):
        i, j = (n for n in range(3) if n != axis)
        turn = np.eye(3)
        turn[[i, i, j, j], [i, j, i, j]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        matrix = turn @ matrix
    matrix[:, 0] *= rng.choice([-1, 1])
    points = torch.einsum("ij,jxyz->ixyz", torch.from_numpy(matrix).float(), grid)
    points += torch.from_numpy(rng.uniform(-4, 4, (3, 1, 1, 1)).astype(np.float32))
    for spacing, reach in ((40.0, 3.5), (14.0, 1.0)):
        points += reach * noise(rng, shape, spacing, channels=3)
    return points


def sample_labels(labels: np.ndarray, centre: np.ndarray, points: torch.Tensor) -> torch.Tensor:
    """Nearest label at each point, 0 outside.

    Parameters
    ----------
    labels : (X, Y, Z) ndarray of uint8
    centre : (3,) ndarray
        Voxel from which `points` are counted.
    points : (3, …) torch.Tensor
    """
    index = [(p + float(c)).round().long() for p, c in zip(points, centre, strict=True)]
    inside = torch.ones_like(index[0], dtype=torch.bool)
    for i, n in zip(index, labels.shape, strict=True):
        inside &= (i >= 0) & (i < n)
        i.clamp_(0, n - 1)
    return torch.from_numpy(labels)[tuple(index)].long() * inside
