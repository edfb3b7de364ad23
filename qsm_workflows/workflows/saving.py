"""What a scan's graph saves as derivatives, and the sidecars of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nipype.pipeline import engine as pe

from qsm_workflows.bids.names import Derivatives
from qsm_workflows.bids.sidecars import (
    Branch,
    Provenance,
    chi_sidecar,
    field_sidecar,
    magnitude_sidecar,
    mask_sidecar,
    r2star_sidecar,
)
from qsm_workflows.interfaces.outputs import SaveDerivative
from qsm_workflows.networks.cards import read_card
from qsm_workflows.networks.weights import sha256

from .branches import EROSION, background_parameters
from .config import TOTAL_FIELD, Coverage, StudyConfig
from .methods import BACKGROUND_REMOVALS, METHODS, UNWRAPPINGS, node_parameters
from .plan import ScanPlan
from .preprocessing import R2STAR_ECHOES
from .resources import memory_gb


def branch_order(branch: str) -> str:
    """Order of processing that a branch of the graph is of; the whole image has none."""
    return "T+B" if branch == TOTAL_FIELD else branch


def _erosion(prefix: str) -> dict[str, str]:
    """Connections of what a background removal took off the mask."""
    return {f"{prefix}{what}": what for what in EROSION}


class Saver:
    """Adds to a scan's graph the nodes that save its results as derivatives."""

    def __init__(
        self, workflow: pe.Workflow, plan: ScanPlan, config: StudyConfig, provenance: Provenance
    ) -> None:
        self.workflow, self.plan, self.config = workflow, plan, config
        self.provenance = provenance
        self.names = Derivatives(provenance.out_dir)
        label = BACKGROUND_REMOVALS[config.background_removal].label
        self.background = {"Method": label, **background_parameters(config)}
        # Here, since weights are read for it: the same at every coverage.
        self.parameters = {name: self._inversion_parameters(name) for name in config.methods}

    def save_preprocessed(self, preprocessing_wf: pe.Workflow) -> None:
        """Save magnitude, brain mask, total field and R2*."""
        scan = self.plan.scan
        sources = {"sources": scan.magnitude_sources}
        computed = {"ComputedFrom": "real and imaginary images"} if scan.real else {}
        saved = {
            "magnitude": (
                self.names.magnitude(scan),
                magnitude_sidecar(self.provenance, **sources),
            ),
            "mask": (
                self.names.brain_mask(scan),
                mask_sidecar(
                    self.provenance,
                    sources=self._mask_sources(),
                    scan=scan,
                    method=None if self.plan.companions.mask else self.config.mask_method,
                )
                | self._changes(self.config.mask_method, "refine", "reliability"),
            ),
            "total_field": (
                self.names.total_field(scan),
                field_sidecar(
                    self.provenance,
                    kind="total",
                    sources=scan.images,
                    unwrapping=self._unwrapping(),
                )
                | {"PhaseSign": scan.phase_sign or 1}
                | self._changes("phase_offset", "fit"),
            ),
        }
        if len(scan.echo_times) >= R2STAR_ECHOES:
            metadata = r2star_sidecar(self.provenance, **sources)
            saved["r2star"] = (self.names.r2star(scan), metadata)
        for field, (path, metadata) in saved.items():
            source = {f"outputnode.{field}": "in_file"}
            if field == "total_field":
                source["outputnode.bipolar"] = "bipolar"
            is_mask = field == "mask"
            self._save(
                preprocessing_wf, source, field, path, metadata | ({} if is_mask else computed)
            )

    def save_branch(self, branch_wf: pe.Workflow, which: str, config: StudyConfig) -> None:
        """Save local fields, masks and susceptibility maps of a branch of the graph."""
        if which == "B+T":
            source = {"outputnode.local_field": "in_file", **_erosion("outputnode.")}
            path = self.names.local_field(self.plan.scan)
            self._save_local_field(branch_wf, source, "local_field", path)
        for coverage in config.coverages:
            self._save_coverage(branch_wf, which, coverage, config.methods)

    def _save_coverage(
        self, branch_wf: pe.Workflow, which: str, coverage: Coverage, methods: Sequence[str]
    ) -> None:
        scan, names = self.plan.scan, self.names
        order, total_field = branch_order(which), which == TOTAL_FIELD
        branch = Branch(
            "full" if coverage.is_full else order,
            coverage.percent,
            self.plan.geometry.thickness(coverage),
            self.plan.geometry.axis,
            self.plan.geometry.centre,
            total_field,
        )
        prefix = f"outputnode.cov{coverage.label}_"
        node = f"{which.replace('+', '').lower()}{coverage.label}"
        thickness = {} if coverage.is_full else {f"{prefix}actual_thickness": "actual_thickness"}
        field = names.total_field(scan) if total_field else names.local_field(scan)
        if which == "T+B":
            field = names.local_field(scan, coverage.percent)
            source = {f"{prefix}field": "in_file", **_erosion(prefix), **thickness}
            self._save_local_field(branch_wf, source, f"local_field_{node}", field, branch)
        mask = names.branch_mask(scan, order, coverage.percent, total_field=total_field)
        if mask != names.brain_mask(scan):
            metadata = mask_sidecar(
                self.provenance, sources=self._whole_head, scan=scan, branch=branch
            )
            source = {f"{prefix}mask": "in_file", **thickness}
            self._save(branch_wf, source, f"mask_{node}", mask, metadata)
        for method in methods:
            metadata = chi_sidecar(
                self.provenance,
                branch,
                method=method,
                parameters=self.parameters[method],
                background_removal=None if total_field else self.background,
                preset=self.config.preset,
                reference=self.plan.reference.name if self.plan.reference else "mask",
                sources=[field, mask],
            )
            source = {
                f"{prefix}chi_{method}": "in_file",
                f"{prefix}reference_mean_{method}": "reference_mean",
                **thickness,
            }
            path = names.chi(scan, method, order, coverage.percent)
            self._save(branch_wf, source, f"chi_{node}_{method}", path, metadata)

    def _save_local_field(
        self,
        branch_wf: pe.Workflow,
        source: Mapping[str, str],
        name: str,
        path: Path,
        branch: Branch | None = None,
    ) -> None:
        metadata = field_sidecar(
            self.provenance,
            kind="local",
            sources=self._whole_head,
            branch=branch,
            background_removal=self.background,
        )
        self._save(branch_wf, source, name, path, metadata)

    @property
    def _whole_head(self) -> list[Path]:
        """What every branch starts from."""
        return [self.names.total_field(self.plan.scan), self.names.brain_mask(self.plan.scan)]

    def _inversion_parameters(self, method: str) -> dict[str, Any]:
        weights = self.config.weights.get(method)
        parameters = node_parameters(
            METHODS[method].interface, self.config.parameters.get(method, {})
        )
        if weights is not None:
            card = read_card(Path(weights)) or {}
            # A method's name says how a network was trained, not which network it is.
            parameters |= {"network": card.get("name", "weights given by the user")}
            parameters |= {"weights": Path(weights).name, "weights_sha256": sha256(weights)}
        return parameters

    def _changes(self, *steps: str) -> dict[str, Any]:
        """Parameters of steps that are not their defaults."""
        given = self.config.parameters
        changed = {step: dict(given[step]) for step in steps if given.get(step)}
        return {"StepParameters": changed} if changed else {}

    def _unwrapping(self) -> dict[str, Any]:
        name = self.config.unwrapping
        changes = self.config.parameters.get(name, {})
        return {"Method": name, **node_parameters(UNWRAPPINGS[name], changes)}

    def _mask_sources(self) -> list[Path]:
        scan, mask = self.plan.scan, self.plan.companions.mask
        if mask is not None:
            return [mask]
        return [echoes[0] for echoes in scan.parts.values()] if scan.real else [scan.magnitude[0]]

    def _save(
        self,
        source: pe.Workflow,
        fields: Mapping[str, str],
        name: str,
        path: Path,
        metadata: Mapping[str, Any],
    ) -> None:
        node = pe.Node(
            SaveDerivative(out_path=str(path), metadata=dict(metadata)),
            name=f"save_{name}",
            mem_gb=memory_gb(0, 0),
        )
        self.workflow.connect([(source, node, list(fields.items()))])
