"""Maps of earlier runs that a run leaves in place: they must not lose what they were made from."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qsm_workflows.bids.names import Derivatives, sidecar_path
from qsm_workflows.bids.sidecars import Provenance, read_json
from qsm_workflows.interfaces.outputs import SaveDerivative

from .config import StudyConfig
from .outputs import outputs, saved_maps
from .plan import ScanPlan
from .study import init_scan_wf

# What is found while running, and what tells of the run rather than of its settings.
_NOT_SETTINGS = {
    "SoftwareVersion",
    "CommandLine",
    "MaskErosion",
    "BipolarReadoutCorrected",
    "CoverageMillimetersActual",
}


def check_earlier_maps(plan: ScanPlan, config: StudyConfig, provenance: Provenance) -> None:
    """Refuse a run that would replace the fields and masks under maps that it does not make.

    Those maps would then stand beside a field of other settings, and their regions be read
    in masks that are not theirs.

    Parameters
    ----------
    plan : ScanPlan
    config : StudyConfig
    provenance : Provenance

    Raises
    ------
    ValueError
        If there are such maps.
    """
    names = Derivatives(provenance.out_dir)
    made = outputs(config)
    kept = [saved for saved in saved_maps(plan.scan, names) if saved.output not in made]
    if not kept:
        return
    planned = _planned(plan, config, provenance)
    for saved in kept:
        for source in _sources(saved.path, provenance.out_dir):
            changed = _changes(read_json(sidecar_path(source)), planned.get(source))
            if changed:
                raise ValueError(
                    f"{saved.path}, of an earlier run, would stay while {source.name}, from which "
                    f"it was made, is replaced by one with another {', '.join(changed)}; choose "
                    f"another output folder, or remove the maps that would stay ({len(kept)})"
                )


def _planned(
    plan: ScanPlan, config: StudyConfig, provenance: Provenance
) -> dict[Path, dict[str, Any]]:
    """Sidecar of each file that the run would write, as JSON tells it."""
    graph = init_scan_wf(plan=plan, config=config, provenance=provenance)._create_flat_graph()
    saving = [node.inputs for node in graph.nodes if isinstance(node.interface, SaveDerivative)]
    return {
        Path(inputs.out_path): json.loads(json.dumps(dict(inputs.metadata))) for inputs in saving
    }


def _sources(image: Path, out_dir: Path) -> Iterator[Path]:
    """Files of the output dataset that an image was made from, and that those were made from."""
    for uri in read_json(sidecar_path(image)).get("Sources", []):
        if uri.startswith("bids::"):
            source = out_dir / uri.removeprefix("bids::")
            yield source
            yield from _sources(source, out_dir)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any] | None) -> list[str]:
    """Settings that differ between two sidecars; none where the file stays or is not there."""
    if not before or after is None:
        return []
    keys = sorted((before.keys() | after.keys()) - _NOT_SETTINGS)
    return [key for key in keys if before.get(key) != after.get(key)]
