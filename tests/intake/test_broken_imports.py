"""What `qsm-wf import` is given: each fault has its words, and leaves nothing behind.

Every row of the table is one broken input: what is done to sound input, the exit status,
and words of the message.
"""

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from qsm_workflows.cli.main import main


def patch(path, offset, content):
    """Change bytes of the header of a compressed image."""
    whole = bytearray(gzip.decompress(path.read_bytes()))
    whole[offset : offset + len(content)] = content
    path.write_bytes(gzip.compress(bytes(whole)))


TIMES = ["--te", "0.004", "0.008", "0.012"]


def pair(magnitude=None, phase=None, options=(*TIMES, "--b0", "3", "--subject", "01")):
    """Row that imports magnitude and phase, each spoilt in its way."""

    def arguments(images):
        paths = []
        for name, make in (("magnitude", magnitude), ("phase", phase)):
            data = getattr(images, name)
            make = make or saved(lambda same: same, f"{name}.nii.gz")
            paths += [f"--{name}", make(images, data)]
        return [*paths, *options]

    return arguments


def saved(change, name="changed.nii.gz"):
    return lambda images, data: images.save(name, change(data))


def bytes_of(change):
    def make(images, data):
        path = Path(images.save("changed.nii.gz", data))
        change(path)
        return path

    return make


def with_options(*options):
    return pair(options=options)


def mapping(text):
    def arguments(images):
        images.save("m.nii", images.magnitude)
        images.save("p.nii", images.phase)
        (images.folder / "map.toml").write_text(text)
        return ["--mapping", images.folder / "map.toml"]

    return arguments


def broken_json(images):
    path = images.save("m.nii", images.magnitude)
    Path(path).with_suffix(".json").write_text("{")
    return ["--magnitude", path, "--phase", images.save("p.nii", images.phase), "--subject", "1"]


SCAN = '[[scan]]\nsubject = "01"\nmagnitude = "m.nii"\nphase = "p.nii"\n'
KNOWN = ("--b0", "3", "--subject", "01")

