"""Wrong whole turns and time of every phase unwrapping, on simulated heads and real phase.

    python benchmarks/unwrapping.py [--size 1.6] [--seed 31] [--shared ../shared/data]

Of a simulated head at several noise levels: the share of the brain's voxels whose whole turns
are wrong at the first, middle and last echo, the error of the field that is fitted to the
echoes, and the CPU seconds for all echoes. ``snr`` is that of the brain at the first echo. Then
the agreement with PRELUDE on an EPI slab, where ``--shared`` has it, and the time that
best-path takes beside scikit-image's own function.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage
from skimage.restoration import unwrap_phase

from qsm_workflows.algorithms.fits import fit_echoes
from qsm_workflows.algorithms.laplacian import unwrap_laplacian
from qsm_workflows.algorithms.offsets import remove_phase_offset
from qsm_workflows.algorithms.romeo import unwrap_romeo
from qsm_workflows.algorithms.units import radians_per_ppm
from qsm_workflows.algorithms.unwrapping import align_echoes, unwrap_bestpath
from qsm_workflows.phantom import simulate_head, simulate_signal

B0 = 3.0
TIMES = (0.005, 0.010, 0.015, 0.020, 0.025)
SNRS = (50, 20, 10, 5, 3)

Unwrap = Callable[..., list[np.ndarray]]


def one_by_one(unwrap: Callable, phases, magnitudes, times, mask) -> list[np.ndarray]:
    """Each echo by itself, then the turns between echoes."""
    return align_echoes([unwrap(phase, mask) for phase in phases], mask, times)


def methods(size: Sequence[float]) -> dict[str, Unwrap]:
    """Every unwrapping with the same arguments."""
    laplacian = partial(unwrap_laplacian, voxel_size=size)
    return {
        "bestpath": partial(one_by_one, unwrap_bestpath),
        "romeo": unwrap_romeo,
        "romeo, template 2": partial(unwrap_romeo, template=2),
        "laplacian": partial(one_by_one, laplacian),
    }


def wrong_turns(unwrapped, truth, mask) -> float:
    """Percentage of voxels that are nearer to another turn, but for a constant."""
    turns = np.rint((unwrapped - truth)[mask] / (2 * np.pi))
    return 100 * float(np.mean(turns != np.median(turns)))


def simulated(size: float, seed: int) -> None:
    """Compare all methods on a simulated head."""
    voxel = (size,) * 3
    matrix = tuple(int(np.ceil(length / size / 2)) * 2 for length in (144, 192, 128))
    head = simulate_head(seed, voxel_size=voxel, matrix=matrix)
    truth = [radians_per_ppm(B0, t) * head.total_field for t in TIMES]
    print(f"{'snr':>5} {'method':<18} {'wrong turns, %':^24} {'field rms':>10} {'seconds':>8}")
    print(f"{'':>24} {'first':>7} {'middle':>7} {'last':>8} {'ppm':>11}")
    for snr in SNRS:
        magnitude, phase = simulate_signal(head, TIMES, B0, snr, seed)
        magnitudes = list(magnitude)
        phases = remove_phase_offset(list(phase), magnitudes, TIMES, head.mask, voxel)
        for name, unwrap in methods(voxel).items():
            began = time.process_time()
            unwrapped = unwrap(phases, magnitudes, TIMES, head.mask)
            seconds = time.process_time() - began
            shares = [
                wrong_turns(unwrapped[i], truth[i], head.mask) for i in (0, len(TIMES) // 2, -1)
            ]
            field = fit_echoes(unwrapped, magnitudes, TIMES, B0).total_field
            error = (field - head.total_field)[head.mask]
            rms = np.sqrt(np.mean((error - np.median(error)) ** 2))
            print(
                f"{snr:>5} {name:<18} {shares[0]:>7.3f} {shares[1]:>7.3f} {shares[2]:>8.3f} "
                f"{rms:>11.4f} {seconds:>8.1f}"
            )


def beside_prelude(folder: Path) -> None:
    """Agreement of whole turns with PRELUDE in the core of an EPI slab."""

    def load(name: str) -> np.ndarray:
        return np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj, dtype=np.float32)

    mask, theirs = load("prelude_mask") > 0, load("prelude_unwrapped")
    parts, _ = ndimage.label(ndimage.binary_opening(mask, iterations=4))
    core = parts == np.argmax(np.bincount(parts[parts > 0]))
    print("\nagreement with PRELUDE on an EPI slab, % of the core")
    for label, suffix in (("as scanned", ""), ("SNR 2", "_snr2")):
        phase, magnitude = load(f"phase{suffix}"), load(f"magnitude{suffix}")
        best = 100 - wrong_turns(unwrap_bestpath(phase, mask), theirs, core)
        romeo = 100 - wrong_turns(unwrap_romeo([phase], [magnitude], [0.03], mask)[0], theirs, core)
        print(f"{label:<11} bestpath {best:.2f}  romeo {romeo:.2f}")


def beside_scikit_image(n: int = 128) -> None:
    """Time of best-path over that of the function it calls, fastest of three runs each."""
    x, y, z = np.ogrid[tuple(slice(-1, 1, n * 1j) for _ in range(3))]
    mask = x**2 + y**2 + z**2 < 0.8
    noise = np.random.default_rng(0).normal(0, 0.3, mask.shape)
    phase = np.angle(np.exp(1j * (30 * x * y + 20 * z + noise)))

    def fastest(run: Callable) -> float:
        seconds = []
        for _ in range(3):
            began = time.process_time()
            run()
            seconds.append(time.process_time() - began)
        return min(seconds)

    ours = fastest(lambda: unwrap_bestpath(phase, mask))
    theirs = fastest(lambda: unwrap_phase(np.ma.array(phase, mask=~mask)))
    romeo = fastest(lambda: unwrap_romeo([phase], [np.ones_like(phase)], [0.01], mask))
    print(
        f"\none echo of {n}³: scikit-image {theirs:.2f} s, bestpath {ours:.2f} s "
        f"(ratio {ours / theirs:.2f}), romeo {romeo:.2f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=float, default=1.6, help="voxel edge, mm")
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()
    simulated(args.size, args.seed)
    folder = args.shared / "epi_phase_prelude_reference"
    if folder.is_dir():
        beside_prelude(folder)
    beside_scikit_image()


if __name__ == "__main__":
    main()
