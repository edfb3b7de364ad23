"""Places where a dataset cannot be written: nothing there is touched."""

import pytest

PLACES = {
    "a file": (lambda p: p.write_text("x"), "is a file"),
    "a folder of other things": (
        lambda p: (p.mkdir(), (p / "thesis.doc").write_text("x")),
        "no dataset_description.json",
    ),
}


@pytest.mark.parametrize(("make", "words"), PLACES.values(), ids=PLACES)
def test_nothing_is_written_where_it_does_not_belong(
    images, dicoms, refuses, tmp_path, make, words
):
    make(tmp_path / "out")
    dicoms.scan(echoes=2)
    magnitude, phase = (images.save(f"{n}.nii", getattr(images, n)) for n in ("magnitude", "phase"))
    given = ["--magnitude", magnitude, "--phase", phase, "--subject", "01"]
    refuses(["import", "--bids", tmp_path / "out", *given], 2, words)
    refuses(["convert", dicoms.folder, "--bids", tmp_path / "out"], 2, words)
