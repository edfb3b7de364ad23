"""Drawing of image sections side by side on black, at one scale, with a colour bar."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from qsm_workflows.files import write_whole

DPI = 110
TEXT = "#e6e6e6"
# Brain that a slab leaves out: told apart from any grey of a map.
OUTSIDE_SLAB = (0.13, 0.17, 0.26)
OUTLINE = "#ffb000"

_GAP = 0.04
_BAR_WIDTH, _BAR_ROOM = 0.11, 0.95


@dataclass(frozen=True)
class Window:
    """Values shown as black and white.

    Attributes
    ----------
    low, high : float
    quantity, unit : str
    """

    low: float
    high: float
    quantity: str
    unit: str

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g} {self.unit}".replace("-", "−")


def shade(values: NDArray, window: Window, silhouette: NDArray | None = None) -> NDArray[np.uint8]:
    """Colours of a section.

    Parameters
    ----------
    values : (M, N) ndarray
        NaN where nothing is to be drawn.
    window : Window
    silhouette : (M, N) ndarray of bool, optional
        Where a flat blue is drawn in place of missing values.

    Returns
    -------
    (M, N, 3) ndarray of uint8
    """
    missing = np.isnan(values)
    grey = Normalize(window.low, window.high, clip=True)(np.where(missing, window.low, values))
    colours = np.repeat(np.asarray(grey)[..., np.newaxis], 3, axis=-1)
    if silhouette is not None:
        colours[missing & silhouette] = OUTSIDE_SLAB
    return np.round(colours * 255).astype(np.uint8)


class Mosaic:
    """A figure of sections in rows and columns, all at the same scale.

    Parameters
    ----------
    widths, heights : sequence of float
        Size in mm of the sections of each column and each row.
    inches_per_mm : float
    left, top : float
        Room for labels, in inches.
    bars : bool
        Whether there is room for colour bars at the right.
    """

    def __init__(
        self,
        widths: Sequence[float],
        heights: Sequence[float],
        *,
        inches_per_mm: float,
        left: float = 0.35,
        top: float = 0.3,
        bars: bool = True,
    ) -> None:
        self._widths = np.asarray(widths) * inches_per_mm
        self._heights = np.asarray(heights) * inches_per_mm
        self._left, self._top = left, top
        right = _BAR_ROOM if bars else _GAP
        self.width = left + float(np.sum(self._widths + _GAP)) + right
        self.height = top + float(np.sum(self._heights + _GAP)) + 0.05
        self.figure = Figure(figsize=(self.width, self.height), facecolor="black")

    def _edges(self, row: int, column: int) -> tuple[float, float]:
        """Left and upper edge of a cell, in inches from the figure's left and top."""
        x = self._left + float(np.sum(self._widths[:column] + _GAP))
        y = self._top + float(np.sum(self._heights[:row] + _GAP))
        return x, y

    def _axes(self, x: float, y: float, width: float, height: float):
        return self.figure.add_axes(
            (
                x / self.width,
                1 - (y + height) / self.height,
                width / self.width,
                height / self.height,
            )
        )

    def show(self, row: int, column: int, section: NDArray[np.uint8], size: Sequence[float]):
        """Draw a section; `size` is its width and height in mm."""
        axes = self._axes(*self._edges(row, column), self._widths[column], self._heights[row])
        axes.set_facecolor("black")
        axes.imshow(section, origin="lower", extent=(0, size[0], 0, size[1]), aspect="equal")
        axes.set_axis_off()
        return axes

    def note(self, row: int, column: int, text: str) -> None:
        """Write a text in place of a section."""
        axes = self._axes(*self._edges(row, column), self._widths[column], self._heights[row])
        axes.text(0.5, 0.5, text, ha="center", va="center", color="#9a9a9a", size=9)
        axes.set_axis_off()

    def title(self, column: int, text: str) -> None:
        """Write a text above a column."""
        x, _ = self._edges(0, column)
        self._text(x + self._widths[column] / 2, self._top - 0.09, text, va="bottom")

    def row_label(self, first: int, last: int, text: str) -> None:
        """Write a text at the left of some rows."""
        y = (self._edges(first, 0)[1] + self._edges(last, 0)[1] + self._heights[last]) / 2
        self._text(self._left / 2, y, text, rotation=90, va="center")

    def _text(self, x: float, y: float, text: str, **options) -> None:
        self.figure.text(
            x / self.width, 1 - y / self.height, text, color=TEXT, size=10, ha="center", **options
        )

    def colour_bar(self, window: Window, first: int, last: int) -> None:
        """Draw the bar of a window at the right of some rows."""
        x, top = self._edges(first, len(self._widths))
        bottom = self._edges(last, 0)[1] + self._heights[last]
        height = min(bottom - top, 2.2)
        axes = self._axes(x + 0.12, (top + bottom - height) / 2, _BAR_WIDTH, height)
        bar = self.figure.colorbar(
            ScalarMappable(Normalize(window.low, window.high), "gray"), cax=axes
        )
        bar.set_ticks(sorted({window.low, 0.0, window.high}))
        bar.set_label(f"{window.quantity} ({window.unit})", color=TEXT, size=9)
        bar.ax.tick_params(colors=TEXT, labelsize=8)
        bar.outline.set_edgecolor("#666666")


def save_figure(figure: Figure, path: Path) -> tuple[int, int]:
    """Write a figure under its final name, whole or not at all.

    Parameters
    ----------
    figure : Figure
    path : Path
        ``.png`` or ``.svg``.

    Returns
    -------
    tuple of int
        Width and height in pixels.
    """
    content = _svg(figure, path.name) if path.suffix == ".svg" else _png(figure)
    write_whole(path, lambda partial: partial.write_bytes(content))
    width, height = figure.get_size_inches() * DPI
    return int(width), int(height)


def _svg(figure: Figure, name: str) -> bytes:
    """Drawing without date and with fixed identifiers: the same input gives the same bytes."""
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def _png(figure: Figure) -> bytes:
    """Picture with a palette: half the size, and greys off by four levels at most."""
    drawn, content = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    with Image.open(drawn) as picture:
        reduced = picture.convert("RGB").quantize(palette=_palette(), dither=Image.Dither.NONE)
    reduced.save(content, format="png")
    return content.getvalue()


def _palette() -> Image.Image:
    """Palette of 224 greys, and of both colours as they blend into black and white."""
    greys = np.linspace(0, 1, 224)[:, np.newaxis] * np.ones(3)
    ramps = []
    for colour in (OUTSIDE_SLAB, to_rgb(OUTLINE)):
        share = np.linspace(0, 1, 9)[1:, np.newaxis]
        ramps += [share * colour, 1 - share * (1 - np.asarray(colour))]
    levels = np.round(np.concatenate([greys, *ramps]) * 255).astype(np.uint8)
    palette = Image.new("P", (1, 1))
    palette.putpalette(levels.tobytes())
    return palette
