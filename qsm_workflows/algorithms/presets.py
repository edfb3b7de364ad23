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

MEDI_CORNELL = {"outer_tolerance": 0.1, "inner_tolerance": 0.01, "precondition": False}
"""Keywords of :func:`medi` that take the steps of Cornell's toolbox, and stop where it does."""
