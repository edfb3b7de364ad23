"""State of an interrupted training run on disk."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from qsm_workflows.files import write_whole

from .config import TrainingConfig, differences

LARGEST_FILE = 15 * 2**20
"""Bytes of one file of a state, unless a single tensor has more."""

LONGEST_REASON = 240
"""Characters of what torch says of a state that does not fit."""


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
    folder: Path,
    config: TrainingConfig,
    origin: Mapping[str, Any],
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Write everything that is needed to go on, whole or not at all.

    Parameters
    ----------
    folder : Path
        Of the run; the state goes into a sub-folder of it named by the step.
    config : TrainingConfig
        By which the run must go on.
    origin : mapping
        Of the volumes on which it must go on, as
        :func:`~qsm_workflows.training.pool.pool_origin` gives it.
    network, optimiser, progress
        What to save; all in full precision, so that a resumed run is an unbroken one.
    """
    record_file = folder / "state.json"
    # The valid state is never written over; a run is at the same step only if nothing was done.
    if record_file.exists() and json.loads(record_file.read_text())["step"] == progress.step:
        return
    target = folder / f"state-{progress.step:08d}"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    _save_parts(target, "weights", network.state_dict())
    _save_parts(target, "optimiser", _flat_state(optimiser))
    record = asdict(progress) | {
        "folder": target.name,
        "config": config.as_json(),
        "origin": dict(origin),
    }
    # Until this file is replaced, the old state is the valid one.
    write_whole(record_file, lambda path: path.write_text(json.dumps(record)))
    for old in folder.glob("state-*"):
        if old != target:
            shutil.rmtree(old)


def load_state(
    folder: Path,
    config: TrainingConfig,
    origin: Mapping[str, Any],
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> Progress:
    """Bring network and optimiser to the saved state, if there is one.

    A state of no step says nothing of the run, which may still begin otherwise.

    Raises
    ------
    ValueError
        If the state is of another configuration, other volumes or another network, or
        damaged.
    """
    progress, source = _read_record(folder, config, origin)
    if progress.step:
        with _refusing(folder):
            network.load_state_dict(_load_parts(source, "weights"))
            _restore(optimiser, _load_parts(source, "optimiser"))
    return progress


def read_progress(folder: Path, config: TrainingConfig, origin: Mapping[str, Any]) -> Progress:
    """How far the run in a folder has come, without its network.

    Raises
    ------
    ValueError
        If it is of another configuration or on other volumes; the message names what differs.
    """
    return _read_record(folder, config, origin)[0]


def _read_record(
    folder: Path, config: TrainingConfig, origin: Mapping[str, Any]
) -> tuple[Progress, Path]:
    """How far the run in a folder has come, and where its tensors are."""
    record_file = folder / "state.json"
    if not record_file.exists():
        return Progress(), folder
    with _refusing(folder):
        record = json.loads(record_file.read_text())
        source = folder / record.pop("folder")
        # States from before there were these entries have none.
        saved, volumes = record.pop("config", {}), record.pop("origin", {})
        progress = Progress(**record)
    if progress.step == 0:
        return Progress(), folder
    if other := differences(saved, config.as_json()):
        raise ValueError(
            f"the run in {folder} has another configuration ({other}); go on with that one, or "
            "use another folder"
        )
    if other := differences(volumes, origin):
        raise ValueError(
            f"the run in {folder} trains on other volumes ({other}); go on with the same label "
            "images (--anatomy) and the version of the package that has the same generator, or "
            "use another folder"
        )
    return progress, source


@contextmanager
def _refusing(folder: Path) -> Iterator[None]:
    """Say that a folder holds no state of the run, whatever is wrong with its files."""
    try:
        yield
    except (
        AttributeError,
        KeyError,
        OSError,
        RuntimeError,
        SafetensorError,
        TypeError,
        ValueError,
    ) as error:
        # torch names every tensor that is missing.
        reason = shorten(str(error), LONGEST_REASON, placeholder=" …")
        raise ValueError(
            f"{folder} holds no state of this run ({reason}); use another folder"
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
