"""Brain surfaces of one subject: cortex, white matter, ventricles, from the MNI152 maps.

The grey and white matter maps are those of the ICBM152 2009a symmetric template
(Fonov et al., NeuroImage 54:313, 2011) that nilearn carries. They are averages, whose
small gyri and sulci are washed out; each subject gets folds of its own where the maps
leave them open, narrow sulci, and a cortex wrapped round its white matter.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .fields import AtlasVolume, radial_field, random_field, signed_distance
from .nuclei import CAUDATE, PALLIDUM, PUTAMEN, THALAMUS
from .shapes import Points, Solid, Tube, inside_box

CORTEX = (1.9, 3.3)
"""Least and greatest thickness of the cortex, in template mm (about 0.87 mm in a head)."""

BRAIN_STEM = Tube(
    (
        (0, -22, -2, 13),
        (0, -25, -12, 14),
        (0, -27, -25, 16),
        (0, -28, -36, 15),
        (0, -36, -50, 9.5),
        (0, -44, -64, 7.5),
        (0, -50, -80, 6),
    )
)


@dataclass(frozen=True)
class Brain:
    """Signed distances (mm, negative inside) to the surfaces of one brain."""

    hull: AtlasVolume
    parenchyma: AtlasVolume
    white_matter: AtlasVolume


class Template(NamedTuple):
    """Brain mask and tissue fractions of the template."""

    mask: AtlasVolume
    grey: AtlasVolume
    white: AtlasVolume


@cache
def template() -> Template:
    """The template, cropped to the brain."""
    from nilearn import datasets

    images = (
        datasets.load_mni152_brain_mask(resolution=1),
        datasets.load_mni152_gm_template(resolution=1),
        datasets.load_mni152_wm_template(resolution=1),
    )
    # Cropped to the brain, with a margin below, where the template cuts the brain stem.
    below = 8
    origin = images[0].affine[:3, 3] + (18, 18, -below)
    arrays = (np.asarray(image.dataobj, np.float32)[18:-18, 18:-14, :165] for image in images)
    return Template(
        *(AtlasVolume(np.pad(a, ((0, 0), (0, 0), (below, 0))), origin, 1.0) for a in arrays)
    )


def make_brain(rng: np.random.Generator) -> Brain:
    """Surfaces of the brain with folds drawn from `rng`."""
    mask, grey, white = template()
    points = mask.grid()
    inside = mask.values > 0
    hull = signed_distance(inside, 1.0, 1.0)
    csf = np.clip(1 - grey.values - white.values, 0, 1) * inside
    parts = _parts()
    low, high = mask.origin, mask.origin + np.array(mask.values.shape)
    folds = mask.like(random_field(rng, low, high, 1.5, band=4.0).at(points)).values
    blades = mask.like(radial_field(rng, 2.6, band=5.0).at(points)).values
    fissures = mask.like(_cerebellar_fissures(rng, points)).values
    # The averages are least certain where neither tissue is sure; folds go there.
    uncertain = 4 * white.values * (1 - white.values) * ~parts.stem
    level = np.maximum(white.values + 0.2 * folds * uncertain, parts.deep * (1.2 - csf))
    # Where averaging has merged small gyri into broad grey matter, blades of white matter
    # reach into it again.
    merged = ~parts.thick & (hull < -4.5) & (csf < 0.25)
    level = np.where(merged, np.maximum(level, 0.5 + 0.4 * (blades - 0.9)), level)
    to_white = signed_distance(level > 0.5, 1.0, 0.6)
    # Sulci are narrow: only what is about as far from white matter as anything near it.
    half_width = ndimage.gaussian_filter(ndimage.maximum_filter(to_white, 7), 2.0)
    cortex = (to_white < np.clip(half_width - 0.9, *CORTEX)) | parts.thick
    cortex &= ~(parts.cerebellum & (fissures > 0) & (hull > -14) & (to_white > 1.2))
    tissue = cortex & (csf + 0.1 * folds < 0.42) & inside
    tissue |= (level > 0.5) & inside
    return Brain(
        hull=mask.like(hull),
        parenchyma=mask.like(signed_distance(tissue, 1.0, 0.5)),
        white_matter=mask.like(to_white),
    )


class _Parts(NamedTuple):
    """Parts of the template that fold in their own way, or not at all."""

    deep: NDArray[np.float32]
    stem: NDArray[np.bool_]
    cerebellum: NDArray[np.bool_]
    thick: NDArray[np.bool_]


@cache
def _parts() -> _Parts:
    mask, grey, white = template()
    points = mask.grid()
    x, y, z = points.reshape(3, *mask.values.shape)
    x = np.abs(x)
    stem = mask.like(_distance(BRAIN_STEM, points)).values < 0
    # The tentorium is a tent with its ridge behind the midbrain.
    cerebellum = (y < -30) & (z < 1 - 0.45 * x - 0.012 * (y + 55) ** 2) & ~stem
    temporal = (x < 36) & (y > -42) & (y < 6) & (z > -36) & (z < -6)
    basal = (x < 24) & (y > -12) & (y < 16) & (z > -18) & (z < 4)
    mirrored = np.stack([np.abs(points[0]), points[1], points[2]])
    near = np.full(points.shape[1], np.inf, dtype=np.float32)
    for solid in (THALAMUS, CAUDATE, PUTAMEN, PALLIDUM):
        near = np.minimum(near, _distance(solid, mirrored))
    # What the template calls grey round the nuclei, along the ventricles and in the
    # brain stem is partial volume; the nuclei themselves are painted later.
    csf = 1 - grey.values - white.values
    deep = (near.reshape(x.shape) < 2.5) | _ventricle_walls(x, y, z, csf) | (stem & (csf < 0.3))
    return _Parts(
        deep=ndimage.gaussian_filter(deep.astype(np.float32), 0.6),
        stem=stem,
        cerebellum=cerebellum,
        thick=cerebellum | stem | temporal | basal | (x < 4),
    )


def _distance(solid: Solid, points: Points) -> NDArray[np.float32]:
    """Distance to a solid, infinite far from it."""
    distance = np.full(points.shape[1], np.inf, dtype=np.float32)
    index = inside_box(points, solid, margin=3)
    distance[index] = solid.distance(points[:, index])
    return distance


def _ventricle_walls(
    x: NDArray[np.float32], y: NDArray[np.float32], z: NDArray[np.float32], csf: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Within 3.5 mm of the lateral ventricles."""
    central = (x < 40) & (y > -62) & (y < 42) & (z > -4) & (z < 36)
    cistern = (np.abs(y + 40) < 22) & (z < 9) & (x < 14)
    fluid, _ = ndimage.label((csf > 0.5) & central & ~cistern)
    sizes = np.bincount(fluid.ravel())
    sizes[0] = 0
    ventricles = np.isin(fluid, np.argsort(sizes)[-2:])
    return ndimage.distance_transform_edt(~ventricles) < 3.5


def _cerebellar_fissures(rng: np.random.Generator, points: Points) -> NDArray[np.float32]:
    """Positive in the fissures between folia, which fan out from the fourth ventricle."""
    _, y, z = points
    wave = random_field(rng, (-60, -110, -76), (60, -20, 20), 6.0).at(points)
    angle = np.arctan2(z + 32, y + 46)
    return np.sin(34 * angle + 0.9 * wave) - 0.8
