"""Volumes and random fields in atlas space, sampled at any point."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from .shapes import Points


@dataclass(frozen=True)
class AtlasVolume:
    """A volume on a regular grid in MNI millimetres.

    Parameters
    ----------
    values : (X, Y, Z) ndarray of float32
    origin : (3,) ndarray
        Position of the first voxel, mm.
    spacing : float
        Voxel edge, mm.
    """

    values: NDArray[np.float32]
    origin: NDArray[np.float64]
    spacing: float

    def at(self, points: Points) -> NDArray[np.float32]:
        """Trilinear samples at (3, N) points; the border value outside."""
        index = (points - self.origin[:, None].astype(np.float32)) / np.float32(self.spacing)
        return ndimage.map_coordinates(self.values, index, order=1, mode="nearest")

    def grid(self) -> Points:
        """Positions of the voxels, (3, X·Y·Z), mm."""
        axes = (
            (origin + self.spacing * np.arange(n)).astype(np.float32)
            for origin, n in zip(self.origin, self.values.shape, strict=True)
        )
        return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")])

    def like(self, values: ArrayLike) -> "AtlasVolume":
        """Other values on the same grid."""
        array = np.asarray(values, dtype=np.float32).reshape(self.values.shape)
        return AtlasVolume(array, self.origin, self.spacing)


def random_field(
    rng: np.random.Generator,
    low: ArrayLike,
    high: ArrayLike,
    smoothness: float,
    band: float | None = None,
) -> AtlasVolume:
    """Gaussian random field of unit variance over the box from `low` to `high`.

    Parameters
    ----------
    rng : numpy.random.Generator
    low, high : (3,) array_like
        Corners, mm.
    smoothness : float
        Standard deviation of the Gaussian that smooths the noise, mm.
    band : float, optional
        Second, wider standard deviation, mm; what it keeps is taken away, so that the
        field has no slow component.
    """
    origin, end = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    spacing = max(smoothness / 1.5, 1.0)
    shape = tuple(np.ceil((end - origin) / spacing).astype(int) + 1)
    noise = rng.standard_normal(shape, dtype=np.float32)
    field = ndimage.gaussian_filter(noise, smoothness / spacing, mode="wrap")
    if band is not None:
        field -= ndimage.gaussian_filter(noise, band / spacing, mode="wrap")
    return AtlasVolume(field / field.std(), origin, spacing)


def radial_field(
    rng: np.random.Generator, smoothness: float, band: float | None = None
) -> AtlasVolume:
    """Random field over the brain that changes little along the radius.

    Like :func:`random_field`, but drawn out from the ventricles to the cortex, as gyri
    and fibre bundles are.
    """
    noise = random_field(rng, (-70, -70, -70), (70, 70, 70), smoothness, band)
    low = np.array([-80.0, -114, -76])
    frame = AtlasVolume(np.zeros((108, 130, 108), dtype=np.float32), low, 1.5)
    offset = frame.grid() - np.array([[0], [-18], [15]], dtype=np.float32)
    radius = np.linalg.norm(offset, axis=0) + 1e-3
    return frame.like(noise.at(offset / radius * (40 + 0.3 * radius)))


def signed_distance(
    mask: NDArray[np.bool_], spacing: float, smoothing: float
) -> NDArray[np.float32]:
    """Distance to the edge of a mask in mm, negative inside, smoothed by `smoothing` mm."""
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing)
    # Both are to the nearest voxel's centre; the edge is half a voxel before it.
    distance = (outside - inside + spacing * (mask - 0.5)).astype(np.float32)
    return ndimage.gaussian_filter(distance, smoothing / spacing)
