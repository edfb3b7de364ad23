"""How closely each method agrees with public implementations, on the reference phantom.

    python benchmarks/fidelity.py ../shared/data/reference_outputs > docs/fidelity.md

Prints the page of the documentation: for each stored output of another program, what it was
run with, our call, and the relative L2 difference in its mask. A few minutes on one core.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

from qsm_workflows.algorithms.background.ismv import ismv
from qsm_workflows.algorithms.background.lbv import lbv
from qsm_workflows.algorithms.background.pdf import pdf
from qsm_workflows.algorithms.background.resharp import resharp
from qsm_workflows.algorithms.background.sharp import sharp, vsharp
from qsm_workflows.algorithms.fits import fit_echoes, fit_echoes_nonlinear
from qsm_workflows.algorithms.inversion.direct import l2, tkd, tsvd
from qsm_workflows.algorithms.inversion.ilsqr import ilsqr
from qsm_workflows.algorithms.inversion.lnqsm import lnqsm
from qsm_workflows.algorithms.inversion.medi import medi
from qsm_workflows.algorithms.inversion.tv import tv
from qsm_workflows.algorithms.laplacian import unwrap_laplacian
from qsm_workflows.algorithms.metrics import nrmse
from qsm_workflows.algorithms.presets import (
    ILSQR_QSM_M,
    ISMV_QSM_M,
    LBV_QSM_M,
    MEDI_CORNELL,
    PDF_CORNELL,
    RESHARP_PRESETS,
    SHARP_QSM_M,
    SHARP_SUN,
)
from qsm_workflows.algorithms.romeo import unwrap_romeo
from qsm_workflows.algorithms.units import radians_per_ppm
from qsm_workflows.algorithms.unwrapping import align_echoes, unwrap_bestpath

SIZE, B0_DIR = (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)
B0, TIMES = 3.0, [0.004, 0.010, 0.016, 0.022]

PROGRAMS = {
    "hf": "sunhongfu/QSM c75b138",
    "km": "kamesy/QSM.m f22dc40",
    "medi": "MEDI toolbox (2020)",
    "sepia": "SEPIA 4974b04",
}

HEAD = """# Agreement with public implementations

This page is printed by `benchmarks/fidelity.py`. Other groups' programs were run on one phantom
of 96×112×80 voxels of 1 mm, and our functions on the same inputs. *Difference* is the norm of
the difference over the norm of the other's result, in the mask of the other's result; the stored
results are rounded to 1e-6 ppm, which is about 1e-5 of their norm. Where *suggested* says so, the
reference set names the tolerance within which an independent implementation can be expected to
agree.

The tests in `tests/algorithms/test_fidelity.py` hold most of these figures. Keywords that make a
function of ours that of another program are named in `qsm_workflows.algorithms.presets`:
`SHARP_SUN`, `SHARP_QSM_M` (V-SHARP too), `ISMV_QSM_M`, `LBV_QSM_M`, `PDF_CORNELL`, `ILSQR_QSM_M`,
`MEDI_CORNELL`, and `RESHARP_PRESETS` for Sun's. Which paper each method follows, and where we
differ on purpose, is told on the page on [methods](methods.md).

