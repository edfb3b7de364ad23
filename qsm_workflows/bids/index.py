"""What a raw dataset holds that can be processed, and why the rest cannot."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from .inheritance import Sidecars, describes, list_images
from .scan import Scan, parse_name, strip_key

SUFFIXES = ("MEGRE", "T2starw")
"""Suffixes of gradient echo scans."""

_KEYS = ("sub", "ses", "acq", "rec", "run")
_PARTS = {"mag": "magnitude", "phase": "phase", "real": "real", "imag": "imaginary"}


@dataclass(frozen=True)
class Refusal:
    """Something that was seen and is not processed.

    Attributes
    ----------
    file : Path
    reason : str
    remedy : str
        What the user can do about it.
    is_fault : bool
        Whether something was to be processed and cannot; not so for a participant who has
        no gradient echo scan at all.
    """

    file: Path
    reason: str
    remedy: str
    is_fault: bool = True

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}. {self.remedy}."


@dataclass(frozen=True)
class Index:
    """Scans of a dataset.

    Attributes
    ----------
    scans : list of Scan
        What can be processed, by subject, session, acquisition and run.
    refused : list of Refusal
        Gradient echo images that cannot be processed, filters that match nothing, and
        participants without a gradient echo image, with the images that were seen, or without
        a folder.
    """

    scans: list[Scan] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


def index_dataset(
    bids_dir: str | Path,
    *,
    participants: Sequence[str] | None = None,
    sessions: Sequence[str] | None = None,
    runs: Sequence[str] | None = None,
    acquisitions: Sequence[str] | None = None,
) -> Index:
    """Find the gradient echo scans of a raw BIDS dataset.

    A scan is a set of ``part-mag`` and ``part-phase`` images with suffix MEGRE or
    T2starw, one of each for every echo; a magnitude may lack the ``part`` entity. Where
    there is no phase, ``part-real`` and ``part-imag`` images are taken instead.
    Sidecars are inherited as BIDS defines. Derivatives are never looked at.

    Parameters
    ----------
    bids_dir : path
        Root of the dataset.
    participants, sessions, runs, acquisitions : sequence of str, optional
        Labels to keep, with or without ``sub-``, ``ses-``, ``run-``, ``acq-``; by
        default everything. Runs are compared as numbers.

    Raises
    ------
    ValueError
        If `bids_dir` holds no participant, or a filter is not a BIDS label.
    """
    root = Path(bids_dir).absolute()
    wanted = {
        key: None if labels is None else [_comparable(key, strip_key(key, x)) for x in labels]
        for key, labels in zip(
            ("sub", "ses", "run", "acq"),
            (participants, sessions, runs, acquisitions),
            strict=True,
        )
    }
    subjects = _subjects(root)
    kept = [x for x in subjects if wanted["sub"] is None or x in wanted["sub"]]
    refused = _unmatched(root, "sub", wanted["sub"], subjects)
    sidecars = Sidecars()
    images = []
    others: dict[str, list[str]] = {f"sub-{subject}": [] for subject in kept}
    with_scan: set[str] = set()
    for path in list_images(root, kept):
        folder = path.relative_to(root).parts[0]
        try:
            entities, suffix = parse_name(path)
        except ValueError:
            suffix = ""
        if suffix not in SUFFIXES:
            others[folder].append(path.name)
            continue
        with_scan.add(folder)
        if folder == f"sub-{entities['sub']}":
            images.append(_Image(path, entities, suffix, sidecars.metadata(path)))
        else:
            refused.append(_misplaced(path, folder))
    refused += [
        Refusal(path, f"cannot be read as JSON: {error}", "Correct the sidecar")
        for path, error in sorted(sidecars.broken.items())
    ]
    if participants is None:
        refused += _without_folder(root / "participants.tsv", subjects)
    refused += [
        _no_gradient_echo(root / subject, names)
        for subject, names in others.items()
        if subject not in with_scan
    ]
    for key in ("ses", "run", "acq"):
        present = sorted({image.entities[key] for image in images if key in image.entities})
        refused += _unmatched(root, key, wanted[key], present)
        images = [image for image in images if _is_wanted(image.entities, key, wanted[key])]
    scans = []
    images.sort(key=_Image.order)
    for _, group in groupby(images, key=_Image.order):
        files = list(group)
        if any(describes(path, image.path) for path in sidecars.broken for image in files):
            continue  # as the sidecar's own refusal says
        try:
            scans.append(_assemble(files))
        except _Refused as refusal:
            refused.append(refusal.args[0])
    return Index(scans, refused)


@dataclass(frozen=True)
class _Image:
    """An image with what its name and its sidecars say."""

    path: Path
    entities: dict[str, str]
    suffix: str
    metadata: dict

    def order(self) -> tuple[str, ...]:
        """What the images of one scan share."""
        return (*(self.entities.get(key, "") for key in _KEYS), self.suffix)

    @property
    def part(self) -> str:
        return self.entities.get("part", "mag")

    @property
    def echo(self) -> int:
        return int(self.entities.get("echo", 1))


class _Refused(Exception):
    """Carries a refusal out of the assembly of a scan."""

    def __init__(self, file: Path, reason: str, remedy: str) -> None:
        super().__init__(Refusal(file, reason, remedy))


def _comparable(key: str, label: str) -> str:
    """Label in the form that it is compared in: runs are numbers."""
    return str(int(label)) if key == "run" and label.isdigit() else label


def _is_wanted(entities: dict[str, str], key: str, labels: list[str] | None) -> bool:
    return labels is None or _comparable(key, entities.get(key, "")) in labels


def _unmatched(
    root: Path, key: str, wanted: list[str] | None, present: Iterable[str]
) -> list[Refusal]:
    """Labels asked for that the dataset does not have."""
    known = {_comparable(key, label) for label in present}
    available = ", ".join(present) or "none"
    return [
        Refusal(root, f"there is no {key}-{label}", f"Choose among: {available}")
        for label in wanted or []
        if label not in known
    ]


def _subjects(root: Path) -> list[str]:
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder; give the root of a BIDS dataset")
    names = sorted(path.name for path in root.iterdir() if path.is_dir())
    subjects = [name.removeprefix("sub-") for name in names if name.startswith("sub-")]
    if not subjects:
        raise ValueError(
            f"{root} has no folder sub-…, only {', '.join(names) or 'no folder at all'}; "
            "give the root of a BIDS dataset"
        )
    return subjects


def _without_folder(table: Path, subjects: Sequence[str]) -> list[Refusal]:
    """Participants of the dataset's table who have no folder."""
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    listed = {(row.get("participant_id") or "").removeprefix("sub-") for row in rows} - {""}
    absent = [f"sub-{label}" for label in sorted(listed.difference(subjects))]
    if not absent:
        return []
    return [
        Refusal(
            table,
            f"it names {', '.join(absent)}, of whom there is no folder",
            "Add the data, or take them out of the table",
            is_fault=False,
        )
    ]


