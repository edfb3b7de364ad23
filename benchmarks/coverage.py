"""Errors of regions by coverage, for any background removals and inversions.

    python benchmarks/coverage.py --background resharp "vsharp:radii=9/6/3" \
        --inversion tkd "medi:regularisation=3000" --cache /tmp/coverage --out errors.tsv

A method is ``NAME`` or ``NAME:KEY=VALUE,KEY=VALUE``, with the keywords of its function and
lists as ``9/6/3``; ``none`` removes no background, for inversions of the total field. ``T+B``
removes the background of each slab, ``B+T`` that of the whole head before it is cut. Regions
are compared in the middle of all slabs, on the voxels that a method keeps there, relative to
the optic radiation. With ``--lesions`` slabs lie about the haemorrhage and the calcification of
other heads, and these are compared, relative to white matter.

Heads are simulated; the total field gets the noise of a fit of five echoes at 3 T. Seeds from
100 were used to choose parameters, those from 900 for the figures of docs/accuracy.md.

Prints errors of pallidum, putamen and caudate in percent of the truth and of the same methods
at the largest coverage, the NRMSE of the slab, and the mean absolute error over regions and
coverages. Maps are kept in the cache: use another for another version of the code.
"""

import argparse
import importlib
from dataclasses import fields, replace
from inspect import signature
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from _heads import LESIONS, REGIONS, Case, add_errors, region_table
from methods import BACKGROUND, MODULES

from qsm_workflows.algorithms.magnitude import root_sum_of_squares
from qsm_workflows.algorithms.units import radians_per_ppm
from qsm_workflows.cli.simulate import ECHO_TIMES
from qsm_workflows.networks.checkpoints import read_checkpoint
from qsm_workflows.networks.inference import apply_network
from qsm_workflows.phantom import simulate_head
from qsm_workflows.phantom.grids import block_mean

B0, SNR = 3.0, 50.0
FIELD_OF_VIEW = (144, 192, 128)
THICKNESS = 24.0
"""Middle of the slabs that is compared, mm: what a method may erode of the thinnest one."""
KEYS = ["head", "order", "background", "inversion"]


def simulate(seed: int, voxel: float, cache: Path, lesions: bool) -> Case:
    """A whole head with its total field as it would be measured."""
    kept = cache / f"head{seed}_{voxel:g}{'_lesions' * lesions}.npz"
    if not kept.exists():
        matrix = tuple(round(length / voxel) for length in FIELD_OF_VIEW)
        head = simulate_head(seed, voxel_size=(voxel,) * 3, matrix=matrix, lesions=lesions)
        parts = head.subvoxels
        echoes = [
            block_mean(parts.proton_density * np.exp(-time * parts.r2star), parts.factor)
            for time in ECHO_TIMES
        ]
        # Phase of an echo has the noise 1/SNR at the mean magnitude of the first.
        weighted = sum(
            (m * radians_per_ppm(B0, time)) ** 2 for m, time in zip(echoes, ECHO_TIMES, strict=True)
        )
        noise = echoes[0][head.mask].mean() / SNR / np.sqrt(np.maximum(weighted, 1e-6))
        rng = np.random.default_rng(seed)
        case = Case(
            field=head.total_field + noise * rng.standard_normal(noise.shape, np.float32),
            mask=head.mask,
            chi=head.chi,
            labels=head.labels,
            magnitude=root_sum_of_squares(echoes),
            affine=head.affine,
            noise=noise.astype(np.float32),
        )
        np.savez(kept, **vars(case))
    with np.load(kept) as volumes:
        return Case(**{field.name: volumes[field.name] for field in fields(Case)})


def parse(spec: str) -> tuple[str, dict[str, Any]]:
    """Name and keywords of a method."""
    name, _, text = spec.partition(":")
    keywords = {}
    for key, _, value in (item.partition("=") for item in text.split(",") if item):
        parts = [number(part) for part in value.split("/")]
        # The path of a file is no list of numbers.
        is_list = len(parts) > 1 and not any(isinstance(part, str) for part in parts)
        keywords[key] = parts if is_list else number(value)
    return name, keywords


def number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)


def apply(spec: str, case: Case) -> Any:
    """Local field and its mask, or susceptibility."""
    name, keywords = parse(spec)
    if name == "network":
        network = read_checkpoint(Path(keywords["weights"])).network
        return apply_network(network, case.field, case.mask, case.size, case.b0_dir)
    package = "background" if name in BACKGROUND else "inversion"
    module = f"qsm_workflows.algorithms.{package}.{MODULES.get(name, name)}"
    function = getattr(importlib.import_module(module), name)
    known = {
        "voxel_size": case.size,
        "b0_dir": case.b0_dir,
        "magnitude": case.magnitude,
        # By name, so that a method can be had with and without it.
        **({"noise": case.noise} if keywords.pop("noise", False) else {}),
    }
    arguments = {key: known[key] for key in known if key in signature(function).parameters}
    return function(case.field, case.mask, **arguments, **keywords)


