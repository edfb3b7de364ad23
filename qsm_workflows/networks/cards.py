"""Cards of weights: what a trained network is, in a JSON file beside it.

Imports no torch.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qsm_workflows.files import write_whole

from . import weights


def card_path(path: Path) -> Path:
    """Where the card of a file of weights lies."""
    return path.with_suffix(".json")


def read_card(path: Path) -> dict[str, Any] | None:
    """Card of a file of weights, or None if it has none.

    A card is known by the SHA-256 in it: whoever trained a network may have put a JSON file
    of another kind beside it.

    Raises
    ------
    ValueError
        If the file that should be the card is no JSON.
    """
    file = card_path(path)
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ValueError(
            f"cannot read the card {file} ({error}); mend it, or move it away"
        ) from error
    return card if isinstance(card, dict) and "sha256" in card else None


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
    if card is not None and card["sha256"] != sha256:
        ours = path.parent == weights.package_folder()
        remedy = "install qsm-workflows again" if ours else "install it again, or remove the card"
        raise ValueError(
            f"{path} has SHA-256 {sha256}, but its card {card_path(path).name} says "
            f"{card['sha256']}: the file is damaged or was exchanged; {remedy}"
        )
