"""Inputs of nodes take the numbers that the algorithms take, and refuse those that they refuse."""

import inspect
import math
import pickle

import numpy as np
import pytest
from nipype.interfaces.base import BaseInterfaceInputSpec, TraitError, isdefined
from nipype.pipeline import engine as pe

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
from qsm_workflows.algorithms.mask_refinement import refine_mask
from qsm_workflows.algorithms.swi import susceptibility_weighted
from qsm_workflows.interfaces._traits import Count, NonNegative, Positive, Real, Whole
from qsm_workflows.interfaces.background import ISMV, LBV, PDF, RESHARP, SHARP, VSHARP
from qsm_workflows.interfaces.inversion import (
    COSMOS,
    ILSQR,
    L2,
    LNQSM,
    MEDI,
    NDI,
    RTS,
    STAR,
    TKD,
    TSVD,
    TV,
    TotalFieldMEDI,
)
from qsm_workflows.interfaces.masking import RefineMask
from qsm_workflows.interfaces.swi import SusceptibilityWeighted

FUNCTIONS = {
    RESHARP: resharp,
    SHARP: sharp,
    VSHARP: vsharp,
    ISMV: ismv,
    PDF: pdf,
    LBV: lbv,
    TKD: tkd,
    TSVD: tsvd,
    L2: l2,
    ILSQR: ilsqr,
    MEDI: medi,
    TV: tv,
    RTS: rts,
    NDI: ndi,
    STAR: star,
    LNQSM: lnqsm,
    TotalFieldMEDI: total_field_medi,
    COSMOS: cosmos,
    RefineMask: refine_mask,
    SusceptibilityWeighted: susceptibility_weighted,
}

NUMBERS = [
    pytest.param(interface, name, id=f"{interface.__name__}.{name}")
    for interface, function in FUNCTIONS.items()
    for name, trait in interface.input_spec().traits().items()
    if isinstance(trait.trait_type, Real | Whole) and name in inspect.signature(function).parameters
]

REAL = (-math.inf, -1, 0, 0.5, 2 / 3, 1, 3, 4, math.inf, math.nan)
WHOLE = (-1, 0, 1, 4)


def call(function, **parameters):
    """Run an algorithm, as little of it as there can be, on a small field."""
    shape = (18, 17, 16)
    rng = np.random.default_rng(0)
    mask = np.zeros(shape, bool)
    mask[1:-1, 1:-1, 1:-1] = True
    field = rng.normal(scale=0.02, size=shape).astype(np.float32)
    known = {
        **dict.fromkeys(("local_field", "total_field", "unwrapped"), field),
        "local_fields": [field, field],
        "mask": mask,
        "masks": mask,
        "magnitude": rng.uniform(1, 2, shape),
        "voxel_size": (1.0, 1.0, 1.0),
        "b0_dir": (0.0, 0.0, 1.0),
        "b0_dirs": [(0.0, 0.0, 1.0), (0.0, 0.6, 0.8)],
        "pad": 2.0,
        "radius": 3.0,
        "radii": [3.0],
        **dict.fromkeys(("max_iterations", "max_outer", "max_inner"), 1),
        # Larger than any value that the other level is given.
        "strong_regularisation": 10.0,
    }
    taken = inspect.signature(function).parameters
    return function(**{name: known[name] for name in taken if name in known} | parameters)


def node_takes(interface, **parameters):
    try:
        interface(**parameters)
    except TraitError:
        return False
    return True


def algorithm_takes(function, **parameters):
    try:
        call(function, **parameters)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(("interface", "name"), NUMBERS)
def test_a_node_takes_what_its_algorithm_takes(interface, name):
    whole = isinstance(interface.input_spec().trait(name).trait_type, Whole)
    taken, left = [], []
    for value in WHOLE if whole else REAL:
        by_node = node_takes(interface, **{name: value})
        assert by_node == algorithm_takes(FUNCTIONS[interface], **{name: value}), value
        (taken if by_node else left).append(value)
    assert taken
    assert left


@pytest.mark.parametrize("radii", [[], [3], [3, 0], [-1], [3, math.nan], [math.inf]])
def test_radii(radii):
    assert node_takes(VSHARP, radii=radii) == algorithm_takes(vsharp, radii=radii) == (radii == [3])


def test_most_numbers_are_compared():
    assert len(NUMBERS) > 80
    assert {parameter.values[0] for parameter in NUMBERS} == set(FUNCTIONS)


class _Spec(BaseInterfaceInputSpec):
    weight = Positive(1.5, usedefault=True, desc="weight")
    share = Real(0.25, above=0, below=2 / 3, usedefault=True, desc="share")
    part = Real(1.0, above=0, most=1, usedefault=True, desc="part")
    shift = Real(0.0, usedefault=True, desc="shift")
    length = NonNegative(desc="length")
    count = Count(desc="count")


def test_values_are_kept_as_numbers_of_their_kind():
    spec = _Spec(weight=500, length=np.float32(0), count=np.int16(3))
    assert [type(value) for value in (spec.weight, spec.length, spec.count)] == [float, float, int]
    assert pickle.loads(pickle.dumps(spec)).get() == spec.get()


def test_inputs_without_a_default_stay_undefined():
    spec = _Spec()
    assert not isdefined(spec.length)
    assert not isdefined(spec.count)
    assert set(spec.get_traitsfree()) == {"weight", "share", "part", "shift"}
    for name in ("radius", "tikhonov", "max_iterations"):
        assert not isdefined(getattr(RESHARP().inputs, name))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("weight", 0, "a finite number above 0,"),
        ("weight", "much", "a finite number above 0,"),
        ("share", 2 / 3, "a finite number above 0 and below 2/3,"),
        ("part", 1.01, "a finite number above 0 and up to 1,"),
        ("shift", math.inf, "a finite number,"),
        ("length", -1e-9, "a finite number from 0 upwards,"),
        ("count", 2.5, "a whole number from 1 upwards,"),
    ],
)
def test_a_refusal_tells_what_is_taken(name, value, words):
    with pytest.raises(TraitError, match=f"must be {words}"):
        _Spec(**{name: value})


def test_results_are_found_again_however_a_number_is_written():
    hashes = [
        pe.Node(RESHARP(radius=radius), "node").inputs.get_hashval()[1] for radius in (4, 4.0)
    ]
    assert hashes[0] == hashes[1] != RESHARP().inputs.get_hashval()[1]
