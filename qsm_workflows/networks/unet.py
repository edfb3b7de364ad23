"""The plain U-net that xQSM was compared with."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

from .base import InversionNetwork, initialise


def conv_unit(channels_in: int, channels_out: int) -> nn.Sequential:
    """3 × 3 × 3 convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, 3, padding=1),
        nn.BatchNorm3d(channels_out),
        nn.ReLU(inplace=True),
    )


def up_unit(channels_in: int, channels_out: int) -> nn.Sequential:
    """Transposed convolution that doubles the resolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.ConvTranspose3d(channels_in, channels_out, 2, stride=2),
        nn.BatchNorm3d(channels_out),
        nn.ReLU(inplace=True),
    )


def _conv_pair(channels_in: int, channels: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(*conv_unit(channels_in, channels), *conv_unit(channels, channels_out))


class _Decoder(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.up = up_unit(channels_in, channels_in)
        self.DecodeConv = _conv_pair(2 * channels_in, channels_in, channels_out)

    def forward(self, coarse: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return self.DecodeConv(torch.cat([self.up(coarse), skip], dim=1))


class UNet(InversionNetwork):
    """U-net with xQSM's backbone but ordinary convolutions and no residual.

    The baseline of the xQSM paper; trained on geometric shapes only, it is what that
    group calls DeepQSM. Submodules carry the published names. Their own checkpoints of
    synthetic training (``*_syn``) give half the susceptibility, which their evaluation
    doubles afterwards and nothing in the file tells: double it likewise.

    Parameters
    ----------
    width : int
        Feature channels at full resolution: 64 as published (4,150,785 parameters).
    channels_in, channels_out : int
        Channels of the input and the output.

    References
    ----------
    Gao et al., NMR Biomed 34:e4461 (2021).
    """

    multiple = 4
    halo = 24

    def __init__(self, width: int = 64, channels_in: int = 1, channels_out: int = 1) -> None:
        super().__init__(width)
        self.EncodeConvs = nn.ModuleList(
            [
                nn.Sequential(OrderedDict(EncodeConv=_conv_pair(channels_in, width, width))),
                nn.Sequential(OrderedDict(EncodeConv=_conv_pair(width, 2 * width, 2 * width))),
            ]
        )
        self.MidConv1 = nn.Sequential(
            OrderedDict(MidConv=_conv_pair(2 * width, 4 * width, 2 * width))
        )
        self.DecodeConvs = nn.ModuleList([_Decoder(2 * width, width), _Decoder(width, width)])
        self.FinalConv = nn.Conv3d(width, channels_out, 1)
        initialise(self)

    def invert(self, field: torch.Tensor) -> torch.Tensor:
        """Run the U-net."""
        features, skips = field, []
        for encode in self.EncodeConvs:
            features = encode(features)
            skips.append(features)
            features = F.max_pool3d(features, 2)
        features = self.MidConv1(features)
        for decode in self.DecodeConvs:
            features = decode(features, skips.pop())
        return self.FinalConv(features)
