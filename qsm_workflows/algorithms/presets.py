"""Published settings of methods; imports no torch, so that plans can state them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ResharpParameters:
    """Keywords of :func:`resharp` that go together."""

    radius: float
    tikhonov: float
    max_iterations: int


RESHARP_PRESETS = {
    "ge": ResharpParameters(radius=3.0, tikhonov=1e-4, max_iterations=200),
    "prisma": ResharpParameters(radius=3.0, tikhonov=1e-3, max_iterations=500),
    "study": ResharpParameters(radius=3.0, tikhonov=1e-4, max_iterations=200),
}
"""`ge` and `prisma` are the settings of the laboratory's scripts for those scanners. `study`,
the default, takes the weaker regularisation: on a head phantom it keeps 0.93 of the local
field where 1e-3 keeps 0.90 (0.92 and 0.89 for a slab of 32 mm), with less error as well, so
that a loss of susceptibility in a thin slab is due to the slab. A larger sphere would take
too much of the slab away.
"""

SHARP_SUN = {"radius": 3.0, "threshold": 0.1, "covered": 0.99, "pad": 0.0}
"""Keywords of :func:`sharp` that make it that of sunhongfu/QSM with the settings of its scripts."""

SHARP_QSM_M = {"pad": 0.0}
"""Keywords of :func:`sharp` and :func:`vsharp` that make them those of kamesy/QSM.m."""

ISMV_QSM_M = {"radius": 3.0, "repetitions": 38}
"""Keywords of :func:`ismv` that end where QSM.m does on its tolerance of 1e-4, on the phantom
of the comparison. The number depends on field and mask."""

LBV_QSM_M = {"boundary": "outside"}
"""Keyword of :func:`lbv` that puts its boundary where QSM.m has it."""

PDF_CORNELL = {"tolerance": 0.0, "max_iterations": 30}
"""Keywords of :func:`pdf` that end it where Cornell's toolbox ends, before it has converged."""

ILSQR_QSM_M = {"signed_slopes": True, "pad": 0.0}
"""Keywords of :func:`ilsqr` that make it that of QSM.m."""

MEDI_CORNELL = {
    "outer_tolerance": 0.1,
    "inner_tolerance": 0.01,
    "precondition": False,
    "pad": 0.0,
}
"""Keywords of :func:`medi` that take the steps of Cornell's toolbox, and stop where it does. Its λ
means the echo spacing of the scan: give that as `delta_te`."""