# Exit status 2: the command makes no sense; 1: one of its scans does not.
IMPORTS = {
    "no phase": (lambda i: ["--magnitude", i.save("m.nii", i.magnitude), *KNOWN], 2, "give "),
    "no files": (lambda i: ["--subject", "01"], 2, "given: none"),
    "nothing matches": (
        lambda i: ["--magnitude", "none*.nii", "--phase", "x.nii", *KNOWN],
        2,
        "none*.nii matches no file",
    ),
    "unknown placeholder": (
        lambda i: ["--magnitude", "{who}.nii", "--phase", "{who}.nii"],
        2,
        "{who} of {who}.nii is not one of",
    ),
    "nobody": (with_options(*TIMES, "--b0", "3"), 2, "whose scan is it"),
    "path for subject": (with_options("--subject", "../../x"), 2, "is not a BIDS label"),
    "umlaut for subject": (with_options("--subject", "Jürgen"), 2, "is not a BIDS label"),
    "empty subject": (with_options("--subject", ""), 2, "is not a BIDS label"),
    "path for run": (with_options(*KNOWN, "--run", "1/2"), 2, "is not a BIDS label"),
    "no echo times": (with_options(*KNOWN), 1, "give --te, in seconds"),
    "no field": (with_options(*TIMES, "--subject", "01"), 1, "give --b0, in tesla"),
    "milliseconds": (with_options("--te", "4", "8", "12", *KNOWN), 1, "looks like milliseconds"),
    "too few times": (with_options("--te", "0.004", *KNOWN), 1, "3 echoes, but 1 echo times"),
    "same times": (
        with_options("--te", "0.004", "0.008", "0.008", *KNOWN),
        1,
        "the same as that of echo 2",
    ),
    "falling times": (with_options("--te", "0.012", "0.008", "0.004", *KNOWN), 1, "shorter than"),
    "negative time": (
        with_options("--te", "-0.004", "0.004", "0.008", *KNOWN),
        1,
        "EchoTime of echo 1 is -0.004 s",
    ),
    "time NaN": (with_options("--te", "nan", "0.008", "0.012", *KNOWN), 2, "te must be"),
    "field in gauss": (
        with_options(*TIMES, "--b0", "30000", "--subject", "01"),
        1,
        "which no scanner for people has",
    ),
    "unknown units": (
        with_options(*TIMES, *KNOWN, "--phase-units", "hertz"),
        1,
        "units must be auto",
    ),
    "no turn": (with_options(*TIMES, *KNOWN, "--phase-units", "0"), 1, "cannot span 0"),
    "wrong units": (with_options(*TIMES, *KNOWN, "--phase-units", "turns"), 1, "cannot be phase"),
    "no direction": (
        with_options(*TIMES, *KNOWN, "--b0-dir", "0", "0", "0"),
        1,
        "must be a unit vector",
    ),
    "zero bytes": (pair(bytes_of(lambda p: p.write_bytes(b""))), 1, "cannot be read"),
    "text": (pair(bytes_of(lambda p: p.write_text("x" * 999))), 1, "cannot be read"),
    "truncated": (
        pair(bytes_of(lambda p: p.write_bytes(p.read_bytes()[:-500]))),
        1,
        "cannot be read",
    ),
    "huge header": (
        pair(bytes_of(lambda p: patch(p, 42, struct.pack("<3h", 30000, 30000, 30000)))),
        1,
        "cannot be read",
    ),
    "singular affine": (
        pair(bytes_of(lambda p: patch(p, 280, bytes(48)))),
        1,
        "affine is singular",
    ),
    "two dimensions": (pair(saved(lambda d: d[:, :, 0, 0])), 1, "give 3-D images"),
    "receive channels": (
        pair(saved(lambda d: np.stack([d, d], 4))),
        1,
        "--channels 4 or --channels 5",
    ),
    "six dimensions": (
        pair(saved(lambda d: np.stack([np.stack([d, d], 4)] * 2, 5))),
        1,
        "give 3-D images",
    ),
    "fewer echoes": (pair(phase=saved(lambda d: d[..., :2])), 1, "3 volumes of magnitude and 2"),
    "fewer voxels": (pair(phase=saved(lambda d: d[1:])), 1, "not on the grid of the magnitude"),
    "signed bytes": (
        pair(phase=saved(lambda d: np.clip(d * 300, -128, 127).astype(np.int8))),
        1,
        "all beyond 127 were lost",
    ),
    "complex as magnitude": (pair(saved(lambda d: d + 1j)), 1, "give them as --complex"),
    "real as complex": (
        lambda i: ["--complex", i.save("c.nii", i.magnitude), *TIMES, *KNOWN],
        1,
        "the images are not complex",
    ),
    "magnitude as phase": (
        pair(phase=lambda i, _: i.save("again.nii", i.magnitude)),
        1,
        "phase",
    ),
    "constant phase": (pair(phase=saved(np.zeros_like)), 1, "the phase is 0 in every voxel"),
    "too thin": (
        pair(saved(lambda d: d[:, :, :3], "thin.nii"), saved(lambda d: d[:, :, :3])),
        1,
        "too thin",
    ),
    "broken JSON beside it": (broken_json, 1, "cannot be read as JSON"),
    "mapping that is not there": (lambda i: ["--mapping", "none.toml"], 2, "cannot be read"),
    "mapping of nonsense": (mapping("= 3"), 2, "cannot be read as TOML"),
    "mapping of nothing": (mapping("b0 = 3"), 2, "has no table [[scan]]"),
    "mapping of one table": (mapping("[scan]\nsubject = 1"), 2, "has no table [[scan]]"),
    "mapping with a typo": (mapping(f"echo_times = [1]\n{SCAN}"), 2, "'echo_times' is not"),
    "mapping of text times": (mapping(f'te = ["4 ms"]\n{SCAN}'), 2, "te must be numbers"),
    "mapping of text field": (mapping(f'b0 = "3 T"\n{SCAN}'), 2, "b0 must be a number"),
    "mapping of sign": (mapping(f"phase_sign = 0\n{SCAN}"), 2, "must be 1 or -1"),
    "mapping of path label": (
        mapping(SCAN.replace('"01"', '"../../x"')),
        2,
        "is not a BIDS label",
    ),
    "mapping of numbers": (mapping(SCAN.replace('"m.nii"', "3")), 2, "is not a path"),
    "mapping and patterns": (
        lambda i: [*mapping(SCAN)(i), "--phase", "p.nii"],
        2,
        "leave out --magnitude",
    ),
}


@pytest.mark.parametrize(("make", "status", "words"), IMPORTS.values(), ids=IMPORTS)
def test_import_refuses_broken_files(images, refuses, tmp_path, make, status, words):
    arguments = make(images)
    refuses(["import", "--bids", tmp_path / "bids out", *arguments], status, words)
    refuses(["import", "--bids", tmp_path / "bids out", *arguments, "--dry-run"], status, words)


def test_place_that_cannot_be_written_to(images, refuses):
    refuses(["import", "--bids", "/proc/dataset", *pair()(images)], 2, "/proc")


def test_path_with_blanks_brackets_and_other_alphabets_is_sound(images, tmp_path):
    folder = tmp_path / "Größe [1] 頭 a"
    out = folder / "data set"
    images.folder.rename(folder)
    images.folder = folder
    assert main(["import", "--bids", str(out), *map(str, pair()(images))]) == 0
    assert main(["check", "--bids", str(out), "--json"]) == 1  # no mask of so small a head
    assert json.loads((out / "dataset_description.json").read_text())["DatasetType"] == "raw"
