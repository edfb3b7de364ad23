"""Smooth solids given as distance functions: lofted cross-sections and swept tubes."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, make_interp_spline
from scipy.spatial import cKDTree

Points = NDArray[np.float32]
Box = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Loft:
    """A solid lofted through bent, turned superelliptic cross-sections.

    Cross-sections are stacked along y (``arc=None``), or round an axis parallel to x
    that passes through ``arc = (y, z)``; the stations are then angles in degrees from
    the anterior direction upwards, and "height" is the distance from that axis.

    Parameters
    ----------
    sections : tuple of rows
        Station (mm or degrees); centre: x, height; half-width and half-length (mm);
        angle of the long axis from "up" towards +x (degrees); bend (1/mm): how fast
        the long axis curves towards +x.
    arc : (y, z), optional
        Axis of a curved stack, mm.
    exponent : float
        Of the superellipse; 2 is an ellipse, more is boxier.
    cap : float
        Exponent of the end caps; 2 is round, more is blunter.
    """

    sections: tuple[tuple[float, float, float, float, float, float, float], ...]
    arc: tuple[float, float] | None = None
    exponent: float = 2.3
    cap: float = 2.5

    @cached_property
    def _spline(self) -> CubicSpline:
        rows = np.asarray(self.sections, dtype=float)
        return CubicSpline(rows[:, 0], rows[:, 1:], bc_type="natural")

    @cached_property
    def bounds(self) -> Box:
        """Corners of a box that holds the solid, mm."""
        stations = np.linspace(self._spline.x[0], self._spline.x[-1], 50)
        x, height, *half, _, _ = self._spline(stations).T
        if self.arc is None:
            centre = np.stack([x, stations, height])
        else:
            angle = np.radians(stations)
            centre = np.stack(
                [x, self.arc[0] + height * np.cos(angle), self.arc[1] + height * np.sin(angle)]
            )
        reach = np.max(half) + 2
        return centre.min(axis=1) - reach, centre.max(axis=1) + reach

    def distance(self, points: Points) -> NDArray[np.float32]:
        """Approximate signed distance of (3, N) points, mm; negative inside."""
        station, across, height = self._section_coordinates(points)
        first, last = self._spline.x[0], self._spline.x[-1]
        x, up, width, length, angle, bend = self._spline(np.clip(station, first, last)).T
        angle = np.radians(angle)
        across, height = across - x, height - up
        along = across * np.sin(angle) + height * np.cos(angle)
        across = across * np.cos(angle) - height * np.sin(angle) - bend * along**2
        end = np.abs(2 * station - (first + last)) / (last - first)
        shrink = np.maximum(1 - np.minimum(end, 1) ** self.cap, 1e-4) ** (1 / self.cap)
        width, length = width * shrink, length * shrink
        level = (
            np.abs(across / width) ** self.exponent + np.abs(along / length) ** self.exponent
        ) ** (1 / self.exponent)
        inside = (level - 1) * np.minimum(width, length)
        return np.where(end > 1, np.inf, inside).astype(np.float32)

    def _section_coordinates(self, points: Points) -> tuple[Points, Points, Points]:
        x, y, z = points
        if self.arc is None:
            return y, x, z
        forward, up = y - self.arc[0], z - self.arc[1]
        angle = np.degrees(np.arctan2(up, forward))
        middle = (self._spline.x[0] + self._spline.x[-1]) / 2
        angle = middle + (angle - middle + 180) % 360 - 180
        return angle, x, np.hypot(forward, up)


@dataclass(frozen=True)
class Tube:
    """A round tube swept along a smooth curve through given points.

    Parameters
    ----------
    path : tuple of (x, y, z, radius)
        Points of the centreline and the radius there, mm.
    """

    path: tuple[tuple[float, float, float, float], ...]

    @cached_property
    def _samples(self) -> NDArray[np.float64]:
        rows = np.asarray(self.path, dtype=float)
        steps = np.linalg.norm(np.diff(rows[:, :3], axis=0), axis=1)
        arc = np.concatenate([[0], np.cumsum(steps)])
        spline = make_interp_spline(arc, rows, k=min(3, len(rows) - 1))
        samples = spline(np.linspace(0, arc[-1], max(int(arc[-1] / 0.25), 2)))
        samples[:, 3] = np.maximum(samples[:, 3], 0.05)
        return samples

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self._samples[:, :3])

    @cached_property
    def bounds(self) -> Box:
        """Corners of a box that holds the solid, mm."""
        centre, reach = self._samples[:, :3], self._samples[:, 3].max() + 2
        return centre.min(axis=0) - reach, centre.max(axis=0) + reach

    def distance(self, points: Points) -> NDArray[np.float32]:
        """Signed distance of (3, N) points, mm; infinite far outside."""
        reach = self._samples[:, 3].max() + 2
        distance, index = self._tree.query(points.T, distance_upper_bound=reach)
        radius = np.append(self._samples[:, 3], 0)[index]
        return (distance - radius).astype(np.float32)


class Solid(Protocol):
    """Anything with a signed distance and a box that holds it."""

    @property
    def bounds(self) -> Box:
        """Corners of the box, mm."""

    def distance(self, points: Points) -> NDArray[np.float32]:
        """Signed distance of (3, N) points, mm; negative inside."""


@dataclass(frozen=True)
class Mirrored:
    """A solid on the other side of the midline."""

    solid: Solid

    @cached_property
    def bounds(self) -> Box:
        """Corners of a box that holds the solid, mm."""
        low, high = self.solid.bounds
        return np.array([-high[0], *low[1:]]), np.array([-low[0], *high[1:]])

    def distance(self, points: Points) -> NDArray[np.float32]:
        """Signed distance of (3, N) points, mm; negative inside."""
        return self.solid.distance(points * np.array([[-1], [1], [1]], dtype=points.dtype))


def inside_box(points: Points, solid: Solid, margin: float = 0.0) -> NDArray[np.intp]:
    """Indices of the (3, N) points in the box round a solid, widened by `margin` mm."""
    low, high = solid.bounds
    inside = np.ones(points.shape[1], dtype=bool)
    for axis in range(3):
        inside &= (points[axis] > low[axis] - margin) & (points[axis] < high[axis] + margin)
    return np.flatnonzero(inside)


def boxes_meet(a: Box, b: Box) -> bool:
    """Whether two boxes, each given by its two corners, have a point in common."""
    return bool(np.all(a[0] <= b[1]) and np.all(b[0] <= a[1]))
