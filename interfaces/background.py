"""Background field removal."""

import logging
from dataclasses import asdict

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from qsm_workflows.algorithms.geometry import DEFAULT_PAD

from . import _images
from ._torch import set_threads
from ._traits import Count, InputFile, NonNegative, Positive, Real, Whole

_logger = logging.getLogger("nipype.interface")


class _BackgroundInputSpec(BaseInterfaceInputSpec):
    in_file = InputFile(exists=True, mandatory=True, desc="total field, ppm")
    mask = InputFile(exists=True, mandatory=True, desc="brain mask on the same grid")
    device = traits.Str("cpu", usedefault=True, nohash=True, desc="torch device")
    use_gpu = traits.Bool(
        False, usedefault=True, nohash=True, desc="take one of Nipype's GPU slots"
    )
    num_threads = Count(1, usedefault=True, nohash=True, desc="torch threads")


class _BackgroundOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="local field, ppm")
    out_mask = File(exists=True, desc="where it is valid")
    eroded_mm = traits.List(
        traits.Tuple(traits.Float, traits.Float),
        desc="what the mask lost at the low and high end of each voxel axis, mm",
    )
    kept_fraction = traits.Float(desc="part of the mask's volume that is left")


class _BackgroundRemoval(SimpleInterface):
    """What the methods share: reading, geometry and writing."""

    output_spec = _BackgroundOutputSpec

    def _run_interface(self, runtime):
        # Imported here: torch must not be loaded in the process that builds the graph.
        from qsm_workflows.algorithms.background.erosion import erosion
        from qsm_workflows.algorithms.geometry import voxel_size
        from qsm_workflows.algorithms.units import warn_unless_ppm

        set_threads(self.inputs.num_threads)
        total_field, image = _images.load(self.inputs.in_file)
        _images.check_same_grid(self.inputs.in_file, image, self.inputs.mask)
        given, size = _images.load_mask(self.inputs.mask), voxel_size(image.affine)
        warn_unless_ppm(total_field, given, "total")
        local_field, mask = self._remove(image, total_field, given, size)
        loss = erosion(given, mask, size)
        _logger.info("%s: %s", type(self).__name__, loss)
        self._results["eroded_mm"] = list(loss.faces)
        self._results["kept_fraction"] = loss.kept
        self._results["out_file"] = _images.save(
            local_field, image, _images.output_path(runtime.cwd, "local_field")
        )
        self._results["out_mask"] = _images.save(
            mask, image, _images.output_path(runtime.cwd, "mask")
        )
        return runtime

    def _given(self, *names):
        """Inputs of these names, as keywords; the device is always among them."""
        return {name: getattr(self.inputs, name) for name in (*names, "device")}


class _RESHARPInputSpec(_BackgroundInputSpec):
    preset = traits.Enum(
        "study", "ge", "prisma", usedefault=True, desc="parameters for those not given"
    )
    radius = Positive(desc="kernel radius, mm [of the preset]")
    tikhonov = NonNegative(desc="Tikhonov weight λ [of the preset]")
    max_iterations = Count(desc="most conjugate gradient iterations [of the preset]")
    tolerance = NonNegative(1e-6, usedefault=True, desc="relative residual that ends them")


class RESHARP(_BackgroundRemoval):
    """RESHARP; see :func:`qsm_workflows.algorithms.background.resharp.resharp`."""

    input_spec = _RESHARPInputSpec

    def _remove(self, image, total_field, mask, size):
        from qsm_workflows.algorithms.background.resharp import resharp
        from qsm_workflows.algorithms.presets import RESHARP_PRESETS

        parameters = asdict(RESHARP_PRESETS[self.inputs.preset])
        given = self.inputs.get_traitsfree()
        parameters.update({name: given[name] for name in parameters if name in given})
        return resharp(total_field, mask, size, **parameters, **self._given("tolerance"))


class _SHARPInputSpec(_BackgroundInputSpec):
    radius = Positive(9.0, usedefault=True, desc="radius of the sphere, mm; so much is eroded")
    threshold = Real(
        0.05,
        above=0,
        below=1,
        usedefault=True,
        desc="smallest transfer of the kernel that is divided by",
    )
    covered = Real(
        0.999, above=0, most=1, usedefault=True, desc="part of a sphere that must lie in the mask"
    )
    pad = NonNegative(
        DEFAULT_PAD, usedefault=True, desc="zeros around the mask, mm; 0 for periodic"
    )


class SHARP(_BackgroundRemoval):
    """Spherical means; see :func:`qsm_workflows.algorithms.background.sharp.sharp`."""

    input_spec = _SHARPInputSpec

    def _remove(self, image, total_field, mask, size):
        from qsm_workflows.algorithms.background.sharp import sharp

        return sharp(
            total_field, mask, size, **self._given("radius", "threshold", "covered", "pad")
        )


