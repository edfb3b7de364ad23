"""Inversions by networks, and what weights each takes; imports no torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from qsm_workflows.spelling import Named

from .weights import find_weights, installed_weights, read_metadata, user_folder


@dataclass(frozen=True)
class NetworkMethod:
    """An inversion by a network.

    A way of training makes a method of its own: xQSM trained on Individual patches and on
    Cropped ones are compared with each other.
    """

    name: str
    """Key on the command line and in file names."""
    installed: str
    """Name of the weights that it takes where no file is given."""
    trained_for: str
    """What the weights must say they were trained for, if they say it."""
    architectures: tuple[str, ...]
    """Keys of :data:`qsm_workflows.networks.checkpoints.ARCHITECTURES` they may hold."""
    mode: str | None = None
    """How they must have been trained, if they say it: individual or cropped."""

    def check_metadata(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Refuse weights that say they were trained otherwise.

        Raises
        ------
        ValueError
            The message names both.
        """
        trained_for = metadata.get("method", self.trained_for)
        if trained_for != self.trained_for:
            raise ValueError(f"{path} was trained for {trained_for}, not for {self.name}")
        mode = metadata.get("mode", self.mode)
        if self.mode is not None and mode != self.mode:
            raise ValueError(f"{path} was trained in the mode {mode}, not for {self.name}")


NETWORK_METHODS: Mapping[str, NetworkMethod] = Named(
    "network method",
    {
        method.name: method
        for method in (
            NetworkMethod("xqsm", "xqsm", "xqsm", ("xqsm", "lite")),
            NetworkMethod(
                "xqsmindividual", "xqsm-individual", "xqsm", ("xqsm", "lite"), mode="individual"
            ),
            NetworkMethod("xqsmcropped", "xqsm-cropped", "xqsm", ("xqsm", "lite"), mode="cropped"),
            NetworkMethod("deepqsm", "deepqsm", "deepqsm", ("unet", "deepqsm", "lite")),
            NetworkMethod("unet", "unet", "unet", ("unet", "lite-unet")),
            NetworkMethod("ir2qsm", "ir2qsm", "ir2qsm", ("ir2qsm", "lite-ir2qsm")),
            NetworkMethod("lpcnn", "lpcnn", "lpcnn", ("lpcnn", "lite-lpcnn")),
        )
    },
)
"""Every inversion by a network; ``xqsm`` is for weights trained elsewhere."""


# Times its own, the largest voxel whose resampling costs a network little.
_LARGEST_VOXEL = 1.5


def method_key(name: str) -> str:
    """Key of a method that may be written as its authors do.

    Examples
    --------
    >>> method_key("xQSM-Individual"), method_key("xqsm_cropped"), method_key("iLSQR")
    ('xqsmindividual', 'xqsmcropped', 'ilsqr')
    """
    return re.sub(r"[-_\s]", "", name.lower())


def resampling_warning(voxel_size: ArrayLike, trained_voxel_size: float = 1.0) -> str | None:
    """What a user should know of voxels that are much larger than a network's; None if none is.

    Parameters
    ----------
    voxel_size : (3,) array_like
        Voxel edge lengths in mm.
    trained_voxel_size : float
        Edge of the isotropic voxels that the network was trained on, in mm.
    """
    largest = np.max(voxel_size)
    if largest <= _LARGEST_VOXEL * trained_voxel_size:
        return None
    return (
        f"voxels of up to {largest:g} mm are resampled to the {trained_voxel_size:g} mm that "
        "networks are trained for: expect larger errors of them"
    )


def check_trained(name: str, path: Path) -> None:
    """Refuse a file that says it was trained for something else, without loading it."""
    NETWORK_METHODS[name].check_metadata(path, read_metadata(path))


def find_installed(name: str) -> Path:
    """Weights that a method takes where no file is given.

    Raises
    ------
    ValueError
        If there are none; the message says how to get them.
    """
    method = NETWORK_METHODS[name]
    path = find_weights(method.installed)
    if path is None:
        raise ValueError(
            f"{name} has no weights: give a file, train some with `qsm-wf train`, or put them "
            f"at {user_folder() / method.installed}.safetensors (or .pth) by `qsm-wf weights "
            f"add {name} FILE`"
        )
    return path


def named_weights(given: str) -> Path:
    """Weights by their name, by the method that takes them, or by their path.

    Raises
    ------
    ValueError
        If there are none; the message lists the names.
    """
    method = NETWORK_METHODS.get(method_key(given))
    found = find_weights(given) or (find_weights(method.installed) if method else None)
    path = found or Path(given)
    if not path.is_file():
        names = ", ".join(sorted(path.stem for path in installed_weights())) or "none"
        raise ValueError(
            f"there are no weights {given}: give a file or a name (installed are {names})"
        )
    return path


def check_checkpoint(path: str, name: str) -> None:
    """Read a file of weights for a method and forget it; loads torch.

    Raises
    ------
    ValueError
        As :func:`qsm_workflows.networks.checkpoints.read_checkpoint`.
    """
    from .checkpoints import read_checkpoint

    read_checkpoint(path, name)


def check_device(device: str) -> None:
    """Refuse a torch device that this machine does not have; loads torch.

    Raises
    ------
    ValueError
        As :func:`qsm_workflows.networks.inference.check_device`.
    """
    from . import inference

    inference.check_device(device)
