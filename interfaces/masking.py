"""Brain masks."""

import tempfile
from pathlib import Path

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
from ._torch import set_threads
from ._traits import Count, InputFile, NonNegative, Positive, Real


class _MaskInputSpec(BaseInterfaceInputSpec):
    mask_file = InputFile(exists=True, desc="mask to take instead of making one")


class _MaskOutputSpec(TraitedSpec):
    out_mask = File(exists=True, desc="brain mask")
    method = traits.Enum(
        "given", "fsl", "qsm-workflows", "deepbet", "phase", desc="where the mask comes from"
    )


class _Mask(SimpleInterface):
    """Take a given mask, or make one in a way that subclasses know."""

    output_spec = _MaskOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.geometry import check_mask

        reference = self._reference()
        image = _images.load(reference)[1]
        if isdefined(self.inputs.mask_file):
            _images.check_same_grid(reference, image, self.inputs.mask_file)
            mask = check_mask(_images.load_mask(self.inputs.mask_file))
            method = "given"
        else:
            mask, method = self._extract(runtime.cwd)
        self._results["out_mask"] = _images.save(
            mask, image, _images.output_path(runtime.cwd, "mask")
        )
        self._results["method"] = method
        return runtime

    def _reference(self) -> str:
        """Image that the mask belongs to."""
        return self.inputs.in_file


class _BETMaskInputSpec(_MaskInputSpec):
    in_file = InputFile(exists=True, mandatory=True, desc="magnitude, best of the first echo")
    fractional_intensity = Real(
        0.5,
        above=0,
        below=1,
        usedefault=True,
        desc="intensity threshold, 0 to 1; larger gives a smaller brain",
    )
    smoothness = Positive(2.0, usedefault=True, desc="of our own surface")
    iterations = Count(1000, usedefault=True, desc="steps of our own surface")


class BETMask(_Mask):
    """Mask the brain: a given mask, else FSL's ``bet`` where it is installed, else our own.

    See :func:`qsm_workflows.algorithms.masking.bet`.
    """

    input_spec = _BETMaskInputSpec

    def _extract(self, cwd):
        from qsm_workflows.algorithms.geometry import voxel_size
        from qsm_workflows.algorithms.masking import bet, check_whole_head

        magnitude, image = _images.load(self.inputs.in_file)
        size = voxel_size(image.affine)
        if _has_fsl():
            check_whole_head(magnitude.shape, size)
            return self._fsl_bet(cwd), "fsl"
        mask = bet(
            magnitude,
            size,
            fractional_intensity=self.inputs.fractional_intensity,
            smoothness=self.inputs.smoothness,
            iterations=self.inputs.iterations,
        )
        return mask, "qsm-workflows"

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


class _DeepBetMaskInputSpec(_MaskInputSpec):
    in_file = InputFile(exists=True, mandatory=True, desc="magnitude, best of the first echo")
    threshold = Real(
        0.5,
        above=0,
        below=1,
        usedefault=True,
        desc="least probability of brain; larger gives a smaller brain",
    )
    num_threads = Count(1, usedefault=True, nohash=True, desc="torch threads")


class DeepBetMask(_Mask):
    """Mask the brain with the network deepbet, which is installed apart.

    See :func:`qsm_workflows.networks.brain.deepbet`.
    """

    input_spec = _DeepBetMaskInputSpec

    def _extract(self, cwd):
        from qsm_workflows.networks.brain import deepbet

        set_threads(self.inputs.num_threads)
        magnitude, image = _images.load(self.inputs.in_file)
        return deepbet(magnitude, image.affine, threshold=self.inputs.threshold), "deepbet"


class _PhaseMaskInputSpec(_MaskInputSpec):
    in_files = InputMultiObject(
        InputFile(exists=True), mandatory=True, desc="wrapped phase of each echo, radians"
    )
    magnitudes = InputMultiObject(
        InputFile(exists=True), mandatory=True, desc="magnitude of each echo"
    )
    threshold = Real(
        0.4,
        above=0,
        below=1,
        usedefault=True,
        desc="least coherence of the phase, from that of noise, 0, to the best, 1",
    )
    opening = NonNegative(5.0, usedefault=True, desc="bridges thinner than twice this are cut, mm")


