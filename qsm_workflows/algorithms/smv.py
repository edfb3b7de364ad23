"""Spherical mean value kernels: harmonic fields equal their mean over any sphere."""

import numpy as np
import torch
from numpy.typing import NDArray

from . import fft
from .geometry import Triple


def ellipsoid(semi_axes: Triple) -> NDArray[np.float32]:
    """Weights of the mean over the voxels whose centres lie in an ellipsoid.

    Parameters
    ----------
    semi_axes : (3,) sequence of float
        In voxels; a sphere of radius r mm has r / voxel_size.

    Returns
    -------
    (2 a + 1, 2 b + 1, 2 c + 1) ndarray of float32
        Centred, sum 1; a, b and c are the semi-axes rounded down.
    """
    x, y, z = (
        np.arange(-half, half + 1) / axis
        for axis, half in zip(semi_axes, np.floor(semi_axes).astype(int), strict=True)
    )
    # The margin keeps voxels that lie on the surface, whatever the rounding.
    inside = x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None, :] ** 2 <= 1 + 1e-9
    return (inside / np.count_nonzero(inside)).astype(np.float32)


def transfer(
    kernel: NDArray[np.float32], shape: fft.Shape3, device: str | torch.device = "cpu"
) -> torch.Tensor:
    """Real transfer function of a centred symmetric kernel on the half grid of `shape`."""
    origin = torch.zeros(shape, dtype=torch.float32, device=device)
    x, y, z = kernel.shape
    origin[:x, :y, :z] = fft.to_tensor(kernel, device)
    origin = torch.roll(origin, (-(x // 2), -(y // 2), -(z // 2)), dims=(0, 1, 2))
    return fft.forward(origin, shape).real.clone()
