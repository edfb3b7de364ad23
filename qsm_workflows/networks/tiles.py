"""Cutting a volume into overlapping tiles, for networks that it is too large for."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from ..algorithms.fft import Shape3

Slices = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Tile:
    """One piece of a volume."""

    outer: Slices
    """What the network sees, in the volume."""
    inner: Slices
    """What is kept of its output, in the piece."""
    target: Slices
    """Where that lies in the volume."""


def split(shape: Shape3, side: int, halo: int) -> Iterator[Tile]:
    """Tiles that cover a volume, each with what surrounds it.

    Parameters
    ----------
    shape : tuple of int
    side : int
        Voxels along each axis that are kept of a tile.
    halo : int
        Voxels that a tile sees beyond them, where the volume goes on. Poolings of a tile
        fall on the same voxels as those of the whole if this and `side` are multiples of
        what the network halves the volume by.
    """
    for corner in product(*(range(0, n, side) for n in shape)):
        outer, inner, target = [], [], []
        for start, n in zip(corner, shape, strict=True):
            stop = min(start + side, n)
            low = max(start - halo, 0)
            outer.append(slice(low, min(stop + halo, n)))
            inner.append(slice(start - low, stop - low))
            target.append(slice(start, stop))
        yield Tile(_three(outer), _three(inner), _three(target))


def _three(slices: list[slice]) -> Slices:
    x, y, z = slices
    return x, y, z
