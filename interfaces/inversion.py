"""Dipole inversion: susceptibility from the local field."""

from importlib import import_module
from inspect import signature
from typing import Literal

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from qsm_workflows.algorithms.geometry import DEFAULT_PAD

from . import _images
from ._torch import set_threads
from ._traits import Count, InputFile, NonNegative, Positive, Real


class _InversionInputSpec(BaseInterfaceInputSpec):
    in_file = InputFile(exists=True, mandatory=True, desc="local field, ppm")
    mask = InputFile(exists=True, mandatory=True, desc="mask of the local field")
    b0_dir = traits.Tuple(
        traits.Float,
        traits.Float,
        traits.Float,
        desc="unit vector of B0 in voxel axes [from the affine]",
    )
    pad = NonNegative(
        DEFAULT_PAD, usedefault=True, desc="zeros around the mask, mm; 0 for periodic"
    )
    device = traits.Str("cpu", usedefault=True, nohash=True, desc="torch device")
    use_gpu = traits.Bool(
        False, usedefault=True, nohash=True, desc="take one of Nipype's GPU slots"
    )
    num_threads = Count(1, usedefault=True, nohash=True, desc="torch threads")


class _InversionOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="susceptibility, ppm")


class _Inversion(SimpleInterface):
    """What the single-orientation inversions share: reading, geometry and writing.

    A subclass names its function; each keyword of that is an input of the node.
    """

    output_spec = _InversionOutputSpec
    _function: str
    _field: Literal["local", "total"] = "local"

    def _run_interface(self, runtime):
        # Imported here: torch must not be loaded in the process that builds the graph.
        from qsm_workflows.algorithms.geometry import b0_direction, voxel_size
        from qsm_workflows.algorithms.units import warn_unless_ppm

        set_threads(self.inputs.num_threads)
        module, name = self._function.split(".")
        invert = getattr(import_module(f"qsm_workflows.algorithms.inversion.{module}"), name)
        field, image = _images.load(self.inputs.in_file)
        _images.check_same_grid(self.inputs.in_file, image, self.inputs.mask)
        mask, b0_dir = _images.load_mask(self.inputs.mask), self.inputs.b0_dir
        warn_unless_ppm(field, mask, self._field)
        arguments = {
            next(iter(signature(invert).parameters)): field,
            "mask": mask,
            "voxel_size": voxel_size(image.affine),
            "b0_dir": b0_dir if isdefined(b0_dir) else b0_direction(image.affine),
        }
        for keyword in signature(invert).parameters:
            if keyword not in arguments:
                arguments[keyword] = self._argument(keyword, image)
        self._results["out_file"] = _images.save(
            invert(**arguments), image, _images.output_path(runtime.cwd, "chi")
        )
        return runtime

    def _argument(self, name, image):
        """Value of an input: of an image its volume, None where none is given."""
        value = getattr(self.inputs, name)
        if not isinstance(self.inputs.trait(name).trait_type, File):
            return value
        if not isdefined(value):
            return None
        _images.check_same_grid(self.inputs.in_file, image, value)
        return _images.load_float(value)


class _TKDInputSpec(_InversionInputSpec):
    threshold = Real(
        0.15, above=0, below=2 / 3, usedefault=True, desc="smallest |D| that is divided by"
    )


class TKD(_Inversion):
    """Thresholded division; see :func:`qsm_workflows.algorithms.inversion.direct.tkd`."""

    input_spec = _TKDInputSpec
    _function = "direct.tkd"


class TSVD(_Inversion):
    """Truncated division; see :func:`qsm_workflows.algorithms.inversion.direct.tsvd`."""

    input_spec = _TKDInputSpec
    _function = "direct.tsvd"


class _L2InputSpec(_InversionInputSpec):
    regularisation = Positive(5e-3, usedefault=True, desc="λ, before the gradient term, mm²")


class L2(_Inversion):
    """Squared gradients; see :func:`qsm_workflows.algorithms.inversion.direct.l2`."""

    input_spec = _L2InputSpec
    _function = "direct.l2"


