"""What surrounds the brain: scalp, skull, face, air-filled cavities, neck.

Positions are those of an adult skull in MNI space, to a few millimetres; what matters
here is the field that they make inside the brain.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .fields import AtlasVolume, random_field, signed_distance
from .shapes import Points
from .tissue import template

HEAD_LOW = np.array([-92.0, -126.0, -130.0])
HEAD_HIGH = np.array([92.0, 112.0, 104.0])
SPACING = 2.0


@dataclass(frozen=True)
class Exterior:
    """Signed distances (mm, negative inside) of the parts of the head outside the brain."""

    head: AtlasVolume
    bone: AtlasVolume
    air: AtlasVolume
    eyes: AtlasVolume


@dataclass(frozen=True)
class _Ellipsoid:
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    exponent: float = 2.0
    paired: bool = False

    def distance(self, points: Points) -> NDArray[np.float32]:
        x = np.abs(points[0]) if self.paired else points[0]
        scaled = (
            np.abs((axis - centre) / half) ** self.exponent
            for axis, centre, half in zip(
                (x, points[1], points[2]), self.centre, self.half, strict=True
            )
        )
        level = sum(scaled) ** (1 / self.exponent)
        return (level - 1) * min(self.half)


_FACE = (
    _Ellipsoid((0, 30, -72), (66, 58, 62), 2.5),
    _Ellipsoid((0, 48, -108), (44, 42, 34), 2.5),
    _Ellipsoid((0, 92, -56), (13, 16, 18)),
)
_NECK = _Ellipsoid((0, -40, -130), (62, 70, 104), 4.0)
_SINUSES = (
    _Ellipsoid((8, 18, -38), (8, 12, 9), 2.5, paired=True),
    _Ellipsoid((9, 46, -36), (6, 16, 11), 3.0, paired=True),
    _Ellipsoid((14, 76, -22), (12, 8, 14), 2.5, paired=True),
    _Ellipsoid((31, 46, -68), (14, 17, 16), 2.5, paired=True),
)
_NASAL = _Ellipsoid((7, 60, -62), (5, 32, 19), 2.5, paired=True)
_AIRWAY = (
    _Ellipsoid((0, 14, -70), (12, 10, 22), 2.5),
    _Ellipsoid((0, 4, -112), (11, 9, 40), 2.5),
)
_MASTOID = _Ellipsoid((55, -36, -46), (10, 15, 17), 2.5, paired=True)
_EAR_CANAL = _Ellipsoid((70, -22, -42), (26, 4, 4), 2.5, paired=True)
_EYES = _Ellipsoid((32, 56, -38), (12.5, 12.5, 12.5), paired=True)
_PETROUS = _Ellipsoid((38, -26, -42), (26, 13, 11), 2.5, paired=True)
_MAXILLA = (
    _Ellipsoid((31, 46, -68), (17, 20, 19), 2.5, paired=True),
    _Ellipsoid((0, 52, -90), (28, 30, 8), 2.5),
    _Ellipsoid((0, 30, -40), (24, 36, 16), 2.5),
    _Ellipsoid((0, 70, -26), (34, 18, 18), 2.5),
)
_VERTEBRAE = _Ellipsoid((0, -22, -130), (12, 12, 58), 4.0)


def make_exterior(rng: np.random.Generator) -> Exterior:
    """Head round the template's brain, its skull thickness and air cells drawn from `rng`."""
    shape = tuple(((HEAD_HIGH - HEAD_LOW) / SPACING).astype(int) + 1)
    frame = AtlasVolume(np.zeros(shape, dtype=np.float32), HEAD_LOW, SPACING)
    points = frame.grid()
    hull = _hull_distance(frame)
    thickness = 6.0 + 1.2 * random_field(rng, HEAD_LOW, HEAD_HIGH, 12).at(points)
    cells = random_field(rng, HEAD_LOW, HEAD_HIGH, 2.0, band=4.0).at(points)
    scalp = hull - (1.0 + thickness + 7.0)
    head = _smooth_union(
        scalp, _smooth_union(_nearest(points, _FACE), _NECK.distance(points), 12), 8
    )
    skull = np.maximum(hull - (1.0 + thickness), 1.0 - hull)
    canal = np.hypot(points[0], points[1] + 48) - 12
    skull = np.maximum(skull, np.where(points[2] < -50, -canal, -np.inf))
    bone = np.minimum(skull, _nearest(points, (_PETROUS, *_MAXILLA, _VERTEBRAE)))
    bone = np.minimum(bone, _MASTOID.distance(points) - 4)
    bone = np.maximum(bone, 1.0 - hull)
    air = np.minimum(_nearest(points, _SINUSES + _AIRWAY), _EAR_CANAL.distance(points))
    air = np.minimum(air, np.maximum(_NASAL.distance(points), 1.2 * (cells - 0.6)))
    air = np.minimum(air, np.maximum(_MASTOID.distance(points), 1.2 * cells))
    # Bone is between every cavity and the brain.
    air = np.maximum(air, 3.0 - hull)
    return Exterior(
        head=frame.like(head),
        bone=frame.like(bone),
        air=frame.like(air),
        eyes=frame.like(_EYES.distance(points)),
    )


def _hull_distance(frame: AtlasVolume) -> NDArray[np.float32]:
    inside = template().mask.at(frame.grid()).reshape(frame.values.shape) > 0.5
    return signed_distance(inside, SPACING, 2.0).ravel()


def _nearest(points: Points, solids: tuple[_Ellipsoid, ...]) -> NDArray[np.float32]:
    return np.minimum.reduce([solid.distance(points) for solid in solids])


def _smooth_union(a: NDArray, b: NDArray, width: float) -> NDArray:
    """Union of two distance functions whose crease is filled over `width` mm."""
    blend = np.clip(0.5 + 0.5 * (b - a) / width, 0, 1)
    return b + (a - b) * blend - width * blend * (1 - blend)
