"""Unwrapping of phase, one file an echo."""

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
from ._traits import Count, InputFile, Positive


class _UnwrapInputSpec(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        InputFile(exists=True), mandatory=True, desc="wrapped phase of each echo, rad"
    )
    echo_times = traits.List(traits.Float, desc="echo times, s; needed for several echoes")
    mask = InputFile(exists=True, mandatory=True, desc="brain mask on the same grid")


class _UnwrapOutputSpec(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True), desc="unwrapped phase of each echo, rad")


class _UnwrapEach(SimpleInterface):
    """Unwraps each echo in space and removes the 2π jumps between echoes."""

    output_spec = _UnwrapOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.unwrapping import align_echoes

        phases, image = _images.load_echoes(self.inputs.in_files, [self.inputs.mask])
        mask = _images.load_mask(self.inputs.mask)
        if len(phases) > 1 and not isdefined(self.inputs.echo_times):
            raise ValueError("several echoes need their echo times, to remove 2π jumps")
        unwrapped = [self._unwrap(phase, mask, image.affine) for phase in phases]
        if len(phases) > 1:
            unwrapped = align_echoes(unwrapped, mask, self.inputs.echo_times)
        self._results["out_files"] = _images.save_echoes(unwrapped, image, runtime.cwd, "unwrapped")
        return runtime

    def _unwrap(self, phase, mask, affine):
        raise NotImplementedError


class UnwrapBestPath(_UnwrapEach):
    """Unwrap each echo in space and remove the 2π jumps between echoes.

    See :func:`qsm_workflows.algorithms.unwrapping.unwrap_bestpath` and
    :func:`qsm_workflows.algorithms.unwrapping.align_echoes`.
    """

    input_spec = _UnwrapInputSpec

    def _unwrap(self, phase, mask, affine):
        from qsm_workflows.algorithms.unwrapping import unwrap_bestpath

        return unwrap_bestpath(phase, mask)


class _UnwrapLaplacianInputSpec(_UnwrapInputSpec):
    tolerance = Positive(1e-4, usedefault=True, desc="relative residual that ends iterations")


class UnwrapLaplacian(_UnwrapEach):
    """Unwrap each echo by its Laplacian and remove the 2π jumps between echoes.

    See :func:`qsm_workflows.algorithms.laplacian.unwrap_laplacian` and
    :func:`qsm_workflows.algorithms.unwrapping.align_echoes`.
    """

    input_spec = _UnwrapLaplacianInputSpec

    def _unwrap(self, phase, mask, affine):
        from qsm_workflows.algorithms.geometry import voxel_size
        from qsm_workflows.algorithms.laplacian import unwrap_laplacian

        size = voxel_size(affine)
        return unwrap_laplacian(phase, mask, size, tolerance=self.inputs.tolerance)


class _UnwrapROMEOInputSpec(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        InputFile(exists=True),
        mandatory=True,
        desc="wrapped phase of each echo, rad, without phase offset",
    )
    magnitudes = InputMultiObject(
        InputFile(exists=True), mandatory=True, desc="magnitude of each echo"
    )
    echo_times = traits.List(traits.Float, mandatory=True, desc="echo times, s")
    mask = InputFile(exists=True, mandatory=True, desc="brain mask on the same grid")
    template = Count(1, usedefault=True, desc="number of the echo that is unwrapped in space")


class UnwrapROMEO(SimpleInterface):
    """Unwrap one echo in space and the others in time from it.

    See :func:`qsm_workflows.algorithms.romeo.unwrap_romeo`.
    """

    input_spec = _UnwrapROMEOInputSpec
    output_spec = _UnwrapOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.romeo import unwrap_romeo

        phases, image = _images.load_echoes(
            self.inputs.in_files, [*self.inputs.magnitudes, self.inputs.mask]
        )
        unwrapped = unwrap_romeo(
            phases,
            [_images.load_float(path) for path in self.inputs.magnitudes],
            self.inputs.echo_times,
            _images.load_mask(self.inputs.mask),
            template=self.inputs.template,
        )
        self._results["out_files"] = _images.save_echoes(unwrapped, image, runtime.cwd, "unwrapped")
        return runtime