class _ILSQRInputSpec(_InversionInputSpec):
    tolerance = NonNegative(0.01, usedefault=True, desc="relative residual that ends a solve")
    max_iterations = Count(50, usedefault=True, desc="most iterations of a solve")
    signed_slopes = traits.Bool(
        False, usedefault=True, desc="only borders where χ rises along an axis, as QSM.m"
    )


class ILSQR(_Inversion):
    """Iterative LSQR; see :func:`qsm_workflows.algorithms.inversion.ilsqr.ilsqr`."""

    input_spec = _ILSQRInputSpec
    _function = "ilsqr.ilsqr"


class _MEDIInputSpec(_InversionInputSpec):
    magnitude = InputFile(exists=True, mandatory=True, desc="anatomical image on the same grid")
    noise = InputFile(exists=True, desc="standard deviation of the field, any units")
    regularisation = Positive(1000.0, usedefault=True, desc="λ, in front of the data term")
    b0 = Positive(3.0, usedefault=True, desc="field strength that λ refers to, T")
    delta_te = Positive(0.005, usedefault=True, desc="echo spacing that λ refers to, s")
    csf_mask = InputFile(exists=True, desc="ventricles, where χ shall be uniform and zero (MEDI+0)")
    csf_weight = Positive(100.0, usedefault=True, desc="weight of deviations from that")
    smv_radius = NonNegative(
        0.0, usedefault=True, desc="take the mean over such a sphere from field and model, mm"
    )
    merit = traits.Bool(False, usedefault=True, desc="lower the weight of outliers")
    edge_fraction = Real(
        0.9, above=0, below=3, usedefault=True, desc="edges a voxel, of three differences"
    )
    max_outer = Count(10, usedefault=True, desc="most Gauss-Newton steps")
    outer_tolerance = NonNegative(0.05, usedefault=True, desc="relative change that ends them")
    max_inner = Count(100, usedefault=True, desc="most conjugate gradient iterations a step")
    inner_tolerance = NonNegative(0.1, usedefault=True, desc="relative residual that ends them")
    precondition = traits.Bool(True, usedefault=True, desc="divide residuals by the mean Hessian")


class MEDI(_Inversion):
    """Morphology-enabled inversion; see :func:`qsm_workflows.algorithms.inversion.medi.medi`."""

    input_spec = _MEDIInputSpec
    _function = "medi.medi"


class _TVInputSpec(_InversionInputSpec):
    noise = InputFile(exists=True, desc="standard deviation of the field, any units [uniform]")
    regularisation = Positive(5e-4, usedefault=True, desc="λ, before the gradients, ppm·mm")
    coupling = Positive(100.0, usedefault=True, desc="penalty of ADMM over λ, mm/ppm")
    tolerance = NonNegative(0.01, usedefault=True, desc="relative change that ends the iterations")
    max_iterations = Count(100, usedefault=True, desc="most iterations")


class TV(_Inversion):
    """Total variation; see :func:`qsm_workflows.algorithms.inversion.tv.tv`."""

    input_spec = _TVInputSpec
    _function = "tv.tv"


class _RTSInputSpec(_InversionInputSpec):
    threshold = Real(
        0.15, above=0, below=2 / 3, usedefault=True, desc="|D| above which least squares is kept"
    )
    least_squares_iterations = Count(8, usedefault=True, desc="of the first step, LSMR")
    regularisation = Positive(3e-3, usedefault=True, desc="λ, before the gradients, ppm·mm")
    coupling = Positive(30.0, usedefault=True, desc="penalty of ADMM over λ, mm/ppm")
    tolerance = NonNegative(0.01, usedefault=True, desc="relative change that ends the second step")
    max_iterations = Count(40, usedefault=True, desc="most iterations of the second step")


class RTS(_Inversion):
    """Two rapid steps; see :func:`qsm_workflows.algorithms.inversion.rts.rts`."""

    input_spec = _RTSInputSpec
    _function = "rts.rts"


