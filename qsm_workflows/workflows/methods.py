"""The background removals and dipole inversions a study can use, and what each needs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nipype.interfaces.base import SimpleInterface
from traits.api import TraitError

from qsm_workflows.algorithms.checks import check_levels
from qsm_workflows.algorithms.geometry import DEFAULT_PAD, Triple
from qsm_workflows.interfaces.background import ISMV, LBV, PDF, RESHARP, SHARP, VSHARP
from qsm_workflows.interfaces.fieldmap import FitEchoes, ReliabilityMask
from qsm_workflows.interfaces.inversion import (
    ILSQR,
    L2,
    LNQSM,
    MEDI,
    NDI,
    RTS,
    STAR,
    TKD,
    TSVD,
    TV,
    TotalFieldMEDI,
)
from qsm_workflows.interfaces.masking import BETMask, DeepBetMask, PhaseMask, RefineMask
from qsm_workflows.interfaces.networks import (
    IR2QSM,
    LPCNN,
    XQSM,
    DeepQSM,
    UNet,
    XQSMCropped,
    XQSMIndividual,
)
from qsm_workflows.interfaces.phase import RemovePhaseOffset
from qsm_workflows.interfaces.relaxation import NonlinearR2Star
from qsm_workflows.interfaces.unwrapping import UnwrapBestPath, UnwrapLaplacian, UnwrapROMEO
from qsm_workflows.networks.costs import PROCESS_GB, network_cost
from qsm_workflows.networks.weights import read_metadata
from qsm_workflows.spelling import Named, suggestion

from .resources import padded_voxels


@dataclass(frozen=True)
class Method:
    """A dipole inversion.

    Attributes
    ----------
    name : str
        Key on the command line and in file names.
    interface : type
        Node that does it.
    volumes : float
        Peak memory in float32 volumes of its grid, for the scheduler.
    seconds : float
        Seconds per million voxels of its grid on one CPU core, for estimates.
    uses_magnitude : bool
        Whether it takes the magnitude image.
    takes_total_field : bool
        Whether it takes the total field and finds the background itself, in one step: it then
        has no B+T, where the background is gone before the cut.
    is_network : bool
        Whether it needs trained weights.
    by_default : bool
        Whether a study takes it unless told otherwise; a network then needs weights.
    """

    name: str
    interface: type[SimpleInterface]
    volumes: float
    seconds: float
    uses_magnitude: bool = False
    takes_total_field: bool = False
    is_network: bool = False
    by_default: bool = True

    def n_voxels(self, shape: tuple[int, ...], voxel_size: Triple) -> float:
        """Voxels of the grid it works on: networks take the image as it is, others pad it."""
        return padded_voxels(shape, voxel_size, 0.0 if self.is_network else DEFAULT_PAD)

    def with_weights(self, path: str | None) -> "Method":
        """The same method with the cost of the network that a file says it holds."""
        about = read_metadata(Path(path)) if path is not None else {}
        try:
            return _costly(self, about["architecture"], int(about["width"]))
        except (KeyError, ValueError):
            # A file of others tells nothing: the published width is meant.
            return self


def _network(
    name: str, interface: type[SimpleInterface], architecture: str, by_default: bool = False
) -> Method:
    """A network at its full published width."""
    method = Method(name, interface, 0, 0, is_network=True, by_default=by_default)
    return _costly(method, architecture)


def _costly(method: Method, architecture: str, width: int | None = None) -> Method:
    """A method with the cost that was measured of its network."""
    cost = network_cost(architecture, 10**6, width=width)
    volumes = (cost.memory_gb - PROCESS_GB) * 1e9 / (4 * 10**6)
    return replace(method, volumes=volumes, seconds=cost.cpu_seconds)


METHODS: Mapping[str, Method] = Named(
    "method",
    {
        method.name: method
        for method in (
            Method("tkd", TKD, 4, 0.05),
            Method("tsvd", TSVD, 4, 0.05, by_default=False),
            Method("l2", L2, 4, 0.05, by_default=False),
            Method("ilsqr", ILSQR, 17, 1.4),
            Method("medi", MEDI, 18, 0.9, uses_magnitude=True),
            Method("tv", TV, 13, 1.0, by_default=False),
            Method("rts", RTS, 9, 0.4, by_default=False),
            Method("ndi", NDI, 9, 0.7, by_default=False),
            Method("star", STAR, 14, 1.8, by_default=False),
            Method("lnqsm", LNQSM, 18, 8.5, takes_total_field=True, by_default=False),
            Method(
                "tfi",
                TotalFieldMEDI,
                20,
                6.0,
                uses_magnitude=True,
                takes_total_field=True,
                by_default=False,
            ),
            _network("xqsmindividual", XQSMIndividual, "xqsm", by_default=True),
            _network("xqsmcropped", XQSMCropped, "xqsm", by_default=True),
            _network("deepqsm", DeepQSM, "unet", by_default=True),
            _network("xqsm", XQSM, "xqsm"),
            _network("unet", UNet, "unet"),
            _network("ir2qsm", IR2QSM, "ir2qsm"),
            _network("lpcnn", LPCNN, "lpcnn"),
        )
    },
)
"""Every inversion, in the order of reports; networks at their full published width.

