"""Figures of a scan: what is drawn where."""

import numpy as np
from PIL import Image

from qsm_workflows.report.discovery import find_scans
from qsm_workflows.report.figures import Head, chi_figure
from qsm_workflows.report.mosaic import DPI, OUTSIDE_SLAB, Mosaic, Window, save_figure, shade


def test_thin_slab_is_drawn_inside_the_silhouette_of_the_brain(make_derivatives, tmp_path):
    root = make_derivatives(tmp_path, methods=["tkd"], coverages=[100, 200, 400])
    (scan,) = find_scans(root)
    figure = chi_figure(
        Head(scan), [chi for chi in scan.maps if chi.order == "B+T"], tmp_path / "chi.png"
    )
    picture = np.asarray(Image.open(figure.path).convert("RGB")).astype(int)
    assert picture.shape == (figure.height, figure.width, 3)
    blue = np.all(np.abs(picture - np.round(np.multiply(OUTSIDE_SLAB, 255))) <= 2, axis=-1)
    # Without the labels at the left and the colour bar.
    panels = blue[:, 38:-104]
    thin, medium, thick = (panel.sum() for panel in np.array_split(panels, 3, axis=1))
    # Slabs of 36, 60 and 132 mm of a brain of 120 mm from z = −52 to 68 mm.
    assert thin > 1.3 * medium > 10 * thick
    edges = np.flatnonzero(np.diff(panels[:, panels.shape[1] // 6].astype(int)))
    above, slab, below = np.diff(edges)
    np.testing.assert_allclose([above / slab, below / slab], [50 / 36, 34 / 36], rtol=0.1)


def test_window_clips_and_missing_values_are_black_or_blue():
    values = np.array([[-1.0, -0.15, 0.2, 5.0, np.nan, np.nan]])
    inside = np.array([[True, True, True, True, True, False]])
    colours = shade(values, Window(-0.15, 0.2, "χ", "ppm"), inside)
    np.testing.assert_array_equal(colours[0, :4, 0], [0, 0, 255, 255])
    np.testing.assert_array_equal(colours[0, 4], np.round(np.multiply(OUTSIDE_SLAB, 255)))
    np.testing.assert_array_equal(colours[0, 5], 0)


def test_saved_greys_stay_grey(tmp_path):
    levels = np.arange(256, dtype=np.uint8)
    mosaic = Mosaic([256], [40], inches_per_mm=1 / DPI, left=0, top=0, bars=False)
    mosaic.show(0, 0, np.repeat(np.tile(levels, (40, 1))[..., np.newaxis], 3, axis=-1), (256, 40))
    save_figure(mosaic.figure, tmp_path / "greys.png")
    row = np.asarray(Image.open(tmp_path / "greys.png").convert("RGB")).astype(int)[20]
    assert np.ptp(row, axis=-1).max() == 0
    np.testing.assert_allclose(row[1:255, 0], levels[1:255], atol=6)


def test_the_centre_is_that_of_the_slabs(make_derivatives, tmp_path):
    (scan,) = find_scans(make_derivatives(tmp_path, coverages=[100, 400]))
    # z = 0 mm is slice 16 of the made-up head.
    assert Head(scan).centre[2] == 16
