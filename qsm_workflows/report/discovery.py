"""What an output folder holds: one record a scan, found by file names and sidecars."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qsm_workflows.bids.names import branch_label, mask_label, sidecar_path
from qsm_workflows.bids.scan import parse_name
from qsm_workflows.bids.sidecars import read_json

from .vocabulary import METHOD_NAMES

_BRANCH = re.compile(r"(B\+T|T\+B)(\d+(?:p\d+)?)")
_PREFIX_KEYS = ("sub", "ses", "acq", "rec", "run")


@dataclass(frozen=True)
class Image:
    """An image and what its sidecar says.

    Attributes
    ----------
    path : Path
    sidecar : mapping
        Empty where there is none.
    """

    path: Path
    sidecar: Mapping[str, Any]


@dataclass(frozen=True)
class ChiMap(Image):
    """A susceptibility map.

    Attributes
    ----------
    order : str
        ``B+T``, ``T+B`` or ``full``.
    coverage : float
        Percent of the deep-grey extent; infinite for the whole image.
    method : str
        Key of the inversion.
    mask : Path or None
        Where the map is valid.
    """

    order: str
    coverage: float
    method: str
    mask: Path | None

    @property
    def is_slab(self) -> bool:
        """Whether the map covers a part of the image only."""
        return math.isfinite(self.coverage)

    @property
    def of_total_field(self) -> bool:
        """Whether the total field was inverted: then there is no B+T of this method."""
        return _is_of_total_field(self.sidecar)


def _is_of_total_field(sidecar: Mapping[str, Any]) -> bool:
    return sidecar.get("InputField") == "total"


@dataclass(frozen=True)
class ScanOutputs:
    """Everything a run wrote for one scan; what is missing is None or empty.

    Attributes
    ----------
    entities : mapping
        BIDS keys and labels of the scan.
    magnitude, brain_mask, total_field, local_field : Image or None
        Whole head.
    slab_fields : mapping
        Coverage in percent → local field of T+B.
    maps : tuple of ChiMap
    table : Path or None
        Regional means.
    """

    entities: Mapping[str, str]
    magnitude: Image | None = None
    brain_mask: Image | None = None
    total_field: Image | None = None
    local_field: Image | None = None
    slab_fields: Mapping[float, Image] = field(default_factory=dict)
    maps: tuple[ChiMap, ...] = ()
    table: Path | None = None

    @property
    def subject(self) -> str:
        """Label of the subject."""
        return self.entities["sub"]

    @property
    def prefix(self) -> str:
        """Name of the scan, such as ``sub-01_ses-a_run-1``."""
        return "_".join(f"{key}-{label}" for key, label in self.entities.items())


_Key = tuple[str | None, ...]
_Files = dict[tuple[str, str], Path]


def find_scans(root: Path) -> list[ScanOutputs]:
    """Scans that a run has written something for, in the order of their names.

    Parameters
    ----------
    root : Path
        Folder of the output dataset.
    """
    files: dict[_Key, _Files] = {}
    chi: dict[_Key, list[tuple[Path, Mapping[str, Any], str, str]]] = {}
    for path in sorted([*root.glob("sub-*/**/*.nii.gz"), *root.glob("sub-*/**/*_stats.tsv")]):
        try:
            # Tables are named as images are.
            entities, suffix = parse_name(
                path.with_suffix(".nii") if path.suffix == ".tsv" else path
            )
        except ValueError:
            continue
        if suffix == "Chimap":
            sidecar = read_json(sidecar_path(path))
            scan_label, method = _split_method(entities.get("rec", ""), sidecar)
            key = _key({**entities, "rec": scan_label})
            chi.setdefault(key, []).append((path, sidecar, method, entities.get("desc", "")))
        else:
            files.setdefault(_key(entities), {})[suffix, entities.get("desc", "")] = path
    keys = {key for key, found in files.items() if _is_scan(found)} | set(chi)
    return [_collect(key, files, chi.get(key, [])) for key in sorted(keys, key=lambda k: str(k))]


def _key(entities: Mapping[str, str]) -> _Key:
    return tuple(entities.get(key) or None for key in _PREFIX_KEYS)


def _is_scan(files: _Files) -> bool:
    """Whether files other than field maps, which cannot name a reconstruction, are there."""
    return any(suffix in ("mask", "stats") for suffix, _ in files)


def _split_method(label: str, sidecar: Mapping[str, Any]) -> tuple[str, str]:
    """Split ``rec-`` into the scan's own label and the inversion that was appended to it."""
    candidates = [str(sidecar.get("InversionMethod", "")).lower(), *METHOD_NAMES]
    for method in sorted(filter(None, candidates), key=len, reverse=True):
        if label.endswith(method):
            return label.removesuffix(method), method
    return "", label


def _collect(
    key: _Key, files: Mapping[_Key, _Files], chi: list[tuple[Path, Mapping[str, Any], str, str]]
) -> ScanOutputs:
    entities = {
        name: label for name, label in zip(_PREFIX_KEYS, key, strict=True) if label is not None
    }
    anatomy = files.get(key, {})
    # In fmap the scan's own reconstruction is a part of `desc-`.
    fields = files.get(_key({**entities, "rec": ""}), {})
    own = entities.get("rec", "")

    def field_image(suffix: str, description: str) -> Image | None:
        return _image(fields.get((suffix, "+".join(filter(None, (description, own))))))

    maps = []
    for path, sidecar, method, description in chi:
        branch = _parse_branch(description)
        if branch is not None:
            label = mask_label(*branch, total_field=_is_of_total_field(sidecar))
            mask = anatomy.get(("mask", label))
            maps.append(ChiMap(path, sidecar, *branch, method, mask))
    slab_fields = {}
    for coverage in sorted({chi.coverage for chi in maps if chi.order == "T+B"}):
        image = field_image("fieldmap", f"local+{branch_label('T+B', coverage)}")
        if image is not None:
            slab_fields[coverage] = image
    return ScanOutputs(
        entities,
        field_image("magnitude", ""),
        _image(anatomy.get(("mask", "brain"))),
        field_image("fieldmap", "total"),
        field_image("fieldmap", "local+B+T"),
        slab_fields,
        tuple(maps),
        anatomy.get(("stats", "regions")),
    )


def _image(path: Path | None) -> Image | None:
    return None if path is None else Image(path, read_json(sidecar_path(path)))


def _parse_branch(description: str) -> tuple[str, float] | None:
    """Order and coverage of ``desc-``; None where it names neither."""
    if description == "full":
        return "full", math.inf
    match = _BRANCH.fullmatch(description)
    return (match[1], float(match[2].replace("p", "."))) if match else None
