"""DeepQSM, the network of Bollmann et al."""

import torch
from torch import nn

from .base import InversionNetwork


def _down(channels_in: int, channels_out: int, *, normalise: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv3d(channels_in, channels_out, 3, stride=2, padding=1, bias=False)
    ]
    if normalise:
        layers.append(nn.BatchNorm3d(channels_out))
    layers.append(nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(*layers)


def _up(channels_in: int, channels_out: int, *, dropout: float = 0.0) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose3d(
            channels_in, channels_out, 3, stride=2, padding=1, output_padding=1, bias=False
        ),
        nn.BatchNorm3d(channels_out),
        nn.Dropout(dropout),
        nn.ReLU(inplace=True),
    )


class DeepQSM(InversionNetwork):
    """DeepQSM: a U-net of strided convolutions, trained on geometric shapes only.

    Five levels of 1 to 5 times `width` filters. The output passes a hyperbolic tangent,
    so χ stays within ±1 ppm and large values are compressed.

    Parameters
    ----------
    width : int
        Filters of the first level: 32 or 64.

    References
    ----------
    Bollmann et al., "DeepQSM – using deep learning to solve the dipole inversion for
    quantitative susceptibility mapping", NeuroImage 195:373 (2019).
    """

    multiple = 32
    halo = 64

    def __init__(self, width: int = 32) -> None:
        super().__init__(width)
        filters = [width * level for level in range(1, 6)]
        inputs = [1, *filters[:-1]]
        self.encoder = nn.ModuleList(
            _down(a, b, normalise=level > 0)
            for level, (a, b) in enumerate(zip(inputs, filters, strict=True))
        )
        # Every decoder level but the deepest also takes the encoder's features of its size.
        self.decoder = nn.ModuleList(
            [
                _up(filters[4], filters[4], dropout=0.05),
                _up(filters[4] + filters[3], filters[3], dropout=0.05),
                _up(filters[3] + filters[2], filters[2]),
                _up(filters[2] + filters[1], filters[1]),
            ]
        )
        self.output = nn.ConvTranspose3d(
            filters[1] + filters[0], 1, 3, stride=2, padding=1, output_padding=1
        )

    def invert(self, field: torch.Tensor) -> torch.Tensor:
        """Run the U-net."""
        features, skips = field, []
        for down in self.encoder:
            features = down(features)
            skips.append(features)
        skips.pop()
        for up in self.decoder:
            features = torch.cat([up(features), skips.pop()], dim=1)
        return torch.tanh(self.output(features))
