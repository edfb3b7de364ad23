"""Zero-padded Fourier transforms, shared by everything that convolves.

A volume of shape (X, Y, Z) is transformed on a larger grid of zeros, so that a
convolution does not wrap round; the result is cropped back. Padding goes at the
end of each axis: a circular convolution does not care where its zeros are.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.fft import next_fast_len

from .geometry import FloatArray, MaskArray, Triple, bounding_box

Shape3 = tuple[int, int, int]


def padded_shape(shape: Shape3, voxel_size: Triple, pad: float) -> Shape3:
    """Grid that keeps at least `pad` mm of zeros and has fast FFT lengths.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    pad : float
        Millimetres of zeros along each axis; 0 keeps `shape` unchanged.

    Raises
    ------
    ValueError
        If `pad` is negative or not finite.
    """
    if not (math.isfinite(pad) and pad >= 0):
        raise ValueError(f"pad must be zero or a positive length in mm, not {pad}")
    if pad == 0:
        return shape
    x, y, z = (
        _fast_length(n + math.ceil(pad / size - 1e-9))
        for n, size in zip(shape, voxel_size, strict=True)
    )
    return x, y, z


def _fast_length(n: int) -> int:
    """Next even length of small prime factors; odd ones take up to twice the time."""
    return 2 * next_fast_len(math.ceil(n / 2), real=True)


@dataclass(frozen=True)
class PaddedGrid:
    """The box of a mask within a grid of zeros, on which an inversion works.

    Parameters
    ----------
    image_shape : tuple of int
        Shape of the image.
    box : tuple of slice
        The part of the image that is worked on.
    shape : tuple of int
        Grid of the transforms; the box lies at its beginning.
    """

    image_shape: Shape3
    box: tuple[slice, slice, slice]
    shape: Shape3

    @classmethod
    def around(cls, mask: MaskArray, voxel_size: Triple, pad: float) -> "PaddedGrid":
        """Grid with `pad` mm of zeros beyond the mask, or the image itself if that is 0.

        With zeros around it, the result does not depend on how much empty image
        surrounds the mask.
        """
        x, y, z = mask.shape
        box = bounding_box(mask) if pad > 0 else (slice(x), slice(y), slice(z))
        extent_x, extent_y, extent_z = (axis.stop - (axis.start or 0) for axis in box)
        shape = padded_shape((extent_x, extent_y, extent_z), voxel_size, pad)
        return cls((x, y, z), box, shape)

    @property
    def box_shape(self) -> Shape3:
        """Voxels of the box."""
        x, y, z = (axis.stop - (axis.start or 0) for axis in self.box)
        return x, y, z

    def embed(self, volume: ArrayLike, device: str | torch.device = "cpu") -> torch.Tensor:
        """Put an image, which is zero outside the box, on the grid as float32."""
        part = to_tensor(np.asarray(volume)[self.box], device)
        grid = torch.zeros(self.shape, dtype=torch.float32, device=device)
        x, y, z = part.shape
        grid[:x, :y, :z] = part
        return grid

    def extract(self, volume: torch.Tensor) -> FloatArray:
        """Bring the box back into an image of zeros."""
        image = np.zeros(self.image_shape, np.float32)
        x, y, z = image[self.box].shape
        image[self.box] = to_array(volume[:x, :y, :z])
        return image


def frequencies(shape: Shape3, voxel_size: Triple, device: str | torch.device = "cpu"):
    """Broadcastable k-space axes of a real-to-complex transform, in cycles/mm.

    Returns
    -------
    kx, ky, kz : torch.Tensor of float64
        Shapes (X, 1, 1), (1, Y, 1) and (1, 1, Z // 2 + 1).
    """
    x, y, z = shape
    dx, dy, dz = (float(size) for size in voxel_size)
    options = {"dtype": torch.float64, "device": device}
    return (
        torch.fft.fftfreq(x, dx, **options)[:, None, None],
        torch.fft.fftfreq(y, dy, **options)[None, :, None],
        # fftfreq rather than rfftfreq: all axes give their Nyquist frequency the same sign.
        torch.fft.fftfreq(z, dz, **options)[None, None, : z // 2 + 1],
    )


def forward(volume: torch.Tensor, shape: Shape3) -> torch.Tensor:
    """Real-to-complex transform of `volume`, zero-padded to `shape`."""
    return torch.fft.rfftn(volume, s=shape)


def inverse(spectrum: torch.Tensor, shape: Shape3, crop: Shape3) -> torch.Tensor:
    """Complex-to-real transform on the grid `shape`, cropped to `crop`.

    An axis at a time where something is cut off: later axes need not transform that.
    """
    x, y, z = crop
    if x < shape[0]:
        spectrum = torch.fft.ifft(spectrum, dim=0)[:x]
        spectrum = torch.fft.ifft(spectrum, dim=1)[:, :y]
    else:
        # torch's own irfftn takes a copy more.
        spectrum = torch.fft.ifftn(spectrum, dim=(0, 1))[:, :y]
    return torch.fft.irfft(spectrum, n=shape[2], dim=2)[..., :z].contiguous()


def to_tensor(volume: ArrayLike, device: str | torch.device) -> torch.Tensor:
    """Copy an array to `device` as float32."""
    return torch.as_tensor(np.ascontiguousarray(volume, dtype=np.float32)).to(device)


def to_array(volume: torch.Tensor) -> FloatArray:
    """Bring a tensor back as a C-ordered float32 array."""
    result: NDArray[np.float32] = np.ascontiguousarray(volume.detach().cpu().numpy(), np.float32)
    return result
