"""From stored phase to the total field.

Multi-echo data are lists of 3-D files in echo order.
"""

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


class _ScalePhaseInputSpec(BaseInterfaceInputSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True, desc="stored phase of each echo")
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

        phases, image = _load_echoes(self.inputs.in_files)
        units = self.inputs.units
        if units == "auto":
            units = detect_phase_units(phases)
        self._results["out_files"] = _save_echoes(
            [scale_phase(phase, units=units, sign=self.inputs.sign) for phase in phases],
            image,
            runtime.cwd,
            "phase",
        )
        self._results["units"] = units
        return runtime


class _RemovePhaseOffsetInputSpec(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        File(exists=True), mandatory=True, desc="wrapped phase of each echo, rad"
    )
    magnitudes = InputMultiObject(File(exists=True), mandatory=True, desc="magnitude of each echo")
    echo_times = traits.List(traits.Float, mandatory=True, desc="echo times, s")
    mask = File(exists=True, mandatory=True, desc="brain mask on the same grid")
    smoothing = traits.Float(4.0, usedefault=True, desc="sigma that smooths the offset, mm")


class _RemovePhaseOffsetOutputSpec(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True), desc="wrapped phase of each echo, rad")


class RemovePhaseOffset(SimpleInterface):
    """Subtract the phase at echo time zero; a single echo passes unchanged.

    See :func:`qsm_workflows.algorithms.echoes.remove_phase_offset`.
    """

    input_spec = _RemovePhaseOffsetInputSpec
    output_spec = _RemovePhaseOffsetOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.echoes import remove_phase_offset
        from qsm_workflows.algorithms.geometry import voxel_size

        if len(self.inputs.in_files) == 1:
            self._results["out_files"] = self.inputs.in_files
            return runtime
        phases, image = _load_echoes(
            self.inputs.in_files, [*self.inputs.magnitudes, self.inputs.mask]
        )
        corrected = remove_phase_offset(
            phases,
            [_images.load_float(path) for path in self.inputs.magnitudes],
            self.inputs.echo_times,
            _images.load_mask(self.inputs.mask),
            voxel_size(image.affine),
            smoothing=self.inputs.smoothing,
        )
        self._results["out_files"] = _save_echoes(corrected, image, runtime.cwd, "phase")
        return runtime


class _UnwrapBestPathInputSpec(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        File(exists=True), mandatory=True, desc="wrapped phase of each echo, rad"
    )
    echo_times = traits.List(traits.Float, desc="echo times, s; needed for several echoes")
    mask = File(exists=True, mandatory=True, desc="brain mask on the same grid")


class _UnwrapBestPathOutputSpec(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True), desc="unwrapped phase of each echo, rad")


class UnwrapBestPath(SimpleInterface):
    """Unwrap each echo in space and remove the 2π jumps between echoes.

    See :func:`qsm_workflows.algorithms.unwrapping.unwrap_bestpath` and
    :func:`qsm_workflows.algorithms.unwrapping.align_echoes`.
    """

    input_spec = _UnwrapBestPathInputSpec
    output_spec = _UnwrapBestPathOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.unwrapping import align_echoes, unwrap_bestpath

        phases, image = _load_echoes(self.inputs.in_files, [self.inputs.mask])
        mask = _images.load_mask(self.inputs.mask)
        unwrapped = [unwrap_bestpath(phase, mask) for phase in phases]
        if len(phases) > 1:
            if not isdefined(self.inputs.echo_times):
                raise ValueError("several echoes need their echo times, to remove 2π jumps")
            unwrapped = align_echoes(unwrapped, mask, self.inputs.echo_times)
        self._results["out_files"] = _save_echoes(unwrapped, image, runtime.cwd, "unwrapped")
        return runtime


class _FitEchoesInputSpec(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        File(exists=True), mandatory=True, desc="unwrapped phase of each echo, rad"
    )
    magnitudes = InputMultiObject(File(exists=True), mandatory=True, desc="magnitude of each echo")
    echo_times = traits.List(traits.Float, mandatory=True, desc="echo times, s")
    b0 = traits.Float(mandatory=True, desc="main field, T")
    weighting = traits.Enum(
        "magnitude", "magnitude_squared", usedefault=True, desc="weight of each echo"
    )
    mask = File(exists=True, desc="brain mask, outside of which the field is zero [none]")


class _FitEchoesOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="total field, ppm")
    out_residual = File(exists=True, desc="root-mean-square deviation from the fit, rad")


class FitEchoes(SimpleInterface):
    """Fit the field; see :func:`qsm_workflows.algorithms.echoes.fit_echoes`."""

    input_spec = _FitEchoesInputSpec
    output_spec = _FitEchoesOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.echoes import fit_echoes

        masks = [self.inputs.mask] if isdefined(self.inputs.mask) else []
        phases, image = _load_echoes(self.inputs.in_files, [*self.inputs.magnitudes, *masks])
        fit = fit_echoes(
            phases,
            [_images.load_float(path) for path in self.inputs.magnitudes],
            self.inputs.echo_times,
            self.inputs.b0,
            weighting=self.inputs.weighting,
        )
        inside = _images.load_mask(masks[0]) if masks else True
        self._results["out_file"] = _images.save(
            fit.total_field * inside, image, _images.output_path(runtime.cwd, "total_field")
        )
        self._results["out_residual"] = _images.save(
            fit.residual * inside, image, _images.output_path(runtime.cwd, "residual")
        )
        return runtime


class _ReliabilityMaskInputSpec(BaseInterfaceInputSpec):
    residual = File(exists=True, mandatory=True, desc="deviation from the echo fit, rad")
    mask = File(exists=True, mandatory=True, desc="brain mask on the same grid")
    threshold = traits.Float(0.5, usedefault=True, desc="largest deviation kept, rad")


class _ReliabilityMaskOutputSpec(TraitedSpec):
    out_mask = File(exists=True, desc="mask without unreliable regions")


class ReliabilityMask(SimpleInterface):
    """Mask reliable phase; see :func:`qsm_workflows.algorithms.echoes.reliability_mask`."""

    input_spec = _ReliabilityMaskInputSpec
    output_spec = _ReliabilityMaskOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.echoes import reliability_mask
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


def _load_echoes(paths, others=()):
    """Volumes of all echoes and the image of the first, all files on its grid."""
    first, image = _images.load(paths[0])
    for path in (*paths[1:], *others):
        _images.check_same_grid(paths[0], image, path)
    return [first, *(_images.load_float(path) for path in paths[1:])], image


def _save_echoes(volumes, image, cwd, name):
    """Write one file an echo and return their paths."""
    return [
        _images.save(volume, image, _images.output_path(cwd, f"echo-{number}_{name}"))
        for number, volume in enumerate(volumes, 1)
    ]