| output | program | its parameters | ours | difference | suggested |
|---|---|---|---|---|---|"""


class Case(NamedTuple):
    """One output of another program and the call of ours that gives the same.

    Attributes
    ----------
    output : str
    function : callable
    keywords : dict
        Those that differ from our defaults.
    inputs : str
        Volume that the call starts from.
    suggested : str
        Tolerance that the reference set suggests.
    slab : slice
        Slices that the call gets.
    mask : str
        Mask that the call gets.
    """

    output: str
    function: Callable[..., Any]
    keywords: dict[str, Any]
    inputs: str = "in_field_local_noisy_ppm"
    suggested: str = ""
    slab: slice = slice(None)
    mask: str = "in_mask"


removal = partial(Case, inputs="in_field_total_ppm")
RESHARP_MASK = "out_hf_resharp_r3_l1e-3_mask"
PRISMA = asdict(RESHARP_PRESETS["prisma"])
CHAIN = {"inputs": "out_hf_resharp_r3_l1e-3", "mask": RESHARP_MASK}
MEDI = {"delta_te": 0.006, **MEDI_CORNELL}

CASES = (
    removal("hf_resharp_r3_l1e-4", resharp, {}, suggested="3e-3"),
    removal("hf_resharp_r3_l1e-3", resharp, PRISMA, suggested="3e-3"),
    removal("hf_resharp_r5_l1e-3", resharp, PRISMA | {"radius": 5}, suggested="3e-3"),
    removal("hf_tb_resharp", resharp, PRISMA, suggested="3e-3", slab=slice(20, 60)),
    removal("hf_sharp_r3_t0.1", sharp, SHARP_SUN),
    removal("km_sharp_r9", sharp, SHARP_QSM_M),
    removal("km_vsharp_9-2", vsharp, SHARP_QSM_M, suggested="1e-4"),
    removal("km_vsharp_9-2", vsharp, {}, suggested="3e-2"),
    removal("km_ismv_r3", ismv, ISMV_QSM_M),
    removal("km_ismv_r3", ismv, {}),
    removal("km_lbv", lbv, LBV_QSM_M, suggested="1e-4"),
    removal("medi_lbv", lbv, {}, suggested="3e-2"),
    removal("medi_pdf", pdf, {"noise": "N_std", **PDF_CORNELL}, suggested="3e-2"),
    removal("km_pdf", pdf, {}),
    removal("km_resharp_r3_l1e-2", resharp, {"tikhonov": 1e-2}),
    removal("sepia_resharp", resharp, {"tikhonov": 1e-2}),
    Case("km_tkd", tkd, {"pad": 0}, suggested="1e-5"),
    Case("km_tb41_tkd", tkd, {"pad": 0}, suggested="1e-5", slab=slice(19, 60)),
    Case("km_tsvd", tsvd, {"pad": 0}, suggested="1e-5"),
    Case("km_tikh", l2, {"pad": 0}, suggested="1e-5"),
    Case("sepia_l2", l2, {"regularisation": 0.01, "pad": 0}, suggested="1e-5"),
    Case("km_ilsqr", ilsqr, ILSQR_QSM_M, suggested="1e-4"),
    Case("km_ilsqr", ilsqr, {"pad": 0}),
    Case("km_tb41_ilsqr", ilsqr, ILSQR_QSM_M, suggested="1e-4", slab=slice(19, 60)),
    Case("km_chain_ilsqr", ilsqr, ILSQR_QSM_M, suggested="1e-4", **CHAIN),
    Case("medi_medi_l1", medi, {"noise": "N_std", **MEDI}, suggested="5e-3"),
    Case("medi_medi_l1_merit", medi, {"noise": "N_std", "merit": True, **MEDI}, suggested="5e-3"),
    Case("medi_medi_l1_smv", medi, {"noise": "N_std", "smv_radius": 5, **MEDI}),
    Case("medi_chain_l1", medi, MEDI, suggested="5e-3", **CHAIN),
    Case("hf_tvdi", tv, {"regularisation": 2.5e-4, "tolerance": 1e-3, "pad": 0}),
    removal("hf_lnqsm", lnqsm, {"regularisation": 5e-5, "max_outer": 1}),
)

NOTES = """
SEPIA's L2 keeps D(0) = 1/3, which adds a constant; it was taken off. `km_pdf` has the dipole
kernel of image space; `sepia_resharp` and `km_resharp` solve other systems than the paper's normal
equations: agreement is not expected. Not listed are `sepia_ilsqr` and `km_medi`, which are other
algorithms under these names. `hf_tvdi` and `hf_lnqsm` were stopped after 100 of 500 iterations of
non-linear conjugate gradients, far from their minimum; ours goes on. iLSQR without `signed_slopes`
differs on purpose: it errs less from the truth, and does not depend on the direction of the axes.
iSMV without `repetitions` goes to the limit of the iteration.
"""


PHASE_PROGRAMS = {
    "geggo": "geggo/phase-unwrap, scikit-image",
    "3DSRNCP": "3DSRNCP",
    "medi": PROGRAMS["medi"],
    "truth": "the phantom",
    "in_field": "the phantom",
    "hf": PROGRAMS["hf"],
    "km": PROGRAMS["km"],
}
"""Whose output it is, by the first of these that its name has."""

PHASE_HEAD = """
## Unwrapping and fits