class _VSHARPInputSpec(_BackgroundInputSpec):
    radii = traits.List(
        Positive(),
        [9.0, 7.0, 5.0, 3.0],
        minlen=1,
        usedefault=True,
        desc="radii of the spheres, mm; the smallest is eroded",
    )
    threshold = Real(
        0.05,
        above=0,
        below=1,
        usedefault=True,
        desc="smallest transfer of the largest kernel that is divided by",
    )
    covered = Real(
        0.999, above=0, most=1, usedefault=True, desc="part of a sphere that must lie in the mask"
    )
    pad = NonNegative(
        DEFAULT_PAD, usedefault=True, desc="zeros around the mask, mm; 0 for periodic"
    )


class VSHARP(_BackgroundRemoval):
    """Spheres of varying radius; see :func:`qsm_workflows.algorithms.background.sharp.vsharp`."""

    input_spec = _VSHARPInputSpec

    def _remove(self, image, total_field, mask, size):
        from qsm_workflows.algorithms.background.sharp import vsharp

        return vsharp(
            total_field, mask, size, **self._given("radii", "threshold", "covered", "pad")
        )


class _ISMVInputSpec(_BackgroundInputSpec):
    radius = Positive(3.0, usedefault=True, desc="radius of the sphere, mm; so much is eroded")
    repetitions = Whole(0, least=0, usedefault=True, desc="of the mean; 0 for the limit")
    tolerance = NonNegative(
        1e-3, usedefault=True, desc="relative residual that ends the iterations"
    )
    max_iterations = Count(100, usedefault=True, desc="most conjugate gradient iterations")


class ISMV(_BackgroundRemoval):
    """Iterated spherical means; see :func:`qsm_workflows.algorithms.background.ismv.ismv`."""

    input_spec = _ISMVInputSpec

    def _remove(self, image, total_field, mask, size):
        from qsm_workflows.algorithms.background.ismv import ismv

        return ismv(
            total_field,
            mask,
            size,
            **self._given("radius", "repetitions", "tolerance", "max_iterations"),
        )


class _PDFInputSpec(_BackgroundInputSpec):
    b0_dir = traits.Tuple(
        traits.Float,
        traits.Float,
        traits.Float,
        desc="unit vector of B0 in voxel axes [from the affine]",
    )
    noise = InputFile(exists=True, desc="standard deviation of the field, any units [uniform]")
    tolerance = NonNegative(
        1e-3, usedefault=True, desc="relative residual that ends the iterations"
    )
    max_iterations = Count(100, usedefault=True, desc="most conjugate gradient iterations")
    pad = NonNegative(
        DEFAULT_PAD, usedefault=True, desc="room for sources around the mask, mm; 0 for periodic"
    )


class PDF(_BackgroundRemoval):
    """Projection onto dipole fields; see :func:`qsm_workflows.algorithms.background.pdf.pdf`."""

    input_spec = _PDFInputSpec

    def _remove(self, image, total_field, mask, size):
        from qsm_workflows.algorithms.background.pdf import pdf
        from qsm_workflows.algorithms.geometry import b0_direction

        given = self._given("tolerance", "max_iterations", "pad")
        if isdefined(self.inputs.noise):
            _images.check_same_grid(self.inputs.in_file, image, self.inputs.noise)
            given["noise"] = _images.load_float(self.inputs.noise)
        b0_dir = self.inputs.b0_dir if isdefined(self.inputs.b0_dir) else b0_direction(image.affine)
        return pdf(total_field, mask, size, b0_dir, **given)


class _LBVInputSpec(_BackgroundInputSpec):
    boundary = traits.Enum(
        "inside",
        "outside",
        usedefault=True,
        desc="surface: outermost voxels of the mask, which are lost, or just outside",
    )
    peel = NonNegative(0.0, usedefault=True, desc="what to take off the mask afterwards, mm")
    tolerance = NonNegative(
        1e-5, usedefault=True, desc="relative residual that ends the iterations"
    )
    max_iterations = Count(100, usedefault=True, desc="most conjugate gradient iterations")


class LBV(_BackgroundRemoval):
    """Laplace's equation; see :func:`qsm_workflows.algorithms.background.lbv.lbv`."""

    input_spec = _LBVInputSpec

    def _remove(self, image, total_field, mask, size):
        from qsm_workflows.algorithms.background.lbv import lbv

        return lbv(
            total_field,
            mask,
            size,
            **self._given("boundary", "peel", "tolerance", "max_iterations"),
        )
