"""Deep grey nuclei and the optic radiation as smooth solids in MNI space.

The right-hemisphere shapes below are lofts and tubes of a handful of rounded numbers
each. Caudate, putamen, pallidum, red nucleus and substantia nigra were fitted to the
CIT168 atlas (Pauli et al., Sci Data 5:180063, 2018; CC BY 4.0), the pallidum made 1.5
times as large as the atlas' high-probability core, which is nearer to manual volumes; the
thalamus follows published extents (Morel, Stereotactic Atlas, 2007), the optic
radiation and Meyer's loop Ebeling & Reulen (Acta Neurochir 92:29, 1988), the dentate
Dimitrova et al. (NeuroImage 30:12, 2006). The left side is their mirror image; every
subject's own deformation breaks the symmetry.
"""

from typing import NamedTuple

from .shapes import Loft, Solid, Tube

PUTAMEN = Loft(
    (
        (-23.0, 30.2, 2.0, 1.7, 9.6, -20, 0.016),
        (-16.7, 30.1, 1.5, 3.0, 11.6, -11, 0.008),
        (-10.4, 30.0, 1.9, 3.6, 12.6, -8, -0.010),
        (-4.1, 28.6, 3.5, 4.4, 11.7, -11, -0.008),
        (2.1, 26.8, 1.9, 5.6, 12.1, -2, -0.013),
        (8.4, 24.0, -1.7, 7.1, 13.3, 19, -0.022),
        (14.7, 22.5, -3.4, 6.2, 12.6, 25, -0.017),
        (21.0, 21.4, -4.9, 4.0, 11.5, 29, -0.015),
    )
)
PALLIDUM = Loft(
    (
        (-13.6, 24.6, -1.6, 1.2, 5.0, 18, -0.080),
        (-8.7, 22.8, -2.2, 4.3, 6.9, 24, -0.070),
        (-4.4, 20.2, -2.5, 5.4, 8.7, 28, -0.065),
        (-0.1, 18.2, -1.9, 5.7, 7.6, 29, -0.068),
        (4.2, 15.8, -1.8, 5.2, 6.3, 37, -0.060),
        (9.1, 13.6, -2.9, 3.0, 6.0, 43, -0.045),
    )
)
CAUDATE = Loft(
    (
        (-44.0, 10.6, 21.9, 3.0, 6.1, 50, 0.016),
        (-16.2, 11.2, 23.8, 5.6, 11.7, 39, 0.015),
        (11.6, 12.4, 22.2, 5.5, 11.4, 39, 0.018),
        (39.3, 13.7, 19.3, 4.5, 8.6, 40, 0.011),
        (67.1, 14.8, 18.4, 3.4, 6.8, 39, 0.006),
        (94.9, 16.5, 20.3, 2.6, 4.8, 38, -0.001),
        (122.7, 18.8, 24.1, 1.9, 3.2, 37, -0.005),
        (150.4, 23.0, 28.6, 1.4, 1.9, 31, 0.0),
        (178.2, 30.2, 28.2, 1.4, 1.9, 24, 0.0),
        (206.0, 36.0, 25.0, 1.2, 1.8, 16, 0.0),
    ),
    arc=(-6.0, 2.0),
)
THALAMUS = Loft(
    (
        (-34.5, 17.0, 4.5, 5.8, 7.4, 70, 0.0),
        (-29.0, 15.2, 6.0, 9.3, 10.7, 60, 0.010),
        (-22.0, 12.7, 7.2, 9.3, 11.4, 48, 0.010),
        (-15.0, 10.7, 8.0, 8.4, 11.2, 42, 0.0),
        (-8.0, 8.9, 8.0, 6.9, 10.2, 36, -0.006),
        (-1.5, 7.5, 7.2, 5.1, 8.4, 32, -0.006),
    )
)
PULVINAR = Loft(
    (
        (-34.0, 17.0, 4.5, 4.0, 5.5, 70, 0.0),
        (-29.0, 16.0, 6.0, 6.0, 7.5, 60, 0.0),
        (-23.0, 14.5, 6.5, 4.0, 6.0, 50, 0.0),
    )
)
RED_NUCLEUS = Loft(
    (
        (-24.5, 5.4, -10.9, 3.5, 2.9, 24, 0.060),
        (-19.2, 4.9, -9.4, 3.6, 4.5, 24, 0.034),
        (-14.0, 5.0, -8.1, 2.9, 2.8, 25, -0.025),
    )
)
SUBSTANTIA_NIGRA = Loft(
    (
        (-26.0, 9.5, -15.4, 1.0, 2.5, 36, -0.010),
        (-21.8, 10.2, -14.5, 2.0, 4.8, 37, 0.0),
        (-17.5, 9.5, -13.8, 2.2, 6.0, 44, 0.005),
        (-13.2, 9.2, -12.8, 2.2, 5.2, 55, 0.0),
        (-9.0, 8.5, -12.3, 1.3, 2.6, 61, -0.019),
    )
)
DENTATE = Loft(
    (
        (-67.0, 15.5, -35.0, 2.5, 5.0, 60, 0.02),
        (-61.0, 15.0, -34.0, 4.0, 8.0, 62, 0.02),
        (-55.0, 14.0, -33.0, 4.0, 7.5, 65, 0.02),
        (-49.0, 12.5, -32.0, 2.5, 4.5, 65, 0.02),
    )
)
OPTIC_RADIATION = (
    # Meyer's loop: forward over the temporal horn, then back along its lateral wall
    Tube(
        (
            (23, -25, -5, 1.6),
            (29, -14, -8, 2.0),
            (36, -9, -13, 2.2),
            (40, -18, -14, 2.4),
            (40, -35, -11, 2.8),
            (36, -52, -6, 3.0),
            (28, -70, -3, 3.0),
            (17, -84, -4, 2.6),
            (11, -91, -5, 2.0),
        )
    ),
    Tube(
        (
            (23, -26, -4, 1.6),
            (32, -25, -5, 2.2),
            (38, -34, -4, 2.8),
            (37, -48, -1, 3.2),
            (31, -65, 2, 3.2),
            (20, -80, 3, 2.8),
            (12, -90, 2, 2.0),
        )
    ),
    Tube(
        (
            (24, -27, -3, 1.6),
            (31, -31, 1, 2.2),
            (36, -42, 5, 2.8),
            (33, -56, 8, 3.0),
            (26, -70, 9, 3.0),
            (16, -82, 8, 2.4),
            (11, -88, 6, 1.8),
        )
    ),
)

