"""Which DICOM series make up a gradient echo scan, and why the others do not."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

import numpy as np

from .headers import Header, Slice

# Fewer slices are localisers.
_FEWEST_SLICES = 5
# Largest deviation of a gap between slices, as a share of it.
_GAP_TOLERANCE = 0.1

Volumes = dict[tuple[str, float, int, str], list[Slice]]
"""Slices by part, echo time, repetition and receive channel, empty where these are combined."""


@dataclass(frozen=True)
class Series:
    """One series.

    Attributes
    ----------
    header : Header
        Of its first file.
    volumes : Volumes
    fault : str
        Why it is of no use; empty if it may be.
    """

    header: Header
    volumes: Volumes
    fault: str = ""

    @property
    def parts(self) -> set[str]:
        """What it holds."""
        return {part for part, *_ in self.volumes}

    def times(self, part: str) -> tuple[float, ...]:
        """Echo times of a part, ascending."""
        return tuple(sorted({time for name, time, *_ in self.volumes if name == part}))

    @property
    def grid(self) -> tuple:
        """What images of one scan share: matrix, orientation and slice positions."""
        slices = next(iter(self.volumes.values()), [])
        positions = frozenset(piece.position for piece in slices)
        return (*self.header.shape, slices[0].orientation if slices else (), positions)

    @property
    def coils(self) -> tuple[str, ...]:
        """Receive channels; a single one without a name where they are combined."""
        return tuple(sorted({coil for *_, coil in self.volumes}))

    @property
    def n_repetitions(self) -> int:
        """How often each echo was scanned."""
        return 1 + max((repetition for _, _, repetition, _ in self.volumes), default=0)


@dataclass(frozen=True)
class Acquisition:
    """Series that make up one scan.

    Attributes
    ----------
    kind : str
        ``scan``, or ``field map`` for two magnitudes and the difference of their phases.
    series : tuple of Series
        One that holds everything, or one of magnitude and one of phase.
    parts : tuple of str
        ``magnitude`` and ``phase``, or ``real`` and ``imaginary``.
    echo_times : tuple of float
        In seconds.
    """

    kind: Literal["scan", "field map"]
    series: tuple[Series, ...]
    parts: tuple[str, str]
    echo_times: tuple[float, ...]

    def slices(self, part: str, time: float, repetition: int, coil: str) -> list[Slice]:
        """Slices of one volume."""
        key = (part, time, repetition, coil)
        return next(series.volumes[key] for series in self.series if key in series.volumes)

    @property
    def coils(self) -> tuple[str, ...]:
        """Receive channels; a single one without a name where they are combined."""
        return self.series[0].coils

    @property
    def n_repetitions(self) -> int:
        """How often the scan was repeated within its series."""
        return min(series.n_repetitions for series in self.series)


@dataclass
class Sorting:
    """What became of all series.

    Attributes
    ----------
    acquisitions : list of Acquisition
    left_out : list of (Series, str)
        Series that are of no use, and why.
    """

    acquisitions: list[Acquisition] = field(default_factory=list)
    left_out: list[tuple[Series, str]] = field(default_factory=list)


def sort_series(headers: Iterable[Header]) -> Sorting:
    """Sort files into series and series into scans.

    Parameters
    ----------
    headers : iterable of Header
        In any order, of any number of patients; copies of a file count once.
    """
    unique = {header.instance: header for header in headers}
    groups: dict[tuple[str, str, str], list[Header]] = defaultdict(list)
    for header in unique.values():
        groups[header.patient, header.study, header.series].append(header)
    sorting = Sorting()
    useful = []
    for files in sorted(groups.values(), key=_order):
        series = _make_series(files)
        if series.fault:
            sorting.left_out.append((series, series.fault))
        else:
            useful.append(series)
    for _, studies in groupby(useful, key=lambda s: (s.header.patient, s.header.study)):
        _pair(list(studies), sorting)
    return sorting


def _order(files: Sequence[Header]) -> tuple:
    """Patients and studies side by side, the earliest first."""
    header = files[0]
    return header.study_time, header.patient, header.study, header.number, header.series


def _make_series(files: Sequence[Header]) -> Series:
    fault = next((header.fault for header in files if header.fault), "")
    pieces = [piece for header in files for piece in header.slices]
    if fault:
        return Series(files[0], {}, fault)
    stacks: dict[tuple[str, float, tuple], list[Slice]] = defaultdict(list)
    for piece in pieces:
        stacks[piece.part, piece.echo_time, piece.position].append(piece)
    # The vendor's name of a combined image may differ from slice to slice.
    uncombined = any(len({piece.coil for piece in same}) > 1 for same in stacks.values())
    volumes: Volumes = defaultdict(list)
    for (part, time, _), same in stacks.items():
        count: Counter[str] = Counter()
        for piece in sorted(same, key=lambda piece: piece.order):
            coil = piece.coil if uncombined else ""
            volumes[part, time, count[coil], coil].append(piece)
            count[coil] += 1
    return Series(files[0], dict(volumes), _incomplete(volumes))


def _incomplete(volumes: Volumes) -> str:
    """Why volumes cannot be stacked; empty if they can."""
    if len({piece.orientation for slices in volumes.values() for piece in slices}) > 1:
        return "slices of several orientations"
    counts = Counter(len(slices) for slices in volumes.values())
    most = max(counts)
    if most < _FEWEST_SLICES:
        return f"only {most} slices"
    images = {(part, time, repetition) for part, time, repetition, _ in volumes}
    coils = {coil for *_, coil in volumes}
    for image in images:
        missing = sum((*image, coil) not in volumes for coil in coils)
        if missing:
            return (
                f"{missing} of {len(coils)} receive channels missing of {image[0]} at "
                f"{1000 * image[1]:g} ms; copy the series again"
            )
    for (part, time, *_), slices in volumes.items():
        if len(slices) != most:
            return (
                f"{most - len(slices)} of {most} slices missing of {part} at {1000 * time:g} ms; "
                "copy the series again"
            )
        along = np.sort([_height(piece) for piece in slices])
        gaps = np.diff(along)
        if not np.allclose(gaps, np.median(gaps), rtol=_GAP_TOLERANCE):
            return f"slices missing in between of {part} at {1000 * time:g} ms; copy it again"
    return ""


def _height(piece: Slice) -> float:
    """Position of a slice along its normal, in mm."""
    row, column = np.array(piece.orientation[:3]), np.array(piece.orientation[3:])
    return float(np.cross(row, column) @ np.array(piece.position))


def _pair(series: list[Series], sorting: Sorting) -> None:
    """Find magnitude and phase that belong together among the series of one study."""
    lone: list[Series] = []
    for item in series:
        for first, second in (("magnitude", "phase"), ("real", "imaginary")):
            times = item.times(first)
            if times and times == item.times(second):
                _add(Acquisition("scan", (item,), (first, second), times), sorting)
                break
        else:
            lone.append(item)
    for first, second in (("phase", "magnitude"), ("imaginary", "real")):
        for item in [x for x in lone if x.parts == {first}]:
            partner = _partner(item, [x for x in lone if x.parts == {second}], first, second)
            if partner is None:
                continue
            is_difference = item.times(first) != partner.times(second)
            kind: Literal["scan", "field map"] = "field map" if is_difference else "scan"
            times = partner.times(second)
            _add(Acquisition(kind, (partner, item), (second, first), times), sorting)
            lone = [x for x in lone if x is not item and x is not partner]
    for item in lone:
        held = " and ".join(sorted(item.parts))
        sorting.left_out.append((item, f"{held} images, without what belongs to them"))


def _add(acquisition: Acquisition, sorting: Sorting) -> None:
    """Take a scan, unless the numbers of its echoes tell that one of them is missing."""
    first = acquisition.parts[0]
    coils = acquisition.coils
    if len(coils) > 1 and (acquisition.kind == "field map" or len(acquisition.echo_times) < 2):
        reason = (
            f"{len(coils)} receive channels that were not combined, which takes the phase of two "
            "echoes; export the combined images"
        )
        sorting.left_out += [(series, reason) for series in acquisition.series]
        return
    numbers = [
        acquisition.slices(first, time, 0, coils[0])[0].echo for time in acquisition.echo_times
    ]
    missing = set(range(1, max(numbers) + 1)) - set(numbers)
    # Some scanners give all echoes the same number.
    if missing and 0 not in numbers and len(set(numbers)) == len(numbers):
        what = ", ".join(map(str, sorted(missing)))
        reason = f"echo {what} of {max(numbers)} missing; copy the series again"
        sorting.left_out += [(series, reason) for series in acquisition.series]
    else:
        sorting.acquisitions.append(acquisition)


def _partner(item: Series, others: Sequence[Series], part: str, other_part: str) -> Series | None:
    """Series on the same grid and with the same echoes, nearest by number.

    The difference of the phases of two echoes is labelled with the later one.
    """
    times = item.times(part)
    matching = [
        other
        for other in others
        if other.grid == item.grid
        and other.coils == item.coils
        and (
            other.times(other_part) == times
            or (part == "phase" and len(times) == 1 and other.times(other_part)[1:] == times)
        )
    ]
    return min(
        matching, key=lambda other: abs(other.header.number - item.header.number), default=None
    )


def describe_acquisition(acquisition: Acquisition) -> str:
    """Series, contents and matrix, for a reader."""
    numbers = " + ".join(str(series.header.number) for series in acquisition.series)
    first = acquisition.series[0]
    times = ", ".join(f"{1000 * time:g}" for time in acquisition.echo_times)
    rows, columns = first.header.shape
    count = len(next(iter(first.volumes.values())))
    what = " and ".join(acquisition.parts)
    if len(acquisition.coils) > 1:
        what += f" of {len(acquisition.coils)} receive channels"
    return (
        f"series {numbers} ({first.header.description}): {what} at {times} ms, "
        f"{columns} × {rows} × {count} voxels"
    )
