"""Susceptibility, relaxation and proton density of each structure, and the label table.

Susceptibilities are relative to tissue water, at the middle of what is published for
healthy adults at 3 T: Wharton & Bowtell, NeuroImage 53:515 (2010); Langkammer et al.,
NeuroImage 62:1593 (2012); Deistung et al., NeuroImage 65:299 (2013); Li et al., Hum
Brain Mapp 35:2698 (2014); veins Haacke et al., J Magn Reson Imaging 32:663 (2010); bone
and air Buch et al., Magn Reson Med 73:2185 (2015). R2* at 3 T after Peran et al., J Magn
Reson Imaging 26:1413 (2007). Proton density stands for the whole signal at echo time
zero, T1 weighting included.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Material:
    """Magnetic properties of one structure.

    Parameters
    ----------
    chi : float
        Susceptibility relative to tissue water, ppm.
    r2star : float
        Transverse relaxation rate at 3 T, 1/s.
    proton_density : float
        Signal at echo time zero, as weighted by T1; arbitrary.
    chi_spread : float
        Standard deviation of `chi` between subjects, ppm.
    texture : float
        Standard deviation of χ inside the structure, ppm.
    """

    chi: float
    r2star: float
    proton_density: float
    chi_spread: float = 0.0
    texture: float = 0.0


AIR = Material(9.2, 0.0, 0.0)
"""Also what surrounds the head."""

MATERIALS: dict[str, Material] = {
    "muscle": Material(0.0, 30.0, 0.55, texture=0.01),
    "fat": Material(0.6, 35.0, 0.80, texture=0.02),
    "bone": Material(-2.0, 300.0, 0.06, chi_spread=0.1, texture=0.1),
    "air": AIR,
    "eye": Material(0.0, 3.0, 0.90),
    "csf": Material(0.0, 4.0, 0.88, chi_spread=0.005, texture=0.003),
    "grey_matter": Material(0.015, 17.0, 0.82, chi_spread=0.004, texture=0.008),
    "white_matter": Material(-0.035, 21.0, 0.70, chi_spread=0.005, texture=0.008),
    "optic_radiation": Material(-0.045, 23.0, 0.69, chi_spread=0.004, texture=0.003),
    "thalamus": Material(0.010, 20.0, 0.75, chi_spread=0.005, texture=0.010),
    "pulvinar": Material(0.035, 21.0, 0.75, chi_spread=0.005, texture=0.006),
    "caudate": Material(0.050, 25.0, 0.79, chi_spread=0.006, texture=0.006),
    "putamen": Material(0.065, 27.0, 0.78, chi_spread=0.010, texture=0.010),
    "pallidum": Material(0.155, 40.0, 0.70, chi_spread=0.012, texture=0.014),
    "lamina": Material(0.05, 28.0, 0.70, texture=0.005),
    "red_nucleus": Material(0.100, 34.0, 0.72, chi_spread=0.012, texture=0.008),
    "substantia_nigra": Material(0.135, 38.0, 0.72, chi_spread=0.012, texture=0.012),
    "dentate": Material(0.110, 32.0, 0.75, chi_spread=0.015, texture=0.010),
    "vein": Material(0.30, 45.0, 0.75, chi_spread=0.03, texture=0.02),
    "haemorrhage": Material(0.80, 110.0, 0.55, texture=0.10),
    "calcification": Material(-0.40, 70.0, 0.40, texture=0.10),
}

PAIRED = (
    "pallidum",
    "putamen",
    "caudate",
    "thalamus",
    "red_nucleus",
    "substantia_nigra",
    "optic_radiation",
    "dentate",
)
UNPAIRED = ("white_matter", "grey_matter", "csf", "vein", "haemorrhage", "calcification")


@dataclass(frozen=True)
class Label:
    """One row of the label table; `hemisphere` is L, R or n/a."""

    index: int
    name: str
    hemisphere: str


LABELS: tuple[Label, ...] = tuple(
    Label(2 * i + side, name, hemisphere)
    for i, name in enumerate(PAIRED)
    for side, hemisphere in ((1, "L"), (2, "R"))
) + tuple(Label(2 * len(PAIRED) + 1 + i, name, "n/a") for i, name in enumerate(UNPAIRED))
"""Every label of the built-in head; paired structures are odd on the left."""

LABEL_INDEX: dict[tuple[str, str], int] = {(row.name, row.hemisphere): row.index for row in LABELS}


def draw_materials(rng: np.random.Generator) -> dict[str, Material]:
    """Materials of one subject: χ drawn about the table, and R2* of iron along with it."""
    drawn = {}
    for name, material in MATERIALS.items():
        # Three standard deviations at most: no subject with negative iron.
        shift = material.chi_spread * float(np.clip(rng.standard_normal(), -2, 2))
        drawn[name] = Material(
            chi=material.chi + shift,
            # About 120 /s for every ppm at 3 T, from Langkammer et al. 2012.
            r2star=max(material.r2star + 120 * shift * (name in PAIRED), 1.0),
            proton_density=material.proton_density,
            chi_spread=material.chi_spread,
            texture=material.texture,
        )
    return drawn
