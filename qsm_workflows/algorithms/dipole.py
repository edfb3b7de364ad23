"""The dipole kernel and the forward model."""

import torch
from numpy.typing import ArrayLike

from . import fft
from .geometry import FloatArray, Triple, check_geometry, check_volume


def dipole_kernel(
    shape: fft.Shape3, voxel_size: Triple, b0_dir: Triple, device: str | torch.device = "cpu"
) -> torch.Tensor:
    """Dipole kernel D = 1/3 − (k·b)²/k² on the half grid of a real transform.

    Parameters
    ----------
    shape : tuple of int
        Grid of the transform, padding included; odd sizes are fine.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    b0_dir : (3,) sequence of float
        Unit vector of B0 in voxel axes.
    device : str or torch.device
        Where the kernel is made.

    Returns
    -------
    (X, Y, Z // 2 + 1) torch.Tensor of float32
        Dimensionless, with D(0) = 0.

    References
    ----------
    Salomir et al., Concepts Magn Reson B 19:26 (2003); Marques & Bowtell,
    Concepts Magn Reson B 25:65 (2005).
    """
    size, direction = check_geometry(voxel_size, b0_dir)
    axes = fft.frequencies(shape, size, device)
    squared = sum(k**2 for k in axes)
    squared[0, 0, 0] = 1
    along = [k * b for k, b in zip(axes, direction, strict=True)]
    # The grid holds both signs of an even axis's Nyquist frequency in one place. D there is
    # the mean over the signs, in which products with other axes cancel: that keeps the
    # operator real, symmetric and indifferent to flips of the image.
    crossing = [component.clone() for component in along]
    for axis, n in enumerate(shape):
        if n % 2 == 0:
            crossing[axis].select(axis, n // 2).zero_()
    pairs = zip(along, crossing, strict=True)
    along_squared = sum(crossing) ** 2 + sum(all_**2 - crossed**2 for all_, crossed in pairs)
    kernel = 1 / 3 - along_squared / squared
    # At the magic angle rounding must not decide the sign.
    kernel[kernel.abs() < 1e-12] = 0
    kernel[0, 0, 0] = 0
    return kernel.to(torch.float32)


def forward_field(
    chi: ArrayLike,
    voxel_size: Triple,
    b0_dir: Triple,
    *,
    pad: float | None = None,
    device: str = "cpu",
) -> FloatArray:
    """Field shift F⁻¹·D·F·χ that a susceptibility distribution causes.

    Parameters
    ----------
    chi : (X, Y, Z) array_like
        Susceptibility in ppm; nothing outside the volume.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    b0_dir : (3,) sequence of float
        Unit vector of B0 in voxel axes.
    pad : float, optional
        Millimetres of zeros along each axis; by default as much as the volume itself,
        which keeps every periodic image out. 0 gives the periodic model.
    device : str
        Torch device.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        δB/B0 in ppm, positive where a paramagnetic source raises the field.

    Raises
    ------
    ValueError
        If the volume is not 3-D or not finite, or the geometry is not valid.
    """
    size, direction = check_geometry(voxel_size, b0_dir)
    volume = check_volume("chi", chi)
    x, y, z = volume.shape
    if pad is None:
        pad = float(max(n * s for n, s in zip(volume.shape, size, strict=True)))
    grid = fft.padded_shape((x, y, z), size, pad)
    kernel = dipole_kernel(grid, size, direction, device)
    spectrum = fft.forward(fft.to_tensor(volume, device), grid)
    return fft.to_array(fft.inverse(spectrum * kernel, grid, (x, y, z)))
