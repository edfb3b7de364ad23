"""What every dipole inversion starts from, checked and brought onto a padded grid."""

from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike

from .. import fft
from ..checks import check_finite
from ..dipole import dipole_kernel
from ..geometry import FloatArray, Triple, check_geometry, check_mask, check_volume


@dataclass(frozen=True)
class DipoleProblem:
    """A local field, its mask and the dipole kernel, on one grid.

    Parameters
    ----------
    grid : fft.PaddedGrid
    field : torch.Tensor of float32
        Local field in ppm, zero outside the mask, on the padded grid.
    mask : torch.Tensor of bool
        On the padded grid.
    kernel : torch.Tensor of float32
        D on the half grid of the transform.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    """

    grid: fft.PaddedGrid
    field: torch.Tensor
    mask: torch.Tensor
    kernel: torch.Tensor
    voxel_size: Triple

    @classmethod
    def create(
        cls,
        local_field: ArrayLike,
        mask: ArrayLike,
        voxel_size: Triple,
        b0_dir: Triple,
        pad: float,
        device: str,
        name: str = "local_field",
    ) -> "DipoleProblem":
        """Check the inputs of an inversion and embed them.

        Raises
        ------
        ValueError
            If they do not fit together, or the field is zero in the whole mask.
        """
        size, direction = check_geometry(voxel_size, b0_dir)
        inside = check_mask(mask)
        field = check_volume(name, local_field, inside.shape) * inside
        if not field.any():
            raise ValueError(f"{name} is zero everywhere in the mask")
        grid = fft.PaddedGrid.around(inside, size, pad)
        return cls(
            grid,
            grid.embed(field, device),
            grid.embed(inside, device) > 0,
            dipole_kernel(grid.shape, size, direction, device),
            size,
        )

    def transform(self, volume: torch.Tensor) -> torch.Tensor:
        """Half spectrum of a volume on the grid."""
        return fft.forward(volume, self.grid.shape)

    def invert(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Volume on the grid of a half spectrum."""
        return fft.inverse(spectrum, self.grid.shape, self.grid.shape)

    def half_grid_scale(self) -> torch.Tensor:
        """√2 for coefficients that stand for two of the full spectrum, 1 for the others.

        Multiplied by it, half spectra have the scalar products of full ones.
        """
        depth = self.grid.shape[2]
        scale = torch.full((depth // 2 + 1,), 2**0.5, device=self.field.device)
        scale[0] = 1
        if depth % 2 == 0:
            scale[-1] = 1
        return scale

    def full_grid(self, values: torch.Tensor) -> torch.Tensor:
        """Values of a symmetric function on the whole spectrum, in no particular order."""
        repeated = values[:, :, 1 : (self.grid.shape[2] + 1) // 2]
        return torch.cat((values.flatten(), repeated.flatten()))

    def result(self, chi: torch.Tensor) -> FloatArray:
        """χ in the mask, as an array on the grid of the image."""
        return check_finite(self.grid.extract(chi * self.mask))
