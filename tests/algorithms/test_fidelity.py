"""Agreement with what the public implementations gave on the reference phantom.

Same parameters, no padding. The figures beside the bounds are what was measured when the
tests were written; the stored maps are rounded to 1e-6 ppm.
"""

from functools import partial

import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.algorithms.background.ismv import ismv
from qsm_workflows.algorithms.background.lbv import lbv
from qsm_workflows.algorithms.background.pdf import pdf
from qsm_workflows.algorithms.background.resharp import resharp
from qsm_workflows.algorithms.background.sharp import sharp, vsharp
from qsm_workflows.algorithms.inversion import ilsqr as steps
from qsm_workflows.algorithms.inversion.direct import l2, tkd, tsvd
from qsm_workflows.algorithms.inversion.ilsqr import ilsqr
from qsm_workflows.algorithms.inversion.medi import medi
from qsm_workflows.algorithms.inversion.problem import DipoleProblem
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

pytestmark = pytest.mark.shared

GEOMETRY = (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)


class Reference:
    """Volumes of the reference folder by name."""

    def __init__(self, folder):
        self.folder = folder

    def __getitem__(self, name):
        image = nib.load(self.folder / f"{name}.nii.gz")
        return np.asarray(image.dataobj, dtype=np.float32)

    def mask(self, name="in"):
        return self[f"{name}_mask"] > 0


@pytest.fixture(scope="module")
def reference(shared_data):
    return Reference(shared_data / "reference_outputs")


@pytest.mark.parametrize(
    ("output", "keywords", "bound"),
    [
        ("resharp_r3_l1e-4", {"tikhonov": 1e-4, "max_iterations": 200}, 3e-3),  # 1.6e-3
        ("resharp_r3_l1e-3", {"tikhonov": 1e-3, "max_iterations": 500}, 1e-3),  # 3.8e-4
        (
            "resharp_r5_l1e-3",
            {"radius": 5, "tikhonov": 1e-3, "max_iterations": 500},
            1e-3,
        ),  # 1.7e-4
    ],
)
def test_resharp(reference, output, keywords, bound):
    local, mask = resharp(
        reference["in_field_total_ppm"], reference.mask(), GEOMETRY[0], **keywords
    )
    np.testing.assert_array_equal(mask, reference.mask(f"out_hf_{output}"))
    assert nrmse(local, reference[f"out_hf_{output}"], mask) < bound


def test_resharp_of_a_truncated_field(reference):
    slab = np.s_[:, :, 20:60]
    preset = RESHARP_PRESETS["prisma"]
    local, mask = resharp(
        reference["in_field_total_ppm"][slab],
        reference.mask()[slab],
        GEOMETRY[0],
        radius=preset.radius,
        tikhonov=preset.tikhonov,
        max_iterations=preset.max_iterations,
    )
    np.testing.assert_array_equal(mask, reference.mask("out_hf_tb_resharp")[slab])
    assert nrmse(local, reference["out_hf_tb_resharp"][slab], mask) < 1e-3  # 2.6e-4


@pytest.mark.parametrize(
    ("remove", "output", "keywords", "bound"),
    [
        (vsharp, "out_km_vsharp_9-2", SHARP_QSM_M, 1e-4),  # 2.1e-5
        (vsharp, "out_km_vsharp_9-2", {}, 3e-2),  # 2.5e-2: the grid matters to the division
        (sharp, "out_km_sharp_r9", SHARP_QSM_M, 1e-4),  # 1.7e-5
        (ismv, "out_km_ismv_r3", ISMV_QSM_M, 1e-4),  # 2.0e-5
        # 8.8e-2: our limit, to which theirs takes 38 steps; it errs more from the truth.
        (ismv, "out_km_ismv_r3", {}, 0.1),
        (sharp, "out_hf_sharp_r3_t0.1", SHARP_SUN, 1e-4),  # 2.1e-5
    ],
)
def test_background_removal_by_spheres(reference, remove, output, keywords, bound):
    local, mask = remove(reference["in_field_total_ppm"], reference.mask(), GEOMETRY[0], **keywords)
    np.testing.assert_array_equal(mask, reference.mask(output))
    assert nrmse(local, reference[output], mask) < bound


def test_lbv(reference):
    field, mask = reference["in_field_total_ppm"], reference.mask()
    local, kept = lbv(field, mask, GEOMETRY[0], **LBV_QSM_M)
    np.testing.assert_array_equal(kept, mask)
    assert nrmse(local, reference["out_km_lbv"], mask) < 1e-4
    local, kept = lbv(field, mask, GEOMETRY[0])
    np.testing.assert_array_equal(kept, reference.mask("out_medi_lbv"))
    assert nrmse(local, reference["out_medi_lbv"], kept) < 5e-3  # 3.8e-3


