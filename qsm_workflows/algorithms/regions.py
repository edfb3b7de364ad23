"""Referencing of susceptibility and means over regions."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .geometry import FloatArray, MaskArray

# A mean over fewer voxels says nothing about a region.
MINIMUM_VOXELS = 10


@dataclass(frozen=True)
class Region:
    """A structure of a label image, or one side of it.

    Attributes
    ----------
    name : str
        Name of the structure, such as ``pallidum``.
    hemisphere : str
        ``L``, ``R``, ``both``.
    indices : tuple of int
        Values in the label image that make it up.
    """

    name: str
    hemisphere: str
    indices: tuple[int, ...]

    def find(self, labels: NDArray) -> MaskArray:
        """Voxels of `labels` that belong to the region."""
        return np.isin(labels, self.indices)


@dataclass(frozen=True)
class RegionMean:
    """Susceptibility of a region relative to the reference, in ppm.

    Attributes
    ----------
    region : Region
    mean, sd : float
        Mean relative to the reference region's mean, and standard deviation.
    n_voxels : int
        Voxels that were read.
    fraction_covered : float
        Share of the whole region that these voxels are.
    """

    region: Region
    mean: float
    sd: float
    n_voxels: int
    fraction_covered: float


def reference_mean(chi: FloatArray, mask: MaskArray, reference: MaskArray | None = None) -> float:
    """Mean susceptibility of the reference region, in ppm.

    Parameters
    ----------
    chi : (X, Y, Z) ndarray
        Susceptibility in ppm.
    mask : (X, Y, Z) ndarray of bool
        Where `chi` is valid.
    reference : (X, Y, Z) ndarray of bool, optional
        Reference region; the whole mask when not given.

    Raises
    ------
    ValueError
        If the region has fewer than ten voxels inside the mask.
    """
    voxels = mask if reference is None else mask & reference
    count = int(np.count_nonzero(voxels))
    if count < MINIMUM_VOXELS:
        raise ValueError(
            f"the reference region has only {count} voxels inside the mask; choose another "
            "reference or a thicker slab"
        )
    return float(chi[voxels].mean(dtype=np.float64))


def find_reference(
    regions: Iterable[Region], name: str | None, labels: NDArray, mask: MaskArray
) -> Region | None:
    """Region that a map is referenced to, or None when the whole mask has to do.

    Parameters
    ----------
    regions : iterable of Region
    name : str or None
        Region wanted; both hemispheres are taken together.
    labels : (X, Y, Z) ndarray of int
    mask : (X, Y, Z) ndarray of bool
        Where the map is valid.

    Returns
    -------
    Region or None
        None when no name is given or fewer than ten voxels of it lie in the mask.
    """
    indices = {i for region in regions if region.name == name for i in region.indices}
    if name is None or not indices:
        return None
    reference = Region(name, "both", tuple(sorted(indices)))
    count = np.count_nonzero(reference.find(labels) & mask)
    return reference if count >= MINIMUM_VOXELS else None


def subtract_reference(
    chi: FloatArray, mask: MaskArray, reference: MaskArray | None = None
) -> tuple[FloatArray, float]:
    """State susceptibility relative to a reference region.

    Parameters are those of :func:`reference_mean`.

    Returns
    -------
    chi : (X, Y, Z) ndarray of float32
        Relative susceptibility in ppm, zero outside the mask.
    mean : float
        What was subtracted, in ppm.
    """
    mean = reference_mean(chi, mask, reference)
    return np.where(mask, chi - np.float32(mean), np.float32(0)).astype(np.float32), mean


def measure_regions(
    chi: FloatArray,
    mask: MaskArray,
    labels: NDArray,
    regions: Sequence[Region],
    *,
    reference: Region | None,
    sizes: Sequence[int] | None = None,
) -> list[RegionMean]:
    """Mean susceptibility of regions relative to a reference region.

    Parameters
    ----------
    chi : (X, Y, Z) ndarray
        Susceptibility in ppm, with any reference.
    mask : (X, Y, Z) ndarray of bool
        Voxels to read.
    labels : (X, Y, Z) ndarray of int
        Label image on the same grid.
    regions : sequence of Region
    reference : Region or None
        Reference region; the whole mask when None.
    sizes : sequence of int, optional
        Voxels of each region in the whole head, to tell how much of it is covered;
        by default what `labels` holds.

    Returns
    -------
    list of RegionMean
        One for each region; NaN where fewer than ten voxels can be read.

    Raises
    ------
    ValueError
        If the reference region has too few voxels inside the mask.
    """
    values = chi[mask].astype(np.float64)
    inside = labels[mask]
    # One pass over the voxels for all regions: counts and sums of each label value.
    length = max((i for region in regions for i in region.indices), default=0) + 1
    known = (inside >= 0) & (inside < length)
    counts, sums, squares = (
        np.bincount(inside[known], weights=weights, minlength=length)
        for weights in (None, values[known], values[known] ** 2)
    )
    offset = reference_mean(chi, mask, None if reference is None else reference.find(labels))
    results = []
    for number, region in enumerate(regions):
        indices = list(region.indices)
        count = int(counts[indices].sum())
        size = int(np.count_nonzero(region.find(labels))) if sizes is None else sizes[number]
        mean = sd = math.nan
        if count >= MINIMUM_VOXELS:
            mean = sums[indices].sum() / count
            sd = math.sqrt(max(squares[indices].sum() / count - mean**2, 0))
        results.append(RegionMean(region, mean - offset, sd, count, count / size if size else 0.0))
    return results
