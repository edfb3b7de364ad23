"""Every background removal and inversion refuses what it cannot use, and says what is wrong."""

import inspect
import logging

import numpy as np
import pytest

from qsm_workflows.algorithms.background.ismv import ismv
from qsm_workflows.algorithms.background.lbv import lbv
from qsm_workflows.algorithms.background.pdf import pdf
from qsm_workflows.algorithms.background.resharp import resharp
from qsm_workflows.algorithms.background.sharp import sharp, vsharp
from qsm_workflows.algorithms.inversion.cosmos import cosmos
from qsm_workflows.algorithms.inversion.direct import l2, tkd, tsvd
from qsm_workflows.algorithms.inversion.ilsqr import ilsqr
from qsm_workflows.algorithms.inversion.lnqsm import lnqsm
from qsm_workflows.algorithms.inversion.medi import medi
from qsm_workflows.algorithms.inversion.ndi import ndi
from qsm_workflows.algorithms.inversion.rts import rts
from qsm_workflows.algorithms.inversion.star import star
from qsm_workflows.algorithms.inversion.total_field_medi import total_field_medi
from qsm_workflows.algorithms.inversion.tv import tv

METHODS = (
    *(resharp, sharp, vsharp, ismv, pdf, lbv),
    *(tkd, tsvd, l2, ilsqr, medi, tv, rts, ndi, star, lnqsm, total_field_medi, cosmos),
)
NAN, INF = float("nan"), float("inf")


def parameters(method):
    return inspect.signature(method).parameters


def call(method, head, **changes):
    """Run a method on good inputs but for the changes; "field" is the field of any method."""
    known = {
        "magnitude": head.magnitude,
        "voxel_size": head.voxel_size,
        "b0_dir": head.b0_dir,
        "field": head.local_field,
        "mask": head.mask,
    } | changes
    field, b0_dir = known.pop("field"), known["b0_dir"]
    known |= {"total_field": field, "local_field": field}
    known |= {"local_fields": [head.local_field, field], "b0_dirs": [(0, 0, 1), b0_dir]}
    known["masks"] = known["mask"]
    return method(**{name: known[name] for name in parameters(method) if name in known})


def with_value(volume, value):
    spoilt = volume.astype(float)
    spoilt[15, 15, 13] = value
    return spoilt


@pytest.mark.parametrize("method", METHODS)
def test_volumes_and_geometry(head, method):
    volumes = {
        "field": head.local_field,
        "mask": head.mask,
        **({"magnitude": head.magnitude} if "magnitude" in parameters(method) else {}),
    }
    for name, volume in volumes.items():
        with pytest.raises(ValueError, match=r"shape \(29, 33, 27\)|shape \(30, 33, 27\)"):
            call(method, head, **{name: volume[1:]})
        with pytest.raises(ValueError, match="shape"):
            call(method, head, **{name: volume[..., 0]})
        with pytest.raises(ValueError, match="1 NaN"):
            call(method, head, **{name: with_value(volume, NAN)})
    with pytest.raises(ValueError, match="infinite"):
        call(method, head, field=with_value(head.local_field, INF))
    with pytest.raises(ValueError, match="complex"):
        call(method, head, field=head.local_field.astype(complex))
    with pytest.raises(ValueError, match="mask is empty"):
        call(method, head, mask=np.zeros_like(head.mask))
    for voxel_size in ((1, 0, 1), (1, -1, 1), (1, NAN, 1), (1, 1), 1.0):
        with pytest.raises(ValueError, match="voxel_size must be three positive lengths"):
            call(method, head, voxel_size=voxel_size)
    if {"b0_dir", "b0_dirs"} & set(parameters(method)):
        for b0_dir in ((0, 0, 0), (0, 0, 2), (0, 0, NAN), (0, 1)):
            with pytest.raises(ValueError, match="b0_dir must be a unit vector"):
                call(method, head, b0_dir=b0_dir)


@pytest.mark.parametrize("method", METHODS)
def test_values_outside_the_mask_may_be_missing(head, method):
    """Other programs leave NaN there."""
    few = {"max_outer": 1, "max_inner": 2, "max_iterations": 2, "least_squares_iterations": 2}
    volumes = {"field": head.local_field, "magnitude": head.magnitude, "noise": 1 + head.magnitude}

    def result(fill):
        filled = {name: np.where(head.mask, v, fill) for name, v in volumes.items()}
        found = call(method, head, **few, **filled)
        return found[0] if isinstance(found, tuple) else found

    np.testing.assert_array_equal(result(NAN), result(0.0))
    np.testing.assert_array_equal(result(INF), result(0.0))