LAMINA = Loft(
    tuple(
        (y, x - 0.2, z, 0.4, 0.9 * length, angle, 0.6 * bend)
        for y, x, z, _, length, angle, bend in PALLIDUM.sections
    )
)

"""The medullary lamina between the outer and the inner pallidum."""


class Nucleus(NamedTuple):
    """Solids of the right hemisphere that share a material and a label."""

    label: str
    material: str
    solids: tuple[Solid, ...]


NUCLEI = (
    Nucleus("optic_radiation", "optic_radiation", OPTIC_RADIATION),
    Nucleus("thalamus", "thalamus", (THALAMUS,)),
    Nucleus("thalamus", "pulvinar", (PULVINAR,)),
    Nucleus("caudate", "caudate", (CAUDATE,)),
    Nucleus("putamen", "putamen", (PUTAMEN,)),
    Nucleus("pallidum", "pallidum", (PALLIDUM,)),
    Nucleus("pallidum", "lamina", (LAMINA,)),
    Nucleus("red_nucleus", "red_nucleus", (RED_NUCLEUS,)),
    Nucleus("substantia_nigra", "substantia_nigra", (SUBSTANTIA_NIGRA,)),
    Nucleus("dentate", "dentate", (DENTATE,)),
)
"""In the order in which they are painted."""
