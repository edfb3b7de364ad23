"""Bringing a volume to the axes of the scanner, in which networks saw their heads."""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform
from numpy.typing import ArrayLike, NDArray

from ..algorithms.geometry import voxel_size


@dataclass(frozen=True)
class ScannerAxes:
    """The way from an image's axes to the nearest of the scanner's and back.

    Axes are reordered and reversed, so that they go from left to right, from back to front
    and from foot to head; nothing is interpolated.
    """

    affine: NDArray[np.float64]
    """Of the turned image."""
    _there: NDArray[np.float64]
    _back: NDArray[np.float64]

    @classmethod
    def of(cls, affine: ArrayLike, shape: tuple[int, ...]) -> "ScannerAxes":
        """Plan the way for an image.

        Parameters
        ----------
        affine : (4, 4) array_like
            Voxel-to-world matrix, in mm.
        shape : tuple of int

        Raises
        ------
        ValueError
            If the affine is singular or not finite.
        """
        voxel_size(affine)
        there = nib.io_orientation(affine)
        back = ornt_transform(axcodes2ornt("RAS"), there)
        return cls(np.asarray(affine) @ inv_ornt_aff(there, shape), there, back)

    def forward(self, volume: NDArray) -> NDArray:
        """Turn a volume to the axes of the scanner."""
        return np.ascontiguousarray(nib.apply_orientation(volume, self._there))

    def backward(self, volume: NDArray) -> NDArray:
        """Turn a volume back to those of the image."""
        return np.ascontiguousarray(nib.apply_orientation(volume, self._back))
