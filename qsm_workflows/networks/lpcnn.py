"""LPCNN, proximal gradient descent with a learned proximal step."""

from collections.abc import Callable

import torch
from torch import nn

from ..algorithms.dipole import dipole_kernel
from ..algorithms.fft import padded_shape
from ..algorithms.geometry import DEFAULT_PAD
from .base import InversionNetwork

STEPS = 3
BLOCKS = 8
DROPOUT = 0.5
_VOXEL_SIZE = (1.0, 1.0, 1.0)
_B0_DIR = (0.0, 0.0, 1.0)


class _ResidualBlock(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.dropout = nn.Dropout3d(dropout)
        self.conv2 = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        inner = self.dropout(torch.relu(self.bn1(self.conv1(features))))
        return torch.relu(features + self.bn2(self.conv2(inner)))


class LPCNN(InversionNetwork):
    """LPCNN: three steps χ ← prox(χ + α Dᵀ(f − D χ)) with one network as the prox.

    The dipole convolution D is padded with zeros. The network sees χ standardised by
    `chi_mean` and `chi_std`, which are part of the state dict here; the authors keep
    theirs in separate files, and an original checkpoint needs them added to it. A voxel
    whose field is exactly zero counts as outside the brain.

    Parameters
    ----------
    width : int
        Feature channels: 32 as published (446,337 parameters).
    chi_mean, chi_std : float
        Mean and standard deviation of the susceptibility in the training data, in ppm.
    channels : int
        Channels of the input and the output of the prox.
    dropout : float
        Part of the feature channels that training leaves out in each block of the prox.

    References
    ----------
    Lai et al., "Learned proximal networks for quantitative susceptibility mapping",
    MICCAI (2020).
    """

    repeats = STEPS

    chi_mean: torch.Tensor
    chi_std: torch.Tensor

    def __init__(
        self,
        width: int = 32,
        chi_mean: float = 0.0,
        chi_std: float = 0.04,
        *,
        channels: int = 1,
        dropout: float = DROPOUT,
    ) -> None:
        super().__init__(width)
        self.alpha = nn.Parameter(torch.full((1,), 4.0))
        self.gen = nn.Sequential(
            nn.Conv3d(channels, width, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Sequential(*(_ResidualBlock(width, dropout) for _ in range(BLOCKS))),
            nn.Conv3d(width, width, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv3d(width, width, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv3d(width, channels, 1, bias=False),
        )
        self.register_buffer("chi_mean", torch.tensor(chi_mean))
        self.register_buffer("chi_std", torch.tensor(chi_std))

    def invert(self, field: torch.Tensor) -> torch.Tensor:
        """Descend from zero susceptibility."""
        return self.descend(field, self.gen)

    def descend(
        self, field: torch.Tensor, prox: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Descend from zero susceptibility with any function of the standardised χ as prox."""
        x, y, z = field.shape[2:]
        grid = padded_shape((x, y, z), _VOXEL_SIZE, DEFAULT_PAD)
        kernel = dipole_kernel(grid, _VOXEL_SIZE, _B0_DIR, field.device)

        def convolve(volume: torch.Tensor) -> torch.Tensor:
            # torch has no transforms in bfloat16.
            spectrum = kernel * torch.fft.rfftn(volume.float(), s=grid, dim=(2, 3, 4))
            return torch.fft.irfftn(spectrum, s=grid, dim=(2, 3, 4))[..., :x, :y, :z]

        inside = field != 0
        chi = torch.zeros_like(field)
        for _ in range(STEPS):
            # D is real and even: it is its own transpose.
            chi = chi + self.alpha * convolve(field - convolve(chi))
            standard = (chi - self.chi_mean) / self.chi_std * inside
            chi = (prox(standard) * self.chi_std + self.chi_mean) * inside
        return chi
