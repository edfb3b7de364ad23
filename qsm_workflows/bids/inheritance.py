"""Images of a raw dataset, and the sidecars that each inherits."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

DATATYPES = ("anat", "fmap", "swi")
"""Folders where gradient echo scans may be."""

_IMAGES = (".nii", ".nii.gz")


def list_images(root: Path, subjects: Sequence[str]) -> Iterator[Path]:
    """NIfTI images of some participants, in their folders for anatomy and fields.

    Links are followed, also those that lead nowhere: a file that was not fetched is named
    rather than missed. No folder is read but those that BIDS has, so that a link to a folder
    above can do no harm.
    """
    for subject in subjects:
        top = root / f"sub-{subject}"
        sessions = [top / name for name in _names(top) if name.startswith("ses-")]
        for folder in (top, *sessions):
            for datatype in DATATYPES:
                place = folder / datatype
                for name in _names(place):
                    if name.endswith(_IMAGES) and not (place / name).is_dir():
                        yield place / name


def _names(folder: Path) -> list[str]:
    """Sorted names in a folder; none if it cannot be read or is not there."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def describes(sidecar: Path, image: Path) -> bool:
    """Whether an image inherits a sidecar, by their names and folders."""
    return sidecar.parent in image.parents and _words(sidecar.name) <= _words(image.name)


def _words(name: str) -> set[str]:
    """Entities and suffix of a name."""
    return set(name.split(".")[0].split("_"))


class Sidecars:
    """JSON files of a dataset, each read once.

    Attributes
    ----------
    broken : dict of Path to str
        Files that were needed and cannot be read, and why.
    """

    def __init__(self) -> None:
        self.broken: dict[Path, str] = {}
        self._listed: dict[Path, list[tuple[set[str], Path]]] = {}
        self._read: dict[Path, dict[str, Any]] = {}

    def metadata(self, image: Path) -> dict[str, Any]:
        """Fields of all sidecars that an image inherits, those nearest to it winning.

        In one folder, the sidecar whose name says more wins. One that cannot be read
        adds nothing but its entry in `broken`.
        """
        words = _words(image.name)
        metadata: dict[str, Any] = {}
        for folder in _levels(image):
            for own, path in self._list(folder):
                if own <= words:
                    metadata |= self._content(path)
        return metadata

    def _list(self, folder: Path) -> list[tuple[set[str], Path]]:
        """JSON files of a folder, those with few entities first."""
        if folder not in self._listed:
            names = [name for name in _names(folder) if name.endswith(".json")]
            names.sort(key=lambda name: name.count("_"))
            self._listed[folder] = [(_words(name), folder / name) for name in names]
        return self._listed[folder]

    def _content(self, path: Path) -> dict[str, Any]:
        if path not in self._read:
            self._read[path] = {}
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                if not isinstance(content, dict):
                    raise ValueError("it holds no object")
                self._read[path] = content
            except (OSError, ValueError, RecursionError) as error:
                self.broken[path] = str(error)
        return self._read[path]


def _levels(image: Path) -> list[Path]:
    """Folders whose sidecars an image inherits, from the root of its dataset downwards."""
    parents = list(image.parents)
    top = next((i for i, folder in enumerate(parents) if folder.name.startswith("sub-")), 0)
    return parents[top + 1 :: -1]
