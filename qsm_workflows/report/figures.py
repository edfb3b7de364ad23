"""Figures of one scan: magnitude with mask, fields, and χ maps of every method and coverage."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .discovery import ChiMap, Image, ScanOutputs
from .mosaic import OUTLINE, TEXT, Mosaic, Window, save_figure, shade
from .vocabulary import coverage_name, method_name, sort_methods
from .volumes import PLANES, crop_to, embed, focus, load_volume, take_plane

CHI_WINDOW = Window(-0.15, 0.2, "χ", "ppm")
LOCAL_WINDOW = Window(-0.05, 0.05, "field", "ppm")
TOTAL_WINDOW = Window(-0.8, 0.8, "field", "ppm")

_THREE_PLANES = ("axial", "coronal", "sagittal")
_GRID_PLANES = ("axial", "coronal")
# Inches, and square inches.
_THREE_PLANE_WIDTH = 9.5
_CELL_WIDTHS, _GRID_WIDTH, _GRID_AREA = (1.2, 2.2), 10.0, 130.0


@dataclass(frozen=True)
class FigureFile:
    """A figure that was written.

    Attributes
    ----------
    path : Path
    width, height : int
        Size in pixels.
    """

    path: Path
    width: int
    height: int


class Head:
    """The field of view of a scan, in which all its maps are drawn.

    Parameters
    ----------
    scan : ScanOutputs

    Raises
    ------
    ValueError
        If there is no image of the whole head.
    """

    def __init__(self, scan: ScanOutputs) -> None:
        whole = [m for m in scan.maps if m.order == "full"]
        images: list[Image | None] = [scan.brain_mask, scan.total_field, scan.magnitude, *whole]
        image = next((image for image in images if image is not None), None)
        if image is None:
            raise ValueError("there is no image of the whole head to draw slabs in")
        self._scan = scan
        self._reference = load_volume(image.path)
        self.mask = self._reference.data != 0

    @cached_property
    def centre(self) -> tuple[int, int, int]:
        """Voxel that all sections go through."""
        slabs = [m for m in self._scan.maps if m.is_slab]
        if not slabs:
            return focus(self.mask)
        thinnest = min(slabs, key=lambda m: (m.coverage, m.path.name))
        return focus(self.mask, ~np.isnan(self.place(thinnest.path)))

    @property
    def tilt(self) -> float:
        """Largest angle, in degrees, between image and world axes."""
        return self._reference.tilt

    def place(self, path: Path) -> NDArray[np.float32]:
        """Volume in the field of view of the head; NaN where it has no voxel."""
        return embed(load_volume(path), self._reference)

    def section(self, data: NDArray, plane: str, crop: tuple[slice, slice, slice]) -> NDArray:
        """Section of a volume through the centre."""
        return take_plane(data, plane, self.centre[PLANES[plane]], crop)

    def size(self, plane: str, crop: tuple[slice, slice, slice]) -> tuple[float, float]:
        """Width and height of a section, in mm."""
        lengths = [
            (box.stop - box.start) * length
            for box, length in zip(crop, self._reference.voxel_size, strict=True)
        ]
        del lengths[PLANES[plane]]
        return lengths[0], lengths[1]

    @property
    def everything(self) -> tuple[slice, slice, slice]:
        """The whole field of view."""
        x, y, z = (slice(0, size) for size in self.mask.shape)
        return x, y, z


def magnitude_figure(head: Head, magnitude: Path, path: Path) -> FigureFile:
    """Magnitude in three planes with the outline of the brain mask.

    Parameters
    ----------
    head : Head
    magnitude : Path
    path : Path
        PNG to write.
    """
    data = head.place(magnitude)
    window = Window(0.0, float(np.nanpercentile(data[head.mask], 99.5)) or 1.0, "magnitude", "a.u.")
    sizes = [head.size(plane, head.everything) for plane in _THREE_PLANES]
    mosaic = _three_plane_mosaic(sizes, rows=1, bars=False)
    for column, plane in enumerate(_THREE_PLANES):
        section = head.section(data, plane, head.everything)
        axes = mosaic.show(0, column, shade(section, window), sizes[column])
        mask = head.section(head.mask, plane, head.everything)
        if mask.any() and not mask.all():
            axes.contour(
                mask,
                levels=[0.5],
                colors=OUTLINE,
                linewidths=1.1,
                origin="lower",
                extent=(0, sizes[column][0], 0, sizes[column][1]),
            )
        mosaic.title(column, plane)
        _mark_sides(axes, plane)
    return _write(mosaic, path)


def field_figure(head: Head, total: Image | None, local: Image | None, path: Path) -> FigureFile:
    """Total and local field in three planes.

    Parameters
    ----------
    head : Head
    total, local : Image or None
        One of them at least.
    path : Path
        PNG to write.
    """
    rows = [
        (name, image, window)
        for name, image, window in (
            ("total field", total, TOTAL_WINDOW),
            ("local field", local, LOCAL_WINDOW),
        )
        if image is not None
    ]
    crop = crop_to(head.mask)
    sizes = [head.size(plane, crop) for plane in _THREE_PLANES]
    mosaic = _three_plane_mosaic(sizes, rows=len(rows), bars=True)
    for row, (name, image, window) in enumerate(rows):
        data = _inside(head, image.path, None)
        for column, plane in enumerate(_THREE_PLANES):
            brain = head.section(head.mask, plane, crop)
            section = shade(head.section(data, plane, crop), window, brain)
            axes = mosaic.show(row, column, section, sizes[column])
            _mark_sides(axes, plane)
            if row == 0:
                mosaic.title(column, plane)
        mosaic.row_label(row, row, name)
        mosaic.colour_bar(window, row, row)
    return _write(mosaic, path)


def chi_figure(head: Head, maps: Sequence[ChiMap], path: Path) -> FigureFile:
    """Susceptibility of every method and coverage of one order.

    Rows are methods and columns coverages; where there is one coverage only, methods
    are the columns.

    Parameters
    ----------
    head : Head
    maps : sequence of ChiMap
        At most one for each method and coverage.
    path : Path
        PNG to write.
    """
    methods = [method_name(method) for method in sort_methods(m.method for m in maps)]
    coverages = [coverage_name(c) for c in sorted({m.coverage for m in maps})]
    cells = {(method_name(m.method), coverage_name(m.coverage)): (m.path, m.mask) for m in maps}
    if len(coverages) == 1:
        turned = {("", method): files for (method, _), files in cells.items()}
        return _slab_figure(head, [""], methods, turned, CHI_WINDOW, path)
    return _slab_figure(head, methods, coverages, cells, CHI_WINDOW, path)


def slab_field_figure(head: Head, scan: ScanOutputs, path: Path) -> FigureFile:
    """Local field that T+B made of each slab, beside that of the whole head.

    Parameters
    ----------
    head : Head
    scan : ScanOutputs
    path : Path
        PNG to write.
    """
    masks = {
        chi.coverage: chi.mask for chi in scan.maps if chi.order == "T+B" and not chi.of_total_field
    }
    row = "local field"
    cells: dict[tuple[str, str], tuple[Path, Path | None]] = {
        (row, coverage_name(coverage)): (image.path, masks.get(coverage))
        for coverage, image in scan.slab_fields.items()
    }
    if scan.local_field is not None:
        cells[row, coverage_name(math.inf)] = (scan.local_field.path, None)
    return _slab_figure(head, [row], [column for _, column in cells], cells, LOCAL_WINDOW, path)


def _slab_figure(
    head: Head,
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], tuple[Path, Path | None]],
    window: Window,
    path: Path,
) -> FigureFile:
    """Axial above coronal section of each map, in the brain's field of view.

    Parameters
    ----------
    cells : mapping
        Row and column → map and its mask; where a pair is absent, so it is said.
    """
    crop = crop_to(head.mask)
    sizes = {plane: head.size(plane, crop) for plane in _GRID_PLANES}
    width = sizes["axial"][0]
    heights = [sizes[plane][1] for _ in rows for plane in _GRID_PLANES]
    cell_width = min(
        _GRID_WIDTH / len(columns), math.sqrt(_GRID_AREA * width / (len(columns) * sum(heights)))
    )
    mosaic = Mosaic(
        [width] * len(columns),
        heights,
        inches_per_mm=float(np.clip(cell_width, *_CELL_WIDTHS)) / width,
    )
    for column, name in enumerate(columns):
        mosaic.title(column, name)
    for row, row_name in enumerate(rows):
        first = len(_GRID_PLANES) * row
        mosaic.row_label(first, first + 1, row_name)
        for column, name in enumerate(columns):
            if (row_name, name) not in cells:
                mosaic.note(first, column, "not available")
                continue
            data = _inside(head, *cells[row_name, name])
            for offset, plane in enumerate(_GRID_PLANES):
                brain = head.section(head.mask, plane, crop)
                section = shade(head.section(data, plane, crop), window, brain)
                axes = mosaic.show(first + offset, column, section, sizes[plane])
                if row == column == 0:
                    _mark_sides(axes, plane)
    mosaic.colour_bar(window, 0, len(_GRID_PLANES) - 1)
    return _write(mosaic, path)


def _inside(head: Head, file: Path, mask: Path | None) -> NDArray[np.float32]:
    """Map on the head's grid, NaN where it is not valid."""
    data = head.place(file)
    # Without a mask of its own a map is valid where it is not exactly zero.
    valid = data != 0 if mask is None else head.place(mask) > 0
    return np.where(valid, data, np.nan)


def _three_plane_mosaic(sizes: Sequence[tuple[float, float]], *, rows: int, bars: bool) -> Mosaic:
    height = max(size[1] for size in sizes)
    width = sum(size[0] for size in sizes)
    return Mosaic(
        [size[0] for size in sizes],
        [height] * rows,
        inches_per_mm=_THREE_PLANE_WIDTH / width,
        left=0.35 if rows > 1 else 0.05,
        bars=bars,
    )


def _mark_sides(axes, plane: str) -> None:
    """Write the sides of the patient at the edges of a section."""
    for x, text in zip((0.02, 0.98), "PA" if plane == "sagittal" else "LR", strict=True):
        align = "left" if x < 0.5 else "right"
        axes.text(
            x, 0.03, text, transform=axes.transAxes, color=TEXT, size=8, ha=align, va="bottom"
        )


def _write(mosaic: Mosaic, path: Path) -> FigureFile:
    return FigureFile(path, *save_figure(mosaic.figure, path))
