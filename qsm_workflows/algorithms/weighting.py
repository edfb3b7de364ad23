"""Weights of voxels from what is known of their noise."""

import torch


def data_weight(deviation: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Inverse standard deviation in the mask, with mean 1; zero outside.

    Parameters
    ----------
    deviation : (X, Y, Z) torch.Tensor
        Standard deviation in any units; voxels where it is not positive get no weight.
    mask : (X, Y, Z) torch.Tensor of bool

    Raises
    ------
    ValueError
        If no voxel of the mask has a positive deviation.
    """
    usable = mask & (deviation > 0)
    if not usable.any():
        raise ValueError("noise must be positive somewhere in the mask")
    weight = torch.where(usable, 1 / deviation, torch.zeros_like(deviation))
    return weight / weight[mask].mean()