def test_pdf(reference):
    mask = reference.mask()
    local, _ = pdf(
        reference["in_field_total_ppm"],
        mask,
        *GEOMETRY,
        noise=reference["out_medi_fitppm_Nstd"],
        **PDF_CORNELL,
    )
    assert nrmse(local, reference["out_medi_pdf"], mask) < 3e-2  # 2.2e-2


def test_tkd(reference):
    mask = reference.mask()
    chi = tkd(reference["in_field_local_noisy_ppm"], mask, *GEOMETRY, pad=0)
    assert nrmse(chi, reference["out_km_tkd"], mask) < 1e-5  # 7.1e-6


def test_tsvd_and_l2(reference):
    mask = reference.mask()
    field = reference["in_field_local_noisy_ppm"]
    chi = tsvd(field, mask, *GEOMETRY, pad=0)
    assert nrmse(chi, reference["out_km_tsvd"], mask) < 1e-5  # 7.8e-6
    chi = l2(field, mask, *GEOMETRY, pad=0)
    assert nrmse(chi, reference["out_km_tikh"], mask) < 1e-5  # 7.1e-6
    # SEPIA squares its λ of 0.1 and keeps D(0) = 1/3, which adds a constant.
    chi, theirs = l2(field, mask, *GEOMETRY, regularisation=0.01, pad=0), reference["out_sepia_l2"]
    shift = (theirs - chi)[mask].mean()
    assert nrmse(chi + shift, theirs, mask) < 1e-5  # 7.5e-6


def test_steps_of_ilsqr(reference):
    mask = reference.mask()
    problem = DipoleProblem.create(reference["in_field_local_noisy_ppm"], mask, *GEOMETRY, 0, "cpu")
    settings = {"tolerance": 0.01, "max_iterations": 50}
    least = steps.least_squares(problem, **settings)
    assert nrmse(problem.result(least), reference["out_km_ilsqr_xlsqr"], mask) < 1e-4  # 4.6e-5
    fast = steps.fast_qsm(problem)
    assert nrmse(problem.result(fast), reference["out_km_ilsqr_xfs"], mask) < 5e-5  # 7.6e-6
    chi = least - steps.streaks(problem, least, fast, signed_slopes=True, **settings)
    assert nrmse(problem.result(chi), reference["out_km_ilsqr"], mask) < 1e-4  # 1.8e-5


@pytest.mark.parametrize("method", ["tkd", "ilsqr"])
def test_odd_slab(reference, method):
    slab = np.s_[:, :, 19:60]
    invert = {"tkd": partial(tkd, pad=0), "ilsqr": partial(ilsqr, **ILSQR_QSM_M)}[method]
    chi = invert(reference["in_field_local_noisy_ppm"][slab], reference.mask()[slab], *GEOMETRY)
    output = f"out_km_tb41_{method}"
    mask = reference.mask(output)[slab]
    bound = {"tkd": 1e-5, "ilsqr": 1e-4}[method]  # 6.7e-6, 1.1e-5
    assert nrmse(chi, reference[output][slab], mask) < bound


def test_ilsqr_after_resharp(reference):
    mask = reference.mask("out_km_chain_ilsqr")
    field = reference["out_hf_resharp_r3_l1e-3"]
    chi = ilsqr(field, mask, *GEOMETRY, **ILSQR_QSM_M)
    assert nrmse(chi, reference["out_km_chain_ilsqr"], mask) < 1e-4  # 3.6e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("output", "merit", "bound"),
    [("medi_l1", False, 5e-3), ("medi_l1_merit", True, 5e-3)],  # 1.2e-3, 1.4e-3
)
def test_medi(reference, output, merit, bound):
    mask = reference.mask()
    chi = medi(
        reference["in_field_local_noisy_ppm"],
        mask,
        combined_magnitude(reference),
        *GEOMETRY,
        delta_te=0.006,
        noise=reference["out_medi_fitppm_Nstd"],
        merit=merit,
        **MEDI_CORNELL,
    )
    assert nrmse(chi, reference[f"out_medi_{output}"], mask) < bound


@pytest.mark.slow
def test_medi_after_resharp(reference):
    mask = reference.mask("out_medi_chain_l1")
    chi = medi(
        reference["out_hf_resharp_r3_l1e-3"],
        mask,
        combined_magnitude(reference),
        *GEOMETRY,
        delta_te=0.006,
        **MEDI_CORNELL,
    )
    assert nrmse(chi, reference["out_medi_chain_l1"], mask) < 5e-3  # 3.7e-3


def combined_magnitude(reference):
    return np.linalg.norm(reference["in_magnitude_4echo"], axis=-1)