def remove_background(spec: str, case: Case, kept: Path) -> Case:
    if spec == "none":
        return case
    if not kept.exists():
        local, mask = apply(spec, case)
        np.savez(kept, field=local, mask=mask)
    with np.load(kept) as volumes:
        return replace(case, field=volumes["field"], mask=volumes["mask"])


def evaluate(args: argparse.Namespace) -> pd.DataFrame:
    args.cache.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in args.seeds:
        whole = simulate(seed, args.voxel_size, args.cache, args.lesions)
        head = f"{seed}_{args.voxel_size:g}{'_lesions' * args.lesions}"
        for target, background, order, mm in product(
            LESIONS if args.lesions else [""], args.background, args.order, args.mm
        ):
            stem = f"{head}_{background.replace('/', '-')}"
            place = f"{stem}_{order}_{mm:g}{target}"
            centre = whole.centre(target) if target else whole.centre()
            if order == "T+B":
                slab = whole.cut(mm, centre)
                slab = remove_background(background, slab, args.cache / f"{place}.npz")
            else:
                local = remove_background(background, whole, args.cache / f"{stem}.npz")
                slab = local.cut(mm, centre)
            for inversion in args.inversion:
                kept = args.cache / f"{place}_{inversion.replace('/', '-')}.npy"
                if not kept.exists():
                    np.save(kept, apply(inversion, slab).astype(np.float16))
                chi = np.load(kept).astype(np.float32)
                names = dict(zip(KEYS, (seed, order, background, inversion), strict=True))
                found = slab.measure_lesion(chi, target) if target else slab.measure(chi, THICKNESS)
                rows.append({**names, "mm": mm, **found})
                print(".", end="", flush=True)
    print()
    return pd.DataFrame(rows)


def print_tables(errors: pd.DataFrame) -> None:
    index = KEYS[1:]
    for suffix in ("%", "% of own full"):
        print(f"\nGP/PU/CN, {suffix} (by mm)\n{region_table(errors, suffix, index).to_string()}")
    pivot = errors.pivot_table("nrmse", index, "mm", sort=False).round(2)
    print(f"\nNRMSE\n{pivot.to_string()}")
    print(f"\nMean absolute error over regions and coverages, %\n{scores(errors).to_string()}")


def print_lesions(table: pd.DataFrame) -> None:
    for lesion in LESIONS:
        errors = table.assign(error=100 * (table[lesion] / table[f"{lesion}_truth"] - 1))
        pivot = errors.pivot_table("error", KEYS[1:], "mm", sort=False).round(0)
        print(f"\n{lesion}, %\n{pivot.to_string()}")


def scores(errors: pd.DataFrame) -> pd.DataFrame:
    """One figure for each series: how far off its regions are on average."""
    result = errors[KEYS].copy()
    for suffix, name in (("%", "truth"), ("% of own full", "own full")):
        result[name] = errors[[f"{region} {suffix}" for region in REGIONS]].abs().mean(axis=1)
    means = result.groupby(KEYS[1:], sort=False)[["truth", "own full"]].mean()
    return means.round(1).sort_values("truth")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--background", nargs="+", default=["resharp"], metavar="METHOD")
    parser.add_argument("--inversion", nargs="+", default=["tkd"], metavar="METHOD")
    parser.add_argument("--order", nargs="+", default=["T+B", "B+T"])
    parser.add_argument("--mm", type=float, nargs="+", default=[32, 48, 64, 80, 96, 112, 128])
    parser.add_argument("--seeds", type=int, nargs="+", default=[100])
    parser.add_argument("--lesions", action="store_true", help="lesions in place of regions")
    parser.add_argument("--voxel-size", type=float, default=1.0, metavar="MM")
    parser.add_argument("--cache", type=Path, required=True, help="folder for heads and maps")
    parser.add_argument("--out", type=Path, help="table to write, a TSV")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    table = evaluate(args)
    if not args.lesions:
        table = add_errors(table, KEYS)
    if args.out:
        table.to_csv(args.out, sep="\t", index=False, float_format="%.4g")
    print_lesions(table) if args.lesions else print_tables(table)


if __name__ == "__main__":
    main()
