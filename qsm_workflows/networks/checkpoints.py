"""Reading and writing trained networks."""

import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from qsm_workflows.files import write_whole

from . import weights
from .base import InversionNetwork
from .cards import check_card
from .deepqsm import DeepQSM
from .ir2qsm import IR2QSM
from .lite import LiteIR2QSM, LiteLPCNN, LiteQSM, LiteUNet
from .lpcnn import LPCNN
from .methods import NETWORK_METHODS
from .unet import UNet
from .xqsm import XQSM

StateDict = Mapping[str, torch.Tensor]

_NESTED = ("model_state", "model_state_dict", "state_dict")
"""Where a checkpoint of training keeps the state dict: the first is that of LPCNN's authors."""


@dataclass(frozen=True)
class Architecture:
    """A kind of network, and how its state dict is told from others'."""

    network: type[InversionNetwork]
    signature: str
    """Entry that only this architecture has."""
    axis: int
    """Axis of that entry whose length is the network's width."""


ARCHITECTURES = {
    "xqsm": Architecture(XQSM, "FinalOct.FinalConv.weight", 1),
    "unet": Architecture(UNet, "FinalConv.weight", 1),
    "deepqsm": Architecture(DeepQSM, "encoder.0.0.weight", 0),
    "lite": Architecture(LiteQSM, "trunk.FinalOct.FinalConv.weight", 1),
    "lite-unet": Architecture(LiteUNet, "trunk.FinalConv.weight", 1),
    "lite-ir2qsm": Architecture(LiteIR2QSM, "trunk.passes.0.pre.0.0.weight", 0),
    "lite-lpcnn": Architecture(LiteLPCNN, "trunk.gen.0.weight", 0),
    "ir2qsm": Architecture(IR2QSM, "passes.0.pre.0.0.weight", 0),
    "lpcnn": Architecture(LPCNN, "gen.0.weight", 0),
}
"""Every architecture that a checkpoint may hold."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and what is known of it."""

    network: InversionNetwork
    architecture: str
    voxel_size: float
    """Edge of the isotropic voxels that it was trained on, in mm."""
    sha256: str
    """Of the file that it was read from."""
    metadata: Mapping[str, str]
    """Everything else that the file says of itself."""


def read_checkpoint(path: str | Path, method: str | None = None) -> Checkpoint:
    """Read a network from a file of weights.

    Architecture and width are inferred from the names and shapes of the tensors.

    Parameters
    ----------
    path : str or pathlib.Path
        ``.safetensors`` as written by :func:`write_checkpoint`, or a state dict saved by
        torch (``.pth``), by itself or as part of a checkpoint of training, with or without
        the prefix ``module.`` of DataParallel. Nothing but tensors is ever unpickled.
    method : str, optional
        Inversion that the weights must serve, a key of
        :data:`qsm_workflows.networks.methods.NETWORK_METHODS`. Those of xQSM take the
        octave U-net, and ``deepqsm`` either the plain U-net that the xQSM group trains on
        geometric shapes or the network of Bollmann et al.; both take our small network
        trained likewise.

    Returns
    -------
    Checkpoint
        The network is in evaluation mode, on the CPU, in float32.

    Raises
    ------
    ValueError
        If the file is missing, corrupted, not that of its card, not a checkpoint, of
        another architecture than asked for, or if its tensors do not fit the architecture.
    """
    path = Path(path)
    digest = weights.sha256(path)
    check_card(path, digest)
    entries, metadata = _read(path)
    architecture, state = _recognise(path, entries)
    if method is not None:
        _check_method(path, method, architecture, metadata)
    kind = ARCHITECTURES[architecture]
    network = kind.network(_width(path, state[kind.signature], kind.axis))
    _load(network, path, state)
    return Checkpoint(
        network=network.eval(),
        architecture=architecture,
        voxel_size=_voxel_size(path, metadata),
        sha256=digest,
        metadata=metadata,
    )


