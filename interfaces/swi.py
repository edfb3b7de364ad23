"""Susceptibility-weighted images."""

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from . import _images
from ._traits import InputFile, Positive


class _SWIInputSpec(BaseInterfaceInputSpec):
    in_file = InputFile(exists=True, mandatory=True, desc="unwrapped phase of one echo, rad")
    magnitude = InputFile(exists=True, mandatory=True, desc="magnitude of that echo")
    mask = InputFile(exists=True, mandatory=True, desc="brain mask on the same grid")
    darken = traits.Enum(
        "paramagnetic", "diamagnetic", usedefault=True, desc="what is made dark: veins or calcium"
    )
    smoothing = Positive(4.0, usedefault=True, desc="sigma of the phase's filter, mm")
    power = Positive(4.0, usedefault=True, desc="how often the phase mask is multiplied")
    thickness = Positive(14.0, usedefault=True, desc="slab of the minimum projection, mm")


class _SWIOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="susceptibility-weighted image")
    out_projection = File(exists=True, desc="its minimum over a slab round each slice")


class SusceptibilityWeighted(SimpleInterface):
    """Weight a magnitude with phase; slabs lie across the axis nearest to inferior-superior.

    See :func:`qsm_workflows.algorithms.swi.susceptibility_weighted`.
    """

    input_spec = _SWIInputSpec
    output_spec = _SWIOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.coverage import slab_axis
        from qsm_workflows.algorithms.geometry import voxel_size
        from qsm_workflows.algorithms.swi import susceptibility_weighted

        inputs = self.inputs
        phase, image = _images.load(inputs.in_file)
        for other in (inputs.magnitude, inputs.mask):
            _images.check_same_grid(inputs.in_file, image, other)
        swi = susceptibility_weighted(
            phase,
            _images.load_float(inputs.magnitude),
            _images.load_mask(inputs.mask),
            voxel_size(image.affine),
            darken=inputs.darken,
            smoothing=inputs.smoothing,
            power=inputs.power,
            thickness=inputs.thickness,
            axis=slab_axis(image.affine),
        )
        for output, name, volume in (
            ("out_file", "swi", swi.image),
            ("out_projection", "minimum_projection", swi.projection),
        ):
            self._results[output] = _images.save(
                volume, image, _images.output_path(runtime.cwd, name)
            )
        return runtime
