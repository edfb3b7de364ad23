"""What background removal starts from, on a padded grid, and what its methods share."""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from .. import fft, smv
from ..checks import check_finite
from ..geometry import (
    FloatArray,
    MaskArray,
    Triple,
    bounding_box,
    check_geometry,
    check_mask,
    check_volume,
)

_logger = logging.getLogger(__name__)

_TOO_LARGE = (
    "a sphere of {:g} mm fits nowhere into the mask; use a smaller radius or a thicker slab"
)


@dataclass(frozen=True)
class FieldProblem:
    """A total field and its mask, on one padded grid.

    Parameters
    ----------
    grid : fft.PaddedGrid
    field : torch.Tensor of float32
        Total field in ppm, zero outside the mask.
    mask : torch.Tensor of float32
        1 in the mask, 0 outside.
    voxel_size : (3,) ndarray of float64
        Voxel edge lengths in mm.
    """

    grid: fft.PaddedGrid
    field: torch.Tensor
    mask: torch.Tensor
    voxel_size: Triple

    @classmethod
    def create(
        cls, total_field: ArrayLike, mask: ArrayLike, voxel_size: Triple, pad: float, device: str
    ) -> "FieldProblem":
        """Check the inputs of a background removal and embed them.

        Raises
        ------
        ValueError
            If they do not fit together.
        """
        size, _ = check_geometry(voxel_size)
        inside = check_mask(mask)
        field = check_volume("total_field", total_field, mask=inside) * inside
        grid = fft.PaddedGrid.around(inside, size, pad)
        return cls(grid, grid.embed(field, device), grid.embed(inside, device), size)

    def convolve(self, volume: torch.Tensor, transfer: torch.Tensor) -> torch.Tensor:
        """Convolution of a volume with a kernel, given as its transfer function."""
        spectrum = fft.forward(volume, self.grid.shape).mul_(transfer)
        return fft.inverse(spectrum, self.grid.shape, self.grid.shape)

    def mean(self, sphere: MaskArray) -> torch.Tensor:
        """Transfer function of the mean over a sphere."""
        kernel = smv.mean_kernel(sphere, self.voxel_size)
        return smv.transfer(kernel, self.grid.shape, self.field.device)

    def erode(self, sphere: MaskArray, covered: float = 1.0) -> torch.Tensor:
        """1 where a sphere lies in the mask, with at least this fraction of its voxels."""
        count = np.count_nonzero(sphere)
        least = min(np.floor(covered * count), count - 1) + 0.5
        inside = self.convolve(self.mask, smv.transfer(sphere, self.grid.shape, self.field.device))
        return (inside > least).to(torch.float32)

    def result(self, local_field: torch.Tensor, mask: torch.Tensor) -> tuple[FloatArray, MaskArray]:
        """Local field and the mask where it is known, as arrays on the grid of the image."""
        return (
            check_finite(self.grid.extract(local_field * mask)),
            self.grid.extract(mask) > 0,
        )


def check_radius(radius: float) -> None:
    """Refuse a radius that is no length.

    Raises
    ------
    ValueError
        If it is not positive.
    """
    if not 0 < radius < np.inf:
        raise ValueError(f"radius must be a positive length in mm, not {radius}")


def check_fit(eroded: torch.Tensor, radius: float) -> None:
    """Refuse a sphere that fits nowhere.

    Raises
    ------
    ValueError
        If the eroded mask is empty.
    """
    if not eroded.any():
        raise ValueError(_TOO_LARGE.format(radius))


def check_extent(sphere: MaskArray, mask: ArrayLike, radius: float) -> None:
    """Refuse a sphere that is wider than the mask, before it is put on the mask's grid.

    Raises
    ------
    ValueError
        If it is wider along any axis.
    """
    inside = check_mask(mask)
    if np.any(np.array(sphere.shape) > inside[bounding_box(inside)].shape):
        raise ValueError(_TOO_LARGE.format(radius))


def report_unfinished(method: str, max_iterations: int, residual: float, tolerance: float) -> None:
    """Log a warning where an iteration ended before it reached its tolerance."""
    if not residual <= tolerance:  # nor NaN
        _logger.warning(
            "%s stopped after %d iterations at a relative residual of %.1e, not %.1e",
            method,
            max_iterations,
            residual,
            tolerance,
        )
