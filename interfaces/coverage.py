"""Truncation of images to a slab."""

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from . import _images
from ._traits import InputFile, Positive


class _TruncateInputSpec(BaseInterfaceInputSpec):
    field = InputFile(exists=True, mandatory=True, desc="total or local field, ppm")
    mask = InputFile(exists=True, mandatory=True, desc="brain mask on the same grid")
    magnitude = InputFile(exists=True, desc="magnitude on the same grid")
    centre = traits.Tuple(
        traits.Float, traits.Float, traits.Float, mandatory=True, desc="slab centre, world mm"
    )
    thickness = Positive(mandatory=True, desc="slab thickness, mm")
    axis = traits.Range(0, 2, desc="voxel axis across the slab [nearest to inferior–superior]")


class _TruncateOutputSpec(TraitedSpec):
    field = File(exists=True, desc="field of the slab, ppm")
    mask = File(exists=True, desc="mask of the slab")
    magnitude = File(exists=True, desc="magnitude of the slab")
    actual_thickness = traits.Float(desc="thickness that lies in the image, mm")


class Truncate(SimpleInterface):
    """Cut images to a slab; see :func:`qsm_workflows.algorithms.coverage.place_slab`."""

    input_spec = _TruncateInputSpec
    output_spec = _TruncateOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.coverage import place_slab, truncate

        field, image = _images.load(self.inputs.field)
        slab = place_slab(
            field.shape,
            image.affine,
            self.inputs.centre,
            self.inputs.thickness,
            self.inputs.axis if isdefined(self.inputs.axis) else None,
        )
        for name, read in (
            ("field", _images.load_float),
            ("mask", _images.load_mask),
            ("magnitude", _images.load_float),
        ):
            path = getattr(self.inputs, name)
            if isdefined(path):
                _images.check_same_grid(self.inputs.field, image, path)
                volume, affine = truncate(read(path), image.affine, slab)
                self._results[name] = _images.save(
                    volume, image, _images.output_path(runtime.cwd, name), affine=affine
                )
        if not (_images.load_mask(self._results["mask"])).any():
            raise ValueError(
                f"no brain is left in the slab of {self.inputs.thickness:g} mm cut from "
                f"{self.inputs.field}; check the slab's centre {self.inputs.centre}"
            )
        self._results["actual_thickness"] = slab.actual_thickness
        return runtime
