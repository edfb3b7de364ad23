"""Deep grey nuclei and the optic radiation as smooth solids in MNI space.

The right-hemisphere shapes below are lofts and tubes with a handful of numbers each,
fitted to published positions, extents and volumes: basal ganglia and midbrain after
the CIT168 atlas (Pauli et al., Sci Data 5:180063, 2018), the optic radiation and
Meyer's loop after Ebeling & Reulen (Acta Neurochir 92:29, 1988), the dentate after
Dimitrova et al. (NeuroImage 30:12, 2006). The left side is their mirror image; every
subject's own deformation breaks the symmetry.
"""

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
        (-13.6, 24.6, -1.6, 1.1, 4.8, 18, -0.091),
        (-8.7, 22.9, -2.2, 4.1, 6.6, 24, -0.079),
        (-4.4, 20.4, -2.5, 5.1, 8.4, 28, -0.071),
        (-0.1, 18.4, -1.9, 5.5, 7.3, 29, -0.076),
        (4.2, 15.9, -1.8, 5.0, 6.0, 37, -0.067),
        (9.1, 13.6, -2.9, 2.9, 5.8, 43, -0.050),
    )
)
CAUDATE = Loft(
    (
        (-60.0, 10.5, 22.0, 3.0, 5.0, 45, 0.0),
        (-26.7, 11.0, 23.7, 3.9, 9.1, 40, 0.008),
        (6.7, 12.1, 22.7, 5.6, 11.6, 39, 0.018),
        (40.0, 13.7, 19.2, 4.5, 8.6, 40, 0.011),
        (73.3, 15.1, 18.6, 3.3, 6.4, 38, 0.005),
        (106.7, 17.4, 21.6, 2.4, 4.1, 37, -0.002),
        (140.0, 21.6, 27.0, 1.9, 2.8, 35, -0.004),
        (173.3, 28.3, 30.0, 1.5, 2.0, 32, 0.0),
        (215.0, 34.5, 26.5, 1.3, 1.9, 20, 0.0),
    ),
    arc=(-6.0, 2.0),
    cap=5.0,
)
THALAMUS = Loft(
    (
        (-34.0, 17.0, 4.0, 6.5, 9.5, 95, 0.0),
        (-28.0, 15.7, 5.5, 8.8, 10.5, 85, 0.010),
        (-21.0, 12.8, 7.0, 9.0, 10.5, 55, 0.012),
        (-14.0, 10.6, 8.0, 8.3, 10.8, 42, 0.0),
        (-7.0, 8.8, 8.0, 7.0, 10.3, 38, -0.008),
        (-1.0, 7.6, 6.5, 5.0, 8.5, 35, -0.008),
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

NUCLEI: dict[str, tuple[Solid, ...]] = {
    "optic_radiation": OPTIC_RADIATION,
    "thalamus": (THALAMUS,),
    "caudate": (CAUDATE,),
    "putamen": (PUTAMEN,),
    "pallidum": (PALLIDUM,),
    "red_nucleus": (RED_NUCLEUS,),
    "substantia_nigra": (SUBSTANTIA_NIGRA,),
    "dentate": (DENTATE,),
}
"""Right-hemisphere solids by name, in the order in which they are painted."""

MEDULLARY_LAMINA = Loft(
    tuple(
        (y, x + 1.0, z, 0.45, length, angle, bend)
        for y, x, z, _, length, angle, bend in PALLIDUM.sections
    )
)
"""Sheet of white matter between the outer and the inner pallidum."""