Networks that are not taken by default are where a user has added weights of them."""


def total_field_methods(methods: Iterable[str]) -> tuple[str, ...]:
    """Those of the methods that take the total field."""
    return tuple(name for name in methods if METHODS[name].takes_total_field)


@dataclass(frozen=True)
class BackgroundRemoval:
    """A background removal.

    Attributes
    ----------
    name : str
        Key on the command line.
    label : str
        How its authors write it.
    interface : type
        Node that does it.
    volumes : float
        Peak memory in float32 volumes of its padded grid, for the scheduler.
    seconds : float
        Seconds per million voxels of its padded grid on one CPU core, for estimates.
    """

    name: str
    label: str
    interface: type[SimpleInterface]
    volumes: float
    seconds: float


BACKGROUND_REMOVALS: Mapping[str, BackgroundRemoval] = Named(
    "background removal",
    {
        removal.name: removal
        for removal in (
            BackgroundRemoval("resharp", "RESHARP", RESHARP, 8, 0.5),
            BackgroundRemoval("sharp", "SHARP", SHARP, 12, 0.2),
            BackgroundRemoval("vsharp", "V-SHARP", VSHARP, 12, 0.5),
            BackgroundRemoval("ismv", "iSMV", ISMV, 12, 0.3),
            BackgroundRemoval("pdf", "PDF", PDF, 14, 2.0),
            BackgroundRemoval("lbv", "LBV", LBV, 16, 0.5),
        )
    },
)

MASK_METHODS: Mapping[str, type[SimpleInterface]] = Named(
    "mask method",
    {
        "bet": BETMask,
        "deepbet": DeepBetMask,
        "phase": PhaseMask,
    },
)
"""How a brain mask may be made."""

UNWRAPPINGS: Mapping[str, type[SimpleInterface]] = Named(
    "unwrapping",
    {
        "romeo": UnwrapROMEO,
        "bestpath": UnwrapBestPath,
        "laplacian": UnwrapLaplacian,
    },
)
"""Every unwrapping. ROMEO, the default, left a tenth of best-path's wrong turns on simulated
heads and takes less time (``benchmarks/unwrapping.py``)."""

# Steps whose parameters a user may set, beside these.
_STEPS: Mapping[str, type[SimpleInterface]] = {
    **MASK_METHODS,
    "refine": RefineMask,
    "phase_offset": RemovePhaseOffset,
    "fit": FitEchoes,
    "r2star": NonlinearR2Star,
    "reliability": ReliabilityMask,
}

# Inputs that the workflows wire up or set by options of their own.
_WIRED = {
    "in_file",
    "in_files",
    "residual",
    "magnitudes",
    "echo_times",
    "mask",
    "mask_file",
    "magnitude",
    "noise",
    "csf_mask",
    "weights",
    "weights_sha256",
    "device",
    "use_gpu",
    "num_threads",
    "b0_dir",
}


def check_parameters(parameters: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse parameters that no node has, and values that its algorithm would refuse.

    Parameters
    ----------
    parameters : mapping
        Step or method → name of a node input → value.

    Raises
    ------
    ValueError
        If the step or the parameter is not known, or the value cannot be; the message tells
        what is known, or can be.
    """
    interfaces = {
        **_STEPS,
        **UNWRAPPINGS,
        **{name: removal.interface for name, removal in BACKGROUND_REMOVALS.items()},
        **{name: method.interface for name, method in METHODS.items()},
    }
    for step, values in parameters.items():
        if step not in interfaces:
            raise ValueError(
                f"parameters of {step!r}: there is no such step; known are "
                f"{', '.join(interfaces)}{suggestion(step, interfaces)}"
            )
        node = interfaces[step]()
        known = sorted(set(node.inputs.copyable_trait_names()) - _WIRED)
        for name, value in values.items():
            if name not in known:
                raise ValueError(
                    f"{step} has no parameter {name!r}; it has {', '.join(known)}"
                    f"{suggestion(name, known)}"
                )
            try:
                setattr(node.inputs, name, value)
            except TraitError as error:
                # Of a list it is about the element that cannot be.
                raise ValueError(
                    f"{step}.{name} cannot be {error.value!r}: it must be {error.info}"
                ) from None
        if step == "star":
            # No input says this by itself.
            check_levels(node.inputs.regularisation, node.inputs.strong_regularisation)


def node_parameters(interface: type[SimpleInterface], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a node, defaults with changes, as they are told in sidecars.

    Parameters
    ----------
    interface : type
        Class of the node.
    changes : mapping
        Inputs that differ from their defaults.
    """
    inputs = interface(**changes).inputs
    return {name: value for name, value in inputs.get_traitsfree().items() if name not in _WIRED}
