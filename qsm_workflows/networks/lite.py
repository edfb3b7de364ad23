"""The small networks of our own, for weights that come with the package.

Each is one of the published networks at half the resolution, for a fraction of its work.
"""

import torch

from .base import InversionNetwork, initialise
from .ir2qsm import IR2QSM
from .lpcnn import LPCNN
from .octave import OctaveUNet
from .unet import UNet

CHANNELS = 8
"""Voxels of a block, which become channels."""


class LiteNetwork(InversionNetwork):
    """A network at half the resolution.

    Each block of 2 × 2 × 2 voxels becomes one position with eight channels, and the
    output is taken apart in the same way, so no detail is averaged out. The input is
    divided by its mean absolute value over the voxels that are not zero, and the output
    multiplied by it: a field twice as strong gives a susceptibility twice as large,
    however far that lies from what the network was trained on.

    Parameters
    ----------
    trunk : InversionNetwork
        With eight channels in and out.

    References
    ----------
    Rearranged voxels: Shi et al., CVPR (2016), 1874.
    """

    averages_mirrored = True

    def __init__(self, trunk: InversionNetwork) -> None:
        super().__init__(trunk.width)
        self.trunk = trunk

    def scale(self, field: torch.Tensor) -> torch.Tensor:
        """Mean magnitude of each sample's field where it is not zero; 1 if it is zero."""
        axes = (1, 2, 3, 4)
        total = field.abs().sum(axes, keepdim=True, dtype=torch.float32)
        counted = (field != 0).sum(axes, keepdim=True)
        return torch.where(counted > 0, total / counted.clamp(min=1), 1.0)

    def invert(self, field: torch.Tensor) -> torch.Tensor:
        """Run the trunk on blocks of voxels."""
        return depth_to_space(self.trunk(space_to_depth(field)))


class LiteQSM(LiteNetwork):
    """Residual octave U-net at half the resolution: an image takes a thirtieth of xQSM's work.

    Parameters
    ----------
    width : int
        Feature channels at half resolution, both octaves together: 32 (1,312,872
        parameters) or 64 (5,228,232).

    References
    ----------
    Octave U-net: Gao et al., NMR Biomed 34:e4461 (2021).
    """

    multiple = 2 * OctaveUNet.multiple
    halo = 2 * OctaveUNet.halo

    def __init__(self, width: int = 32) -> None:
        super().__init__(OctaveUNet(width, CHANNELS, CHANNELS))
        initialise(self)

    def invert(self, field: torch.Tensor) -> torch.Tensor:
        """Correct the field by what the U-net finds."""
        return field + super().invert(field)


class LiteUNet(LiteNetwork):
    """Plain U-net at half the resolution.

    Parameters
    ----------
    width : int
        Feature channels at half resolution.
    """

    multiple = 2 * UNet.multiple
    halo = 2 * UNet.halo

    def __init__(self, width: int = 32) -> None:
        super().__init__(UNet(width, CHANNELS, CHANNELS))


class LiteIR2QSM(LiteNetwork):
    """IR2QSM at half the resolution.

    Parameters
    ----------
    width : int
        Feature channels at half resolution.
    """

    trunk: IR2QSM
    multiple = 2 * IR2QSM.multiple

    def __init__(self, width: int = 8) -> None:
        super().__init__(IR2QSM(width, CHANNELS))

    def supervised(self, field: torch.Tensor) -> list[tuple[float, torch.Tensor]]:
        """Outputs of the passes and the result, as those of IR2QSM."""
        scale = self.scale(field)
        outputs = self.trunk.supervised(space_to_depth(field / scale))
        return [(part, depth_to_space(output) * scale) for part, output in outputs]


class LiteLPCNN(LiteNetwork):
    """LPCNN whose learned step works at half the resolution; its physics does not.

    Parameters
    ----------
    width : int
        Feature channels at half resolution.
    """

    trunk: LPCNN
    multiple = 2
    repeats = LPCNN.repeats

    def __init__(self, width: int = 16) -> None:
        # A small network has no channels to spare for dropout. The field is scaled to a mean
        # magnitude of 1, of which χ has a few times as much.
        super().__init__(LPCNN(width, chi_std=4.0, channels=CHANNELS, dropout=0.0))

    def invert(self, field: torch.Tensor) -> torch.Tensor:
        """Descend, with steps learned on blocks of voxels."""

        def prox(chi: torch.Tensor) -> torch.Tensor:
            return depth_to_space(self.trunk.gen(space_to_depth(chi)))

        return self.trunk.descend(field, prox)


def space_to_depth(volume: torch.Tensor) -> torch.Tensor:
    """Turn blocks of 2 × 2 × 2 voxels into channels: (N, 1, X, Y, Z) → (N, 8, X/2, Y/2, Z/2)."""
    n, _, x, y, z = volume.shape
    blocks = volume.reshape(n, x // 2, 2, y // 2, 2, z // 2, 2)
    return blocks.permute(0, 2, 4, 6, 1, 3, 5).reshape(n, CHANNELS, x // 2, y // 2, z // 2)


def depth_to_space(blocks: torch.Tensor) -> torch.Tensor:
    """Inverse of :func:`space_to_depth`."""
    n, _, x, y, z = blocks.shape
    volume = blocks.reshape(n, 2, 2, 2, x, y, z).permute(0, 4, 1, 5, 2, 6, 3)
    return volume.reshape(n, 1, 2 * x, 2 * y, 2 * z)
