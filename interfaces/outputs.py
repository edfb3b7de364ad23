"""Saving of a node's result under its final name."""

import json
import os
from pathlib import Path

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from qsm_workflows.files import copy_file, write_whole

from ._traits import InputFile


class _SaveDerivativeInputSpec(BaseInterfaceInputSpec):
    in_file = InputFile(exists=True, mandatory=True, desc="image or table to keep")
    out_path = InputFile(mandatory=True, desc="final name; .gz compresses")
    metadata = traits.Dict(desc="sidecar fields; no sidecar is written when not given")
    reference_mean = traits.Float(desc="what was subtracted as reference, ppm")
    bipolar = traits.Bool(desc="whether echoes were read back and forth, and corrected")
    eroded_mm = traits.List(
        traits.Tuple(traits.Float, traits.Float),
        desc="what background removal took off the mask at the ends of each voxel axis, mm",
    )
    kept_fraction = traits.Float(desc="part of the mask that background removal left")
    actual_thickness = traits.Float(desc="thickness of the slab that lies in the image, mm")


class _SaveDerivativeOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="the file that was kept")


class SaveDerivative(SimpleInterface):
    """Bring a file to its final name, with a JSON sidecar, whole or not at all.

    Runs on every execution, since a cached node says nothing about whether its file is
    still in the output folder, but leaves a file alone that is as old as its source: that is
    what was kept of it before.
    """

    input_spec = _SaveDerivativeInputSpec
    output_spec = _SaveDerivativeOutputSpec
    _always_run = True

    def _run_interface(self, runtime):
        source, target = Path(self.inputs.in_file), Path(self.inputs.out_path)
        if not target.exists() or target.stat().st_mtime_ns != source.stat().st_mtime_ns:
            write_whole(target, lambda partial: _copy_with_time(source, partial))
        if isdefined(self.inputs.metadata):
            sidecar = target.with_name(target.name.split(".")[0] + ".json")
            text = json.dumps(self._sidecar(), indent=2, ensure_ascii=False) + "\n"
            write_whole(sidecar, lambda partial: partial.write_text(text, encoding="utf-8"))
        self._results["out_file"] = str(target)
        return runtime

    def _sidecar(self) -> dict:
        metadata = dict(self.inputs.metadata)
        if isdefined(self.inputs.reference_mean):
            metadata["Reference"] = {
                **metadata.get("Reference", {}),
                "mean_ppm": self.inputs.reference_mean,
            }
        if isdefined(self.inputs.bipolar):
            metadata["BipolarReadoutCorrected"] = self.inputs.bipolar
        if isdefined(self.inputs.kept_fraction):
            metadata["MaskErosion"] = {
                "MillimetersByAxis": [list(ends) for ends in self.inputs.eroded_mm],
                "KeptFraction": round(self.inputs.kept_fraction, 4),
            }
        if isdefined(self.inputs.actual_thickness):
            metadata["CoverageMillimetersActual"] = self.inputs.actual_thickness
        return metadata


def _copy_with_time(source: Path, target: Path) -> None:
    copy_file(source, target)
    made = source.stat()
    os.utime(target, ns=(made.st_atime_ns, made.st_mtime_ns))
