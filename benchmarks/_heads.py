"""Simulated heads cut to slabs, and the errors of regions in them: what benchmarks share."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from qsm_workflows.algorithms.coverage import place_slab, truncate
from qsm_workflows.algorithms.geometry import b0_direction, voxel_size
from qsm_workflows.algorithms.metrics import nrmse
from qsm_workflows.phantom.susceptibility import LABELS

REGIONS = ("pallidum", "putamen", "caudate")
REFERENCE = "optic_radiation"
LESIONS = ("haemorrhage", "calcification")


@dataclass(frozen=True)
class Case:
    """A field, total or local, of a head or of a slab of it, and what is known there."""

    field: np.ndarray
    mask: np.ndarray
    chi: np.ndarray
    labels: np.ndarray
    magnitude: np.ndarray
    affine: np.ndarray
    noise: np.ndarray | None = None
    """Standard deviation of the field, ppm."""

    @property
    def size(self) -> np.ndarray:
        return voxel_size(self.affine)

    @property
    def b0_dir(self) -> np.ndarray:
        return b0_direction(self.affine)

    def region(self, *names: str) -> np.ndarray:
        return np.isin(self.labels, [row.index for row in LABELS if row.name in names])

    def centre(self, region: str = "pallidum") -> np.ndarray:
        """Middle of a region across the slices, world mm."""
        z = np.nonzero(self.region(region))[2].mean()
        return (self.affine @ [0, 0, z, 1])[:3]

    def cut(self, coverage: float, centre: np.ndarray) -> "Case":
        """Slab of `coverage` mm about `centre`."""
        slab = place_slab(self.mask.shape, self.affine, centre, coverage)
        parts = {
            name: truncate(volume, self.affine, slab)[0]
            for name, volume in vars(self).items()
            if volume is not None and name != "affine"
        }
        return replace(self, **parts, affine=truncate(self.mask, self.affine, slab)[1])

    def measure(
        self, chi: np.ndarray, thickness: float, regions: tuple[str, ...] = REGIONS
    ) -> dict[str, float]:
        """Regions relative to the optic radiation, in the middle `thickness` mm of the slab.

        Also their true values, and the NRMSE of the whole mask.
        """
        middle = np.zeros(self.mask.shape, bool)
        depth = self.mask.shape[2]
        count = min(round(thickness / self.size[2]), depth)
        first = (depth - count) // 2
        middle[:, :, first : first + count] = True
        inside = self.mask & middle
        reference = inside & self.region(REFERENCE)
        row: dict[str, float] = {}
        for name in regions:
            region = inside & self.region(name)
            row[name] = float(chi[region].mean() - chi[reference].mean())
            row[f"{name}_truth"] = float(self.chi[region].mean() - self.chi[reference].mean())
        row["nrmse"] = nrmse(
            chi - chi[reference].mean(), self.chi - self.chi[reference].mean(), self.mask
        )
        return row

    def measure_lesion(self, chi: np.ndarray, lesion: str) -> dict[str, float]:
        """A lesion relative to the white matter of the slab, as found and in truth."""
        inside = self.region(lesion) & self.mask
        around = self.region("white_matter") & self.mask
        found, truth = (volume[inside].mean() - volume[around].mean() for volume in (chi, self.chi))
        return {lesion: float(found), f"{lesion}_truth": float(truth)}


def add_errors(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Table with errors in percent of the truth and of the same method at the largest coverage.

    `keys` are the columns that tell one series of coverages, ``mm``, from another.
    """
    result = table.copy()
    own = result[result.mm == result.mm.max()].set_index(keys)
    for name in REGIONS:
        result[f"{name} %"] = 100 * (result[name] / result[f"{name}_truth"] - 1)
        at_full = own.loc[pd.MultiIndex.from_frame(result[keys]), name]
        result[f"{name} % of own full"] = 100 * (result[name] / at_full.to_numpy() - 1)
    return result


def region_table(table: pd.DataFrame, suffix: str, index: list[str]) -> pd.DataFrame:
    """GP/PU/CN errors as text, a row for each method and a column a coverage."""
    pivot = table.pivot_table([f"{name} {suffix}" for name in REGIONS], index, "mm", sort=False)
    # Where a method was not run there is no value, as there is none in the pivot.
    first, *others = (
        pivot[f"{name} {suffix}"].map("{:+.0f}".format, na_action="ignore") for name in REGIONS
    )
    return first.apply(lambda column: column.str.cat([o[column.name] for o in others], sep="/"))
