"""xQSM, the residual octave U-net."""

import torch

from .base import initialise
from .octave import OctaveUNet


class XQSM(OctaveUNet):
    """xQSM as published: an octave U-net whose output is added to its input.

    Takes a masked local field in ppm, neither scaled nor normalised, and gives χ in
    ppm. With its first, random weights (N(0, 0.01²)) the output is almost the input.

    Parameters
    ----------
    width : int
        Feature channels at full resolution: 64 as published (5,215,681 parameters);
        32 has 1,306,593.

    References
    ----------
    Gao et al., "xQSM: quantitative susceptibility mapping with octave convolutional and
    noise-regularized neural networks", NMR Biomed 34:e4461 (2021).
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__(width)
        initialise(self)

    def invert(self, field: torch.Tensor) -> torch.Tensor:
        """Correct the field by what the U-net finds."""
        return field + super().invert(field)
