"""Soft-thresholded gradients, what the ADMM iterations with total variation share."""

import torch

from .. import differences, fft
from ..geometry import Triple


class SlopeShrinkage:
    """The half of ADMM that deals with z = ∇χ, where ‖z‖₁ is penalised.

    Parameters
    ----------
    shape : tuple of int
        Grid of χ.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    limit : float
        Threshold: weight of ‖z‖₁ over the penalty on z ≠ ∇χ.
    device : str or torch.device
    """

    def __init__(
        self, shape: fft.Shape3, voxel_size: Triple, limit: float, device: str | torch.device
    ) -> None:
        self.voxel_size, self.limit = voxel_size, limit
        self.multiplier = torch.zeros((3, *shape), device=device)

    def update(self, chi: torch.Tensor) -> torch.Tensor:
        """∇ᵀ of z less its scaled multiplier, after both were updated for a new χ."""
        divergence = torch.zeros_like(chi)
        for start, slopes in differences.blocks(chi):
            for axis, length in enumerate(self.voxel_size):
                multiplier = self.multiplier[axis, start : start + len(slopes)]
                differences.difference(chi, axis, length, slopes, start).add_(multiplier)
                torch.clamp(slopes, -self.limit, self.limit, out=multiplier)
                slopes.sub_(multiplier, alpha=2)
                differences.add_adjoint(slopes, axis, length, divergence, start)
        return divergence
