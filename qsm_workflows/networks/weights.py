"""Finding files of weights and telling them apart; imports no torch."""

import hashlib
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from safetensors import SafetensorError, safe_open

SUFFIXES = (".safetensors", ".pth", ".pt", ".pkl")
"""Kinds of files that can be read: our own and those of the original authors."""

FOLDER_VARIABLE = "QSM_WORKFLOWS_WEIGHTS"
"""Environment variable that names the user's folder of weights."""


def user_folder() -> Path:
    """Where a user keeps weights of their own.

    The folder that the environment variable ``QSM_WORKFLOWS_WEIGHTS`` names, otherwise
    ``qsm-workflows/weights`` in the XDG data folder. It need not exist.
    """
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "qsm-workflows" / "weights"


def package_folder() -> Path:
    """Where the weights that come with the package lie; it need not exist."""
    return Path(str(files("qsm_workflows"))) / "weights"


def find_weights(name: str) -> Path | None:
    """Look for the weights called `name`, first in the user's folder, then in the package.

    Parameters
    ----------
    name : str
        File name without its suffix (one of :data:`SUFFIXES`), e.g. ``xqsm-individual``.

    Returns
    -------
    pathlib.Path or None
        None when there are no such weights.
    """
    return _find_in(user_folder(), name) or _find_in(package_folder(), name)


def shadows_package(path: Path) -> bool:
    """Whether a file is a user's, and used instead of the package's weights of its name."""
    return path.parent == user_folder() and _find_in(package_folder(), path.stem) is not None


def _find_in(folder: Path, name: str) -> Path | None:
    candidates = (folder / f"{name}{suffix}" for suffix in SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def installed_weights() -> Iterator[Path]:
    """Weights of the user and of the package; of one name only those that are used."""
    seen = set()
    for folder in (user_folder(), package_folder()):
        for suffix in SUFFIXES:
            for path in sorted(folder.glob(f"*{suffix}")):
                if path.stem not in seen:
                    seen.add(path.stem)
                    yield path


def read_metadata(path: Path) -> dict[str, str]:
    """What a ``.safetensors`` file says of itself; nothing of any other file.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{path} is damaged or not a file of weights ({error}); fetch it again"
        ) from error


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file.

    Raises
    ------
    ValueError
        If there is no such file.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(
            f"cannot read the weights {path} ({error.strerror}); give the path of a "
            ".safetensors or .pth file"
        ) from error