@pytest.mark.parametrize("method", METHODS)
def test_a_full_mask_is_no_mistake(head, method):
    """The edge of the image is then the edge of the mask."""
    result = call(method, head, mask=np.ones_like(head.mask), pad=10, max_outer=1)
    assert np.isfinite(result[0] if isinstance(result, tuple) else result).all()


@pytest.mark.parametrize(
    "method", [tkd, tsvd, l2, ilsqr, medi, tv, rts, ndi, star, lnqsm, total_field_medi]
)
def test_a_field_of_zeros_has_no_susceptibility(head, method):
    with pytest.raises(ValueError, match="zero everywhere"):
        call(method, head, field=0 * head.local_field)


EMPTY = np.zeros((30, 33, 27))
BAD = {
    "radius": (0, -1, NAN, INF, 100),
    "covered": (0, 1.1, NAN),
    "repetitions": (-1,),
    "radii": ([], [0], [3, NAN], [INF], [100, 90]),
    "tikhonov": (-1, NAN, INF),
    "threshold": (0, -1, NAN),
    "boundary": ("beyond", None),
    "peel": (-1, NAN, 100),
    "pad": (-1, NAN, INF),
    "regularisation": (0, -1, NAN, INF),
    "strong_regularisation": (0, 5e-4, NAN, INF),
    "shrinkage": (0, -1, NAN, INF),
    "coupling": (0, -1, NAN, INF),
    "step": (0, 4, NAN),
    "edge_fraction": (0, 3, NAN),
    "csf_mask": (EMPTY, EMPTY + NAN, EMPTY[1:]),
    "csf_weight": (0, -1, NAN, INF),
    "smv_radius": (-1, NAN, INF),
    "b0": (0, -3, NAN, INF),
    "delta_te": (0, -1, NAN, INF),
    "noise": (EMPTY, EMPTY - 1, EMPTY + NAN, EMPTY[1:]),
    "tolerance": (-1, NAN, INF),
    "outer_tolerance": (-1, NAN, INF),
    "inner_tolerance": (-1, NAN, INF),
    "max_iterations": (0, -1),
    "least_squares_iterations": (0, -1),
    "max_outer": (0, -1),
    "max_inner": (0, -1),
}
"""Values that a parameter of this name must not have, whatever the method."""

ANYTHING_GOES = {"device", "merit", "precondition", "signed_slopes"}

CASES = [
    (method, name)
    for method in METHODS
    for name, parameter in parameters(method).items()
    if parameter.kind is parameter.KEYWORD_ONLY and name not in ANYTHING_GOES
]


@pytest.mark.parametrize(("method", "name"), CASES)
def test_parameters(head, method, name):
    said = {"radius": "radius|sphere", "radii": "radi|sphere", "peel": "peel"}.get(name, name)
    said = said.replace("outer_", "").replace("inner_", "")
    for value in BAD[name]:
        with pytest.raises(ValueError, match=said):
            call(method, head, **{name: value})


@pytest.mark.parametrize("method", [resharp, lbv, pdf])
def test_a_result_that_overflows_is_refused(head, method):
    with pytest.raises(ValueError, match="in ppm"):
        call(method, head, field=1e30 * head.local_field)


# The number of iterations is what regularises iLSQR.
UNTIL_DONE = [m for m in METHODS if "max_iterations" in parameters(m) and m is not ilsqr]


@pytest.mark.parametrize("method", UNTIL_DONE)
def test_an_unfinished_solve_is_reported(head, caplog, method):
    with caplog.at_level(logging.WARNING):
        call(method, head, max_iterations=2, tolerance=1e-6)
    assert "stopped after 2" in caplog.text


@pytest.mark.parametrize("level", [-1, 1e-30, 1e30])
def test_medi_ends_whatever_the_magnitude(head, level):
    chi = call(medi, head, magnitude=level * head.magnitude, pad=10, max_outer=1)
    assert np.isfinite(chi).all()
