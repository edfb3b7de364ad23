import numpy as np
import pytest

from qsm_workflows.algorithms.units import field_in_ppm, radians_per_ppm, warn_unless_ppm

# 1 ppm at 3 T is 127.7 Hz: 2.55 turns in 20 ms.
HZ_PER_PPM = 127.732


def test_phase_at_three_tesla_and_twenty_milliseconds():
    assert radians_per_ppm(3.0, 0.02) / (2 * np.pi) == pytest.approx(HZ_PER_PPM * 0.02, rel=1e-5)


@pytest.mark.parametrize(
    ("units", "echo_time", "ppm"),
    [
        ("Hz", None, HZ_PER_PPM),
        ("rad/s", None, 2 * np.pi * HZ_PER_PPM),
        ("rad", 0.02, 2 * np.pi * HZ_PER_PPM * 0.02),
    ],
)
def test_fields_in_other_units(units, echo_time, ppm):
    field = np.array([[-0.25, 0, 1]], np.float32)
    converted = field_in_ppm(field * np.float32(ppm), 3.0, units=units, echo_time=echo_time)
    np.testing.assert_allclose(converted, field, rtol=1e-5)
    assert converted.dtype == np.float32


@pytest.mark.parametrize(("units", "echo_time"), [("Hz", 0.02), ("rad/s", 0.02), ("rad", None)])
def test_echo_times_without_meaning_are_refused(units, echo_time):
    with pytest.raises(ValueError, match="echo time"):
        field_in_ppm(np.ones(3, np.float32), 3.0, units=units, echo_time=echo_time)


@pytest.mark.parametrize("kind", ["local", "total"])
@pytest.mark.parametrize(
    ("factor", "warned"), [(1, False), (HZ_PER_PPM, True), (2 * np.pi * HZ_PER_PPM, True)]
)
def test_units_are_seen_from_the_size_of_a_heads_field(head, total, caplog, kind, factor, warned):
    field = head.local_field if kind == "local" else total
    warn_unless_ppm(field * factor, head.mask, kind)
    assert (f"the {kind} field reaches" in caplog.text) == warned


def test_neither_a_constant_nor_what_lies_outside_is_strong(head, total, caplog):
    field = np.where(head.mask, total + 40, 1e6).astype(np.float32)
    warn_unless_ppm(field, head.mask, "total")
    assert not caplog.records


def test_an_empty_mask_is_left_to_those_who_refuse_it(head, caplog):
    warn_unless_ppm(head.local_field, np.zeros_like(head.mask), "local")
    assert not caplog.records
