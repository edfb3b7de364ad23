"""What every network of the package is: a map from local field to susceptibility."""

from typing import ClassVar

import torch
from torch import nn


class InversionNetwork(nn.Module):
    """Network that turns a local field into a susceptibility map.

    Subclasses implement :meth:`invert`. Input and output have shape (N, 1, X, Y, Z)
    and are in ppm, on 1 mm isotropic voxels with B0 along the last axis.
    """

    multiple: ClassVar[int] = 1
    """Every side of the volume must be a multiple of this."""

    halo: ClassVar[int | None] = None
    """Voxels round a tile that its result depends on, a multiple of :attr:`multiple`; None
    where it depends on the whole volume."""

    averages_mirrored: ClassVar[bool] = False
    """Whether inference gives the mean over the field and its mirror images. The physics is
    the same in all of them, and part of the network's error is not."""

    repeats: ClassVar[int] = 1
    """How often each convolution is run for one field, which progress counts by."""

    published_names: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Regular expressions for entries of the authors' checkpoints, and our names for them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        """Feature channels at full resolution."""

    def forward(self, field: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
        """Susceptibility of a local field.

        Parameters
        ----------
        field : (N, 1, X, Y, Z) torch.Tensor
            ppm.
        scale : torch.Tensor, optional
            What :meth:`scale` gives of the whole volume, where this is a part of it.

        Raises
        ------
        ValueError
            If a side of the volume is not a multiple of :attr:`multiple`.
        """
        sides = tuple(field.shape[2:])
        if len(sides) != 3 or any(n == 0 or n % self.multiple for n in sides):
            raise ValueError(
                f"{type(self).__name__} needs three sides that are multiples of "
                f"{self.multiple}, not {sides}; apply_network pads and crops any volume"
            )
        if scale is None:
            scale = self.scale(field)
        return self.invert(field) if scale is None else self.invert(field / scale) * scale

    def scale(self, field: torch.Tensor) -> torch.Tensor | None:
        """What the network divides a field by, and multiplies its output with; None for 1."""
        return None

    def supervised(self, field: torch.Tensor) -> list[tuple[float, torch.Tensor]]:
        """What training compares with the truth, each with its weight in the loss.

        The last one is the network's output.
        """
        return [(1.0, self(field))]

    def invert(self, field: torch.Tensor) -> torch.Tensor:
        """Compute the susceptibility of a field of suitable size."""
        raise NotImplementedError


def initialise(network: nn.Module, std: float = 0.01) -> None:
    """Draw the weights of all convolutions from N(0, std²) and set their biases to 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.normal_(module.weight, mean=0.0, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
