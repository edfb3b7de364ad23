"""Susceptibility by trained networks."""

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from . import _images
from ._progress import progress_bar
from ._torch import set_threads
from ._traits import Count, InputFile


class _NetworkInputSpec(BaseInterfaceInputSpec):
    in_file = InputFile(exists=True, mandatory=True, desc="local field, ppm")
    mask = InputFile(exists=True, mandatory=True, desc="brain mask on the same grid")
    weights = InputFile(
        exists=True,
        hash_files=False,
        desc="weights, .safetensors or .pth; by default those installed for the method",
    )
    weights_sha256 = traits.Str(
        desc="SHA-256 that the weights must have; stands for their content in Nipype's hash"
    )
    dtype = traits.Enum(
        "auto",
        "float32",
        "bfloat16",
        "float16",
        usedefault=True,
        desc="precision of the convolutions; auto is bfloat16 where the device has "
        "instructions for it, else float32",
    )
    tile = Count(
        desc="voxels, along each axis, that are computed at once, with the network's halo round "
        "them; all by default; less takes less memory and more time"
    )
    use_gpu = traits.Bool(
        False, usedefault=True, nohash=True, desc="take one of Nipype's GPU slots"
    )
    device = traits.Str(
        nohash=True,
        desc="torch device, cpu or cuda; by default cpu, or cuda where a workflow gives a GPU slot",
    )
    num_threads = Count(1, usedefault=True, nohash=True, desc="torch threads")


class _NetworkOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="χ, ppm")


class _NetworkInversion(SimpleInterface):
    """Invert a local field by a network; subclasses say what weights they take."""

    input_spec = _NetworkInputSpec
    output_spec = _NetworkOutputSpec
    _method: str

    def _run_interface(self, runtime):
        # Imported here: torch must not be loaded in the process that builds the graph.
        from qsm_workflows.algorithms.geometry import b0_direction, voxel_size
        from qsm_workflows.algorithms.units import warn_unless_ppm
        from qsm_workflows.networks.axes import ScannerAxes
        from qsm_workflows.networks.checkpoints import read_checkpoint
        from qsm_workflows.networks.inference import apply_network
        from qsm_workflows.networks.methods import find_installed

        set_threads(self.inputs.num_threads)
        device = "cuda" if self.inputs.use_gpu else "cpu"
        if isdefined(self.inputs.device):
            device = self.inputs.device
        field, image = _images.load(self.inputs.in_file)
        _images.check_same_grid(self.inputs.in_file, image, self.inputs.mask)
        weights = self.inputs.weights
        if not isdefined(weights):
            weights = find_installed(self._method)
        checkpoint = read_checkpoint(weights, self._method)
        expected = self.inputs.weights_sha256
        if isdefined(expected) and expected != checkpoint.sha256:
            raise ValueError(
                f"{weights} has SHA-256 {checkpoint.sha256} instead of "
                f"{expected}; fetch the weights again"
            )
        mask = _images.load_mask(self.inputs.mask)
        warn_unless_ppm(field, mask, "local")
        axes = ScannerAxes.of(image.affine, field.shape)
        with progress_bar(self._method) as progress:
            chi = apply_network(
                checkpoint.network,
                axes.forward(field),
                axes.forward(mask),
                voxel_size(axes.affine),
                b0_direction(axes.affine),
                trained_voxel_size=checkpoint.voxel_size,
                device=device,
                dtype=self.inputs.dtype,
                tile=self.inputs.tile if isdefined(self.inputs.tile) else None,
                progress=progress,
            )
        self._results["out_file"] = _images.save(
            axes.backward(chi), image, _images.output_path(runtime.cwd, "chi")
        )
        return runtime


class XQSM(_NetworkInversion):
    """Invert a local field by an octave U-net, however it was trained.

    The weights may hold xQSM (:class:`qsm_workflows.networks.xqsm.XQSM`), such as the
    original authors' checkpoints, or our small network
    (:class:`qsm_workflows.networks.lite.LiteQSM`). See
    :func:`qsm_workflows.networks.inference.apply_network`.
    """

    _method = "xqsm"


class XQSMIndividual(_NetworkInversion):
    """Invert a local field by xQSM trained on patches with the field of their own sources.

    The weights are of the same kinds as those of :class:`XQSM`; by default the ones that
    come with the package.
    """

    _method = "xqsmindividual"


class XQSMCropped(_NetworkInversion):
    """Invert a local field by xQSM trained on patches cut from whole fields.

    The weights are of the same kinds as those of :class:`XQSM`; by default the ones that
    come with the package.
    """

    _method = "xqsmcropped"


class DeepQSM(_NetworkInversion):
    """Invert a local field by a network trained on geometric shapes only.

    The weights may hold the plain U-net of the xQSM group
    (:class:`qsm_workflows.networks.unet.UNet`), the network of Bollmann et al.
    (:class:`qsm_workflows.networks.deepqsm.DeepQSM`) or our small network
    (:class:`qsm_workflows.networks.lite.LiteQSM`); which one is seen from the file. See
    :func:`qsm_workflows.networks.inference.apply_network`.
    """

    _method = "deepqsm"


class UNet(_NetworkInversion):
    """Invert a local field by the plain U-net.

    The weights may hold :class:`qsm_workflows.networks.unet.UNet` or, as those of the package
    do, :class:`qsm_workflows.networks.lite.LiteUNet`.
    """

    _method = "unet"


class IR2QSM(_NetworkInversion):
    """Invert a local field by IR2QSM.

    The weights may hold :class:`qsm_workflows.networks.ir2qsm.IR2QSM` or, as those of the
    package do, :class:`qsm_workflows.networks.lite.LiteIR2QSM`.
    """

    _method = "ir2qsm"


class LPCNN(_NetworkInversion):
    """Invert a local field by LPCNN.

    The weights may hold :class:`qsm_workflows.networks.lpcnn.LPCNN` or, as those of the
    package do, :class:`qsm_workflows.networks.lite.LiteLPCNN`.
    """

    _method = "lpcnn"
