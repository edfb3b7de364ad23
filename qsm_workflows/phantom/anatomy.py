"""A subject's head: where every structure is, painted on any grid."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from .exterior import HEAD_HIGH, HEAD_LOW, Exterior, make_exterior
from .fields import AtlasVolume, radial_field, random_field
from .grids import FineGrid
from .nuclei import NUCLEI
from .scene import Canvas, Scene
from .shapes import Box, Mirrored, Points, Solid, boxes_meet, inside_box
from .susceptibility import AIR, LABEL_INDEX, Material, draw_materials
from .tissue import Brain, make_brain
from .vessels import make_veins

TEMPLATE_SCALE = np.array([0.87, 0.90, 0.82])
"""World mm for each MNI mm: the template is larger than most heads, above all in height."""

ISOCENTRE = np.array([0.0, -18.0, 5.0])
"""The MNI position that lies at the scanner's isocentre."""


@dataclass(frozen=True)
class _Lesion:
    """A ball with a lobed surface."""

    centre: NDArray[np.float64]
    radius: float
    surface: AtlasVolume

    @property
    def bounds(self) -> Box:
        reach = self.radius + 5
        return self.centre - reach, self.centre + reach

    def distance(self, points: Points) -> NDArray[np.float32]:
        offset = points - self.centre[:, None].astype(np.float32)
        return np.linalg.norm(offset, axis=0) - self.radius + 1.2 * self.surface.at(points)


class _Structure(NamedTuple):
    """A solid, what it is made of, and its label."""

    solid: Solid
    material: str
    label: int


