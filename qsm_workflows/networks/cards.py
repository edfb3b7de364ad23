"""Cards of weights: what a trained network is, in a JSON file beside it.

Imports no torch.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsm_workflows.files import write_whole

from . import weights


@dataclass(frozen=True)
class Installed:
    """A file of weights that the package finds by its name."""

    path: Path
    card: Mapping[str, Any]
    """Empty when there is none."""

    @property
    def name(self) -> str:
        """By which it is asked for."""
        return self.path.stem


def installed_weights() -> Iterator[Installed]:
    """Weights of the user and of the package; of one name only those that are used."""
    seen = set()
    for folder in (weights.user_folder(), weights.package_folder()):
        for suffix in weights.SUFFIXES:
            for path in sorted(folder.glob(f"*{suffix}")):
                if path.stem not in seen:
                    seen.add(path.stem)
                    yield Installed(path, read_card(path) or {})


def card_path(path: Path) -> Path:
    """Where the card of a file of weights lies."""
    return path.with_suffix(".json")


def read_card(path: Path) -> dict[str, Any] | None:
    """Card of a file of weights, or None if it has none.

    Raises
    ------
    ValueError
        If the card is no JSON object.
    """
    file = card_path(path)
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read the card {file}: {error}") from error
    if not isinstance(card, dict):
        raise ValueError(f"the card {file} must hold a JSON object")
    return card


def write_card(path: Path, content: Mapping[str, Any]) -> None:
    """Write the card of a file of weights, with the file's SHA-256."""
    text = json.dumps({**content, "sha256": weights.sha256(path)}, indent=2, ensure_ascii=False)
    write_whole(card_path(path), lambda partial: partial.write_text(text + "\n", encoding="utf-8"))


def check_card(path: Path, sha256: str) -> None:
    """Compare a file with its card, if it has one.

    Parameters
    ----------
    path : Path
        File of weights.
    sha256 : str
        Of its content.

    Raises
    ------
    ValueError
        If the card names another hash.
    """
    card = read_card(path)
    if card is not None and card.get("sha256", sha256) != sha256:
        raise ValueError(
            f"{path} has SHA-256 {sha256}, but its card {card_path(path).name} says "
            f"{card['sha256']}: the file is damaged or was exchanged; install it again, or "
            "remove the card"
        )
