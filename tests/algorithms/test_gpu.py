"""Everything iterative on a GPU: the result of the CPU."""

import pytest
import torch

from qsm_workflows.algorithms.background.ismv import ismv
from qsm_workflows.algorithms.background.lbv import lbv
from qsm_workflows.algorithms.background.pdf import pdf
from qsm_workflows.algorithms.background.resharp import resharp
from qsm_workflows.algorithms.background.sharp import sharp, vsharp
from qsm_workflows.algorithms.inversion.ilsqr import ilsqr
from qsm_workflows.algorithms.inversion.lnqsm import lnqsm
from qsm_workflows.algorithms.inversion.medi import medi
from qsm_workflows.algorithms.inversion.ndi import ndi
from qsm_workflows.algorithms.inversion.rts import rts
from qsm_workflows.algorithms.inversion.star import star
from qsm_workflows.algorithms.inversion.total_field_medi import total_field_medi
from qsm_workflows.algorithms.inversion.tv import tv
from qsm_workflows.algorithms.metrics import nrmse

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("method", [ilsqr, tv, rts, ndi, star, lnqsm])
def test_inversion(head, method):
    there, here = (
        method(head.local_field, head.mask, *head[4:], device=device) for device in ("cuda", "cpu")
    )
    assert nrmse(there, here, head.mask) < 1e-4


def test_total_field_medi(head):
    there, here = (
        total_field_medi(
            *(head.local_field, head.mask, head.magnitude, *head[4:]), device=device, max_outer=2
        )
        for device in ("cuda", "cpu")
    )
    # PDF, from which it starts, amplifies rounding.
    assert nrmse(there, here, head.mask) < 2e-3


@pytest.mark.parametrize("options", [{}, {"merit": True}, {"smv_radius": 3.0}])
def test_medi(head, options):
    there, here = (
        medi(
            head.local_field,
            head.mask,
            head.magnitude,
            *head[4:],
            csf_mask=head.chi < -0.05,
            device=device,
            **options,
        )
        for device in ("cuda", "cpu")
    )
    assert nrmse(there, here, head.mask) < 1e-4


@pytest.mark.parametrize("method", [resharp, sharp, vsharp, ismv, lbv, pdf])
def test_background_removal(head, method):
    geometry = head[4:] if method is pdf else head[4:5]
    (there, mask), (here, _) = (
        method(head.local_field, head.mask, *geometry, device=device) for device in ("cuda", "cpu")
    )
    assert nrmse(there, here, mask) < 1e-4
