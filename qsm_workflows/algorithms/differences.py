"""Finite differences of volumes in mm: operators of inversions, and derivatives in a mask."""

from math import pi

import torch

from . import fft
from .geometry import Triple

_BLOCK = 2**18
"""Voxels of a block, 1 MiB."""


def gradient(volume: torch.Tensor, voxel_size: Triple) -> torch.Tensor:
    """Forward differences along the three axes, periodic, per mm.

    Returns
    -------
    (3, X, Y, Z) torch.Tensor
    """
    result = volume.new_empty((3, *volume.shape))
    for axis, length in enumerate(voxel_size):
        difference(volume, axis, length, result[axis])
    return result


def difference(
    volume: torch.Tensor, axis: int, length: float, out: torch.Tensor, start: int = 0
) -> torch.Tensor:
    """One component of :func:`gradient` in as many planes as `out` holds, from `start` on.

    Iterations take the components one by one and a :func:`block <blocks>` at a time.
    """
    planes, stop = volume.shape[0], start + out.shape[0]
    if axis > 0:
        volume, start = volume[start:stop], 0
    last = volume.shape[axis] - 1
    count = last if axis > 0 else min(stop, last) - start
    inner = out.narrow(axis, 0, count)
    torch.sub(volume.narrow(axis, start + 1, count), volume.narrow(axis, start, count), out=inner)
    if axis > 0 or stop == planes:
        edge = out.narrow(axis, count, 1)
        torch.sub(volume.narrow(axis, 0, 1), volume.narrow(axis, last, 1), out=edge)
    return out if length == 1 else out.div_(float(length))


def blocks(volume: torch.Tensor) -> list[tuple[int, torch.Tensor]]:
    """First plane and memory for a component, of blocks that a processor's cache holds.

    Steps on such a block cost a fraction of what they cost on a whole volume, and need no
    memory of its size.
    """
    planes = volume.shape[0]
    if volume.device.type == "cpu":
        planes = max(1, min(planes, _BLOCK // volume[0].numel()))
    memory = volume.new_empty((planes, *volume.shape[1:]))
    starts = range(0, volume.shape[0], planes)
    return [(start, memory[: volume.shape[0] - start]) for start in starts]


def gradient_adjoint(components: torch.Tensor, voxel_size: Triple) -> torch.Tensor:
    """Adjoint of :func:`gradient`, which is minus the divergence.

    Parameters
    ----------
    components : (3, X, Y, Z) torch.Tensor
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    """
    result = torch.zeros_like(components[0])
    for axis, length in enumerate(voxel_size):
        add_adjoint(components[axis], axis, length, result)
    return result


def add_adjoint(
    component: torch.Tensor, axis: int, length: float, total: torch.Tensor, start: int = 0
) -> None:
    """Add the part of :func:`gradient_adjoint` that comes from some planes of a component."""
    scale, planes, stop = 1 / float(length), total.shape[0], start + component.shape[0]
    total[start:stop].sub_(component, alpha=scale)
    if axis > 0:
        total, start = total[start:stop], 0
    last = total.shape[axis] - 1
    count = last if axis > 0 else min(stop, last) - start
    total.narrow(axis, start + 1, count).add_(component.narrow(axis, 0, count), alpha=scale)
    if axis > 0 or stop == planes:
        total.narrow(axis, 0, 1).add_(component.narrow(axis, count, 1), alpha=scale)


def weighted_laplacian(
    volume: torch.Tensor, weights: torch.Tensor, voxel_size: Triple
) -> torch.Tensor:
    """∇ᵀ·(w·∇v), with the differences of :func:`gradient`.

    Parameters
    ----------
    volume : (X, Y, Z) torch.Tensor
        v.
    weights : (3, X, Y, Z) torch.Tensor
        w of each component.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    """
    result = torch.zeros_like(volume)
    for start, slopes in blocks(volume):
        for axis, length in enumerate(voxel_size):
            difference(volume, axis, length, slopes, start)
            slopes.mul_(weights[axis, start : start + len(slopes)])
            add_adjoint(slopes, axis, length, result, start)
    return result


def gradient_power(
    shape: fft.Shape3, voxel_size: Triple, device: str | torch.device = "cpu"
) -> torch.Tensor:
    """Transfer function of ∇ᵀ·∇, with the differences of :func:`gradient`, on the half grid.

    Returns
    -------
    (X, Y, Z // 2 + 1) torch.Tensor of float32
        Per mm², zero at k = 0.
    """
    x, y, z = (
        (2 - 2 * torch.cos(2 * pi * k * float(length))) / float(length) ** 2
        for k, length in zip(fft.frequencies(shape, voxel_size, device), voxel_size, strict=True)
    )
    return (x + y + z).to(torch.float32)


def gradient_within(volume: torch.Tensor, mask: torch.Tensor, voxel_size: Triple) -> torch.Tensor:
    """Gradient that uses only voxels of the mask: forward, else backward, else zero.

    Parameters
    ----------
    volume : (X, Y, Z) torch.Tensor
    mask : (X, Y, Z) torch.Tensor of bool
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.

    Returns
    -------
    (3, X, Y, Z) torch.Tensor
        Per mm, zero outside the mask.
    """
    result = volume.new_zeros((3, *volume.shape))
    for axis, length in enumerate(voxel_size):
        for step in (-1, 1):
            usable = mask & _neighbour(mask, axis, step)
            difference = (_neighbour(volume, axis, step) - volume) * (step / float(length))
            result[axis] = torch.where(usable, difference, result[axis])
    return result


def laplacian_within(volume: torch.Tensor, mask: torch.Tensor, voxel_size: Triple) -> torch.Tensor:
    """Laplacian that uses only voxels of the mask.

    Along each axis: the central second difference; at the edge of the mask the one-sided
    one of second order; where the mask is two voxels thin the first difference, as if the
    volume were flat beyond; zero where it is one voxel thin.

    Parameters
    ----------
    volume : (X, Y, Z) torch.Tensor
    mask : (X, Y, Z) torch.Tensor of bool
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.

    Returns
    -------
    (X, Y, Z) torch.Tensor
        Per mm², zero outside the mask.
    """
    result = torch.zeros_like(volume)
    stencils = (
        {-1: 1.0, 0: -1.0},
        {0: -1.0, 1: 1.0},
        {-3: -1.0, -2: 4.0, -1: -5.0, 0: 2.0},
        {0: 2.0, 1: -5.0, 2: 4.0, 3: -1.0},
        {-1: 1.0, 0: -2.0, 1: 1.0},
    )
    for axis, length in enumerate(voxel_size):
        second = torch.zeros_like(volume)
        for stencil in stencils:  # later ones are preferred
            usable = torch.ones_like(mask)
            difference = torch.zeros_like(volume)
            for step, weight in stencil.items():
                usable &= _neighbour(mask, axis, step)
                difference.add_(_neighbour(volume, axis, step), alpha=weight)
            second = torch.where(usable, difference, second)
        result.add_(second, alpha=1 / float(length) ** 2)
    return result


def _neighbour(volume: torch.Tensor, axis: int, step: int) -> torch.Tensor:
    """Value `step` voxels further along an axis, zero beyond the end."""
    result = torch.zeros_like(volume)
    length = max(volume.shape[axis] - abs(step), 0)
    source = volume.narrow(axis, min(max(step, 0), volume.shape[axis] - length), length)
    result.narrow(axis, min(max(-step, 0), volume.shape[axis] - length), length).copy_(source)
    return result
