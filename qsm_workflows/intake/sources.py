"""Which NIfTI files make up which scan: patterns, or a small mapping file."""

import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from glob import glob
from itertools import zip_longest
from pathlib import Path
from typing import Any

from qsm_workflows.bids.names import sidecar_path
from qsm_workflows.bids.scan import is_label, strip_key

KINDS = ("magnitude", "phase", "complex", "real", "imaginary")
"""What a file may hold."""

_COMPLETE = ({"magnitude", "phase"}, {"complex"}, {"real", "imaginary"})

_PLACEHOLDERS = {"subject": "sub", "session": "ses", "acquisition": "acq", "run": "run"}
_ECHO = "echo"
_KEY = "key_"
"""Begins the group of a placeholder's key in a regular expression."""

_Key = tuple[tuple[str, str], ...]
_Scans = dict[_Key, dict[str, list[Path]]]
"""Files by the entities of their scan and by kind."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is said of scans beside their images; None where nothing is said.

    Attributes
    ----------
    te : tuple of float or None
        Echo times in seconds.
    b0 : float or None
        Field strength in tesla.
    phase_units : str
        As :func:`qsm_workflows.intake.volumes.to_radians` takes them.
    phase_sign : int or None
    manufacturer : str or None
    b0_dir : tuple of float or None
        B0 in voxel axes, for images that have lost their orientation.
    channels : {4, 5} or None
        Axis of the receive channels, counted from one, where they are not combined.
    """

    te: tuple[float, ...] | None = None
    b0: float | None = None
    phase_units: str = "auto"
    phase_sign: int | None = None
    manufacturer: str | None = None
    b0_dir: tuple[float, ...] | None = None
    channels: int | None = None

    def __post_init__(self) -> None:
        for name in ("te", "b0_dir"):
            value = getattr(self, name)
            if value is not None and not all(_is_number(x) for x in value):
                raise ValueError(f"{name} must be numbers, not {list(value)}")
        if self.b0 is not None and not _is_number(self.b0):
            raise ValueError(f"b0 must be a number, in tesla, not {self.b0!r}")
        if self.phase_sign not in (None, 1, -1):
            raise ValueError(f"the phase sign must be 1 or -1, not {self.phase_sign!r}")
        if self.channels not in (None, 4, 5):
            raise ValueError(f"the axis of the channels must be 4 or 5, not {self.channels!r}")


@dataclass(frozen=True)
class Source:
    """Files of one scan.

    Attributes
    ----------
    entities : dict
        BIDS labels by key, or words of the file names where labels should be;
        :func:`check_entities` tells.
    files : dict
        Paths by kind, echoes in order.
    facts : Facts
    """

    entities: dict[str, str]
    files: dict[str, list[Path]]
    facts: Facts = field(default_factory=Facts)


def find_sources(
    patterns: Mapping[str, Sequence[str]],
    entities: Mapping[str, str],
    facts: Facts,
    folder: Path = Path(),
) -> list[Source]:
    """Find the scans that patterns mean.

    Parameters
    ----------
    patterns : mapping
        Paths by kind, with the wildcards ``*``, ``?``, ``**`` and the placeholders
        ``{subject}``, ``{session}``, ``{acquisition}``, ``{run}`` (labels without keys)
        and ``{echo}`` (a number). What stands for a label may have its key (``sub-01``).
    entities : mapping
        BIDS labels by key, for what no placeholder says.
    facts : Facts
    folder : Path
        What relative paths are relative to.

    Raises
    ------
    ValueError
        If a kind is missing, a pattern matches nothing, or a scan lacks a kind that
        others have.
    """
    given = {kind for kind, texts in patterns.items() if texts}
    if given not in _COMPLETE:
        ways = ", or ".join(" and ".join(sorted(kinds, reverse=True)) for kinds in _COMPLETE)
        raise ValueError(f"give {ways} images; given: {', '.join(sorted(given)) or 'none'}")
    labels = {key: strip_key(key, label) for key, label in entities.items()}
    scans: _Scans = {}
    for kind in sorted(given):
        for text in patterns[kind]:
            for key, paths in _match(text, labels, folder).items():
                scans.setdefault(key, {}).setdefault(kind, []).extend(paths)
    scans = _meant(scans)
    for key, files in scans.items():
        for kind in sorted(given - files.keys()) if _has_labels(key) else ():
            name = ", ".join(f"{k}-{label}" for k, label in key)
            raise ValueError(f"there are {sorted(files)[0]} images of {name}, but no {kind} images")
    return [Source(dict(key), files, facts) for key, files in sorted(scans.items())]


