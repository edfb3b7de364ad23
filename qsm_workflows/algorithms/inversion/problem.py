"""What every dipole inversion starts from, checked and brought onto a padded grid."""

from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike

from .. import fft, krylov
from ..checks import check_finite
from ..dipole import dipole_kernel
from ..geometry import FloatArray, Triple, check_geometry, check_mask, check_volume
from ..weighting import data_weight


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
        field = check_volume(name, local_field, mask=inside) * inside
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

    @property
    def extent(self) -> fft.Shape3:
        """Box of the mask and one voxel more, as far as the grid goes.

        It holds all of a volume that is zero outside the mask, and the voxels that forward
        differences in the mask reach. Periodic differences within it are right in the mask.
        """
        x, y, z = (min(b + 1, n) for b, n in zip(self.grid.box_shape, self.grid.shape, strict=True))
        return x, y, z

    def near(self, volume: torch.Tensor) -> torch.Tensor:
        """Copy of the extent of a volume on the grid; :meth:`transform` takes it as well."""
        x, y, z = self.extent
        return volume[:x, :y, :z].clone(memory_format=torch.contiguous_format)

    def invert_near(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Volume on the extent of a half spectrum, at less than the cost of the whole."""
        return fft.inverse(spectrum, self.grid.shape, self.extent)

    def deviation(self, noise: ArrayLike | None) -> torch.Tensor:
        """Standard deviation of the field on the extent: as given, or one."""
        if noise is None:
            return torch.ones(self.extent, device=self.field.device)
        return self.near(self.embed("noise", noise))

    def embed(self, name: str, volume: ArrayLike) -> torch.Tensor:
        """Check a volume that is known in the mask and put it on the grid."""
        inside = self.grid.extract(self.mask) > 0
        return self.grid.embed(check_volume(name, volume, mask=inside), self.field.device)

    def data_weight(self, noise: ArrayLike | None) -> torch.Tensor:
        """Weight of the field on the extent, with mean 1 in the mask."""
        return data_weight(self.deviation(noise), self.near(self.mask))

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

    def inner(self, a: torch.Tensor, b: torch.Tensor) -> float:
        """Scalar product of two half spectra, as of the full ones."""
        ends = (0, -1) if self.grid.shape[2] % 2 == 0 else (0,)
        return 2 * krylov.inner(a, b) - sum(krylov.inner(a[..., n], b[..., n]) for n in ends)

    def full_grid(self, values: torch.Tensor) -> torch.Tensor:
        """Values of a symmetric function on the whole spectrum, in no particular order."""
        repeated = values[:, :, 1 : (self.grid.shape[2] + 1) // 2]
        return torch.cat((values.flatten(), repeated.flatten()))

    def result(self, chi: torch.Tensor) -> FloatArray:
        """χ in the mask, as an array on the grid of the image."""
        x, y, z = self.grid.box_shape
        return check_finite(self.grid.extract(chi[:x, :y, :z] * self.mask[:x, :y, :z]))