class _NDIInputSpec(_InversionInputSpec):
    noise = InputFile(exists=True, desc="standard deviation of the field, any units [uniform]")
    regularisation = Positive(1e-3, usedefault=True, desc="λ, before the square of χ")
    step = Real(3.5, above=0, below=4, usedefault=True, desc="step of the descent, below 4")
    b0 = Positive(3.0, usedefault=True, desc="field strength of the phase that is fitted, T")
    delta_te = Positive(0.005, usedefault=True, desc="echo time of that phase, s")
    tolerance = NonNegative(5e-3, usedefault=True, desc="relative change that ends the descent")
    max_iterations = Count(200, usedefault=True, desc="most steps")


class NDI(_Inversion):
    """Non-linear inversion; see :func:`qsm_workflows.algorithms.inversion.ndi.ndi`."""

    input_spec = _NDIInputSpec
    _function = "ndi.ndi"


class _STARInputSpec(_InversionInputSpec):
    noise = InputFile(exists=True, desc="standard deviation of the field, any units [uniform]")
    regularisation = Positive(5e-4, usedefault=True, desc="λ of the second level, ppm·mm")
    strong_regularisation = Positive(5e-3, usedefault=True, desc="λ of the first level, ppm·mm")
    threshold = Positive(
        0.15, usedefault=True, desc="difference from the median that makes a source strong, ppm"
    )
    tolerance = NonNegative(0.01, usedefault=True, desc="relative change that ends a level")
    max_iterations = Count(100, usedefault=True, desc="most iterations of a level")


class STAR(_Inversion):
    """Strong sources first; see :func:`qsm_workflows.algorithms.inversion.star.star`."""

    input_spec = _STARInputSpec
    _function = "star.star"


class _LNQSMInputSpec(_InversionInputSpec):
    in_file = InputFile(exists=True, mandatory=True, desc="total field, ppm: with its background")
    mask = InputFile(exists=True, mandatory=True, desc="mask of the total field")
    noise = InputFile(exists=True, desc="standard deviation of the field, any units [uniform]")
    regularisation = Positive(2.5e-4, usedefault=True, desc="λ, before the gradients, ppm·mm")
    shrinkage = Positive(1e-3, usedefault=True, desc="τ, before half the square of χ")
    max_outer = Count(8, usedefault=True, desc="most reweighted steps")
    outer_tolerance = NonNegative(0.05, usedefault=True, desc="relative change that ends them")
    max_inner = Count(60, usedefault=True, desc="most conjugate gradient iterations a step")
    inner_tolerance = NonNegative(0.01, usedefault=True, desc="relative residual that ends them")


class LNQSM(_Inversion):
    """Least norm, total field; see :func:`qsm_workflows.algorithms.inversion.lnqsm.lnqsm`."""

    input_spec = _LNQSMInputSpec
    _function = "lnqsm.lnqsm"
    _field = "total"


class _TotalFieldMEDIInputSpec(_InversionInputSpec):
    in_file = InputFile(exists=True, mandatory=True, desc="total field, ppm: with its background")
    mask = InputFile(exists=True, mandatory=True, desc="mask of the total field")
    magnitude = InputFile(exists=True, mandatory=True, desc="anatomical image on the same grid")
    noise = InputFile(exists=True, desc="standard deviation of the field, any units [uniform]")
    regularisation = Positive(1000.0, usedefault=True, desc="λ, in front of the data term")
    shrinkage = Positive(2.5e-7, usedefault=True, desc="s, before the square of χ outside")
    b0 = Positive(3.0, usedefault=True, desc="field strength that λ refers to, T")
    delta_te = Positive(0.005, usedefault=True, desc="echo spacing that λ refers to, s")
    edge_fraction = Real(
        0.9, above=0, below=3, usedefault=True, desc="edges a voxel, of three differences"
    )
    max_outer = Count(10, usedefault=True, desc="most Gauss-Newton steps")
    outer_tolerance = NonNegative(0.05, usedefault=True, desc="relative change that ends them")
    max_inner = Count(60, usedefault=True, desc="most conjugate gradient iterations a step")
    inner_tolerance = NonNegative(0.05, usedefault=True, desc="relative residual that ends them")


class TotalFieldMEDI(_Inversion):
    """MEDI from the total field.

    See :func:`qsm_workflows.algorithms.inversion.total_field_medi.total_field_medi`.
    """

    input_spec = _TotalFieldMEDIInputSpec
    _function = "total_field_medi.total_field_medi"
    _field = "total"


