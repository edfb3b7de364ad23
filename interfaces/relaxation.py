"""Transverse relaxation from the magnitude of the echoes."""

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


class _R2StarInputSpec(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        InputFile(exists=True), mandatory=True, desc="magnitude of each echo"
    )
    echo_times = traits.List(traits.Float, mandatory=True, desc="echo times, s")
    mask = InputFile(exists=True, desc="brain mask, outside of which R2* is zero [none]")
    maximum = Positive(500.0, usedefault=True, desc="largest R2*, 1/s")


class _R2StarOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="R2*, 1/s")


class _R2Star(SimpleInterface):
    """Fits R2* of each voxel."""

    input_spec = _R2StarInputSpec
    output_spec = _R2StarOutputSpec

    def _run_interface(self, runtime):
        masks = [self.inputs.mask] if isdefined(self.inputs.mask) else []
        magnitudes, image = _images.load_echoes(self.inputs.in_files, masks)
        inside = _images.load_mask(masks[0]) if masks else True
        magnitudes = [np.where(inside, magnitude, 0) for magnitude in magnitudes]
        r2star = self._fit(magnitudes, self.inputs.echo_times, self.inputs.maximum)
        self._results["out_file"] = _images.save(
            r2star, image, _images.output_path(runtime.cwd, "r2star")
        )
        return runtime

    def _fit(self, magnitudes, echo_times, maximum):
        raise NotImplementedError


class ARLO(_R2Star):
    """R2* of equally spaced echoes; see :func:`qsm_workflows.algorithms.relaxation.r2star_arlo`."""

    def _fit(self, magnitudes, echo_times, maximum):
        from qsm_workflows.algorithms.relaxation import r2star_arlo

        return r2star_arlo(magnitudes, echo_times, maximum=maximum)


class NonlinearR2Star(_R2Star):
    """R2* of any echoes; see :func:`qsm_workflows.algorithms.relaxation.r2star_nonlinear`."""

    def _fit(self, magnitudes, echo_times, maximum):
        from qsm_workflows.algorithms.relaxation import r2star_nonlinear

        return r2star_nonlinear(magnitudes, echo_times, maximum=maximum)