The same phantom has four echoes at 4, 10, 16 and 22 ms. *Other turns* are voxels of the mask that
got another whole number of turns, in percent at each echo, after the number most voxels differ by;
both of our methods add nothing but whole turns. The tests of each method hold these figures.

| output | program | ours | agreement |
|---|---|---|---|"""

PHASE_NOTES = """
Best-path follows scikit-image to the voxel. `truth` is the phantom's own number of turns. The
Laplacian results are of the third echo: Sun's and MEDI's take mirrored or periodic borders of the
whole image, noise about the head included, QSM.m's is zero at the border of the mask and so takes
the background off at once. What differs between the fits lies in voxels that were unwrapped
otherwise, in the haemorrhage and in veins.
"""


def load(folder: Path, name: str) -> np.ndarray:
    return np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj, np.float32)


def phase_rows(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Stored output, our call, and how far they agree, for unwrapping and fits."""
    volume = partial(load, folder)
    mask = volume("in_mask") > 0
    # Exact multiples of π/4096, whose ties scikit-image breaks as it did for the stored turns.
    stored = nib.load(folder / "in_phase_4echo.nii.gz").dataobj.get_unscaled()
    phases = np.moveaxis(stored * (np.pi / 4096), 3, 0)
    magnitudes = np.moveaxis(volume("in_magnitude_4echo"), 3, 0)
    bestpath = [unwrap_bestpath(phase, mask) for phase in phases]
    romeo = unwrap_romeo(phases, magnitudes, TIMES, mask)
    for name in ("geggo_skimage", "3DSRNCP", "medi_regiongrow", "truth"):
        output = f"unwrap_counts_{name}_4echo"
        counts = np.moveaxis(volume(f"out_{output}"), 3, 0)
        for call, ours in (("unwrap_bestpath()", bestpath), ("unwrap_romeo()", romeo)):
            shares = map(other_turns, ours, phases, counts, [mask] * len(TIMES))
            yield output, call, "other turns: " + ", ".join(f"{s:.2g}" for s in shares) + " %"

    truth = phases[2] + 2 * np.pi * volume("out_unwrap_counts_truth_4echo")[..., 2]
    laplacian = unwrap_laplacian(phases[2], mask, SIZE)
    own = np.std((laplacian - truth)[mask])
    for family in ("hf", "medi"):
        output = f"unwrap_{family}_laplacian_echo3_rad"
        theirs = np.std((volume(f"out_{output}") - truth)[mask])
        text = f"standard deviation from the truth {own:.2f} rad, theirs {theirs:.1f}"
        yield output, "unwrap_laplacian()", text
    theirs = volume("out_unwrap_km_laplacian_echo3_rad")[mask]
    local = lbv(laplacian, mask, SIZE)[0][mask]
    text = f"median difference {np.median(np.abs(local - theirs)):.2f} rad of {np.std(theirs):.1f}"
    yield "unwrap_km_laplacian_echo3_rad", "lbv(unwrap_laplacian())", text

    aligned = align_echoes(bestpath, mask, TIMES)
    for weighting, file in (
        ("magnitude", "out_hf_echofit_total_ppm"),
        ("magnitude_squared", "in_field_total_ppm"),
    ):
        fit = fit_echoes(aligned, magnitudes, TIMES, B0, weighting=weighting)
        apart = np.abs(fit.total_field - volume(file))[mask]
        text = f"within 1e-4 ppm in {100 * np.mean(apart < 1e-4):.2f} % of the mask"
        yield file.removeprefix("out_"), f"fit_echoes(weighting={weighting!r})", text
    fit = fit_echoes_nonlinear(aligned, magnitudes, TIMES, B0)
    # The file has the sign of their conjugate, and is wrapped.
    apart = fit.total_field * radians_per_ppm(B0, 0.006) + volume("out_medi_fitppm_rad_per_dTE")
    apart = np.abs(apart - 2 * np.pi * np.rint(apart / (2 * np.pi)))[mask]
    text = f"within 1e-3 rad in {100 * np.mean(apart < 1e-3):.2f} % of the mask"
    yield "medi_fitppm_rad_per_dTE", "fit_echoes_nonlinear()", text
    ratio = fit.noise[mask] / volume("out_medi_fitppm_Nstd")[mask]
    text = f"one factor everywhere within {np.ptp(ratio) / np.median(ratio):.0e}"
    yield "medi_fitppm_Nstd", "fit_echoes_nonlinear().noise", text


