"""From a scan and a configuration to slabs in millimetres, before any graph is built."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from qsm_workflows.algorithms.coverage import Slab, place_slab, slab_axis
from qsm_workflows.algorithms.geometry import voxel_size
from qsm_workflows.algorithms.regions import Region
from qsm_workflows.bids.companions import Companions
from qsm_workflows.bids.index import Scan
from qsm_workflows.bids.reading import THINNEST
from qsm_workflows.networks.methods import resampling_warning

from .config import DEFAULT_REFERENCE, DGM_EXTENT, Coverage, StudyConfig
from .methods import METHODS

DEEP_GREY = ("caudate", "pallidum", "putamen")
"""Structures whose extent along the slab axis is 100 % of coverage."""


@dataclass(frozen=True)
class ScanGeometry:
    """Grid of a scan and the slabs that it is cut to; what the factories need of it.

    Attributes
    ----------
    shape : tuple of int
        Shape of the whole image.
    voxel_size : tuple of float
        Voxel edge lengths in mm.
    axis : int
        Voxel axis across the slabs.
    centre : tuple of float
        World position, in mm, that the slabs are centred on.
    slabs : mapping of Coverage to Slab
        One for every coverage but the whole image.
    """

    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    axis: int
    centre: tuple[float, float, float]
    slabs: Mapping[Coverage, Slab]

    @classmethod
    def of_image(
        cls,
        path: Path | str,
        coverages: Sequence[Coverage],
        centre: tuple[float, float, float],
        dgm_extent: float = DGM_EXTENT,
        axis: int | None = None,
    ) -> "ScanGeometry":
        """Place the slabs of coverages in an image.

        Parameters
        ----------
        path : Path or str
            Any image of the scan; its grid is read, not its voxels.
        coverages : sequence of Coverage
            As :func:`qsm_workflows.workflows.config.parse_coverages` gives them.
        centre : tuple of float
            World position, in mm, that the slabs are centred on, such as that of the globus
            pallidus.
        dgm_extent : float
            Extent of the deep grey matter, in mm, that is 100 %.
        axis : int, optional
            Voxel axis across the slabs; by default the one nearest to inferior–superior.

        Raises
        ------
        ValueError
            If a slab lies outside the image or is too thin.
        """
        image = nib.load(path)
        affine = np.asarray(image.affine, dtype=float)
        if axis is None:
            axis = slab_axis(affine)
        slabs = {}
        for coverage in coverages:
            if coverage.is_full:
                continue
            thickness = coverage.percent / 100 * dgm_extent
            slab = place_slab(image.shape, affine, centre, thickness, axis)
            if slab.actual_thickness < THINNEST:
                raise ValueError(
                    f"coverage {coverage.label} % is a slab of {slab.actual_thickness:.3g} mm; "
                    f"below {THINNEST:g} mm nothing is left to look at: choose a larger coverage"
                )
            slabs[coverage] = slab
        x, y, z = voxel_size(affine).tolist()
        return cls(image.shape, (x, y, z), axis, centre, slabs)

    def thickness(self, coverage: Coverage) -> float:
        """Thickness, in mm, that a coverage asks for."""
        if coverage.is_full:
            return self.shape[self.axis] * self.voxel_size[self.axis]
        return self.slabs[coverage].thickness

    def slab_shape(self, coverage: Coverage) -> tuple[int, int, int]:
        """Shape of the images of a coverage."""
        shape = list(self.shape)
        if not coverage.is_full:
            slab = self.slabs[coverage]
            shape[self.axis] = slab.stop - slab.start
        x, y, z = shape
        return x, y, z


@dataclass(frozen=True)
class ScanPlan:
    """All that is known of a scan before its graph is built.

    Attributes
    ----------
    scan : Scan
    companions : Companions
        Mask, labels and truth that come with it.
    geometry : ScanGeometry
    regions : tuple of Region
        Regions of the label image: each side, and both together.
    reference : Region or None
        Reference region; None when the whole mask has to do.
    warnings : tuple of str
        What the user should know before the run, and the reader of its results.
    remarks : tuple of str
        What the user should know as well; the report finds it in the results themselves.
    """

    scan: Scan
    companions: Companions
    geometry: ScanGeometry
    regions: tuple[Region, ...]
    reference: Region | None
    warnings: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def node_name(self) -> str:
        """Name of the scan's workflow."""
        return self.scan.prefix.replace("-", "_") + "_wf"


