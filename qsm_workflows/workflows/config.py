"""What a study is asked to do: one frozen value that is passed to the factories."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qsm_workflows.spelling import unknown

ORDERS = ("B+T", "T+B")
"""Background removal before truncation (ideal) and after it (what a scanner gives)."""

TOTAL_FIELD = "total"
"""Branch of the methods that take the total field: truncated as in T+B, no background removed."""

DEFAULT_REFERENCE = "optic_radiation"
"""Region that susceptibility is relative to unless another is asked for."""

DGM_EXTENT = 32.0
"""Extent of the deep grey matter, in mm, unless it is given or measured."""

_MOST_COVERAGES = 1000


@dataclass(frozen=True, order=True)
class Coverage:
    """A coverage of the study: a percentage of the deep grey matter, or everything.

    Attributes
    ----------
    percent : float
        Slab thickness as a percentage of the deep-grey extent; infinite for the whole image.
    """

    percent: float

    @property
    def is_full(self) -> bool:
        """Whether the whole image is meant: no truncation at all."""
        return math.isinf(self.percent)

    @property
    def label(self) -> str:
        """Text for file and node names, such as ``150``, ``112p5`` or ``full``."""
        return "full" if self.is_full else f"{self.percent:g}".replace(".", "p")


FULL = Coverage(math.inf)


def parse_coverages(text: str) -> tuple[Coverage, ...]:
    """Read a list of coverages.

    Parameters
    ----------
    text : str
        Comma-separated percentages, ranges ``start:stop:step`` whose stop is included,
        and ``full`` for the whole image without truncation.

    Returns
    -------
    tuple of Coverage
        Sorted, without repetition.

    Raises
    ------
    ValueError
        If the text cannot be read that way.

    Examples
    --------
    >>> [c.label for c in parse_coverages("100:200:50,full")]
    ['100', '150', '200', 'full']
    """
    found: set[Coverage] = set()
    for item in (part.strip() for part in str(text).split(",")):
        if item == "full":
            found.add(FULL)
            continue
        try:
            numbers = [float(number) for number in item.split(":")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 3) or not all(math.isfinite(n) and n > 0 for n in numbers):
            raise ValueError(
                f"coverage {item!r} is not understood: give percentages (100,200), a range "
                "start:stop:step (100:400:50) or 'full'"
            )
        start, stop, step = numbers if len(numbers) == 3 else (numbers[0], numbers[0], 1.0)
        if stop < start:
            raise ValueError(f"coverage {item!r} stops below its start")
        count = math.floor(min((stop - start) / step, _MOST_COVERAGES) + 1e-9) + 1
        if count > _MOST_COVERAGES:
            raise ValueError(
                f"coverage {item!r} is more than {_MOST_COVERAGES} slabs; take larger steps"
            )
        found.update(Coverage(round(start + number * step, 6)) for number in range(count))
    return tuple(sorted(found))


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Settings of a study.

    Attributes
    ----------
    coverages : tuple of Coverage
        Slabs to study.
    orders : tuple of str
        ``B+T``, ``T+B`` or both.
    methods : tuple of str
        Keys of :data:`qsm_workflows.workflows.methods.METHODS`.
    parameters : mapping
        Node inputs that differ from their defaults: step or method → name → value.
    weights : mapping
        Checkpoint of each network method.
    unwrapping : str
        Key of :data:`qsm_workflows.workflows.methods.UNWRAPPINGS`.
    preset : str
        Key of :data:`qsm_workflows.workflows.presets.PRESETS` that the settings are of, followed
        by ``with changes`` where they only started from it; for sidecars.
    background_removal : str
        Key of :data:`qsm_workflows.workflows.methods.BACKGROUND_REMOVALS`.
    resharp_preset : str
        Preset of RESHARP that its parameters start from.
    reference : str
        Region that susceptibility is stated relative to, or ``mask``.
    dgm_extent : float or None
        Extent of the deep grey matter, in mm, that is 100 %; None measures it from labels.
    centre : tuple of float or None
        World position, in mm, that slabs are centred on; None takes the globus pallidus.
    slab_axis : int or None
        Voxel axis across the slab; None takes the one nearest to inferior–superior.
    phase_sign : int or None
        Sign that makes a raised field give positive phase; None decides by manufacturer.
    mask_method : str
        How brain masks are made where none is given: a key of
        :data:`qsm_workflows.workflows.methods.MASK_METHODS`.
    device : str
        Torch device of the iterative methods and networks.
    num_threads : int
        Threads of each node.

    Raises
    ------
    ValueError
        If it asks for nothing, or for an order that there is not. Other names are looked up
        where graphs are built: help, which needs the orders, must not load Nipype for them.
    """

    coverages: tuple[Coverage, ...]
    orders: tuple[str, ...] = ORDERS
    methods: tuple[str, ...]
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    unwrapping: str = "romeo"
    preset: str = "study"
    background_removal: str = "resharp"
    resharp_preset: str = "study"
    reference: str = DEFAULT_REFERENCE
    dgm_extent: float | None = DGM_EXTENT
    centre: tuple[float, float, float] | None = None
    slab_axis: int | None = None
    phase_sign: int | None = None
    mask_method: str = "bet"
    device: str = "cpu"
    num_threads: int = 1

    def __post_init__(self) -> None:
        for name in ("coverages", "orders", "methods"):
            if not getattr(self, name):
                raise ValueError(f"{name}: a study needs at least one")
        for order in self.orders:
            if order not in ORDERS:
                raise unknown("order", order, ORDERS)