@dataclass(frozen=True)
class Anatomy:
    """Everything that makes one subject; see :func:`make_anatomy`."""

    rotation: NDArray[np.float64]
    scale: NDArray[np.float64]
    warp: tuple[AtlasVolume, ...]
    brain: Brain
    exterior: Exterior
    structures: tuple[_Structure, ...]
    materials: dict[str, Material]
    texture: AtlasVolume
    streaks: AtlasVolume

    def to_template(self, world: Points) -> Points:
        """MNI positions of (3, N) world positions, mm."""
        matrix = np.linalg.inv(self.rotation * self.scale).astype(np.float32)
        rigid: Points = matrix @ world + ISOCENTRE[:, None].astype(np.float32)
        for axis, component in enumerate([volume.at(rigid) for volume in self.warp]):
            rigid[axis] += component
        return rigid

    def box(self) -> Box:
        """Corners of a box that holds the head, world mm."""
        corners = np.array(np.meshgrid(*np.transpose([HEAD_LOW, HEAD_HIGH]))).reshape(3, -1)
        world = (self.rotation * self.scale) @ (corners - ISOCENTRE[:, None])
        return world.min(axis=1), world.max(axis=1)

    def paint(self, grid: FineGrid) -> Scene:
        """Sample the head on a fine grid, some planes at a time to save memory."""
        scene = Scene.filled(grid.shape, AIR)
        edge = float(np.linalg.norm(grid.affine[:3, :3], axis=0).max() / self.scale.min())
        step = max(1, 2_000_000 // (grid.shape[1] * grid.shape[2]))
        for start in range(0, grid.shape[0], step):
            stop = min(start + step, grid.shape[0])
            points = self.to_template(grid.slab_positions(start, stop))
            canvas = Canvas(scene, slice(start, stop), edge, self.materials)
            self._paint_planes(points, canvas)
        return scene

    def _paint_planes(self, points: Points, canvas: Canvas) -> None:
        skin = self.exterior.head.at(points)
        head = np.flatnonzero(skin < canvas.edge)
        points, skin = points[:, head], skin[head]
        texture = self.texture.at(points)
        canvas.paint("fat", head, skin, texture)
        canvas.paint("muscle", head, skin + 3.0, texture)
        canvas.paint("eye", head, self.exterior.eyes.at(points), texture)
        canvas.paint("bone", head, np.maximum(self.exterior.bone.at(points), skin + 3.0), texture)
        canvas.paint("air", head, self.exterior.air.at(points), texture)
        hull = self.brain.hull.at(points)
        near = np.flatnonzero(hull < 6.0)  # the dural sinuses lie outside the hull
        if near.size:
            self._paint_brain(points[:, near], head[near], hull[near], texture[near], canvas)

    def _paint_brain(
        self,
        points: Points,
        where: NDArray[np.intp],
        hull: NDArray[np.float32],
        texture: NDArray[np.float32],
        canvas: Canvas,
    ) -> None:
        tissue = np.maximum(self.brain.parenchyma.at(points), hull)
        white = np.maximum(self.brain.white_matter.at(points), tissue)
        canvas.paint("csf", where, hull, texture, LABEL_INDEX["csf", "n/a"])
        canvas.paint("grey_matter", where, tissue, texture, LABEL_INDEX["grey_matter", "n/a"])
        streaks = self.streaks.at(points)
        canvas.paint("white_matter", where, white, streaks, LABEL_INDEX["white_matter", "n/a"])
        box = points.min(axis=1), points.max(axis=1)
        for solid, material, label in self.structures:
            if not boxes_meet(solid.bounds, box):
                continue
            inside = inside_box(points, solid)
            distance = solid.distance(points[:, inside])
            if material == "optic_radiation":
                distance = np.maximum(distance, white[inside])
            canvas.paint(material, where[inside], distance, texture[inside], label)
        canvas.unlabel(where[hull >= 0])


def make_anatomy(seed: int, subject: int, *, lesions: bool = True) -> Anatomy:
    """Draw one subject's head.

    Parameters
    ----------
    seed : int
        Of the whole data set.
    subject : int
        Number of the subject; each has a head of its own.
    lesions : bool
        Put a haemorrhage and a calcification into the white matter, far from the deep
        grey nuclei. All else is the same with and without.
    """
    shape_rng, brain_rng, head_rng, vein_rng, lesion_rng, value_rng = (
        np.random.default_rng(child) for child in np.random.SeedSequence([seed, subject]).spawn(6)
    )
    brain = make_brain(brain_rng)
    structures = _nuclei() + [
        _Structure(tube, "vein", LABEL_INDEX["vein", "n/a"]) for tube in make_veins(vein_rng, brain)
    ]
    if lesions:
        structures += _lesions(lesion_rng)
    tilt = shape_rng.normal(0, (4.0, 2.0, 2.0))
    return Anatomy(
        rotation=Rotation.from_euler("xyz", tilt, degrees=True).as_matrix(),
        scale=TEMPLATE_SCALE * shape_rng.uniform(0.98, 1.01, 3),
        warp=_warp(shape_rng),
        brain=brain,
        exterior=make_exterior(head_rng),
        structures=tuple(structures),
        materials=draw_materials(value_rng),
        texture=random_field(value_rng, HEAD_LOW, HEAD_HIGH, 1.5),
        # The susceptibility of white matter follows the direction and the myelin of its
        # fibres, which change across bundles much faster than along them.
        streaks=radial_field(value_rng, 1.8),
    )


def _warp(rng: np.random.Generator) -> tuple[AtlasVolume, ...]:
    """Displacements of about 2 mm that vary over some centimetres."""
    components = (random_field(rng, HEAD_LOW, HEAD_HIGH, 22.0) for _ in range(3))
    return tuple(
        AtlasVolume(1.6 * field.values, field.origin, field.spacing) for field in components
    )


def _nuclei() -> list[_Structure]:
    return [
        _Structure(
            Mirrored(solid) if hemisphere == "L" else solid,
            nucleus.material,
            LABEL_INDEX[nucleus.label, hemisphere],
        )
        for hemisphere in ("L", "R")
        for nucleus in NUCLEI
        for solid in nucleus.solids
    ]


def _lesions(rng: np.random.Generator) -> list[_Structure]:
    lesions = []
    for name, centre, radius in (
        ("haemorrhage", (32.0, -58.0, 38.0), (5.5, 8.0)),
        ("calcification", (-30.0, 44.0, 20.0), (4.5, 6.0)),
    ):
        place = np.array(centre) + rng.uniform(-4, 4, 3)
        surface = random_field(rng, place - 15, place + 15, 3.0)
        shape = _Lesion(place, rng.uniform(*radius), surface)
        lesions.append(_Structure(shape, name, LABEL_INDEX[name, "n/a"]))
    return lesions
