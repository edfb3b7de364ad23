"""Octave convolutions and the U-net made of them.

Features are split into a half at full resolution ("high") and a half at half
resolution ("low"); each convolution lets the two exchange. Sums and activations are done
in place, since memory limits these networks. Submodules carry the names of the
published xQSM, so that its checkpoints load as they are.

References
----------
Chen et al., "Drop an octave", ICCV (2019); Gao et al., "xQSM", NMR Biomed 34:e4461
(2021).
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

from .base import InversionNetwork

Octaves = tuple[torch.Tensor, torch.Tensor]
"""Features at full and at half resolution."""


def _conv3(channels_in: int, channels_out: int) -> nn.Conv3d:
    return nn.Conv3d(channels_in, channels_out, 3, padding=1)


def _upsample(channels_in: int, channels_out: int, factor: int) -> nn.ConvTranspose3d:
    return nn.ConvTranspose3d(channels_in, channels_out, factor, stride=factor)


def _average_pool(volume: torch.Tensor) -> torch.Tensor:
    """Mean over blocks of 2 × 2 × 2.

    On the CPU torch's own pooling knows neither bfloat16 nor channels-last volumes, and
    the copies to and from other layouts took a third of the network's time.
    """
    for axis in (2, 3, 4):
        even, odd = volume.unflatten(axis, (-1, 2)).unbind(axis + 1)
        volume = torch.lerp(even, odd, 0.5)
    return volume


class OctaveInput(nn.Module):
    """First octave convolution: all of its input is at full resolution."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        half = channels_out // 2
        self.convHH = _conv3(channels_in, half)
        self.convHL = _conv3(channels_in, half)
        self.BN_HH = nn.BatchNorm3d(half)
        self.BN_HL = nn.BatchNorm3d(half)

    def forward(self, volume: torch.Tensor) -> Octaves:
        """Split one volume of features into two octaves."""
        high = self.BN_HH(self.convHH(volume))
        low = self.BN_HL(self.convHL(_average_pool(volume)))
        return high.relu_(), low.relu_()


class OctaveConv(nn.Module):
    """Octave convolution between two pairs of octaves."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        half_in, half = channels_in // 2, channels_out // 2
        self.convHH = _conv3(half_in, half)
        self.convLL = _conv3(half_in, half)
        self.convHL = _conv3(half_in, half)
        self.convLH = _conv3(half_in, half)
        self.up = _upsample(half, half, 2)
        self.BN_HH = nn.BatchNorm3d(half)
        self.BN_LH = nn.BatchNorm3d(half)
        self.BN_LL = nn.BatchNorm3d(half)
        self.BN_HL = nn.BatchNorm3d(half)

    def forward(self, octaves: Octaves) -> Octaves:
        """Convolve each octave with itself and with the other."""
        high_in, low_in = octaves
        high = self.BN_HH(self.convHH(high_in))
        high.add_(self.BN_LH(self.up(self.convLH(low_in)))).relu_()
        low = self.BN_LL(self.convLL(low_in))
        low.add_(self.BN_HL(self.convHL(_average_pool(high_in)))).relu_()
        return high, low


class OctaveUp(nn.Module):
    """Doubles the resolution of both octaves."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.up_HH = _upsample(half, half, 2)
        self.up_LH = _upsample(half, half, 4)
        self.BN_H = nn.BatchNorm3d(half)
        self.up_LL = _upsample(half, half, 2)
        # The new low octave has the size of the old high one: nothing to resample.
        self.up_HL = _conv3(half, half)
        self.BN_L = nn.BatchNorm3d(half)

    def forward(self, octaves: Octaves) -> Octaves:
        """Upsample a pair of octaves."""
        high_in, low_in = octaves
        high = self.BN_H(self.up_HH(high_in).add_(self.up_LH(low_in)))
        low = self.BN_L(self.up_LL(low_in).add_(self.up_HL(high_in)))
        return high.relu_(), low.relu_()


class OctaveDecoder(nn.Module):
    """Upsampling, concatenation with the encoder's features, two convolutions."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.up = OctaveUp(channels_in)
        self.DecodeConv1 = OctaveConv(2 * channels_in, channels_in)
        self.DecodeConv2 = OctaveConv(channels_in, channels_out)

    def forward(self, coarse: Octaves, skip: Octaves) -> Octaves:
        """Join features of the level below with those of the encoder."""
        high, low = self.up(coarse)
        joined = torch.cat([high, skip[0]], dim=1), torch.cat([low, skip[1]], dim=1)
        return self.DecodeConv2(self.DecodeConv1(joined))


class OctaveOutput(nn.Module):
    """Last octave convolution, back to full resolution, and the output channels."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        half = channels_in // 2
        self.convHH = _conv3(half, channels_in)
        self.convLH = _conv3(half, channels_in)
        self.up = _upsample(channels_in, channels_in, 2)
        self.BN_HH = nn.BatchNorm3d(channels_in)
        self.BN_LH = nn.BatchNorm3d(channels_in)
        self.FinalConv = nn.Conv3d(channels_in, channels_out, 1)

    def forward(self, octaves: Octaves) -> torch.Tensor:
        """Merge a pair of octaves into one volume."""
        high, low = octaves
        merged = self.BN_HH(self.convHH(high))
        merged.add_(self.BN_LH(self.up(self.convLH(low)))).relu_()
        return self.FinalConv(merged)


def _octave_pair(name: str, first: nn.Module, channels: int, channels_out: int) -> nn.Sequential:
    second = OctaveConv(channels, channels_out)
    return nn.Sequential(OrderedDict({f"{name}1": first, f"{name}2": second}))


class OctaveUNet(InversionNetwork):
    """U-net of octave convolutions with two poolings.

    Parameters
    ----------
    width : int
        Feature channels at full resolution, both octaves together; even.
    channels_in, channels_out : int
        Channels of the input and the output.
    """

    # Two poolings, and the low octave once more.
    multiple = 8
    halo = 56

    def __init__(self, width: int = 64, channels_in: int = 1, channels_out: int = 1) -> None:
        super().__init__(width)
        if width < 2 or width % 2:
            raise ValueError(f"width must be an even number of channels, not {width}")
        self.InputOct = _octave_pair("EncodeConv", OctaveInput(channels_in, width), width, width)
        self.EncodeConvs = nn.ModuleList(
            [
                _octave_pair("EncodeConv", OctaveConv(width, width), width, width),
                _octave_pair("EncodeConv", OctaveConv(width, 2 * width), 2 * width, 2 * width),
            ]
        )
        self.MidConv1 = _octave_pair(
            "MidConv", OctaveConv(2 * width, 4 * width), 4 * width, 2 * width
        )
        self.DecodeConvs = nn.ModuleList(
            [OctaveDecoder(2 * width, width), OctaveDecoder(width, width)]
        )
        self.FinalOct = OctaveOutput(width, channels_out)

    def invert(self, field: torch.Tensor) -> torch.Tensor:
        """Run the U-net, without any residual connection."""
        octaves = self.InputOct(field)
        skips = []
        for encode in self.EncodeConvs:
            octaves = encode(octaves)
            skips.append(octaves)
            octaves = F.max_pool3d(octaves[0], 2), F.max_pool3d(octaves[1], 2)
        octaves = self.MidConv1(octaves)
        for decode in self.DecodeConvs:
            octaves = decode(octaves, skips.pop())
        return self.FinalOct(octaves)
