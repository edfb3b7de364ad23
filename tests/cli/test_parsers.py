"""Properties of everything that reads text of users: an answer that holds, or a ValueError."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qsm_workflows.bids.labels import Label, parse_label_name, read_label_table
from qsm_workflows.bids.scan import check_label, parse_name, strip_key
from qsm_workflows.cli.study import read_parameters
from qsm_workflows.intake.sources import Facts, find_sources
from qsm_workflows.workflows.config import parse_coverages

LABELS = st.text("0123456789abcXYZ+", min_size=1, max_size=6)
KEYS = st.sampled_from(["ses", "acq", "run", "echo", "part", "desc"])
WORDS = st.text("abcdefgh_", min_size=1, max_size=8)


@pytest.fixture(autouse=True, scope="module")
def _all_floats():
    """Hypothesis draws subnormal numbers, which a network's node flushes to zero."""
    torch.set_flush_denormal(False)


def answer(function, *arguments):
    """Result, or None for a ValueError; anything else fails the test."""
    try:
        return function(*arguments)
    except ValueError:
        return None


@given(st.dictionaries(KEYS, LABELS), LABELS, st.sampled_from([".nii", ".nii.gz"]))
def test_names_are_read_back(entities, subject, extension):
    entities = {"sub": subject, **entities}
    name = "_".join(f"{key}-{label}" for key, label in entities.items())
    assert parse_name(Path(f"{name}_MEGRE{extension}")) == (entities, "MEGRE")


@given(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=40))
def test_any_name_is_read_or_refused(name):
    parsed = answer(parse_name, Path(name))
    if parsed is not None:
        entities, suffix = parsed
        stem = "_".join([*(f"{key}-{label}" for key, label in entities.items()), suffix])
        assert name in (f"{stem}.nii", f"{stem}.nii.gz")
        for label in entities.values():
            check_label(label)


@given(st.text(max_size=30))
def test_no_label_leads_out_of_a_folder(text):
    label = answer(strip_key, "sub", text)
    if label is not None:
        assert Path("root", f"sub-{label}").resolve().parent == Path("root").resolve()
        assert "sub-" + label in (text, "sub-" + text)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=5), st.booleans())
def test_lists_of_coverages_are_read_back(percents, full):
    text = ",".join([*map(str, percents), *(["full"] if full else [])])
    read = [coverage.percent for coverage in parse_coverages(text)]
    assert read == sorted({float(p) for p in percents}) + ([math.inf] if full else [])


@given(st.integers(1, 500), st.integers(0, 20), st.integers(1, 100))
def test_ranges_of_coverages_hold_both_ends(start, count, step):
    stop = start + count * step
    read = [coverage.percent for coverage in parse_coverages(f"{start}:{stop}:{step}")]
    assert read == [start + number * step for number in range(count + 1)]


@given(st.text("0123456789.,:-+efuln ", max_size=12))
def test_any_coverage_is_read_or_refused(text):
    for coverage in answer(parse_coverages, text) or ():
        assert coverage.percent > 0
        check_label(coverage.label)


@pytest.mark.parametrize("text", ["1:1e9:1e-9", "0.001:1e300:1"])
def test_coverages_without_number_are_refused(text):
    with pytest.raises(ValueError, match="coverage"):
        parse_coverages(text)


VALUES = st.one_of(
    st.integers(-(10**6), 10**6), st.floats(allow_nan=False, allow_infinity=False), st.booleans()
)


@given(st.dictionaries(WORDS, st.dictionaries(WORDS, VALUES, min_size=1), min_size=1))
def test_parameters_are_read_back(parameters):
    items = [
        f"{step}.{name}={value}"
        for step, values in parameters.items()
        for name, value in values.items()
    ]
    assert read_parameters(items) == parameters


@given(st.text(max_size=30))
def test_any_parameter_is_read_or_refused(text):
    for step, values in (answer(read_parameters, [text]) or {}).items():
        assert text.startswith(step)
        assert len(values) == 1


@given(st.text(max_size=30))
def test_names_of_labels_are_read_the_same_twice(text):
    name, side = parse_label_name(text)
    assert side in ("L", "R", "n/a")
    if side == "n/a" and name:
        assert parse_label_name(name) == (name, side)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


ROWS = st.dictionaries(
    st.integers(1, 5000),
    st.tuples(st.sampled_from(["putamen", "my region", "GPe", "WM"]), st.sampled_from("LR")),
)


@given(rows=ROWS)
def test_label_tables_are_read_back(folder, rows):
    lines = [f"{index}\t{name}\t{side}" for index, (name, side) in rows.items()]
    table = folder / "dseg.tsv"
    table.write_text("\n".join(["index\tname\themisphere", *lines]))
    assert read_label_table(table) == tuple(
        Label(index, parse_label_name(name)[0], side) for index, (name, side) in rows.items()
    )


@given(content=st.one_of(st.binary(max_size=80), st.text("index\tname\n01Lé\"'", max_size=80)))
def test_any_label_table_is_read_or_refused(folder, content):
    table = folder / "any.tsv"
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    for label in answer(read_label_table, table) or ():
        assert isinstance(label.index, int)


@given(pattern=st.text("ab*?{}[]()\\.subject+$^", max_size=12))
def test_any_pattern_matches_or_is_refused(folder, pattern):
    found = answer(find_sources, {"complex": [pattern]}, {"sub": "01"}, Facts(), folder)
    for source in found or ():
        assert all(path.is_file() for path in source.files["complex"])