def _misplaced(path: Path, folder: str) -> Refusal:
    return Refusal(
        path, f"it lies in the folder of {folder}, but has the name of another", "Rename or move it"
    )


def _no_gradient_echo(folder: Path, names: list[str]) -> Refusal:
    seen = f"only {', '.join(sorted(names))}" if names else "no NIfTI image in anat/, fmap/ or swi/"
    if any("_phasediff." in name for name in names):
        return Refusal(
            folder,
            f"there is a phase difference, {seen}: no susceptibility can be mapped from it",
            "Export magnitude and phase of every echo from the scanner, and convert them",
            is_fault=False,
        )
    return Refusal(
        folder,
        f"there is no gradient echo scan, {seen}",
        "Name magnitude and phase sub-…_echo-1_part-mag_MEGRE and …_part-phase_MEGRE "
        "(a single echo: …_part-mag_T2starw), in anat/",
        is_fault=False,
    )


def _assemble(images: list[_Image]) -> Scan:
    """Make a scan of the images that share its entities, or say why not."""
    pair = _pair_parts(_sort_parts(images))
    first_part, second_part = pair.values()
    echo_times = tuple(
        _agree("EchoTime", [first_part[echo], second_part[echo]], "in seconds")
        for echo in first_part
    )
    paths = {part: tuple(image.path for image in echoes.values()) for part, echoes in pair.items()}
    entities = images[0].entities
    first = next(iter(second_part.values()))
    return Scan(
        subject=entities["sub"],
        session=entities.get("ses"),
        run=entities.get("run"),
        acquisition=entities.get("acq"),
        reconstruction=entities.get("rec"),
        magnitude=paths.get("mag", ()),
        phase=paths.get("phase", ()),
        real=paths.get("real", ()),
        imaginary=paths.get("imag", ()),
        echo_times=echo_times,
        b0=_agree("MagneticFieldStrength", images, "in tesla"),
        manufacturer=_manufacturer(first),
        phase_units=first.metadata.get("Units") if "phase" in pair else "rad",
        stated_phase_sign=_phase_sign(first),
    )


