"""Veins and dural sinuses, drawn anew for every subject."""

import numpy as np

from .shapes import Tube
from .tissue import Brain

Path = tuple[tuple[float, float, float, float], ...]

_CENTRE = np.array([0.0, -18.0, 8.0])

_MIDLINE: tuple[Path, ...] = (
    # superior sagittal sinus
    (
        (0, 70, -10, 0.8),
        (0, 74, 20, 1.4),
        (0, 50, 62, 2.0),
        (0, 10, 82, 2.4),
        (0, -40, 84, 2.8),
        (0, -85, 52, 3.2),
        (0, -107, 10, 3.6),
        (0, -104, -12, 4.0),
    ),
    # vein of Galen and straight sinus
    (
        (0, -38, 5, 1.4),
        (0, -45, 7, 1.8),
        (0, -60, -2, 1.9),
        (0, -85, -12, 2.2),
        (0, -104, -12, 2.6),
    ),
    # inferior sagittal sinus
    ((0, 30, 28, 0.5), (0, 5, 38, 0.6), (0, -25, 36, 0.8), (0, -44, 18, 1.0), (0, -46, 8, 1.2)),
)
_PAIRED: tuple[Path, ...] = (
    # transverse and sigmoid sinus
    ((2, -104, -13, 3.6), (30, -94, -18, 3.2), (56, -66, -26, 3.2), (58, -46, -36, 3.2)),
    # internal cerebral vein, then the thalamostriate vein in the groove above the thalamus
    (
        (1.5, -38, 6, 1.1),
        (2.5, -22, 15, 1.0),
        (3, -4, 15, 0.9),
        (8, 0, 17, 0.7),
        (14, -10, 22, 0.6),
        (19, -24, 24, 0.4),
    ),
    # septal vein
    ((3, -4, 15, 0.6), (3.5, 8, 12, 0.5), (5, 20, 10, 0.4)),
    # basal vein of Rosenthal
    (
        (13, 0, -17, 0.6),
        (15, -12, -16, 0.7),
        (18, -26, -12, 0.8),
        (12, -36, -4, 0.9),
        (2, -40, 4, 1.0),
    ),
)


def make_veins(rng: np.random.Generator, brain: Brain) -> tuple[Tube, ...]:
    """Dural sinuses and deep veins where they usually are, cortical and medullary at random."""
    tubes = [Tube(_jitter(rng, path, 0.4)) for path in _MIDLINE]
    for side in (-1, 1):
        tubes += [Tube(_jitter(rng, _mirror(path, side), 0.8)) for path in _PAIRED]
        tubes += [_medullary_vein(rng, side) for _ in range(30)]
        tubes += [_cortical_vein(rng, brain, side) for _ in range(40)]
    return tuple(tubes)


def _mirror(path: Path, side: int) -> Path:
    return tuple((side * x, y, z, r) for x, y, z, r in path)


def _jitter(rng: np.random.Generator, path: Path, spread: float) -> Path:
    rows = np.asarray(path, dtype=float)
    rows[:, 1:3] += spread * rng.standard_normal((len(rows), 2))
    rows[:, 3] *= rng.uniform(0.85, 1.15)
    return _as_path(rows)


def _as_path(rows: np.ndarray) -> Path:
    return tuple((float(x), float(y), float(z), float(r)) for x, y, z, r in rows)


def _medullary_vein(rng: np.random.Generator, side: int) -> Tube:
    """From the wall of the lateral ventricle outwards through white matter."""
    start = np.array([side * rng.uniform(14, 22), rng.uniform(-35, 25), rng.uniform(20, 26)])
    outward = np.array([side * rng.uniform(0.3, 1.0), rng.normal(0, 0.35), rng.uniform(0.2, 1.0)])
    outward /= np.linalg.norm(outward)
    length = rng.uniform(12, 24)
    steps = np.linspace(0, length, 5)[:, None]
    path = start + outward * steps + 0.6 * rng.standard_normal((5, 3)).cumsum(axis=0)
    return Tube(_as_path(np.column_stack([path, np.linspace(0.45, 0.2, 5)])))


def _cortical_vein(rng: np.random.Generator, brain: Brain, side: int) -> Tube:
    """Over the convexity, just under the hull, from near the midline downwards."""
    azimuth = rng.uniform(0.05, 0.95) * np.pi
    drift = rng.normal(0, 0.15)
    first, last = np.sort(rng.uniform(0.05, 0.75, 2)) * np.pi
    polar = np.linspace(first, max(last, first + 0.2), 9)
    azimuth = azimuth + drift * (polar - first) + 0.03 * rng.standard_normal(9).cumsum()
    direction = np.stack(
        [side * np.sin(polar) * np.sin(azimuth), np.sin(polar) * np.cos(azimuth), np.cos(polar)]
    )
    radius = _hull_radius(brain, direction) - rng.uniform(0.5, 2.5)
    path = _CENTRE + (radius * direction).T
    return Tube(_as_path(np.column_stack([path, np.linspace(rng.uniform(0.7, 1.2), 0.35, 9)])))


def _hull_radius(brain: Brain, direction: np.ndarray) -> np.ndarray:
    """Distance from the centre to the hull along each of (3, N) directions, mm."""
    steps = np.arange(30, 110, 0.5)
    points = _CENTRE[:, None, None] + direction[:, :, None] * steps
    inside = brain.hull.at(points.reshape(3, -1).astype(np.float32)) < 0
    return steps[0] + 0.5 * inside.reshape(direction.shape[1], -1).sum(axis=1)
