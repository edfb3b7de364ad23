"""Training volumes beside a simulated head, section by section, for eyes to compare.

    python benchmarks/volumes.py volumes.png --pool runs/individual/pool --numbers 0 1 2 4
    python benchmarks/volumes.py volumes.png --anatomy DATA --seed 2 --numbers 0 1 2

The first line draws volumes that training has made; the second makes brains of the label images in
DATA, those that a configuration with this seed gets. Sections go through the pallida and, sagittal,
between the hemispheres; the window is that of the package's figures. The head takes
a minute of CPU.
"""

import argparse
from pathlib import Path

import numpy as np

from qsm_workflows.phantom.head import simulate_head
from qsm_workflows.phantom.susceptibility import LABELS
from qsm_workflows.report.figures import CHI_WINDOW
from qsm_workflows.report.mosaic import Mosaic, save_figure, shade
from qsm_workflows.report.volumes import PLANES, take_plane
from qsm_workflows.training.anatomy import Anatomies
from qsm_workflows.training.labels import SHAPE, brain_volume
from qsm_workflows.training.pool import Pool

HEIGHTS = {"axial": SHAPE[1], "coronal": SHAPE[2], "sagittal": SHAPE[2]}
INCHES = 12.0


def volumes(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Susceptibility of each volume by its title, NaN outside the mask."""
    if args.pool:
        pool = Pool(args.pool)
        pairs = [(pool.chi[n], pool.mask[n]) for n in args.numbers]
    else:
        anatomies = Anatomies.read(args.anatomy)
        rngs = [np.random.default_rng([args.seed, n]) for n in args.numbers]
        pairs = [tuple(part.numpy() for part in brain_volume(rng, anatomies)) for rng in rngs]
    return {
        f"volume {n}": np.where(mask, chi, np.nan)
        for n, (chi, mask) in zip(args.numbers, pairs, strict=True)
    }


def draw(mosaic: Mosaic, column: int, chi: np.ndarray, centre: tuple[int, ...]) -> None:
    """Fill a column with the sections of a volume."""
    everything = tuple(slice(None) for _ in chi.shape)
    for row, plane in enumerate(HEIGHTS):
        section = shade(take_plane(chi, plane, centre[PLANES[plane]], everything), CHI_WINDOW)
        mosaic.show(row, column, section, section.shape[1::-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("picture", type=Path, help="PNG to write")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--pool", type=Path, metavar="FOLDER", help="of training volumes")
    source.add_argument("--anatomy", type=Path, metavar="DATA", help="label images")
    parser.add_argument("--numbers", type=int, nargs="+", default=[0, 2, 4], help="of volumes")
    parser.add_argument("--seed", type=int, default=0, help="of volumes that are made")
    parser.add_argument("--head", type=int, default=1, help="seed of the simulated head")
    args = parser.parse_args()
    head = simulate_head(args.head, lesions=False, matrix=SHAPE)
    pallida = [row.index for row in LABELS if row.name == "pallidum"]
    _, y, z = np.argwhere(np.isin(head.labels, pallida)).mean(axis=0).round().astype(int)
    drawn = volumes(args)
    mosaic = Mosaic(
        [max(SHAPE)] * (1 + len(drawn)),
        list(HEIGHTS.values()),
        inches_per_mm=INCHES / max(SHAPE) / (1 + len(drawn)),
        left=0.05,
    )
    mosaic.title(0, "simulated head")
    draw(mosaic, 0, np.where(head.mask, head.chi, np.nan), (SHAPE[0] // 2, y, z))
    for column, (title, chi) in enumerate(drawn.items(), start=1):
        mosaic.title(column, title)
        # Where brain_volume puts the pallida, but for a shift of some voxels.
        x, y, z = (n // 2 for n in chi.shape)
        draw(mosaic, column, chi, (x, y + 12, z))
    mosaic.colour_bar(CHI_WINDOW, 0, len(HEIGHTS) - 1)
    save_figure(mosaic.figure, args.picture)


if __name__ == "__main__":
    main()