def _manufacturer(image: _Image) -> str | None:
    maker = image.metadata.get("Manufacturer")
    if not isinstance(maker, str | None):
        raise _Refused(image.path, f"Manufacturer is {maker!r}, not a text", "Correct the sidecar")
    if maker is not None and not maker.isprintable():
        raise _Refused(
            image.path, f"Manufacturer holds control characters, {maker!r}", "Correct the sidecar"
        )
    return maker


def _phase_sign(image: _Image) -> int | None:
    sign = image.metadata.get("PhaseSign")
    if sign not in (None, 1, -1):
        raise _Refused(
            image.path,
            f"PhaseSign is {sign!r}",
            "State 1 if a raised field gives positive phase, else -1",
        )
    return sign


def _sort_parts(images: list[_Image]) -> dict[str, dict[int, _Image]]:
    """Images by part and echo."""
    parts: dict[str, dict[int, _Image]] = {part: {} for part in _PARTS}
    for image in images:
        for key in ("run", "echo"):
            if not image.entities.get(key, "1").isdigit():
                raise _Refused(
                    image.path, f"{key}-{image.entities[key]} is not a number", "Rename the image"
                )
        unknown = set(image.entities) - {*_KEYS, "echo", "part"}
        if unknown:
            raise _Refused(
                image.path,
                f"the entity {sorted(unknown)[0]}- is not handled",
                "Leave it out of the name, or put its label into acq-",
            )
        if image.part not in parts:
            raise _Refused(
                image.path,
                f"part-{image.part} is not handled",
                f"Rename the image: part- is {', '.join(_PARTS)}",
            )
        same = parts[image.part].setdefault(image.echo, image)
        if same is not image:
            raise _Refused(
                image.path, f"{same.path.name} is the same echo and part", "Remove one of them"
            )
    return parts


def _pair_parts(parts: dict[str, dict[int, _Image]]) -> dict[str, dict[int, _Image]]:
    """The two parts that make up the scan, echoes in order and each complete."""
    is_complex = not parts["phase"] and bool(parts["real"] or parts["imag"])
    one, two = ("real", "imag") if is_complex else ("mag", "phase")
    for part, other in ((one, two), (two, one)):
        for echo, image in parts[part].items():
            if echo not in parts[other]:
                raise _Refused(
                    image.path,
                    f"there is no {_PARTS[other]} image"
                    + (f" of echo {echo}" if parts[other] else " beside it"),
                    f"Add {_twin_name(image, other)}; QSM needs both {_PARTS[one]} and "
                    f"{_PARTS[two]}",
                )
    return {part: dict(sorted(parts[part].items())) for part in (one, two)}


def _twin_name(image: _Image, part: str) -> str:
    """Name of the image that holds the other part of an echo."""
    entities = {**image.entities, "part": part}
    return "_".join(f"{key}-{label}" for key, label in entities.items()) + f"_{image.suffix}.nii.gz"


def _agree(key: str, images: list[_Image], unit: str) -> float:
    """Value of a sidecar field that must be the same in all images."""
    values = []
    for image in images:
        value = image.metadata.get(key)
        if value is None:
            raise _Refused(
                image.path, f"its sidecar has no {key}", f"Add {key} ({unit}) to its JSON sidecar"
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _Refused(
                image.path, f"{key} is {value!r}, not a number", f"State {key} as a number, {unit}"
            )
        values.append(float(value))
        if not math.isclose(values[-1], values[0], rel_tol=1e-3):
            raise _Refused(
                image.path,
                f"{key} is {value:g} but {images[0].path.name} says {values[0]:g}",
                "Correct the sidecar that is wrong",
            )
    return values[0]
