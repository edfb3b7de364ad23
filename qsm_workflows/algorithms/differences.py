"""Finite differences of volumes in mm: operators of inversions, and derivatives in a mask."""

from math import pi

import torch

from . import fft
from .geometry import Triple


def gradient(volume: torch.Tensor, voxel_size: Triple) -> torch.Tensor:
    """Forward differences along the three axes, periodic, per mm.

    Returns
    -------
    (3, X, Y, Z) torch.Tensor
    """
    result = volume.new_empty((3, *volume.shape))
    for axis, length in enumerate(voxel_size):
        last = volume.shape[axis] - 1
        inner = result[axis].narrow(axis, 0, last)
        torch.sub(volume.narrow(axis, 1, last), volume.narrow(axis, 0, last), out=inner)
        edge = result[axis].narrow(axis, last, 1)
        torch.sub(volume.narrow(axis, 0, 1), volume.narrow(axis, last, 1), out=edge)
        if length != 1:
            result[axis].div_(float(length))
    return result


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
        component, scale = components[axis], 1 / float(length)
        last = component.shape[axis] - 1
        result.sub_(component, alpha=scale)
        result.narrow(axis, 1, last).add_(component.narrow(axis, 0, last), alpha=scale)
        result.narrow(axis, 0, 1).add_(component.narrow(axis, last, 1), alpha=scale)
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
