import dataclasses
import json
import os

import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.training import pool as pool_module
from qsm_workflows.training.anatomy import CODES, LabelSet
from qsm_workflows.training.pool import make_pool


def test_volumes_do_not_depend_on_how_many_make_them(config, pool, tmp_path):
    together = make_pool(tmp_path, config, workers=2)
    np.testing.assert_array_equal(together.chi, pool.chi)
    np.testing.assert_array_equal(together.mask, pool.mask)
    assert together.chi.std() > 0


def test_fields_are_added_to_a_pool_that_has_none(config, tmp_path):
    first = make_pool(tmp_path, config)
    assert first.field is None
    second = make_pool(tmp_path, dataclasses.replace(config, mode="cropped"))
    np.testing.assert_array_equal(first.chi, second.chi)
    assert second.field is not None


def test_pool_of_another_kind_is_refused(config, tmp_path):
    make_pool(tmp_path, config)
    with pytest.raises(ValueError, match=r"other volumes than asked for \(pool is 3, not 4; seed"):
        make_pool(tmp_path, dataclasses.replace(config, seed=99, pool=4))


def count(monkeypatch):
    """Numbers of the volumes and fields that are made from here on."""
    made = {"_Volumes": [], "_Fields": []}
    for name, numbers in made.items():
        call = getattr(pool_module, name).__call__

        def counted(self, number, call=call, numbers=numbers):
            call(self, number)
            numbers.append(number)

        monkeypatch.setattr(getattr(pool_module, name), "__call__", counted)
    return made


def test_a_pool_is_made_in_pieces(config, pool, tmp_path, monkeypatch):
    cropped = dataclasses.replace(config, mode="cropped")
    made = count(monkeypatch)
    for message in ("1 of 3 volumes", "2 of 3 volumes", "1 of 3 fields", "2 of 3 fields"):
        with pytest.raises(TimeoutError, match=f"{message} were made when time was up"):
            make_pool(tmp_path, cropped, minutes=0)
    pieces = make_pool(tmp_path, cropped, minutes=0)
    assert made == {"_Volumes": [0, 1, 2], "_Fields": [0, 1, 2]}
    np.testing.assert_array_equal(pieces.chi, pool.chi)
    np.testing.assert_array_equal(pieces.mask, pool.mask)
    assert all(field.any() for field in pieces.field)
    assert {path.name for path in tmp_path.iterdir()} == {
        "pool.json",
        "chi.npy",
        "mask.npy",
        "field.npy",
    }


def test_a_volume_that_was_interrupted_is_made_again(config, pool, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(pool_module, "shapes_volume", None)
        with pytest.raises(TypeError):
            make_pool(tmp_path, config)
    np.testing.assert_array_equal(make_pool(tmp_path, config).chi, pool.chi)


def test_an_unfinished_pool_of_another_kind_is_refused(config, tmp_path):
    with pytest.raises(TimeoutError):
        make_pool(tmp_path, config, minutes=0)
    with pytest.raises(ValueError, match="seed is 3, not 99"):
        make_pool(tmp_path, dataclasses.replace(config, seed=99))


def test_a_damaged_record_is_named(config, tmp_path):
    make_pool(tmp_path, config)
    (tmp_path / "pool.json").write_text("{")
    with pytest.raises(ValueError, match=r"pool\.json is damaged"):
        make_pool(tmp_path, config)


@pytest.fixture
def brains(config):
    return dataclasses.replace(config, volumes="brains")


def test_a_pool_knows_its_anatomy_by_what_it_holds(brains, anatomy, tmp_path, monkeypatch):
    made = make_pool(tmp_path / "pool", brains, anatomy)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(anatomy)
    for spelling in (anatomy.relative_to(tmp_path), tmp_path / "link", anatomy / ".." / "anatomy"):
        again = make_pool(tmp_path / "pool", brains, spelling)
        np.testing.assert_array_equal(again.chi, made.chi)
    with pytest.raises(ValueError, match=r"\(anatomy is \w+, not None\)"):
        make_pool(tmp_path / "pool", brains)
    # Another brain in a folder of the same name.
    image = anatomy / "head" / "a_dseg.nii.gz"
    labels = nib.load(image).get_fdata(dtype=np.float32).astype(np.uint8)[..., ::-1]
    nib.save(nib.Nifti1Image(labels, np.eye(4)), image)
    with pytest.raises(ValueError, match=r"\(anatomy is \w+, not \w+\)"):
        make_pool(tmp_path / "pool", brains, anatomy)


def test_a_pool_from_before_anatomies_were_known_is_refused(brains, anatomy, tmp_path):
    make_pool(tmp_path / "pool", brains, anatomy)
    about = tmp_path / "pool" / "pool.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"anatomy": os.fspath(anatomy)}))
    with pytest.raises(ValueError, match=r"anatomy is /.*, not"):
        make_pool(tmp_path / "pool", brains, anatomy)


@pytest.fixture
def quick_heads(monkeypatch):
    """Numbers of the digital heads that are made from here on, each a box with nuclei in it."""
    numbers = []

    def quick(number):
        numbers.append(number)
        labels = np.full((24 + number, 24, 24), CODES["grey_matter"], np.uint8)
        labels[6:18, 9:15, 10:14] = CODES["pallidum"]
        return LabelSet(labels, np.eye(4))

    monkeypatch.setattr(pool_module, "digital_head", quick)
    return numbers


def test_digital_heads_are_made_in_pieces_and_once(brains, tmp_path, quick_heads):
    whole = make_pool(tmp_path / "whole", brains)
    assert whole.source == "4 digital heads"
    assert quick_heads == [0, 1, 2, 3]
    pieces = tmp_path / "pieces"
    made = ["1 of 4 digital heads", "2 of 4 digital heads", "3 of 4 digital heads"]
    for message in (*made, "1 of 3 volumes", "2 of 3 volumes"):
        with pytest.raises(TimeoutError, match=f"{message} were made when time was up"):
            make_pool(pieces, brains, minutes=0)
    again = make_pool(pieces, brains, minutes=0)
    assert quick_heads == 2 * [0, 1, 2, 3]
    np.testing.assert_array_equal(again.chi, whole.chi)
    assert {path.name for path in pieces.iterdir()} == {"pool.json", "chi.npy", "mask.npy"}


def test_digital_heads_of_another_generator_are_not_taken(
    brains, tmp_path, quick_heads, monkeypatch
):
    with pytest.raises(TimeoutError):
        make_pool(tmp_path, brains, minutes=0)
    monkeypatch.setattr(pool_module, "GENERATOR", -1)
    with pytest.raises(TimeoutError, match="1 of 4 digital heads"):
        make_pool(tmp_path, brains, minutes=0)
    assert quick_heads == [0, 0]


def test_an_interrupted_head_is_made_again(brains, tmp_path, quick_heads, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(pool_module.np, "savez_compressed", None)
        with pytest.raises(TypeError):
            make_pool(tmp_path, brains)
    make_pool(tmp_path, brains)
    assert quick_heads == [0, 0, 1, 2, 3]


def test_a_complete_pool_needs_no_heads(brains, tmp_path, quick_heads):
    made = make_pool(tmp_path, brains)
    np.testing.assert_array_equal(make_pool(tmp_path, brains).chi, made.chi)
    assert quick_heads == [0, 1, 2, 3]