def other_turns(
    unwrapped: np.ndarray, phase: np.ndarray, counts: np.ndarray, mask: np.ndarray
) -> float:
    """Percent of the mask with another number of turns, but for one number for all voxels."""
    turns = np.rint((unwrapped - phase) / (2 * np.pi))[mask] - counts[mask]
    return 100 * float(np.mean(turns != np.median(turns)))


def difference(folder: Path, case: Case) -> tuple[float, bool]:
    """Relative L2 difference in the other's mask, and whether the masks are the same."""

    volume = partial(load, folder)
    slab = np.s_[:, :, case.slab]
    theirs = volume(f"out_{case.output}")[slab]
    given = volume(case.mask)[slab] > 0
    own_mask = folder / f"out_{case.output}_mask.nii.gz"
    known = volume(f"out_{case.output}_mask")[slab] > 0 if own_mask.exists() else given
    keywords = dict(case.keywords)
    if "noise" in keywords:
        keywords["noise"] = volume("out_medi_fitppm_Nstd")[slab]
    with_direction = case.function not in (resharp, sharp, vsharp, ismv, lbv)
    geometry = (SIZE, B0_DIR) if with_direction else (SIZE,)
    if case.function is medi:
        geometry = (np.linalg.norm(volume("in_magnitude_4echo"), axis=-1), *geometry)
    ours = case.function(volume(case.inputs)[slab], given, *geometry, **keywords)
    same_mask = True
    if isinstance(ours, tuple):
        ours, mask = ours
        same_mask = bool(np.array_equal(mask, known))
        known = known & mask
    if case.output == "sepia_l2":
        ours = ours + (theirs - ours)[known].mean()
    return nrmse(ours, theirs, known), same_mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="reference outputs")
    folder = parser.parse_args().folder
    index = json.loads((folder / "index.json").read_text())
    print(HEAD)
    for case in CASES:
        value, same_mask = difference(folder, case)
        keywords = ", ".join(f"{name}={value!r}" for name, value in case.keywords.items())
        program = PROGRAMS[case.output.split("_")[0]]
        parameters = index[case.output]["params"]
        ours = f"`{case.function.__name__}({keywords})`"
        masks = "" if same_mask else " (in the mask of both; they differ)"
        print(
            f"| `{case.output}` | {program} | {parameters} | {ours} "
            f"| {value:.1e}{masks} | {case.suggested} |",
            flush=True,
        )
        print(case.output, f"{value:.1e}", same_mask, file=sys.stderr, flush=True)
    print(NOTES, end="")
    print(PHASE_HEAD)
    for output, call, text in phase_rows(folder):
        program = next(name for key, name in PHASE_PROGRAMS.items() if key in output)
        print(f"| `{output}` | {program} | `{call}` | {text} |", flush=True)
    print(PHASE_NOTES, end="")


if __name__ == "__main__":
    main()