class _COSMOSInputSpec(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        InputFile(exists=True), mandatory=True, desc="local field of each orientation, ppm"
    )
    masks = InputMultiObject(
        InputFile(exists=True), mandatory=True, desc="mask of all, or one for each; intersected"
    )
    magnitudes = InputMultiObject(
        InputFile(exists=True),
        desc="magnitude of each, to register all to the first [fields are on one grid]",
    )
    b0_dirs = traits.List(
        traits.Tuple(traits.Float, traits.Float, traits.Float),
        desc="B0 in voxel axes of the one grid, for each [found from magnitudes and affines]",
    )
    shrinkage = Positive(3e-3, usedefault=True, desc="τ, before the square of χ")
    tolerance = NonNegative(
        1e-2, usedefault=True, desc="relative residual that ends the iterations"
    )
    max_iterations = Count(30, usedefault=True, desc="most conjugate gradient iterations")
    pad = NonNegative(
        DEFAULT_PAD, usedefault=True, desc="zeros around the mask, mm; 0 for periodic"
    )
    device = traits.Str("cpu", usedefault=True, nohash=True, desc="torch device")
    use_gpu = traits.Bool(
        False, usedefault=True, nohash=True, desc="take one of Nipype's GPU slots"
    )
    num_threads = Count(1, usedefault=True, nohash=True, desc="torch threads")


class COSMOS(SimpleInterface):
    """Several orientations; see :func:`qsm_workflows.algorithms.inversion.cosmos.cosmos`.

    With magnitudes, each orientation may lie on a grid of its own and all are registered
    to the first; without, the fields are on one grid and `b0_dirs` says how B0 lay in it.
    """

    input_spec = _COSMOSInputSpec
    output_spec = _InversionOutputSpec

    def _run_interface(self, runtime):
        # Imported here: torch must not be loaded in the process that builds the graph.
        from qsm_workflows.algorithms.geometry import voxel_size
        from qsm_workflows.algorithms.inversion.cosmos import cosmos
        from qsm_workflows.algorithms.units import warn_unless_ppm

        set_threads(self.inputs.num_threads)
        fields, images = zip(*(_images.load(path) for path in self.inputs.in_files), strict=True)
        masks = [_images.load_mask(path) for path in self.inputs.masks]
        if isdefined(self.inputs.magnitudes):
            fields, masks, b0_dirs = self._align(fields, images, masks)
        else:
            b0_dirs = self._known_directions(images[0])
        # One orientation speaks for all.
        warn_unless_ppm(fields[0], masks[0], "local")
        chi = cosmos(
            fields,
            masks,
            voxel_size(images[0].affine),
            b0_dirs,
            shrinkage=self.inputs.shrinkage,
            tolerance=self.inputs.tolerance,
            max_iterations=self.inputs.max_iterations,
            pad=self.inputs.pad,
            device=self.inputs.device,
        )
        self._results["out_file"] = _images.save(
            chi, images[0], _images.output_path(runtime.cwd, "chi")
        )
        return runtime

    def _align(self, fields, images, masks):
        """Fields and masks on the grid of the first, and B0 in its axes."""
        from qsm_workflows.algorithms.inversion.cosmos import align_orientations

        if isdefined(self.inputs.b0_dirs):
            raise ValueError("give b0_dirs, or magnitudes to find them, not both")
        for companions in (self.inputs.masks, self.inputs.magnitudes):
            for path, image, other in zip(self.inputs.in_files, images, companions, strict=False):
                _images.check_same_grid(path, image, other)
        magnitudes = [_images.load_float(path) for path in self.inputs.magnitudes]
        return align_orientations(fields, masks, magnitudes, [image.affine for image in images])

    def _known_directions(self, first):
        """B0 as given, for fields that are on one grid."""
        if not isdefined(self.inputs.b0_dirs):
            raise ValueError("give b0_dirs, one for each orientation, or magnitudes to find them")
        for other in [*self.inputs.in_files[1:], *self.inputs.masks]:
            _images.check_same_grid(self.inputs.in_files[0], first, other)
        return self.inputs.b0_dirs
