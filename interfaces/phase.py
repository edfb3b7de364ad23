"""Stored phase in radians, without what the coils and the readout add to it.

Multi-echo data are lists of 3-D files in echo order.
"""

import logging

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    OutputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from . import _images
from ._traits import InputFile, Positive

_log = logging.getLogger(__name__)


class _ScalePhaseInputSpec(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        InputFile(exists=True), mandatory=True, desc="stored phase of each echo"
    )
    units = traits.Enum(
        "auto",
        "rad",
        "mrad",
        "0..4095",
        "-4096..4095",
        "range",
        usedefault=True,
        desc="units of the stored phase",
    )
    sign = traits.Enum(1, -1, usedefault=True, desc="-1 where a raised field gives falling phase")


class _ScalePhaseOutputSpec(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True), desc="phase of each echo, radians in (-π, π]")
    units = traits.Str(desc="units that the phase was found or said to have")


class ScalePhase(SimpleInterface):
    """Convert phase to radians; see :func:`qsm_workflows.algorithms.echoes.scale_phase`."""

    input_spec = _ScalePhaseInputSpec
    output_spec = _ScalePhaseOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.echoes import detect_phase_units, scale_phase

        phases, image = _images.load_echoes(self.inputs.in_files)
        units = self.inputs.units
        if units == "auto":
            units = detect_phase_units(phases)
        self._results["out_files"] = _images.save_echoes(
            [scale_phase(phase, units=units, sign=self.inputs.sign) for phase in phases],
            image,
            runtime.cwd,
            "phase",
        )
        self._results["units"] = units
        return runtime


class _SplitComplexInputSpec(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        InputFile(exists=True), mandatory=True, desc="real part of each echo"
    )
    imaginary = InputMultiObject(
        InputFile(exists=True), mandatory=True, desc="imaginary part of each echo"
    )


class _SplitComplexOutputSpec(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True), desc="phase of each echo, rad in (-π, π]")
    out_magnitudes = OutputMultiObject(File(exists=True), desc="magnitude of each echo")


class SplitComplex(SimpleInterface):
    """Magnitude and phase of real and imaginary images.

    See :func:`qsm_workflows.algorithms.complex_images.split_complex`.
    """

    input_spec = _SplitComplexInputSpec
    output_spec = _SplitComplexOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.complex_images import combine_parts, split_complex

        real, image = _images.load_echoes(self.inputs.in_files, self.inputs.imaginary)
        imaginary = [_images.load_float(path) for path in self.inputs.imaginary]
        magnitudes, phases, alternated = split_complex(combine_parts(real, imaginary))
        if alternated:
            _log.warning("the sign of every second slice was undone, as GE stores complex images")
        for output, name, volumes in (
            ("out_files", "phase", phases),
            ("out_magnitudes", "magnitude", magnitudes),
        ):
            self._results[output] = _images.save_echoes(volumes, image, runtime.cwd, name)
        return runtime


class _RemovePhaseOffsetInputSpec(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        InputFile(exists=True), mandatory=True, desc="wrapped phase of each echo, rad"
    )
    magnitudes = InputMultiObject(
        InputFile(exists=True), mandatory=True, desc="magnitude of each echo"
    )
    echo_times = traits.List(traits.Float, mandatory=True, desc="echo times, s")
    mask = InputFile(exists=True, mandatory=True, desc="brain mask on the same grid")
    smoothing = Positive(4.0, usedefault=True, desc="sigma that smooths the offset, mm")
    readout = traits.Enum(
        "auto",
        "monopolar",
        "bipolar",
        usedefault=True,
        desc="bipolar removes what reading every second echo backwards adds; auto does so "
        "where three echoes show it",
    )


class _RemovePhaseOffsetOutputSpec(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True), desc="wrapped phase of each echo, rad")
    bipolar = traits.Bool(desc="whether a difference of readout directions was removed")


class RemovePhaseOffset(SimpleInterface):
    """Subtract the phase at echo time zero; a single echo passes unchanged.

    See :func:`qsm_workflows.algorithms.offsets.remove_phase_offset` and, for bipolar
    readout, :func:`qsm_workflows.algorithms.offsets.readout_difference`.
    """

    input_spec = _RemovePhaseOffsetInputSpec
    output_spec = _RemovePhaseOffsetOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.geometry import voxel_size
        from qsm_workflows.algorithms.offsets import readout_difference, remove_phase_offset

        self._results["bipolar"] = False
        if len(self.inputs.in_files) == 1:
            self._results["out_files"] = self.inputs.in_files
            return runtime
        phases, image = _images.load_echoes(
            self.inputs.in_files, [*self.inputs.magnitudes, self.inputs.mask]
        )
        common = (
            [_images.load_float(path) for path in self.inputs.magnitudes],
            self.inputs.echo_times,
            _images.load_mask(self.inputs.mask),
            voxel_size(image.affine),
        )
        smoothing, readout = self.inputs.smoothing, self.inputs.readout
        if readout == "bipolar" or (readout == "auto" and len(phases) > 2):
            difference = readout_difference(phases, *common, smoothing=smoothing)
            if readout == "bipolar" or difference.is_bipolar:
                _log.warning(
                    "echoes were read back and forth: a difference of %.1f rad from edge to edge "
                    "was removed from every second one",
                    difference.ramp,
                )
                phases = difference.remove(phases)
                self._results["bipolar"] = True
        corrected = remove_phase_offset(phases, *common, smoothing=smoothing)
        self._results["out_files"] = _images.save_echoes(corrected, image, runtime.cwd, "phase")
        return runtime


class _CombineCoilsInputSpec(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        InputFile(exists=True),
        mandatory=True,
        desc="wrapped phase of each echo, rad, with the channels along the fourth axis",
    )
    magnitudes = InputMultiObject(
        InputFile(exists=True),
        mandatory=True,
        desc="magnitude of each echo, with the same channels",
    )
    echo_times = traits.List(traits.Float, mandatory=True, desc="echo times, s")
    mask = InputFile(exists=True, desc="where there is signal [a tenth of the highest magnitude]")
    smoothing = Positive(4.0, usedefault=True, desc="sigma that smooths the offsets, mm")


class _CombineCoilsOutputSpec(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True), desc="combined phase of each echo, rad")
    out_magnitudes = OutputMultiObject(File(exists=True), desc="combined magnitude of each echo")


class CombineCoils(SimpleInterface):
    """Combine receive channels; see :func:`qsm_workflows.algorithms.coils.combine_coils`."""

    input_spec = _CombineCoilsInputSpec
    output_spec = _CombineCoilsOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.coils import combine_coils
        from qsm_workflows.algorithms.geometry import voxel_size

        masks = [self.inputs.mask] if isdefined(self.inputs.mask) else []
        phases, image = _images.load_echoes(self.inputs.in_files, [*self.inputs.magnitudes, *masks])
        combined, magnitudes = combine_coils(
            phases,
            [_images.load_float(path) for path in self.inputs.magnitudes],
            self.inputs.echo_times,
            voxel_size(image.affine),
            mask=_images.load_mask(masks[0]) if masks else None,
            smoothing=self.inputs.smoothing,
        )
        for output, name, volumes in (
            ("out_files", "phase", combined),
            ("out_magnitudes", "magnitude", magnitudes),
        ):
            self._results[output] = _images.save_echoes(volumes, image, runtime.cwd, name)
        return runtime
