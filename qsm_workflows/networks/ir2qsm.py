"""IR2QSM, four U-nets in a row, each knowing what the one before it found."""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from .base import InversionNetwork, initialise
from .unet import conv_unit, up_unit

PASSES = 4
LEVELS = 4
DROPOUT = 0.05
NOISE_PROBABILITY = 0.7
SIGNAL_TO_NOISE = (20.0, 10.0, 5.0, 2.0)
"""Power of the features over that of the noise, drawn for each noise layer."""


class _NoiseLayer(nn.Module):
    """White noise on the features, only while training and only sometimes.

    The authors' code leaves one of these layers active after training, which makes their
    maps differ from run to run; here none is.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if not self.training or torch.rand(()) > NOISE_PROBABILITY:
            return features
        ratio = SIGNAL_TO_NOISE[int(torch.randint(len(SIGNAL_TO_NOISE), ()))]
        power = features.detach().square().mean() / ratio
        return features + power.sqrt() * torch.randn_like(features)


class _Encoder(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        # Idle in the first pass, which has no earlier features; checkpoints hold it anyway.
        self.join = conv_unit(2 * channels, channels)
        self.conv = nn.Sequential(nn.Dropout(DROPOUT), conv_unit(channels, channels))
        self.down = conv_unit(channels, 2 * channels)

    def forward(
        self, features: torch.Tensor, earlier: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of this level and input of the next; `earlier` is from the last pass."""
        if earlier is not None:
            features = self.join(torch.cat([features, earlier], dim=1))
        features = self.conv(features)
        return features, F.max_pool3d(self.down(features), 2)


class _Decoder(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = up_unit(2 * channels, channels)
        self.convs = nn.Sequential(
            conv_unit(2 * channels, 2 * channels),
            nn.Dropout(DROPOUT),
            conv_unit(2 * channels, channels),
        )

    def forward(self, coarse: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return self.convs(torch.cat([self.up(coarse), skip], dim=1))


class _Pass(nn.Module):
    """One U-net, whose bottleneck is a gated recurrent state."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        levels = [width * 2**level for level in range(LEVELS - 1)]
        deepest = width * 2 ** (LEVELS - 1)
        self.pre = nn.Sequential(
            conv_unit(channels, width), nn.Dropout(DROPOUT), conv_unit(width, width), _NoiseLayer()
        )
        self.encoders = nn.ModuleList(_Encoder(channels) for channels in levels)
        self.bottleneck = nn.Sequential(_NoiseLayer(), nn.Dropout(DROPOUT))
        self.update_gate = conv_unit(deepest, deepest)
        self.out_gate = conv_unit(deepest, deepest)
        self.noise = _NoiseLayer()
        self.decoders = nn.ModuleList(_Decoder(channels) for channels in reversed(levels))
        self.post = nn.Sequential(
            _NoiseLayer(), conv_unit(width, width), nn.Conv3d(width, channels, 1)
        )

    def forward(
        self,
        volume: torch.Tensor,
        earlier: Sequence[torch.Tensor | None],
        state: torch.Tensor | None,
    ) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
        """Output, features of the decoder from fine to coarse, and the new state."""
        features, skips = self.pre(volume), []
        for encode, known in zip(self.encoders, earlier, strict=True):
            skip, features = encode(features, known)
            skips.append(skip)
        features = self.bottleneck(features)
        update = torch.sigmoid(self.update_gate(features))
        previous = features if state is None else state
        state = previous * (1 - update) + self.out_gate(features) * update
        features = self.noise(state)
        found: list[torch.Tensor] = []
        for decode, skip in zip(self.decoders, reversed(skips), strict=True):
            features = decode(features, skip)
            found.insert(0, features)
        return self.post(features), found, state


class IR2QSM(InversionNetwork):
    """IR2QSM: four residual U-nets with weights of their own.

    Each pass takes the output of the one before; the state of the bottleneck and the
    features of the decoder are handed on. A 1 × 1 × 1 convolution weighs the four outputs.
    Noise is added to the features while training only, so inference is reproducible.

    Parameters
    ----------
    width : int
        Feature channels at full resolution: 16 as published (10,375,866 parameters, of
        which those of `unused` and of the first pass's `join` do nothing).
    channels : int
        Channels of the input and the output.

    References
    ----------
    Li et al., "IR2QSM: quantitative susceptibility mapping via deep neural networks with
    iterative reverse concatenations and recurrent modules", arXiv:2406.12300 (2024).
    """

    multiple = 2 ** (LEVELS - 1)
    published_names: ClassVar = (
        (r"^iteration(\d)_layer(\d)_encoder_conv1\.conv\.", r"passes.\1.encoders.\2.join."),
        (r"^iteration(\d)_layer(\d)_encoder_conv2\.1\.conv\.", r"passes.\1.encoders.\2.conv.1."),
        (r"^iteration(\d)_layer(\d)_encoder_down\.0\.conv\.", r"passes.\1.encoders.\2.down."),
        (r"^iteration(\d)_layer(\d)_decoder_up\.deconv\.", r"passes.\1.decoders.\2.up."),
        (
            r"^iteration(\d)_layer(\d)_decoder_convs\.(\d)\.conv\.",
            r"passes.\1.decoders.\2.convs.\3.",
        ),
        (r"^iteration(\d)_middle\.(\w+)_gate\.conv\.", r"passes.\1.\2_gate."),
        (r"^iteration(\d)_pre_transform\.(\d)\.conv\.", r"passes.\1.pre.\2."),
        (r"^iteration(\d)_post_transform\.0\.conv\.", r"passes.\1.post.1."),
        (r"^iteration(\d)_post_transform\.1\.", r"passes.\1.post.2."),
        (r"^post_transform_conv_block2\.0\.", r"output."),
        (r"^post_transform_conv_block1\.3\.conv\.", r"unused.3."),
        (r"^post_transform_conv_block1\.", r"unused."),
    )

    def __init__(self, width: int = 16, channels: int = 1) -> None:
        super().__init__(width)
        self.passes = nn.ModuleList(_Pass(width, channels) for _ in range(PASSES))
        self.output = nn.Conv3d(PASSES * channels, channels, 1)
        # An alternative output that the authors abandoned; checkpoints still hold it.
        self.unused = nn.Sequential(
            nn.Conv3d(PASSES * width, width, 3),
            nn.ReLU(),
            nn.BatchNorm3d(width),
            conv_unit(width, width),
            nn.Conv3d(width, 1, 1),
        )
        initialise(self)

    def invert(self, field: torch.Tensor) -> torch.Tensor:
        """Run all passes and weigh their outputs."""
        return self._weighed(self.outputs(field), field)

    def supervised(self, field: torch.Tensor) -> list[tuple[float, torch.Tensor]]:
        """Outputs of the passes, each later one with twice the weight, and the result."""
        outputs = self.outputs(field)
        weights = [0.5 ** (PASSES - 1 - n) for n in range(PASSES)]
        return [*zip(weights, outputs, strict=True), (1.0, self._weighed(outputs, field))]

    def _weighed(self, outputs: list[torch.Tensor], field: torch.Tensor) -> torch.Tensor:
        return self.output(torch.cat(outputs, dim=1)) + field

    def outputs(self, field: torch.Tensor) -> list[torch.Tensor]:
        """Susceptibility after each pass."""
        volume, state, outputs = field, None, []
        features: Sequence[torch.Tensor | None] = [None] * (LEVELS - 1)
        for run in self.passes:
            correction, features, state = run(volume, features, state)
            volume = correction + field
            outputs.append(volume)
        return outputs