def write_checkpoint(
    path: str | Path,
    network: InversionNetwork,
    *,
    voxel_size: float = 1.0,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a network as safetensors, whole or not at all.

    Weights of convolutions are stored as float16 (their rounding changes χ by about
    3e-6 ppm), everything else as it is.

    Parameters
    ----------
    path : str or pathlib.Path
        A ``.safetensors`` file.
    network : InversionNetwork
    voxel_size : float
        Edge of the isotropic voxels that it was trained on, in mm.
    metadata : mapping of str to str, optional
        More to record, such as ``method``, data, seeds and licence.

    Raises
    ------
    ValueError
        If the suffix or the network is of another kind.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"checkpoints are written as .safetensors, not {path.name}")
    names = {kind.network: name for name, kind in ARCHITECTURES.items()}
    if type(network) not in names:
        raise ValueError(
            f"cannot write a {type(network).__name__}, only {', '.join(names.values())}"
        )
    state = {
        name: (tensor.half() if tensor.ndim == 5 else tensor).cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    about = {
        **(metadata or {}),
        "architecture": names[type(network)],
        "width": str(network.width),
        "voxel_size": str(voxel_size),
    }
    write_whole(path, lambda partial: save_file(state, partial, metadata=about))


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
        content = torch.load(path, map_location="cpu", weights_only=True)
    # A damaged or foreign file can fail in the reader in any way; all mean the same here.
    except Exception as error:
        wrong = "is damaged or not a file of weights"
        if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):
            wrong = "is damaged, or holds more than tensors, which could run anything when read"
        # Without the cause: torch's advice is to let the file run what it will.
        raise ValueError(
            f"{path} {wrong}; fetch it again, or save the network's state_dict() alone with "
            "torch.save"
        ) from None
    if isinstance(content, Mapping):
        content = next((content[name] for name in _NESTED if name in content), content)
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items()
    ):
        raise ValueError(
            f"{path} holds no plain state dict; save the network's state_dict() alone with "
            "torch.save"
        )
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}, {}


def _recognise(path: Path, state: StateDict) -> tuple[str, StateDict]:
    """Architecture of a state dict, and the state dict with our names."""
    for architecture, kind in ARCHITECTURES.items():
        renamed = {
            _our_name(name, kind.network.published_names): value for name, value in state.items()
        }
        if kind.signature in renamed:
            return architecture, renamed
    some = ", ".join(list(state)[:3]) or "nothing"
    raise ValueError(
        f"{path} holds none of the networks {', '.join(ARCHITECTURES)}: its entries are {some}, …"
    )


def _our_name(name: str, translations: Sequence[tuple[str, str]]) -> str:
    for published, ours in translations:
        name = re.sub(published, ours, name)
    return name


def _check_method(path: Path, method: str, architecture: str, metadata: Mapping[str, str]) -> None:
    wanted = NETWORK_METHODS[method]
    if architecture not in wanted.architectures:
        raise ValueError(
            f"{path} holds a network of architecture {architecture}, but {method} needs "
            f"{' or '.join(wanted.architectures)}"
        )
    wanted.check_metadata(path, metadata)


def _width(path: Path, signature: torch.Tensor, axis: int) -> int:
    if signature.ndim != 5:
        raise ValueError(
            f"{path} is not a 3-D network: a kernel has shape {tuple(signature.shape)}"
        )
    return signature.shape[axis]


def _voxel_size(path: Path, metadata: Mapping[str, str]) -> float:
    # The published networks were all trained at 1 mm.
    text = metadata.get("voxel_size", "1")
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 0 < size < float("inf"):
        raise ValueError(f"{path} states the voxel size {text!r}, which is no length in mm")
    return size


def _load(network: nn.Module, path: Path, state: StateDict) -> None:
    expected = network.state_dict()
    problems = [f"{name} is missing" for name in expected.keys() - state.keys()]
    problems += [f"{name} is not expected" for name in state.keys() - expected.keys()]
    problems += [
        f"{name} has shape {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    problems += [
        f"{name} holds NaN or infinite values"
        for name, tensor in state.items()
        if not torch.isfinite(tensor).all()
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:4])
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        advice = ""
        if isinstance(network, LPCNN) and {"chi_mean", "chi_std"} - state.keys():
            advice = (
                ". LPCNN's authors keep the mean and the standard deviation of χ, in ppm, in "
                "train_gt_mean.npy and train_gt_std.npy: add them to the state dict as the "
                "scalar tensors chi_mean and chi_std (where the file has model_state, to that), "
                "and save it again with torch.save"
            )
        raise ValueError(
            f"{path} does not fit {type(network).__name__} of width {network.width}: "
            f"{shown}{more}{advice}"
        )
    network.load_state_dict(state)
