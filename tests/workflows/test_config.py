import pytest

from qsm_workflows.workflows.config import FULL, Coverage, StudyConfig, parse_coverages


def percents(text):
    return [coverage.percent for coverage in parse_coverages(text)]


def test_study_of_the_paper_has_seven_coverages():
    assert percents("100:400:50") == [100, 150, 200, 250, 300, 350, 400]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100", [100]),
        ("200,100,200", [100, 200]),
        ("100:150:25,400", [100, 125, 150, 400]),
        # The stop belongs to the range only where a step ends on it.
        ("100:390:100", [100, 200, 300]),
        ("12.5:37.5:12.5", [12.5, 25, 37.5]),
    ],
)
def test_lists_and_ranges(text, expected):
    assert percents(text) == expected


def test_whole_image_comes_last():
    assert parse_coverages("full,100") == (Coverage(100), FULL)


@pytest.mark.parametrize(
    "text", ["", "100:400", "0", "-50", "400:100:50", "100:400:0", "nan", "inf", "100;200", "all"]
)
def test_what_is_not_understood_is_refused(text):
    with pytest.raises(ValueError, match="coverage"):
        parse_coverages(text)


def test_labels_are_bids_labels():
    assert [Coverage(p).label for p in (100, 112.5)] == ["100", "112p5"]
    assert FULL.label == "full"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"orders": ("B",)}, r"^unknown order 'B'; there are B\+T, T\+B"),
        ({"orders": ()}, "^orders: a study needs at least one"),
        ({"methods": ()}, "^methods: a study needs at least one"),
        ({"coverages": ()}, "^coverages: a study needs at least one"),
    ],
)
def test_a_study_that_asks_for_nothing_that_there_is_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        StudyConfig(**{"coverages": (FULL,), "methods": ("tkd",), **changes})
