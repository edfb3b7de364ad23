"""How right networks are on slabs of simulated heads, beside TKD, iLSQR, MEDI and TV.

    python benchmarks/networks.py xqsm=WEIGHTS.safetensors --heads 2 --cache /tmp/networks --card

Every method gets the same fields: ``ideal``, the field of the brain's sources alone, cut to
the slab; ``noisy``, the same with the noise of five echoes at 3 T; ``B+T``, what RESHARP leaves
of the whole head's field, cut afterwards; ``T+B``, what it leaves of the slab's. Regions are
compared on the voxels that all slabs have, relative to the optic radiation there. Lesions lie in
heads of their own, in slabs centred on them, and are compared with the white matter of the slab.

Prints the error of pallidum, putamen and caudate in percent of the truth and of the same
method at the largest coverage, how far the map of the slab is from the truth, the slope of each
region's value when the iron of all nuclei is scaled by 0.5 to 2, and the error of lesions.
``--table`` writes every mean over the heads to a file, and ``--card`` what concerns a network
into the card beside its weights, with the comparison unless ``--classical`` names no method.
Heads and maps are kept in the cache: use another for another version of the code.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from _cards import REFERENCE_MM, SLOPE_MM, Accuracy
from _heads import LESIONS, REFERENCE, REGIONS, Case

from qsm_workflows.algorithms.background.resharp import resharp
from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.algorithms.inversion.direct import tkd
from qsm_workflows.algorithms.inversion.ilsqr import ilsqr
from qsm_workflows.algorithms.inversion.medi import medi
from qsm_workflows.algorithms.inversion.tv import tv
from qsm_workflows.algorithms.metrics import hfen, psnr, ssim
from qsm_workflows.files import write_whole
from qsm_workflows.networks.cards import read_card, write_card
from qsm_workflows.networks.checkpoints import read_checkpoint
from qsm_workflows.networks.inference import apply_network
from qsm_workflows.phantom import simulate_head

IRON = ("thalamus", "red_nucleus", "substantia_nigra", "dentate", *REGIONS)
FACTORS = (0.5, 1.5, 2.0)
LESION_MM = (16.0, 32.0, 48.0, 64.0)
LEAST_ERODED_MM = 32.0
"""Thinnest slab that keeps a lesion when RESHARP erodes its faces."""
NOISE = 0.0015
"""Standard deviation of the field, ppm: five echoes at 3 T with a signal-to-noise ratio of 50."""
SIZE, B0_DIR = (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)


class Task(NamedTuple):
    """A field to invert, and where it comes from."""

    case: Case
    seed: int
    kind: str
    mm: float
    factor: float = 1.0
    lesion: str = ""

    @property
    def key(self) -> str:
        return f"{self.seed}_{self.kind}_{self.mm:g}_{self.factor:g}{self.lesion}"


Method = Callable[[Case], np.ndarray]

CLASSICAL: dict[str, Method] = {
    "tkd": lambda case: tkd(case.field, case.mask, SIZE, B0_DIR),
    "ilsqr": lambda case: ilsqr(case.field, case.mask, SIZE, B0_DIR),
    "medi": lambda case: medi(case.field, case.mask, case.magnitude, SIZE, B0_DIR),
    "tv": lambda case: tv(case.field, case.mask, SIZE, B0_DIR),
}


def network(path: Path) -> Method:
    checkpoint = read_checkpoint(path)

    def invert(case: Case) -> np.ndarray:
        return apply_network(checkpoint.network, case.field, case.mask, SIZE, B0_DIR, dtype="auto")

    return invert


class Whole(NamedTuple):
    """A head with both its fields."""

    case: Case
    """Its field is that of the brain's own sources."""
    total_field: np.ndarray


def simulate(seed: int, lesions: bool, cache: Path) -> Whole:
    kept = cache / f"head{seed}{'_lesions' * lesions}.npz"
    if not kept.exists():
        head = simulate_head(seed, lesions=lesions)
        np.savez(
            kept,
            field=head.local_field,
            mask=head.mask,
            chi=head.chi * head.mask,
            labels=head.labels,
            magnitude=head.subvoxels.mean_proton_density(),
            affine=head.affine,
            total_field=head.total_field,
        )
    with np.load(kept) as arrays:
        parts = dict(arrays)
    total_field = parts.pop("total_field")
    return Whole(Case(**parts), total_field)


def without_background(kept: Path, field: np.ndarray, case: Case) -> Case:
    """A case with what RESHARP leaves of a total field."""
    if not kept.exists():
        local, eroded = resharp(field, case.mask, SIZE)
        np.savez(kept, field=local, mask=eroded)
    with np.load(kept) as arrays:
        return replace(case, field=arrays["field"], mask=arrays["mask"])


def removed_in_slab(kept: Path, head: Whole, mm: float, centre: np.ndarray) -> Case:
    """A slab with what RESHARP leaves of its own total field."""
    slab = replace(head.case, field=head.total_field).cut(mm, centre)
    return without_background(kept, slab.field, slab)


