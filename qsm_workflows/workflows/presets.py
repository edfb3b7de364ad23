"""Named choices of methods and parameters; loads no Nipype, so that help can state them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .config import Coverage


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Background removal, inversions and parameters that go together.

    Attributes
    ----------
    summary : str
        What it is for, in a few words.
    background_removal : str
        Key of :data:`qsm_workflows.workflows.methods.BACKGROUND_REMOVALS`.
    methods : tuple of str or None
        Keys of :data:`qsm_workflows.workflows.methods.METHODS`; None takes those of the study
        and the networks that a user has added weights for.
    parameters : mapping
        Node inputs that differ from their defaults: step or method → name → value.
    """

    summary: str
    background_removal: str
    methods: tuple[str, ...] | None = None
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def with_changes(self, changes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """Its parameters with those that a user sets."""
        merged = {step: dict(values) for step, values in self.parameters.items()}
        for step, values in changes.items():
            merged.setdefault(step, {}).update(values)
        return merged


PRESETS: Mapping[str, Preset] = {
    "study": Preset(
        summary="the methods of the published study of coverage",
        background_removal="resharp",
    ),
    "recommended": Preset(
        summary="least error in deep grey matter, see docs/accuracy.md",
        background_removal="ismv",
        methods=("xqsmindividual", "medi"),
        parameters={"ismv": {"radius": 2.0}},
    ),
}
"""What a run may start from.

`recommended` was chosen by benchmarks/coverage.py: xQSM-Individual has the least regional error,
MEDI the map nearest to the truth.
"""


def default_preset(coverages: Sequence[Coverage]) -> str:
    """Preset of a run that names none: slabs are the study, whole images want right values."""
    return "recommended" if all(coverage.is_full for coverage in coverages) else "study"
