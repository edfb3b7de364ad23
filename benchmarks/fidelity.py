"""How closely each method agrees with public implementations, on the reference phantom.

    python benchmarks/fidelity.py ../shared/data/reference_outputs > docs/fidelity.md

Prints the page of the documentation: for each stored output of another program, what it was
run with, our call, and the relative L2 difference in its mask. A few minutes on one core.
"""

import argparse
import json
import sys
from collections.abc import Callable
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
from qsm_workflows.algorithms.inversion.direct import l2, tkd, tsvd
from qsm_workflows.algorithms.inversion.ilsqr import ilsqr
from qsm_workflows.algorithms.inversion.lnqsm import lnqsm
from qsm_workflows.algorithms.inversion.medi import medi
from qsm_workflows.algorithms.inversion.tv import tv
from qsm_workflows.algorithms.metrics import nrmse
from qsm_workflows.algorithms.presets import MEDI_CORNELL

SIZE, B0_DIR = (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)

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

The tests in `tests/algorithms/test_fidelity.py` hold most of these figures. Which paper each
method follows, and where we differ on purpose, is told on the page on [methods](methods.md).

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
CHAIN = {"inputs": "out_hf_resharp_r3_l1e-3", "mask": RESHARP_MASK}
PRISMA = {"tikhonov": 1e-3, "max_iterations": 500}
SIGNED = {"signed_slopes": True, "pad": 0}
MEDI = {"delta_te": 0.006, **MEDI_CORNELL, "pad": 0}

CASES = (
    removal("hf_resharp_r3_l1e-4", resharp, {}, suggested="3e-3"),
    removal("hf_resharp_r3_l1e-3", resharp, PRISMA, suggested="3e-3"),
    removal("hf_resharp_r5_l1e-3", resharp, {"radius": 5, **PRISMA}, suggested="3e-3"),
    removal("hf_tb_resharp", resharp, PRISMA, suggested="3e-3", slab=slice(20, 60)),
    removal("hf_sharp_r3_t0.1", sharp, {"radius": 3, "threshold": 0.1, "covered": 0.99, "pad": 0}),
    removal("km_sharp_r9", sharp, {"pad": 0}),
    removal("km_vsharp_9-2", vsharp, {"pad": 0}, suggested="1e-4"),
    removal("km_vsharp_9-2", vsharp, {}, suggested="3e-2"),
    removal("km_ismv_r3", ismv, {"repetitions": 38}),
    removal("km_ismv_r3", ismv, {}),
    removal("km_lbv", lbv, {"boundary": "outside"}, suggested="1e-4"),
    removal("medi_lbv", lbv, {}, suggested="3e-2"),
    removal(
        "medi_pdf",
        pdf,
        {"noise": "N_std", "tolerance": 0, "max_iterations": 30},
        suggested="3e-2",
    ),
    removal("km_pdf", pdf, {}),
    removal("km_resharp_r3_l1e-2", resharp, {"tikhonov": 1e-2}),
    removal("sepia_resharp", resharp, {"tikhonov": 1e-2}),
    Case("km_tkd", tkd, {"pad": 0}, suggested="1e-5"),
    Case("km_tb41_tkd", tkd, {"pad": 0}, suggested="1e-5", slab=slice(19, 60)),
    Case("km_tsvd", tsvd, {"pad": 0}, suggested="1e-5"),
    Case("km_tikh", l2, {"pad": 0}, suggested="1e-5"),
    Case("sepia_l2", l2, {"regularisation": 0.01, "pad": 0}, suggested="1e-5"),
    Case("km_ilsqr", ilsqr, SIGNED, suggested="1e-4"),
    Case("km_ilsqr", ilsqr, {"pad": 0}),
    Case("km_tb41_ilsqr", ilsqr, SIGNED, suggested="1e-4", slab=slice(19, 60)),
    Case("km_chain_ilsqr", ilsqr, SIGNED, suggested="1e-4", **CHAIN),
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


def difference(folder: Path, case: Case) -> tuple[float, bool]:
    """Relative L2 difference in the other's mask, and whether the masks are the same."""

    def load(name: str) -> np.ndarray:
        image = nib.load(folder / f"{name}.nii.gz")
        return np.asarray(image.dataobj, np.float32)

    slab = np.s_[:, :, case.slab]
    theirs = load(f"out_{case.output}")[slab]
    given = load(case.mask)[slab] > 0
    own_mask = folder / f"out_{case.output}_mask.nii.gz"
    known = load(f"out_{case.output}_mask")[slab] > 0 if own_mask.exists() else given
    keywords = dict(case.keywords)
    if "noise" in keywords:
        keywords["noise"] = load("out_medi_fitppm_Nstd")[slab]
    with_direction = case.function not in (resharp, sharp, vsharp, ismv, lbv)
    geometry = (SIZE, B0_DIR) if with_direction else (SIZE,)
    if case.function is medi:
        geometry = (np.linalg.norm(load("in_magnitude_4echo"), axis=-1), *geometry)
    ours = case.function(load(case.inputs)[slab], given, *geometry, **keywords)
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


if __name__ == "__main__":
    main()
