"""How right networks are on slabs of simulated heads, beside TKD, iLSQR and MEDI.

    python benchmarks/networks.py xqsm=WEIGHTS.safetensors --heads 2 --cache /tmp/networks

Every method gets the same fields: ``ideal``, the field of the brain's sources alone, cut to
the slab; ``B+T``, what RESHARP leaves of the whole head's field, cut afterwards; ``T+B``, what
it leaves of the slab's. Regions are compared on the voxels that all slabs have, relative to
the optic radiation there.

Prints the error of pallidum, putamen and caudate in percent of the truth and of the same
method at the largest coverage, the NRMSE within the slab, and the slope of each region's
value when the iron of all nuclei is scaled by 0.5 to 2.
"""

import argparse
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from qsm_workflows.algorithms.background.resharp import resharp
from qsm_workflows.algorithms.coverage import place_slab, truncate
from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.algorithms.inversion.direct import tkd
from qsm_workflows.algorithms.inversion.ilsqr import ilsqr
from qsm_workflows.algorithms.inversion.medi import medi
from qsm_workflows.algorithms.metrics import nrmse
from qsm_workflows.networks.checkpoints import read_checkpoint
from qsm_workflows.networks.inference import apply_network
from qsm_workflows.phantom import Head, simulate_head

REGIONS = ("pallidum", "putamen", "caudate")
IRON = ("thalamus", "red_nucleus", "substantia_nigra", "dentate", *REGIONS)
KINDS = ("ideal", "B+T", "T+B")
FACTORS = (0.5, 1.0, 1.5, 2.0)
SLOPE_COVERAGES = (32.0, 48.0)
SIZE, B0_DIR = (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Case:
    """One field to invert, and what is known of it."""

    seed: int
    kind: str
    coverage: float
    factor: float
    field: np.ndarray
    mask: np.ndarray
    chi: np.ndarray
    labels: np.ndarray
    magnitude: np.ndarray

    @property
    def key(self) -> str:
        return f"{self.seed}_{self.kind}_{self.coverage:g}_{self.factor:g}"


Method = Callable[[Case], np.ndarray]

CLASSICAL: dict[str, Method] = {
    "tkd": lambda case: tkd(case.field, case.mask, SIZE, B0_DIR),
    "ilsqr": lambda case: ilsqr(case.field, case.mask, SIZE, B0_DIR),
    "medi": lambda case: medi(case.field, case.mask, case.magnitude, SIZE, B0_DIR),
}


def network(path: Path) -> Method:
    checkpoint = read_checkpoint(path)

    def invert(case: Case) -> np.ndarray:
        return apply_network(
            checkpoint.network, case.field, case.mask, SIZE, B0_DIR, dtype="bfloat16"
        )

    return invert


def cases(head: Head, seed: int, coverages: list[float]) -> Iterator[Case]:
    whole = Case(
        seed=seed,
        kind="ideal",
        coverage=max(coverages),
        factor=1.0,
        field=head.local_field,
        mask=head.mask,
        chi=head.chi * head.mask,
        labels=head.labels,
        magnitude=head.subvoxels.mean_proton_density(),
    )
    local, eroded = resharp(head.total_field, head.mask, SIZE)
    for coverage in coverages:
        yield cut(whole, head, coverage)
        yield cut(replace(whole, kind="B+T", field=local, mask=eroded), head, coverage)
        slab = cut(replace(whole, kind="T+B", field=head.total_field), head, coverage)
        slab_field, slab_mask = resharp(slab.field, slab.mask, SIZE)
        yield replace(slab, field=slab_field, mask=slab_mask)
    nuclei = np.isin(head.labels, indices(head, *IRON))
    more = whole.chi * nuclei
    more_field = forward_field(more, SIZE, B0_DIR)
    for factor in FACTORS:
        if factor == 1:
            continue
        field, chi = whole.field + (factor - 1) * more_field, whole.chi + (factor - 1) * more
        scaled = replace(whole, factor=factor, field=field, chi=chi)
        for coverage in SLOPE_COVERAGES:
            yield cut(scaled, head, coverage)


def cut(case: Case, head: Head, coverage: float) -> Case:
    _, _, z = np.nonzero(np.isin(head.labels, indices(head, "pallidum")))
    centre = head.affine @ [0, 0, z.mean(), 1]
    slab = place_slab(head.mask.shape, head.affine, centre[:3], coverage)

    def part(volume: np.ndarray) -> np.ndarray:
        return truncate(volume, head.affine, slab)[0]

    return replace(
        case,
        coverage=coverage,
        field=part(case.field),
        mask=part(case.mask),
        chi=part(case.chi),
        labels=part(case.labels),
        magnitude=part(case.magnitude),
    )


def indices(head: Head, *names: str) -> list[int]:
    return [row.index for row in head.label_table if row.name in names]


def measure(head: Head, case: Case, chi: np.ndarray, depth: int) -> dict[str, float]:
    """Regional means relative to the optic radiation, on the middle `depth` slices."""
    middle = np.zeros(case.mask.shape, bool)
    first = (case.mask.shape[2] - depth) // 2
    middle[:, :, first : first + depth] = True
    inside = case.mask & middle
    reference = inside & np.isin(case.labels, indices(head, "optic_radiation"))
    row: dict[str, float] = {}
    for name in REGIONS:
        region = inside & np.isin(case.labels, indices(head, name))
        row[name] = chi[region].mean() - chi[reference].mean()
        row[f"{name}_truth"] = case.chi[region].mean() - case.chi[reference].mean()
    row["nrmse"] = nrmse(
        chi - chi[reference].mean(), case.chi - case.chi[reference].mean(), case.mask
    )
    return row


def evaluate(
    methods: dict[str, Method], seeds: list[int], coverages: list[float], cache: Path
) -> pd.DataFrame:
    # T+B loses the reach of RESHARP's kernel at each face of the thinnest slab.
    depth = int(min(coverages)) - 8
    cache.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in seeds:
        head = simulate_head(seed, lesions=False)
        for case in cases(head, seed, coverages):
            for name, method in methods.items():
                kept = cache / f"{name}_{case.key}.npy"
                if not kept.exists():
                    np.save(kept, method(case).astype(np.float16))
                row = measure(head, case, np.load(kept).astype(np.float32), depth)
                rows.append(
                    {
                        "head": seed,
                        "field": case.kind,
                        "mm": case.coverage,
                        "factor": case.factor,
                        "method": name,
                        **row,
                    }
                )
                print(".", end="", flush=True)
    print()
    return pd.DataFrame(rows)


def print_tables(table: pd.DataFrame) -> None:
    plain = table[table.factor == 1].copy()
    full = plain.mm == plain.mm.max()
    own = plain[full].set_index(["head", "field", "method"])
    for name in REGIONS:
        plain[f"{name} %"] = 100 * (plain[name] / plain[f"{name}_truth"] - 1)
        at_full = own.loc[pd.MultiIndex.from_frame(plain[["head", "field", "method"]]), name]
        plain[f"{name} % of own full"] = 100 * (plain[name] / at_full.to_numpy() - 1)
    for suffix in ("%", "% of own full"):
        columns = [f"{name} {suffix}" for name in REGIONS]
        pivot = plain.pivot_table(columns, ["field", "method"], "mm")
        joined = pd.DataFrame(
            {
                mm: pivot[columns[0]][mm]
                .map("{:+.0f}".format)
                .str.cat([pivot[c][mm].map("{:+.0f}".format) for c in columns[1:]], sep="/")
                for mm in sorted(plain.mm.unique())
            }
        )
        print(f"\nGP/PU/CN, {suffix} (by mm)\n{joined.to_string()}")
    errors = plain.pivot_table("nrmse", ["field", "method"], "mm").round(2)
    print(f"\nNRMSE\n{errors.to_string()}")
    ideal = table[(table.field == "ideal") & table.mm.isin(SLOPE_COVERAGES)]
    slopes = [
        {"method": method, "mm": mm, "region": name, "slope": fit(group, name)}
        for (method, mm), group in ideal.groupby(["method", "mm"])
        for name in REGIONS
    ]
    pivot = pd.DataFrame(slopes).pivot_table("slope", ["method", "mm"], "region").round(2)
    print(f"\nslope with iron × 0.5 to 2, ideal field\n{pivot[list(REGIONS)].to_string()}")


def fit(group: pd.DataFrame, name: str) -> float:
    """Mean over heads of the slope of a region's value against its truth."""
    return float(
        np.mean(
            [np.polyfit(one[f"{name}_truth"], one[name], 1)[0] for _, one in group.groupby("head")]
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("networks", nargs="*", metavar="NAME=FILE")
    parser.add_argument("--heads", type=int, default=1, help="how many")
    parser.add_argument("--seed", type=int, default=700, help="of the first head")
    parser.add_argument("--mm", type=float, nargs="+", default=[32, 48, 64, 96, 128])
    parser.add_argument("--classical", nargs="*", default=list(CLASSICAL))
    parser.add_argument("--cache", type=Path, required=True, help="folder for the maps")
    args = parser.parse_args()
    torch.set_num_threads(1)
    methods = {name: CLASSICAL[name] for name in args.classical}
    for name, _, path in (pair.partition("=") for pair in args.networks):
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:8]
        methods[f"{name}-{digest}"] = network(Path(path))
    seeds = [args.seed + n for n in range(args.heads)]
    print_tables(evaluate(methods, seeds, args.mm, args.cache))


if __name__ == "__main__":
    main()
