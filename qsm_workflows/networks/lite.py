"""The small network of our own, for weights that come with the package."""

import torch

from .base import InversionNetwork, initialise
from .octave import OctaveUNet


class LiteQSM(InversionNetwork):
    """Residual octave U-net on half the resolution, for a thirtieth of xQSM's work.

    Each block of 2 × 2 × 2 voxels becomes one position with eight channels, and the
    output is taken apart in the same way, so no detail is averaged out. The input is
    divided by its mean absolute value over the voxels that are not zero, and the output
    multiplied by it: a field twice as strong gives a susceptibility twice as large,
    however far that lies from what the network was trained on.

    Parameters
    ----------
    width : int
        Feature channels at half resolution, both octaves together: 32 (1,312,872
        parameters) or 64 (5,228,232).

    References
    ----------
    Octave U-net: Gao et al., NMR Biomed 34:e4461 (2021). Rearranged voxels: Shi et al.,
    CVPR (2016), 1874.
    """

    averages_mirrored = True
    multiple = 2 * OctaveUNet.multiple
    halo = 2 * OctaveUNet.halo

    def __init__(self, width: int = 32) -> None:
        super().__init__(width)
        self.trunk = OctaveUNet(width, channels_in=8, channels_out=8)
        initialise(self)

    def scale(self, field: torch.Tensor) -> torch.Tensor:
        """Mean magnitude of each sample's field where it is not zero; 1 if it is zero."""
        axes = (1, 2, 3, 4)
        total = field.abs().sum(axes, keepdim=True, dtype=torch.float32)
        counted = (field != 0).sum(axes, keepdim=True)
        return torch.where(counted > 0, total / counted.clamp(min=1), 1.0)

    def invert(self, field: torch.Tensor) -> torch.Tensor:
        """Correct the field by what the U-net finds."""
        blocks = space_to_depth(field)
        return depth_to_space(blocks + self.trunk(blocks))


def space_to_depth(volume: torch.Tensor) -> torch.Tensor:
    """Turn blocks of 2 × 2 × 2 voxels into channels: (N, 1, X, Y, Z) → (N, 8, X/2, Y/2, Z/2)."""
    n, _, x, y, z = volume.shape
    blocks = volume.reshape(n, x // 2, 2, y // 2, 2, z // 2, 2)
    return blocks.permute(0, 2, 4, 6, 1, 3, 5).reshape(n, 8, x // 2, y // 2, z // 2)


def depth_to_space(blocks: torch.Tensor) -> torch.Tensor:
    """Inverse of :func:`space_to_depth`."""
    n, _, x, y, z = blocks.shape
    volume = blocks.reshape(n, 2, 2, 2, x, y, z).permute(0, 4, 1, 5, 2, 6, 3)
    return volume.reshape(n, 1, 2 * x, 2 * y, 2 * z)
