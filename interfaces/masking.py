"""Brain masks."""

import tempfile
from pathlib import Path

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from . import _images


class _BETMaskInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="magnitude, best of the first echo")
    mask_file = File(exists=True, desc="mask to take instead of extracting the brain")
    fractional_intensity = traits.Float(
        0.5, usedefault=True, desc="intensity threshold, 0 to 1; larger gives a smaller brain"
    )
    smoothness = traits.Float(2.0, usedefault=True, desc="of our own surface")
    iterations = traits.Int(1000, usedefault=True, desc="steps of our own surface")


class _BETMaskOutputSpec(TraitedSpec):
    out_mask = File(exists=True, desc="brain mask")
    method = traits.Enum("given", "fsl", "qsm-workflows", desc="where the mask comes from")


class BETMask(SimpleInterface):
    """Mask the brain: a given mask, else FSL's ``bet`` where it is installed, else our own.

    See :func:`qsm_workflows.algorithms.masking.bet`.
    """

    input_spec = _BETMaskInputSpec
    output_spec = _BETMaskOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.geometry import check_mask, voxel_size
        from qsm_workflows.algorithms.masking import bet, check_whole_head

        magnitude, image = _images.load(self.inputs.in_file)
        size = voxel_size(image.affine)
        if isdefined(self.inputs.mask_file):
            _images.check_same_grid(self.inputs.in_file, image, self.inputs.mask_file)
            method, mask = "given", check_mask(_images.load_mask(self.inputs.mask_file))
        elif _has_fsl():
            check_whole_head(magnitude.shape, size)
            method, mask = "fsl", self._fsl_bet(runtime.cwd)
        else:
            method = "qsm-workflows"
            mask = bet(
                magnitude,
                size,
                fractional_intensity=self.inputs.fractional_intensity,
                smoothness=self.inputs.smoothness,
                iterations=self.inputs.iterations,
            )
        self._results["out_mask"] = _images.save(
            mask, image, _images.output_path(runtime.cwd, "mask")
        )
        self._results["method"] = method
        return runtime

    def _fsl_bet(self, cwd):
        from fsl.wrappers import bet

        from qsm_workflows.algorithms.geometry import check_mask

        with tempfile.TemporaryDirectory(dir=cwd) as folder:
            brain = Path(folder) / "brain"
            bet(
                self.inputs.in_file,
                str(brain),
                fracintensity=self.inputs.fractional_intensity,
                mask=True,
            )
            (mask,) = Path(folder).glob("brain_mask.nii*")
            return check_mask(_images.load_mask(str(mask)))


def _has_fsl() -> bool:
    from fsl.utils.platform import platform

    return bool(platform.fsldir) and (Path(platform.fsldir) / "bin" / "bet").is_file()
