"""State of an interrupted training run on disk."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from qsm_workflows.files import write_whole

LARGEST_FILE = 15 * 2**20
"""Bytes of one file of a state, unless a single tensor has more."""


@dataclass
class Progress:
    """How far a run has come."""

    step: int = 0
    seconds: float = 0.0
    """Spent training, in all sessions together."""
    losses: list[float] = field(default_factory=list)
    """Of the steps since the last row of metrics."""
    started_from: dict[str, str] = field(default_factory=dict)
    """The weights that it began with: their SHA-256 and how they were trained."""


def save_state(
    folder: Path, network: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write everything that is needed to go on, whole or not at all.

    Parameters
    ----------
    folder : Path
        Of the run; the state goes into a sub-folder of it named by the step.
    network, optimiser, progress
        What to save; all in full precision, so that a resumed run is an unbroken one.
    """
    target = folder / f"state-{progress.step:08d}"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    _save_parts(target, "weights", network.state_dict())
    _save_parts(target, "optimiser", _flat_state(optimiser))
    record = asdict(progress) | {"folder": target.name}
    # Until this file is replaced, the old state is the valid one.
    write_whole(folder / "state.json", lambda path: path.write_text(json.dumps(record)))
    for old in folder.glob("state-*"):
        if old != target:
            shutil.rmtree(old)


def load_state(folder: Path, network: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
    """Bring network and optimiser to the saved state, if there is one.

    Raises
    ------
    ValueError
        If the state is of another network or damaged.
    """
    record_file = folder / "state.json"
    if not record_file.exists():
        return Progress()
    try:
        record = json.loads(record_file.read_text())
        source = folder / record.pop("folder")
        network.load_state_dict(_load_parts(source, "weights"))
        _restore(optimiser, _load_parts(source, "optimiser"))
        return Progress(**record)
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder} holds no state of this run ({error}); use another folder"
        ) from error


def _flat_state(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    state = optimiser.state_dict()["state"]
    return {f"{i}.{name}": tensor for i, entry in state.items() for name, tensor in entry.items()}


def _restore(optimiser: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        number, key = name.split(".")
        state.setdefault(int(number), {})[key] = tensor
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})


def _save_parts(folder: Path, stem: str, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors to files of limited size."""
    parts: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if parts[-1] and size + tensor.nbytes > LARGEST_FILE:
            parts.append({})
            size = 0
        parts[-1][name] = tensor.detach().cpu().contiguous()
        size += tensor.nbytes
    for number, part in enumerate(parts):
        save_file(part, folder / f"{stem}-{number:02d}.safetensors")


def _load_parts(folder: Path, stem: str) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for part in sorted(folder.glob(f"{stem}-*.safetensors")):
        tensors |= load_file(part)
    return tensors