class PhaseMask(_Mask):
    """Mask what has usable phase; for slabs and crops too.

    See :func:`qsm_workflows.algorithms.phase_mask.phase_mask`.
    """

    input_spec = _PhaseMaskInputSpec

    def _reference(self):
        return self.inputs.in_files[0]

    def _extract(self, cwd):
        from qsm_workflows.algorithms.geometry import voxel_size
        from qsm_workflows.algorithms.phase_mask import phase_mask

        image = _images.load(self._reference())[1]
        for path in (*self.inputs.in_files, *self.inputs.magnitudes):
            _images.check_same_grid(self._reference(), image, path)
        mask = phase_mask(
            [_images.load_float(path) for path in self.inputs.in_files],
            [_images.load_float(path) for path in self.inputs.magnitudes],
            voxel_size(image.affine),
            threshold=self.inputs.threshold,
            opening=self.inputs.opening,
        )
        return mask, "phase"


class _RefineMaskInputSpec(BaseInterfaceInputSpec):
    in_file = InputFile(exists=True, mandatory=True, desc="mask")
    keep_largest = traits.Bool(
        True, usedefault=True, desc="leave out what is not connected to the largest part"
    )
    closing = NonNegative(0.0, usedefault=True, desc="gaps narrower than twice this are closed, mm")
    fill_holes = traits.Bool(True, usedefault=True, desc="take in what is enclosed")
    margin = Real(0.0, usedefault=True, desc="growth of the mask, mm; negative to shrink it")


class _RefineMaskOutputSpec(TraitedSpec):
    out_mask = File(exists=True, desc="refined mask")


class RefineMask(SimpleInterface):
    """Tidy a mask; see :func:`qsm_workflows.algorithms.mask_refinement.refine_mask`."""

    input_spec = _RefineMaskInputSpec
    output_spec = _RefineMaskOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.geometry import voxel_size
        from qsm_workflows.algorithms.mask_refinement import refine_mask

        image = _images.load(self.inputs.in_file)[1]
        mask = refine_mask(
            _images.load_mask(self.inputs.in_file),
            voxel_size(image.affine),
            keep_largest=self.inputs.keep_largest,
            closing=self.inputs.closing,
            fill_holes=self.inputs.fill_holes,
            margin=self.inputs.margin,
        )
        self._results["out_mask"] = _images.save(
            mask, image, _images.output_path(runtime.cwd, "mask")
        )
        return runtime


class _CSFMaskInputSpec(BaseInterfaceInputSpec):
    in_file = InputFile(exists=True, mandatory=True, desc="R2*, 1/s")
    mask = InputFile(exists=True, mandatory=True, desc="brain mask")
    threshold = Positive(5.0, usedefault=True, desc="R2* of fluid is below this, 1/s")
    radius = Positive(30.0, usedefault=True, desc="of the sphere that is looked at, mm")
    depth = NonNegative(
        10.0, usedefault=True, desc="least distance from the surface of the brain, mm"
    )
    regions = Count(3, usedefault=True, desc="how many regions, the largest, are kept")


class _CSFMaskOutputSpec(TraitedSpec):
    out_mask = File(exists=True, desc="mask of the ventricles")


class CSFMask(SimpleInterface):
    """Ventricles by their R2*; see :func:`qsm_workflows.algorithms.csf.csf_mask`."""

    input_spec = _CSFMaskInputSpec
    output_spec = _CSFMaskOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.csf import csf_mask
        from qsm_workflows.algorithms.geometry import voxel_size

        r2star, image = _images.load(self.inputs.in_file)
        _images.check_same_grid(self.inputs.in_file, image, self.inputs.mask)
        mask = csf_mask(
            r2star,
            _images.load_mask(self.inputs.mask),
            voxel_size(image.affine),
            threshold=self.inputs.threshold,
            radius=self.inputs.radius,
            depth=self.inputs.depth,
            regions=self.inputs.regions,
        )
        self._results["out_mask"] = _images.save(
            mask, image, _images.output_path(runtime.cwd, "mask")
        )
        return runtime
