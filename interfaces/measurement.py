"""Referencing of susceptibility maps and regional means."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from . import _images
from ._traits import InputFile


class _SubtractReferenceInputSpec(BaseInterfaceInputSpec):
    in_file = InputFile(exists=True, mandatory=True, desc="susceptibility, ppm")
    mask = InputFile(exists=True, mandatory=True, desc="where it is valid, on the same grid")
    labels = InputFile(exists=True, desc="label image whose grid contains that of the map")
    indices = traits.List(traits.Int, desc="label values of the reference region [the whole mask]")


class _SubtractReferenceOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="susceptibility relative to the reference, ppm")
    reference_mean = traits.Float(desc="what was subtracted, ppm")


class SubtractReference(SimpleInterface):
    """State susceptibility relative to a region.

    See :func:`qsm_workflows.algorithms.regions.subtract_reference`.
    """

    input_spec = _SubtractReferenceInputSpec
    output_spec = _SubtractReferenceOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.regions import subtract_reference

        if isdefined(self.inputs.labels) != isdefined(self.inputs.indices):
            raise ValueError(
                "labels and indices together say what the reference region is: give both, or "
                "neither for the mean of the mask"
            )
        chi, image = _images.load(self.inputs.in_file)
        _images.check_same_grid(self.inputs.in_file, image, self.inputs.mask)
        reference = None
        if isdefined(self.inputs.indices):
            whole = nib.load(self.inputs.labels)
            labels = _images.on_grid_of(
                image, _images.load_labels(self.inputs.labels), whole.affine
            )
            reference = np.isin(labels, self.inputs.indices)
        relative, mean = subtract_reference(chi, _images.load_mask(self.inputs.mask), reference)
        self._results["out_file"] = _images.save(
            relative, image, _images.output_path(runtime.cwd, "chi")
        )
        self._results["reference_mean"] = mean
        return runtime


COLUMNS = (
    "order",
    "coverage_percent",
    "coverage_mm",
    "method",
    "region",
    "hemisphere",
    "mean",
    "sd",
    "n_voxels",
    "fraction_covered",
    "reference",
    *(
        f"{value}_{what}"
        for what in ("full", "truth")
        for value in ("mean", "difference", "percent")
    ),
)
"""Columns of the table that `MeasureRegions` writes."""


class _MeasureRegionsInputSpec(BaseInterfaceInputSpec):
    chi = InputMultiObject(InputFile(exists=True), mandatory=True, desc="susceptibility maps, ppm")
    mask = InputMultiObject(InputFile(exists=True), mandatory=True, desc="mask of each map")
    order = traits.List(traits.Str, mandatory=True, desc="order of each map: B+T, T+B or full")
    method = traits.List(traits.Str, mandatory=True, desc="inversion of each map")
    coverage_percent = traits.List(traits.Float, mandatory=True, desc="coverage of each map, %")
    coverage_mm = traits.List(traits.Float, mandatory=True, desc="coverage of each map, mm")
    labels = InputFile(exists=True, mandatory=True, desc="label image of the whole head")
    regions = traits.List(
        traits.Tuple(traits.Str, traits.Str, traits.List(traits.Int)),
        mandatory=True,
        desc="name, hemisphere (L, R, both) and label values of each region",
    )
    reference = traits.Str(desc="name of the reference region [the whole mask]")
    truth = InputFile(exists=True, desc="true susceptibility on the grid of the labels, ppm")
    identifiers = traits.Dict(
        {}, usedefault=True, desc="leading columns that say whose maps these are"
    )


class _MeasureRegionsOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="tidy table, TSV")


class MeasureRegions(SimpleInterface):
    """Regional means of all maps of one scan, against full coverage and truth.

    At each coverage every map is read in the voxels that are valid in all of them, so
    that orders and methods are compared like with like; the same voxels are read in the
    map of largest coverage of the same order and method, and in the truth. Where the
    reference region has no voxels left, the mean of the mask takes its place.
    """

    input_spec = _MeasureRegionsInputSpec
    output_spec = _MeasureRegionsOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.regions import Region

        regions = [Region(*region) for region in self.inputs.regions]
        entries = [
            _Map(*fields)
            for fields in zip(
                self.inputs.order,
                self.inputs.method,
                self.inputs.coverage_percent,
                self.inputs.coverage_mm,
                self.inputs.chi,
                self.inputs.mask,
                strict=True,
            )
        ]
        labels = _images.load_labels(self.inputs.labels)
        sizes = [int(np.count_nonzero(region.find(labels))) for region in regions]
        rows = [
            row
            for group in _by_coverage(entries)
            for row in self._measure(group, entries, regions, labels, sizes)
        ]
        table = Path(runtime.cwd) / "regions.tsv"
        with table.open("w", newline="", encoding="utf-8") as stream:
            columns = [*self.inputs.identifiers, *COLUMNS]
            writer = csv.DictWriter(stream, columns, delimiter="\t", lineterminator="\n")
            writer.writeheader()
            writer.writerows({**self.inputs.identifiers, **row} for row in rows)
        self._results["out_file"] = str(table)
        return runtime

    def _measure(self, group, entries, regions, whole_labels, sizes):
        """Rows of all maps of one coverage."""
        from qsm_workflows.algorithms.regions import find_reference, measure_regions

        grid = nib.load(group[0].chi)
        affine = nib.load(self.inputs.labels).affine
        labels = _images.on_grid_of(grid, whole_labels, affine)
        largest = {entry: _largest(entry, entries) for entry in group}
        voxels = np.logical_and.reduce(
            [_images.load_mask(entry.mask) for entry in group]
            + [_load_on(grid, full.mask, _images.load_mask) for full in largest.values()]
        )
        name = self.inputs.reference if isdefined(self.inputs.reference) else None
        reference = find_reference(regions, name, labels, voxels)

        def means(chi):
            return measure_regions(chi, voxels, labels, regions, reference=reference, sizes=sizes)

        truth = None
        if isdefined(self.inputs.truth):
            truth = means(_load_on(grid, self.inputs.truth, _images.load_float))
        for entry in group:
            full = means(_load_on(grid, largest[entry].chi, _images.load_float))
            for number, found in enumerate(means(_images.load_float(entry.chi))):
                row = {
                    "order": entry.order,
                    "coverage_percent": _text(entry.coverage_percent),
                    "coverage_mm": _text(entry.coverage_mm),
                    "method": entry.method,
                    "region": found.region.name,
                    "hemisphere": found.region.hemisphere,
                    "mean": _text(found.mean),
                    "sd": _text(found.sd),
                    "n_voxels": found.n_voxels,
                    "fraction_covered": _text(found.fraction_covered),
                    "reference": reference.name if reference else "mask",
                }
                for label, other in (("full", full), ("truth", truth)):
                    expected = other[number].mean if other else math.nan
                    difference = found.mean - expected
                    row[f"mean_{label}"] = _text(expected)
                    row[f"difference_{label}"] = _text(difference)
                    row[f"percent_{label}"] = _text(
                        100 * difference / abs(expected) if expected else math.nan
                    )
                yield row


@dataclass(frozen=True)
class _Map:
    order: str
    method: str
    coverage_percent: float
    coverage_mm: float
    chi: str
    mask: str


def _by_coverage(entries: list[_Map]) -> list[list[_Map]]:
    """Maps that share a coverage, thinnest first."""
    groups: dict[str, list[_Map]] = {}
    for entry in sorted(entries, key=lambda entry: entry.coverage_mm):
        groups.setdefault(_text(entry.coverage_percent), []).append(entry)
    return list(groups.values())


def _largest(entry: _Map, entries: list[_Map]) -> _Map:
    """Map of largest coverage that the same order and method gave."""
    same = [e for e in entries if (e.order, e.method) == (entry.order, entry.method)]
    return max(same, key=lambda e: e.coverage_mm)


def _load_on(grid, path, read):
    """Read a volume and keep what lies on the grid of another image."""
    return _images.on_grid_of(grid, read(path), nib.load(path).affine)


def _text(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.6g}"