def slab_tasks(head: Whole, seed: int, coverages: list[float], cache: Path) -> Iterator[Task]:
    whole = head.case
    centre = whole.centre()
    noise = np.random.default_rng(seed).normal(0, NOISE, whole.field.shape).astype(np.float32)
    local = without_background(cache / f"local{seed}.npz", head.total_field, whole)
    for mm in coverages:
        yield Task(whole.cut(mm, centre), seed, "ideal", mm)
        yield Task(local.cut(mm, centre), seed, "B+T", mm)
        kept = cache / f"local{seed}_{mm:g}.npz"
        yield Task(removed_in_slab(kept, head, mm, centre), seed, "T+B", mm)
        if mm in REFERENCE_MM:
            noisy = replace(whole, field=whole.field + noise * whole.mask)
            yield Task(noisy.cut(mm, centre), seed, "noisy", mm)
    more = whole.chi * whole.region(*IRON)
    more_field = forward_field(more, SIZE, B0_DIR)
    for factor in FACTORS:
        field, chi = whole.field + (factor - 1) * more_field, whole.chi + (factor - 1) * more
        scaled = replace(whole, field=field, chi=chi)
        for mm in SLOPE_MM:
            yield Task(scaled.cut(mm, centre), seed, "ideal", mm, factor)


def lesion_tasks(head: Whole, seed: int, cache: Path) -> Iterator[Task]:
    whole = head.case
    local = without_background(cache / f"local{seed}_lesions.npz", head.total_field, whole)
    for lesion in LESIONS:
        centre = whole.centre(lesion)
        for mm in LESION_MM:
            yield Task(whole.cut(mm, centre), seed, "ideal", mm, lesion=lesion)
            yield Task(local.cut(mm, centre), seed, "B+T", mm, lesion=lesion)
            if mm >= LEAST_ERODED_MM:
                kept = cache / f"local{seed}_{lesion}_{mm:g}.npz"
                case = removed_in_slab(kept, head, mm, centre)
                yield Task(case, seed, "T+B", mm, lesion=lesion)


def measure(task: Task, chi: np.ndarray, thickness: float) -> dict[str, float]:
    """Regions and agreement of a map; of one with a lesion only the lesion."""
    case = task.case
    if task.lesion:
        return case.measure_lesion(chi, task.lesion)
    reference = case.mask & case.region(REFERENCE)
    # Without the empty space round the brain; the measures look a few voxels far.
    box = tuple(slice(max(i.min() - 8, 0), i.max() + 9) for i in np.nonzero(case.mask))
    maps = chi - chi[reference].mean(), case.chi - case.chi[reference].mean(), case.mask
    pair = [volume[box] for volume in maps]
    return {
        **case.measure(chi, thickness),
        "ssim": ssim(*pair),
        "psnr": psnr(*pair),
        "hfen": hfen(*pair),
    }


def measured(
    cache: Path, name: str, method: Method, task: Task, thickness: float
) -> dict[str, float]:
    """What a method's map of a task is like; map and measures are kept."""
    kept = cache / f"{name}_{task.key}.npy"
    if not kept.exists():
        chi = method(task.case).astype(np.float16)
        write_whole(kept, lambda path: np.save(path, chi))
    numbers = kept.with_name(f"{kept.stem}_{thickness:g}.json")
    if not numbers.exists():
        text = json.dumps(measure(task, np.load(kept).astype(np.float32), thickness))
        write_whole(numbers, lambda path: path.write_text(text))
    found: dict[str, float] = json.loads(numbers.read_text())
    return found


def evaluate(
    methods: dict[str, Method], seeds: list[int], coverages: list[float], cache: Path, lesions: bool
) -> pd.DataFrame:
    # T+B loses the reach of RESHARP's kernel at each face of the thinnest slab.
    thickness = min(coverages) - 8
    cache.mkdir(parents=True, exist_ok=True)
    rows = []

    def run(tasks: Iterator[Task]) -> None:
        for task in tasks:
            for name, method in methods.items():
                about = task._asdict() | {"head": task.seed, "field": task.kind, "method": name}
                del about["case"]
                rows.append(about | measured(cache, name, method, task, thickness))
                print(".", end="", flush=True)

    for seed in seeds:
        run(slab_tasks(simulate(seed, False, cache), seed, coverages, cache))
        if lesions:
            run(lesion_tasks(simulate(seed, True, cache), seed, cache))
    print()
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("networks", nargs="*", metavar="NAME=FILE")
    parser.add_argument("--heads", type=int, default=1, help="how many")
    parser.add_argument("--seed", type=int, default=700, help="of the first head")
    parser.add_argument("--mm", type=float, nargs="+", default=[32, 48, 64, 80, 96, 112, 128])
    parser.add_argument("--classical", nargs="*", choices=CLASSICAL, default=list(CLASSICAL))
    parser.add_argument("--no-lesions", action="store_true")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the maps")
    parser.add_argument("--table", type=Path, metavar="FILE", help="every result, as TSV")
    parser.add_argument("--card", action="store_true", help="write the cards of the networks")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    methods = {name: CLASSICAL[name] for name in args.classical}
    files = {}
    for name, _, path in (pair.partition("=") for pair in args.networks):
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:8]
        files[f"{name}-{digest}"] = Path(path)
        methods[f"{name}-{digest}"] = network(Path(path))
    seeds = [args.seed + n for n in range(args.heads)]
    accuracy = Accuracy(evaluate(methods, seeds, args.mm, args.cache, not args.no_lesions))
    accuracy.print()
    if args.table:
        # Files of weights go by the name that was given for them.
        tidy = accuracy.tidy().replace({"method": {key: key.rpartition("-")[0] for key in files}})
        write_whole(args.table, lambda path: tidy.to_csv(path, sep="\t", index=False))
    if args.card:
        for name, path in files.items():
            write_card(path, (read_card(path) or {}) | accuracy.card(name, args.classical))


if __name__ == "__main__":
    main()
