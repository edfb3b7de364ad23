"""Background field removal."""

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
    radius = traits.Float(3.0, usedefault=True, desc="kernel radius, mm")
    tikhonov = traits.Float(1e-4, usedefault=True, desc="Tikhonov weight λ")
    max_iterations = traits.Int(200, usedefault=True, desc="most conjugate gradient iterations")
    device = traits.Str("cpu", usedefault=True, nohash=True, desc="torch device")
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

        set_threads(self.inputs.num_threads)
        total_field, image = _images.load(self.inputs.in_file)
        _images.check_same_grid(self.inputs.in_file, image, self.inputs.mask)
        local_field, mask = resharp(
            total_field,
            _images.load_mask(self.inputs.mask),
            voxel_size(image.affine),
            radius=self.inputs.radius,
            tikhonov=self.inputs.tikhonov,
            max_iterations=self.inputs.max_iterations,
            device=self.inputs.device,
        )
        self._results["out_file"] = _images.save(
            local_field, image, _images.output_path(runtime.cwd, "local_field")
        )
        self._results["out_mask"] = _images.save(
            mask, image, _images.output_path(runtime.cwd, "mask")
        )
        return runtime
