"""From unwrapped phase, or a field in other units, to the field in ppm.

Multi-echo data are lists of 3-D files in echo order.
"""

from dataclasses import replace

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from . import _images
from ._traits import InputFile, Positive


class _FitInputSpec(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        InputFile(exists=True), mandatory=True, desc="unwrapped phase of each echo, rad"
    )
    magnitudes = InputMultiObject(
        InputFile(exists=True), mandatory=True, desc="magnitude of each echo"
    )
    echo_times = traits.List(traits.Float, mandatory=True, desc="echo times, s")
    b0 = Positive(mandatory=True, desc="main field, T")
    mask = InputFile(exists=True, desc="brain mask, outside of which the field is zero [none]")


class _FitOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="total field, ppm")
    out_residual = File(
        exists=True,
        desc="root-mean-square deviation from the fit, rad; for one echo that of its steps",
    )
    out_noise = File(exists=True, desc="standard deviation of the field from noise, ppm")


class _Fit(SimpleInterface):
    """Fits the field of each voxel."""

    output_spec = _FitOutputSpec

    def _run_interface(self, runtime):
        masks = [self.inputs.mask] if isdefined(self.inputs.mask) else []
        phases, image = _images.load_echoes(self.inputs.in_files, [*self.inputs.magnitudes, *masks])
        inside = _images.load_mask(masks[0]) if masks else True
        magnitudes = [_images.load_float(path) for path in self.inputs.magnitudes]
        # Not by a product: outside the mask there may be NaN.
        phases, magnitudes = (
            [np.where(inside, volume, 0) for volume in volumes] for volumes in (phases, magnitudes)
        )
        fit = self._fit(phases, magnitudes)
        for output, name, volume in (
            ("out_file", "total_field", fit.total_field),
            ("out_residual", "residual", fit.residual),
            ("out_noise", "noise", fit.noise),
        ):
            self._results[output] = _images.save(
                volume * inside, image, _images.output_path(runtime.cwd, name)
            )
        return runtime

    def _fit(self, phases, magnitudes):
        raise NotImplementedError


class _FitEchoesInputSpec(_FitInputSpec):
    weighting = traits.Enum(
        "magnitude", "magnitude_squared", usedefault=True, desc="weight of each echo"
    )


class FitEchoes(_Fit):
    """Fit the field; see :func:`qsm_workflows.algorithms.fits.fit_echoes`.

    The residual of a single echo is :func:`qsm_workflows.algorithms.fits.step_residual`.
    """

    input_spec = _FitEchoesInputSpec

    def _fit(self, phases, magnitudes):
        from qsm_workflows.algorithms.fits import fit_echoes, step_residual

        inputs = self.inputs
        fit = fit_echoes(
            phases, magnitudes, inputs.echo_times, inputs.b0, weighting=inputs.weighting
        )
        return fit if len(phases) > 1 else replace(fit, residual=step_residual(phases[0]))


class FitEchoesNonlinear(_Fit):
    """Fit the field to the complex signal.

    See :func:`qsm_workflows.algorithms.fits.fit_echoes_nonlinear`.
    """

    input_spec = _FitInputSpec

    def _fit(self, phases, magnitudes):
        from qsm_workflows.algorithms.fits import fit_echoes_nonlinear

        return fit_echoes_nonlinear(phases, magnitudes, self.inputs.echo_times, self.inputs.b0)


class _ScaleFieldInputSpec(BaseInterfaceInputSpec):
    in_file = InputFile(exists=True, mandatory=True, desc="total or local field in other units")
    units = traits.Enum("Hz", "rad/s", "rad", mandatory=True, desc="units of the field")
    b0 = Positive(mandatory=True, desc="main field, T")
    echo_time = Positive(desc="time over which radians were gained, s; needed for rad")


class _ScaleFieldOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="field, ppm")


class ScaleField(SimpleInterface):
    """Convert a field to ppm; see :func:`qsm_workflows.algorithms.units.field_in_ppm`."""

    input_spec = _ScaleFieldInputSpec
    output_spec = _ScaleFieldOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.units import field_in_ppm

        field, image = _images.load(self.inputs.in_file)
        echo_time = self.inputs.echo_time
        scaled = field_in_ppm(
            field,
            self.inputs.b0,
            units=self.inputs.units,
            echo_time=echo_time if isdefined(echo_time) else None,
        )
        self._results["out_file"] = _images.save(
            scaled, image, _images.output_path(runtime.cwd, "field")
        )
        return runtime


class _ReliabilityMaskInputSpec(BaseInterfaceInputSpec):
    residual = InputFile(exists=True, mandatory=True, desc="deviation from the echo fit, rad")
    mask = InputFile(exists=True, mandatory=True, desc="brain mask on the same grid")
    threshold = Positive(0.5, usedefault=True, desc="largest deviation kept, rad")


class _ReliabilityMaskOutputSpec(TraitedSpec):
    out_mask = File(exists=True, desc="mask without unreliable regions")


class ReliabilityMask(SimpleInterface):
    """Mask reliable phase; see :func:`qsm_workflows.algorithms.fits.reliability_mask`."""

    input_spec = _ReliabilityMaskInputSpec
    output_spec = _ReliabilityMaskOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.fits import reliability_mask
        from qsm_workflows.algorithms.geometry import voxel_size

        residual, image = _images.load(self.inputs.residual)
        _images.check_same_grid(self.inputs.residual, image, self.inputs.mask)
        mask = reliability_mask(
            residual,
            _images.load_mask(self.inputs.mask),
            voxel_size(image.affine),
            threshold=self.inputs.threshold,
        )
        self._results["out_mask"] = _images.save(
            mask, image, _images.output_path(runtime.cwd, "reliable_mask")
        )
        return runtime
