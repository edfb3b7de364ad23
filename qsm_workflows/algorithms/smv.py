"""Spherical mean value kernels: harmonic fields equal their mean over any sphere."""

import numpy as np
import torch
from numpy.typing import NDArray

from . import fft
from .geometry import FloatArray, MaskArray, Triple


def ellipsoid(semi_axes: Triple) -> MaskArray:
    """Voxels whose centres lie in an ellipsoid.

    Parameters
    ----------
    semi_axes : (3,) sequence of float
        In voxels; a sphere of radius r mm has r / voxel_size.

    Returns
    -------
    (2 a + 1, 2 b + 1, 2 c + 1) ndarray of bool
        Centred; a, b and c are the semi-axes rounded down.
    """
    x, y, z = (
        np.arange(-half, half + 1) / axis
        for axis, half in zip(semi_axes, np.floor(semi_axes).astype(int), strict=True)
    )
    # The margin keeps voxels that lie on the surface, whatever the rounding.
    return x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None, :] ** 2 <= 1 + 1e-9


def mean_kernel(support: MaskArray, voxel_size: Triple) -> FloatArray:
    """Weights over a centred support whose mean of any harmonic quadratic is exact.

    For cubic voxels all weights are equal. In a sphere of few anisotropic voxels equal
    weights would not do: the mean of x² − z², a harmonic field, would not be zero. The
    weights are the least-squares ones, the flattest, for which it is.

    Parameters
    ----------
    support : (X, Y, Z) ndarray of bool
        Of odd sizes, symmetric about its centre.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        Sum 1, zero outside the support.
    """
    centre = (np.array(support.shape) - 1) / 2
    x, y, z = (((np.argwhere(support) - centre) * voxel_size) ** 2).T
    moments = np.stack([np.ones_like(x), x - y, y - z])
    kernel = np.zeros(support.shape, np.float32)
    kernel[support] = np.linalg.lstsq(moments, [1.0, 0.0, 0.0], rcond=None)[0]
    return kernel


def transfer(
    kernel: NDArray[np.generic], shape: fft.Shape3, device: str | torch.device = "cpu"
) -> torch.Tensor:
    """Real transfer function of a centred symmetric kernel on the half grid of `shape`."""
    origin = torch.zeros(shape, dtype=torch.float32, device=device)
    x, y, z = kernel.shape
    origin[:x, :y, :z] = fft.to_tensor(kernel, device)
    origin = torch.roll(origin, (-(x // 2), -(y // 2), -(z // 2)), dims=(0, 1, 2))
    return fft.forward(origin, shape).real.clone()
