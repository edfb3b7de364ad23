"""Background field removal."""

from dataclasses import asdict

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from . import _images
from ._torch import set_threads


class _RESHARPInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="total field, ppm")
    mask = File(exists=True, mandatory=True, desc="brain mask on the same grid")
    preset = traits.Enum(
        "study", "ge", "prisma", usedefault=True, desc="parameters for those not given"
    )
    radius = traits.Float(desc="kernel radius, mm [of the preset]")
    tikhonov = traits.Float(desc="Tikhonov weight λ [of the preset]")
    max_iterations = traits.Int(desc="most conjugate gradient iterations [of the preset]")
    tolerance = traits.Float(1e-6, usedefault=True, desc="relative residual that ends them")
    device = traits.Str("cpu", usedefault=True, nohash=True, desc="torch device")
    use_gpu = traits.Bool(
        False, usedefault=True, nohash=True, desc="take one of Nipype's GPU slots"
    )
    num_threads = traits.Int(1, usedefault=True, nohash=True, desc="torch threads")


class _RESHARPOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="local field, ppm")
    out_mask = File(exists=True, desc="mask eroded by the kernel")


class RESHARP(SimpleInterface):
    """Remove the background field; see :func:`qsm_workflows.algorithms.background.resharp`."""

    input_spec = _RESHARPInputSpec
    output_spec = _RESHARPOutputSpec

    def _run_interface(self, runtime):
        # Imported here: torch must not be loaded in the process that builds the graph.
        from qsm_workflows.algorithms.background import resharp
        from qsm_workflows.algorithms.geometry import voxel_size
        from qsm_workflows.algorithms.presets import RESHARP_PRESETS

        set_threads(self.inputs.num_threads)
        parameters = asdict(RESHARP_PRESETS[self.inputs.preset])
        given = self.inputs.get_traitsfree()
        parameters.update({name: given[name] for name in parameters if name in given})
        total_field, image = _images.load(self.inputs.in_file)
        _images.check_same_grid(self.inputs.in_file, image, self.inputs.mask)
        local_field, mask = resharp(
            total_field,
            _images.load_mask(self.inputs.mask),
            voxel_size(image.affine),
            **parameters,
            tolerance=self.inputs.tolerance,
            device=self.inputs.device,
        )
        self._results["out_file"] = _images.save(
            local_field, image, _images.output_path(runtime.cwd, "local_field")
        )
        self._results["out_mask"] = _images.save(
            mask, image, _images.output_path(runtime.cwd, "mask")
        )
        return runtime
