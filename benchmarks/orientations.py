"""One head imaged in six orientations: do its regions keep their values?

    python benchmarks/orientations.py [--voxel-size 2] [--seed 7] [METHOD ...]

The head stays in the scanner, the grid is turned: axial, sagittal, coronal, axial with all axes
reversed, oblique (20° about x, 10° about y, 15° about z) and anisotropic (twice as thick). Total
field and truth are computed anew on each grid; the background is removed by RESHARP, and each
method inverts what is left. A row is a region's mean relative to the optic radiation, in ppb, and
the largest deviation from the axial grid. ``truth`` is what the grid itself does to the means
(partial volume), ``resampled`` is the true susceptibility brought to the grid of the networks and
back.
"""

import argparse
import time

import numpy as np
from scipy.spatial.transform import Rotation

from qsm_workflows.algorithms.geometry import b0_direction, voxel_size
from qsm_workflows.phantom.anatomy import make_anatomy
from qsm_workflows.phantom.head import Head, image_anatomy
from qsm_workflows.phantom.susceptibility import LABELS

EXTENT = (144.0, 192.0, 128.0)  # mm along left–right, back–front and foot–head
REGIONS = ("pallidum", "putamen", "caudate", "thalamus", "red_nucleus", "substantia_nigra")
METHODS = ("truth", "resampled", "tkd", "ilsqr", "medi", "tv", "xqsm")


def affines(size: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Columns of the affine, in mm, and extents of the voxel axes, by orientation."""
    axes, extent = np.eye(3) * size, np.array(EXTENT)
    turn = Rotation.from_euler("xyz", (20, 10, 15), degrees=True).as_matrix()
    return {
        "axial": (axes, extent),
        "sagittal": (axes[:, [1, 2, 0]], extent[[1, 2, 0]]),
        "coronal": (axes[:, [0, 2, 1]], extent[[0, 2, 1]]),
        "flipped": (-axes, extent),
        # A turned box must be larger to hold the same head.
        "oblique": (turn @ axes, extent + 24),
        "anisotropic": (axes * [1, 1, 2], extent),
    }


def image(seed: int, columns: np.ndarray, extent: np.ndarray) -> Head:
    """The head on one grid."""
    x, y, z = (int(n) for n in np.rint(extent / np.linalg.norm(columns, axis=0)))
    affine = np.eye(4)
    affine[:3, :3] = columns
    affine[:3, 3] = -columns @ ((np.array((x, y, z)) - 1) / 2)
    return image_anatomy(make_anatomy(seed, 1, lesions=False), affine, (x, y, z), LABELS)


def maps(head: Head, methods: list[str]) -> dict[str, np.ndarray]:
    """Susceptibility by every method, NaN where there is none."""
    from qsm_workflows.algorithms.background.resharp import resharp
    from qsm_workflows.algorithms.inversion.direct import tkd
    from qsm_workflows.algorithms.inversion.ilsqr import ilsqr
    from qsm_workflows.algorithms.inversion.medi import medi
    from qsm_workflows.algorithms.inversion.tv import tv
    from qsm_workflows.networks.axes import ScannerAxes
    from qsm_workflows.networks.checkpoints import read_checkpoint
    from qsm_workflows.networks.grid import TrainedGrid
    from qsm_workflows.networks.inference import apply_network
    from qsm_workflows.networks.weights import find_weights

    size, b0_dir = head.voxel_size, head.b0_dir
    local, mask = resharp(head.total_field, head.mask, size)
    magnitude = head.subvoxels.mean_proton_density()
    found = {}
    for method in methods:
        if method == "truth":
            found[method] = head.chi
        elif method == "resampled":
            grid = TrainedGrid.of(head.chi.shape, size, b0_dir, 1.0)
            found[method] = grid.backward(*grid.forward(head.chi, head.mask))
        elif method == "xqsm":
            checkpoint = read_checkpoint(find_weights("xqsm-individual"))
            axes = ScannerAxes.of(head.affine, local.shape)
            chi = apply_network(
                checkpoint.network,
                axes.forward(local),
                axes.forward(mask),
                voxel_size(axes.affine),
                b0_direction(axes.affine),
                trained_voxel_size=checkpoint.voxel_size,
            )
            found[method] = axes.backward(chi)
        elif method == "medi":
            found[method] = medi(local, mask, magnitude, size, b0_dir)
        else:
            function = {"tkd": tkd, "ilsqr": ilsqr, "tv": tv}[method]
            found[method] = function(local, mask, size, b0_dir)
    return {name: np.where(mask, chi, np.nan) for name, chi in found.items()}


def regional_means(head: Head, chi: np.ndarray) -> dict[str, float]:
    """Means of the regions relative to the optic radiation, in ppb."""

    def mean(name: str) -> float:
        indices = [label.index for label in head.label_table if label.name == name]
        return float(np.nanmean(chi[np.isin(head.labels, indices)]))

    reference = mean("optic_radiation")
    return {name: 1000 * (mean(name) - reference) for name in REGIONS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join(METHODS)}")
    parser.add_argument("--voxel-size", type=float, default=2.0, metavar="MM")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    methods = options.methods or list(METHODS)
    grids = affines(options.voxel_size)
    values: dict[str, dict[str, dict[str, float]]] = {method: {} for method in methods}
    for orientation, grid in grids.items():
        start = time.process_time()
        head = image(options.seed, *grid)
        for method, chi in maps(head, methods).items():
            values[method][orientation] = regional_means(head, chi)
        print(f"{orientation}: {time.process_time() - start:.0f} s", flush=True)
    print(f"| method | region | {' | '.join(grids)} | largest deviation |")
    print("|---" * (len(grids) + 3) + "|")
    for method in methods:
        worst = 0.0
        for region in REGIONS:
            row = np.array([values[method][orientation][region] for orientation in grids])
            deviation = np.abs(row - row[0]).max()
            worst = max(worst, deviation)
            cells = " | ".join(f"{value:.1f}" for value in row)
            print(f"| {method} | {region} | {cells} | {deviation:.1f} |")
        print(f"largest of {method}: {worst:.1f} ppb", flush=True)


if __name__ == "__main__":
    main()
