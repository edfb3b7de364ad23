"""Brain surfaces of one subject: cortex, white matter, ventricles, from the MNI152 maps.

The grey and white matter maps are those of the ICBM152 2009a symmetric template
(Fonov et al., NeuroImage 54:313, 2011) that nilearn carries. They are averages, whose
sulci are washed out; each subject gets folds of its own where the maps leave them
open, and a cortex of even thickness wrapped round its white matter.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .fields import AtlasVolume, random_field, signed_distance
from .nuclei import NUCLEI
from .shapes import inside_box

CORTEX_THICKNESS = 3.0
"""In template mm; a head scaled to 0.87 has 2.6 mm of cortex."""


@dataclass(frozen=True)
class Brain:
    """Signed distances (mm, negative inside) to the surfaces of one brain."""

    hull: AtlasVolume
    parenchyma: AtlasVolume
    white_matter: AtlasVolume
    depth: AtlasVolume


@cache
def templates() -> tuple[AtlasVolume, AtlasVolume, AtlasVolume]:
    """Brain mask, grey matter and white matter of the template, cropped to the brain."""
    from nilearn import datasets

    maps = [
        datasets.load_mni152_brain_mask(resolution=1),
        datasets.load_mni152_gm_template(resolution=1),
        datasets.load_mni152_wm_template(resolution=1),
    ]
    origin = maps[0].affine[:3, 3] + (18, 18, 0)
    mask, grey, white = (
        AtlasVolume(np.asarray(image.dataobj, dtype=np.float32)[18:-18, 18:-14, :170], origin, 1.0)
        for image in maps
    )
    return mask, grey, white


def make_brain(rng: np.random.Generator) -> Brain:
    """Surfaces of the brain with folds drawn from `rng`."""
    mask, grey, white = templates()
    low, high = mask.origin, mask.origin + np.array(mask.values.shape)
    points = mask.grid()
    folds = mask.like(random_field(rng, low, high, 1.5, band=4.0).at(points)).values
    csf = np.clip(1 - grey.values - white.values, 0, 1) * (mask.values > 0)
    deep = _deep_matter(mask, csf)
    # The averages are least certain where neither tissue is sure; folds go there.
    uncertain = 4 * white.values * (1 - white.values)
    white_level = np.maximum(white.values + 0.22 * folds * uncertain, deep * (1.2 - csf))
    white_distance = signed_distance(white_level > 0.5, 1.0, 0.6)
    thickness = mask.like(_cortical_thickness(points)).values
    tissue = (csf + 0.10 * folds < 0.42) & (white_distance < thickness) & (mask.values > 0)
    tissue |= (deep > 0.5) & (csf < 0.5)
    tissue |= white_level > 0.5
    hull = signed_distance(mask.values > 0, 1.0, 1.0)
    return Brain(
        hull=mask.like(hull),
        parenchyma=mask.like(signed_distance(tissue, 1.0, 0.5)),
        white_matter=mask.like(white_distance),
        depth=mask.like(-hull),
    )


def _cortical_thickness(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far from white matter grey matter reaches, mm.

    Cortex is a thin ribbon; cerebellum, amygdala and hippocampus, basal forebrain and
    brain stem are not, and keep all the grey matter that the template gives them.
    """
    x, y, z = points
    x = np.abs(x)
    cerebellum = (y < -28) & (z < -2 + 0.42 * (y + 42) - 0.05 * x)
    stem = (x < 22) & (y > -48) & (y < 2) & (z < 2)
    temporal = (x < 36) & (y > -42) & (y < 6) & (z > -36) & (z < -6)
    basal = (x < 24) & (y > -12) & (y < 16) & (z > -18) & (z < 4)
    return np.where(cerebellum | stem | temporal | basal, 30.0, CORTEX_THICKNESS).astype(np.float32)


@cache
def _nuclear_neighbourhood() -> NDArray[np.bool_]:
    mask, _, _ = templates()
    points = mask.grid()
    points[0] = np.abs(points[0])
    near = np.zeros(points.shape[1], dtype=bool)
    for name in ("thalamus", "caudate", "putamen", "pallidum"):
        for solid in NUCLEI[name]:
            index = inside_box(points, solid, margin=3)
            near[index] |= solid.distance(points[:, index]) < 2.5
    return near.reshape(mask.values.shape)


def _deep_matter(mask: AtlasVolume, csf: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where grey matter of the template is not cortex: round nuclei and ventricles.

    The nuclei are painted later; what is left there is white matter.
    """
    x, y, z = mask.grid().reshape(3, *mask.values.shape)
    central = (np.abs(x) < 40) & (y > -62) & (y < 42) & (z > -4) & (z < 36)
    fluid, _ = ndimage.label(
        (csf > 0.5) & central & ~((np.abs(y + 40) < 22) & (z < 9) & (np.abs(x) < 14))
    )
    sizes = np.bincount(fluid.ravel())
    sizes[0] = 0
    ventricles = np.isin(fluid, np.argsort(sizes)[-2:])
    rim = ndimage.distance_transform_edt(~ventricles) < 3.5
    return ndimage.gaussian_filter((_nuclear_neighbourhood() | rim).astype(np.float32), 0.6)
