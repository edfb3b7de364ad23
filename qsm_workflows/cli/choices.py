"""Which methods a study can run, with which weights and on which device."""

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from qsm_workflows.networks.methods import (
    check_checkpoint,
    check_device,
    check_trained,
    find_installed,
    method_key,
)
from qsm_workflows.networks.weights import package_folder
from qsm_workflows.workflows.methods import METHODS

_LOCAL_PLUGINS = ("MultiProc", "Linear")


def choose_methods(
    wanted: Sequence[str] | None, weights: dict[str, str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Methods that can be run, with the weights of networks.

    Parameters
    ----------
    wanted : sequence of str or None
        Methods asked for by name; when None those of the study, and networks that the user
        has installed or given weights for.
    weights : dict
        Weights given by the user.

    Raises
    ------
    ValueError
        If a network asked for by name has no weights, or weights are given for a method
        that has none or cannot be read.
    """
    given = {method_key(name): path for name, path in weights.items()}
    for name, path in given.items():
        if name not in METHODS or not METHODS[name].is_network:
            networks = ", ".join(m.name for m in METHODS.values() if m.is_network)
            raise ValueError(f"--weights {name}={path}: weights are for {networks}")
        if not Path(path).is_file():
            raise ValueError(f"--weights {name}={path}: there is no such file")
    if given:
        _check_weights(given)
    names = [m.name for m in METHODS.values() if m.by_default or m.is_network]
    chosen, found = [], dict(given)
    for name in dict.fromkeys(wanted or names):
        if METHODS[name].is_network and name not in given:
            try:
                installed = find_installed(name)
            except ValueError as error:
                if wanted:
                    raise
                if METHODS[name].by_default:
                    print(f"{name} is left out: {error}", file=sys.stderr)
                continue
            ours = installed.parent == package_folder()
            if not wanted and ours and not METHODS[name].by_default:
                continue
            check_trained(name, installed)
            found[name] = str(installed)
        chosen.append(name)
    return tuple(chosen), found


def _check_weights(weights: Mapping[str, str]) -> None:
    """Read the files that a user gives for networks, long before they are needed."""
    with _torch_process() as process:
        for name, path in weights.items():
            process.submit(check_checkpoint, path, name).result()


def check_device_exists(device: str, plugin: str) -> None:
    """Refuse a device that this machine does not have, where the nodes run on this machine.

    Raises
    ------
    ValueError
        If there is none.
    """
    if device != "cpu" and plugin in _LOCAL_PLUGINS:
        with _torch_process() as process:
            process.submit(check_device, device).result()


def _torch_process() -> ProcessPoolExecutor:
    """Process apart: torch must not be loaded in the one that builds the graph."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))