def plan_scan(
    scan: Scan, companions: Companions, config: StudyConfig, warnings: Sequence[str] = ()
) -> ScanPlan:
    """Place the slabs of a scan.

    Parameters
    ----------
    scan : Scan
    companions : Companions
    config : StudyConfig
    warnings : sequence of str
        What is known already that the user should be told.

    Raises
    ------
    ValueError
        If a slab lies outside the image or is too thin, the labels do not hold the reference
        region that was asked for, or the deep-grey extent is to be measured and there are no
        labels to measure it in.
    """
    image = nib.load(scan.images[0])
    affine = np.asarray(image.affine, dtype=float)
    labels = None
    regions: tuple[Region, ...] = ()
    if companions.labels is not None:
        labels = np.rint(np.asarray(nib.load(companions.labels).dataobj)).astype(int)
        regions = _regions(companions)
    axis = slab_axis(affine) if config.slab_axis is None else config.slab_axis
    warnings = [*warnings, *companions.notes]
    remarks = []
    reference = next(
        (r for r in regions if r.name == config.reference and r.hemisphere == "both"), None
    )
    if reference is None and config.reference != "mask":
        if regions and config.reference != DEFAULT_REFERENCE:
            known = ", ".join(sorted({region.name for region in regions}))
            raise ValueError(
                f"--reference {config.reference}: {companions.labels} holds no such region; it "
                f"has {known}"
            )
        remarks.append(
            f"no labels of {config.reference}: maps are relative to the mean of the brain mask, "
            "which changes with coverage"
        )
    networks = [name for name in config.methods if METHODS[name].is_network]
    if networks and (warning := resampling_warning(voxel_size(affine))):
        warnings.append(f"{warning} ({', '.join(networks)})")
    centre, extent = config.centre, config.dgm_extent
    if any(not coverage.is_full for coverage in config.coverages):
        if centre is None:
            centre, source = _centre(labels, regions, companions, image)
            if source != "pallidum":
                warnings.append(
                    f"no labels of the pallidum: slabs are centred on the {source}; "
                    "give --centre X Y Z (world mm) to place them"
                )
        if extent is None:
            extent = _extent(labels, regions, axis, affine, scan.prefix)
    # Without a slab neither matters.
    centre, extent = centre or (0.0, 0.0, 0.0), extent or DGM_EXTENT
    geometry = ScanGeometry.of_image(scan.images[0], config.coverages, centre, extent, axis)
    remarks += [
        f"coverage {coverage.label} %: {slab.actual_thickness:g} mm of the "
        f"{slab.thickness:g} mm asked for lie in the image"
        for coverage, slab in geometry.slabs.items()
        if slab.is_clipped
    ]
    return ScanPlan(scan, companions, geometry, regions, reference, tuple(warnings), tuple(remarks))


def _regions(companions: Companions) -> tuple[Region, ...]:
    """Each structure of the label table by side, then both sides together."""
    sides: dict[tuple[str, str], list[int]] = {}
    for label in companions.label_table:
        keys = {label.hemisphere, "both"} if label.hemisphere in ("L", "R") else {"both"}
        for hemisphere in keys:
            sides.setdefault((label.name, hemisphere), []).append(label.index)
    return tuple(
        Region(name, hemisphere, tuple(sorted(indices)))
        for (name, hemisphere), indices in sorted(sides.items())
    )


def _centre(labels, regions, companions, image) -> tuple[tuple[float, float, float], str]:
    """World position for the slabs, and what it is the centre of."""
    region = next((r for r in regions if r.name == "pallidum" and r.hemisphere == "both"), None)
    inside, source = None, "image"
    if region is not None and region.find(labels).any():
        inside, source = region.find(labels), "pallidum"
    elif companions.mask is not None:
        inside, source = np.asarray(nib.load(companions.mask).dataobj) != 0, "mask"
    if inside is None:
        index = (np.asarray(image.shape) - 1) / 2
    else:
        index = np.argwhere(inside).mean(axis=0)
    x, y, z = image.affine[:3, :3] @ index + image.affine[:3, 3]
    return (float(x), float(y), float(z)), source


def _extent(labels, regions, axis, affine, name) -> float:
    """Extent, in mm, of the deep grey matter along the slab axis."""
    indices = [i for region in regions if region.name in DEEP_GREY for i in region.indices]
    inside = np.isin(labels, indices) if labels is not None else np.zeros((1, 1, 1), bool)
    if not inside.any():
        raise ValueError(
            f"{name}: the deep-grey extent cannot be measured without labels of "
            f"{', '.join(DEEP_GREY)}; give it in mm (--dgm-extent 32) or give --labels"
        )
    others = tuple(i for i in range(3) if i != axis)
    slices = np.flatnonzero(inside.any(axis=others))
    return float((slices[-1] - slices[0] + 1) * voxel_size(affine)[axis])
