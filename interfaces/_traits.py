"""Kinds of inputs that nodes share."""

import math
import operator
from fractions import Fraction
from functools import partial

from nipype.interfaces.base import File, traits


class InputFile(File):
    """A file by its absolute path, however it was given: a node runs in a folder of its own.

    Links are kept, unlike with Nipype's `resolve`: the name that a user knows stays in
    messages, and its suffix, which tells the format, where data lie in a store such as
    git-annex.
    """

    def validate(self, objekt, name, value, return_pathlike=False):
        path = super().validate(objekt, name, value, return_pathlike=True).absolute()
        return path if return_pathlike else str(path)


_BOUNDS = {
    "above": (operator.gt, "above {}"),
    "least": (operator.ge, "from {} upwards"),
    "below": (operator.lt, "below {}"),
    "most": (operator.le, "up to {}"),
}
"""Keywords of a bounded number: what it must be to the bound, and that in words."""


class _Bounded(traits.TraitType):
    """Refuses numbers that the algorithm would refuse, when they are set and not when it runs.

    traits' own `Range` lets NaN and infinity through.
    """

    _kind: str

    def __init__(self, *default, **metadata):
        self._bounds = {name: metadata.pop(name) for name in _BOUNDS if name in metadata}
        super().__init__(*default, **metadata)

    def validate(self, objekt, name, value):
        number = super().validate(objekt, name, value)
        holds = (_BOUNDS[key][0](number, bound) for key, bound in self._bounds.items())
        if not (math.isfinite(number) and all(holds)):
            self.error(objekt, name, value)
        return number

    def info(self):
        """What is taken, as the end of a sentence."""
        words = (
            # A bound of 2/3 is written so.
            _BOUNDS[key][1].format(Fraction(bound).limit_denominator(9))
            for key, bound in self._bounds.items()
        )
        return f"{self._kind} {' and '.join(words)}".rstrip()


class Real(_Bounded, traits.BaseFloat):
    """A finite number, within bounds."""

    _kind = "a finite number"


class Whole(_Bounded, traits.BaseInt):
    """A whole number, within bounds."""

    _kind = "a whole number"


Positive = partial(Real, above=0)
NonNegative = partial(Real, least=0)
Count = partial(Whole, least=1)