def check_entities(source: Source) -> None:
    """Refuse a scan that the names of its files give no BIDS labels.

    Raises
    ------
    ValueError
        With a file to rename.
    """
    for word in source.entities.values():
        if not is_label(word):
            path = next(iter(source.files.values()))[0]
            raise ValueError(
                f"{word!r} of {path} is no BIDS label, which has letters and digits only; rename it"
            )


def read_mapping(path: Path) -> list[Source]:
    """Read a mapping file: options for all scans, then one table ``[[scan]]`` for each.

    Raises
    ------
    ValueError
        If it is not TOML or says something that is not understood.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as TOML: {error}") from error
    tables = content.pop("scan", None)
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ValueError(f"{path} has no table [[scan]] with the files of a scan")
    common = _facts(content, Facts(), path)
    sources = []
    for number, table in enumerate(tables, 1):
        place = f"{path}, scan {number}"
        entities = {
            _PLACEHOLDERS[name]: str(table.pop(name)) for name in _PLACEHOLDERS if name in table
        }
        patterns = {kind: _texts(table.pop(kind), place) for kind in KINDS if kind in table}
        try:
            facts = _facts(table, common, place)
            sources += find_sources(patterns, entities, facts, path.parent)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
    return sources


def with_sidecars(source: Source) -> tuple[Facts, dict[str, Any]]:
    """Facts of a scan, completed from the JSON files beside its images.

    Returns
    -------
    facts : Facts
    metadata : dict
        Other fields of the first sidecar that a run or the checks make use of.

    Raises
    ------
    ValueError
        If a JSON file cannot be read, or echo times and field strength are not known.
    """
    paths = next(iter(source.files.values()))
    sidecars = [_read_json(sidecar_path(path)) for path in paths]
    first = sidecars[0]
    facts = source.facts
    times = [sidecar["EchoTime"] for sidecar in sidecars if "EchoTime" in sidecar]
    if facts.te is None and len(times) == len(paths):
        facts = replace(facts, te=tuple(times))
    if facts.b0 is None:
        facts = replace(facts, b0=first.get("MagneticFieldStrength"))
    if facts.manufacturer is None:
        facts = replace(facts, manufacturer=first.get("Manufacturer"))
    if facts.phase_sign is None:
        facts = replace(facts, phase_sign=first.get("PhaseSign"))
    if facts.te is None:
        raise ValueError(f"the echo times of {paths[0]} are not known; give --te, in seconds")
    if facts.b0 is None:
        raise ValueError(f"the field strength of {paths[0]} is not known; give --b0, in tesla")
    kept = ("ImagingFrequency", "RepetitionTime", "FlipAngle", "ManufacturersModelName")
    return facts, {key: first[key] for key in kept if key in first}


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error
    return content if isinstance(content, dict) else {}


def _has_labels(key: _Key) -> bool:
    return all(is_label(label) for _, label in key)


def _meant(scans: _Scans) -> _Scans:
    """Scans without those whose words for labels only come of a pattern that is wide.

    ``{subject}.nii`` matches ``01_phase.nii`` too, which is another pattern's file of subject
    01 and none of a subject ``01_phase``.
    """

    def order(key: _Key) -> tuple[bool, int]:
        return not _has_labels(key), sum(len(label) for _, label in key)

    meant: _Scans = {}
    taken: set[Path] = set()
    for key in sorted(scans, key=order):
        paths = {path for paths in scans[key].values() for path in paths}
        if _has_labels(key) or not paths <= taken:
            meant[key] = scans[key]
        taken |= paths
    return meant


def _match(text: str, labels: Mapping[str, str], folder: Path) -> dict[_Key, list[Path]]:
    """Files of a pattern by the entities of their scan, echoes in order."""
    pattern = str(folder / text)
    # Labels first: they tell where one placeholder ends and the next begins.
    label, word = (re.compile(_expression(pattern, form)) for form in ("[0-9a-zA-Z+]+", "[^/]+?"))
    found: dict[_Key, list[tuple[Any, str]]] = {}
    spelt: dict[_Key, tuple[list[str | None], str]] = {}
    # Brackets are no wildcards here: they are common in folder names.
    wildcards = re.sub(r"\{\w*\}", "*", pattern.replace("[", "[[]"))
    for name in glob(wildcards, recursive=True):
        match = label.fullmatch(name) or word.fullmatch(name)
        if match is None or not Path(name).is_file():
            continue
        words = match.groupdict()
        keys = [words.pop(group) for group in list(words) if group.startswith(_KEY)]
        echo = int(words.pop(_ECHO, None) or 0)
        entities = {**labels, **{_PLACEHOLDERS[key]: label for key, label in words.items()}}
        if "sub" not in entities:
            raise ValueError(f"{text}: whose scan is it? Give --subject, or use {{subject}}")
        scan = tuple(sorted(entities.items()))
        found.setdefault(scan, []).append(((echo, _natural(name)), name))
        before, other = spelt.setdefault(scan, (keys, name))
        if keys != before:
            raise ValueError(
                f"{other} and {name} are named as one scan, with and without the key of a label "
                "(sub-01 and 01); rename those of one of them"
            )
    if not found:
        raise ValueError(f"{text} matches no file in {folder.absolute()}")
    return {key: [Path(name) for _, name in sorted(files)] for key, files in found.items()}


def _expression(pattern: str, label: str) -> str:
    """Regular expression of a pattern with wildcards and placeholders, given that of a label."""
    seen: set[str] = set()

    def translate(token: str) -> str:
        name = token.strip("{}")
        if name == _ECHO:
            key, form = "", "[0-9]+"
        elif name in _PLACEHOLDERS:
            key, form = f"{_PLACEHOLDERS[name]}-", label
        else:
            known = ", ".join(f"{{{key}}}" for key in (*_PLACEHOLDERS, _ECHO))
            raise ValueError(f"{token} of {pattern} is not one of {known}")
        if name in seen:
            return f"(?:{key})?(?P={name})"
        seen.add(name)
        return f"(?P<{_KEY}{name}>{key})?(?P<{name}>{form})"

    wildcards = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\{\w*\}|\*\*/|\*\*|\*|\?)", pattern)
    literal, tokens = pieces[::2], pieces[1::2]
    return "".join(
        re.escape(text) + (wildcards.get(token) or translate(token) if token else "")
        for text, token in zip_longest(literal, tokens, fillvalue="")
    )


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Key that sorts e10 after e9."""
    words = re.split(r"([0-9]+)", name)
    return [(1, int(word), "") if word.isdigit() else (0, 0, word) for word in words]


def _facts(table: Mapping[str, Any], common: Facts, place: object) -> Facts:
    """Facts that a table of a mapping file states."""
    values = {name.replace("-", "_"): value for name, value in table.items()}
    known = {item.name for item in fields(Facts)}
    for name in values.keys() - known:
        raise ValueError(
            f"{place}: {name!r} is not understood; known are "
            f"{', '.join(sorted({*known, *KINDS, *_PLACEHOLDERS}))}"
        )
    for name in ("te", "b0_dir"):
        if name in values:
            value = values[name]
            values[name] = tuple(value) if isinstance(value, list) else (value,)
    if "phase_units" in values:
        values["phase_units"] = str(values["phase_units"])
    return replace(common, **values)


def _texts(value: Any, place: str) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{place}: {value!r} is not a path or a list of paths")
    return texts


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)
