"""What people and machines really hand over: each fault has its words, and leaves nothing behind.

Every row of the tables below is one broken input: what is done to sound input, the exit status,
and words of the message. All files beneath the folder of the test, temporary ones too, must be
the same before and after.
"""

import gzip
import io
import json
import struct
import tarfile
import tempfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.bids.index import index_dataset
from qsm_workflows.cli.main import main

SHAPE = (8, 8, 8)
MAG2 = "sub-01/anat/sub-01_echo-2_part-mag_MEGRE.nii.gz"
PHASE1 = "sub-01/anat/sub-01_echo-1_part-phase_MEGRE.nii.gz"
PHASE2 = "sub-01/anat/sub-01_echo-2_part-phase_MEGRE.nii.gz"
MASK = "derivatives/m/sub-01/anat/sub-01_desc-brain_mask.nii.gz"
LABELS = "derivatives/m/sub-01/anat/sub-01_dseg.nii.gz"


@pytest.fixture
def masked(dataset):
    """A dataset of one sound scan with mask and labels."""
    dataset.scan("sub-01")
    dataset.image(MASK, np.ones(SHAPE, np.uint8))
    labels = np.zeros(SHAPE, np.int16)
    labels[1:3, :, 1:7], labels[4:6, :, 1:7] = 1, 2
    dataset.image(LABELS, labels)
    table = "index\tname\themisphere\n1\tpallidum\tL\n2\toptic_radiation\tR\n"
    dataset.text(LABELS.replace(".nii.gz", ".tsv"), table)
    return dataset


@pytest.fixture
def refuses(tmp_path, monkeypatch, capsys):
    """Runs a command; it must exit so, say so, and leave the files as they were."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QSM_WORKFLOWS_WEIGHTS", str(tmp_path / "weights"))

    def refuses(arguments, status, words):
        before = tree(tmp_path)
        try:
            got = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            got = stop.code
        told = capsys.readouterr()
        assert words in told.out + told.err
        assert "Traceback" not in told.err
        assert got == status
        assert tree(tmp_path) == before

    return refuses


def tree(folder):
    return {
        str(path): path.lstat().st_mtime_ns if path.is_file() else 0 for path in folder.rglob("*")
    }


def values(path):
    return np.asarray(nib.load(path).dataobj)


def put(path, data, affine=None):
    affine = nib.load(path).affine if affine is None else affine
    nib.save(nib.Nifti1Image(np.asarray(data), affine), path)


def patch(path, offset, content):
    """Change bytes of the header of a compressed image."""
    whole = bytearray(gzip.decompress(path.read_bytes()))
    whole[offset : offset + len(content)] = content
    path.write_bytes(gzip.compress(bytes(whole)))


def image(name, spoil):
    """Row that spoils an image of the dataset."""
    return lambda d: spoil(d.root / name)


def sidecar(**fields):
    return lambda d: d.edit(d.root / PHASE2, **fields)


def sidecar_text(content):
    def spoil(d):
        (d.root / PHASE2.replace(".nii.gz", ".json")).write_bytes(content)

    return spoil


def swap(d):
    mag, phase = d.root / MAG2, d.root / PHASE2
    first, second = values(mag).copy(), values(phase).copy()
    put(mag, second)
    put(phase, first)


def with_value(value):
    def spoil(path):
        data = values(path).copy()
        data[1, 2, 3] = value
        put(path, data)

    return spoil


def folder_instead(path):
    path.unlink()
    path.mkdir()


def rgb(path):
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(np.ones(SHAPE, kind), nib.load(path).affine), path)


IMAGES_AND_SIDECARS = {
    "zero bytes": (image(MAG2, lambda p: p.write_bytes(b"")), "empty (0 bytes)"),
    "text for gzip": (image(MAG2, lambda p: p.write_text("hello")), "cannot be read as NIfTI"),
    "html for gzip": (
        image(MAG2, lambda p: p.write_bytes(gzip.compress(b"<html>" * 99))),
        "cannot be read as NIfTI",
    ),
    "truncated gzip": (
        image(MAG2, lambda p: p.write_bytes(p.read_bytes()[:-300])),
        "is damaged",
    ),
    "flipped bits": (
        image(MAG2, lambda p: p.write_bytes(p.read_bytes()[:-90] + bytes(90))),
        "is damaged",
    ),
    "wrong magic": (image(MAG2, lambda p: patch(p, 344, b"xx1\0")), "cannot be read as NIfTI"),
    "huge header": (
        image(MAG2, lambda p: patch(p, 42, struct.pack("<3h", 30000, 30000, 30000))),
        "more than a file of",
    ),
    "negative dimension": (
        image(MAG2, lambda p: patch(p, 42, struct.pack("<h", -8))),
        MAG2.rpartition("/")[2],
    ),
    "unknown data type": (
        image(MAG2, lambda p: patch(p, 70, struct.pack("<h", 9999))),
        "cannot be read as NIfTI",
    ),
    "singular affine": (image(MAG2, lambda p: patch(p, 280, bytes(16))), "affine is singular"),
    "affine of NaN": (
        image(MAG2, lambda p: patch(p, 280, struct.pack("<4f", *[np.nan] * 4))),
        "affine must be a finite",
    ),
    "affine elsewhere": (
        image(MAG2, lambda p: put(p, values(p), np.diag([8, 8, 9, 1]))),
        "its affine is not that of",
    ),
    "other shape": (image(MAG2, lambda p: put(p, values(p)[1:])), "its shape (7, 8, 8)"),
    "four dimensions": (
        image(MAG2, lambda p: put(p, np.ones((*SHAPE, 2), np.float32))),
        "4 dimensions",
    ),
    "two dimensions": (
        image(MAG2, lambda p: put(p, np.ones((8, 8), np.float32))),
        "2 dimensions",
    ),
    "complex": (image(MAG2, lambda p: put(p, np.ones(SHAPE, np.complex64))), "type complex64"),
    "colours": (image(MAG2, rgb), "its values are of type"),
    "NaN": (image(PHASE2, with_value(np.nan)), "1 voxels are NaN or infinite"),
    "infinity": (image(PHASE2, with_value(np.inf)), "1 voxels are NaN or infinite"),
    "folder for file": (image(MAG2, folder_instead), "there is no magnitude image of echo 2"),
    "link to nothing": (
        image(PHASE2, lambda p: (p.unlink(), p.symlink_to("nowhere"))),
        "the file is not there",
    ),
    "swapped": (swap, "the magnitude has negative values"),
    "constant phase": (
        image(PHASE2, lambda p: put(p, np.zeros(SHAPE, np.float32))),
        "the phase is 0 in every voxel",
    ),
    "unwrapped phase": (image(PHASE2, lambda p: put(p, values(p) * 9)), "says Units: rad, but"),
    "echo twice": (
        image(MAG2, lambda p: p.with_suffix("").write_bytes(gzip.decompress(p.read_bytes()))),
        "is the same echo and part",
    ),
    "echo of letters": (
        image(MAG2, lambda p: p.rename(p.with_name(p.name.replace("echo-2", "echo-two")))),
        "echo-two is not a number",
    ),
    "phase missing": (image(PHASE2, lambda p: p.unlink()), "there is no phase image of echo 2"),
    "unknown entity": (
        image(MAG2, lambda p: p.rename(p.with_name(p.name.replace("echo-2", "inv-1_echo-2")))),
        "the entity inv- is not handled",
    ),
    "empty mask": (image(MASK, lambda p: put(p, np.zeros(SHAPE, np.uint8))), "mask is empty"),
    "damaged labels": (
        image(LABELS, lambda p: p.write_bytes(p.read_bytes()[:-60])),
        "cannot be read as NIfTI",
    ),
    "soft labels": (image(LABELS, lambda p: put(p, values(p) * 0.7)), "are no integers"),
    "no JSON": (sidecar_text(b"{EchoTime: 5"), "cannot be read as JSON"),
    "JSON list": (sidecar_text(b"[1, 2]"), "it holds no object"),
    "JSON in Latin-1": (sidecar_text('{"a": "é"}'.encode("latin-1")), "cannot be read as JSON"),
    "JSON without end": (sidecar_text(b"[" * 100_000), "cannot be read as JSON"),
    "no echo time": (sidecar(EchoTime=None), "its sidecar has no EchoTime"),
    "text for echo time": (sidecar(EchoTime="10 ms"), "EchoTime is '10 ms', not a number"),
    "list for echo time": (sidecar(EchoTime=[0.01]), "EchoTime is [0.01], not a number"),
    "echo time of other part": (sidecar(EchoTime=0.02), "EchoTime is 0.02 but"),
    "echo time NaN": (sidecar(EchoTime=float("nan")), "EchoTime"),
    "field of other echo": (sidecar(MagneticFieldStrength=7), "MagneticFieldStrength is 7 but"),
    "text for field": (sidecar(MagneticFieldStrength="3T"), "is '3T', not a number"),
    "object for units": (sidecar(Units={"rad": 1}), "another echo says rad"),
    "sign of five": (
        lambda d: d.edit(d.root / PHASE1, PhaseSign=5),
        "PhaseSign is 5",
    ),
    "list for maker": (
        lambda d: d.edit(d.root / PHASE1, Manufacturer=["GE"]),
        "Manufacturer is ['GE'], not a text",
    ),
}


@pytest.mark.parametrize(("spoil", "words"), IMAGES_AND_SIDECARS.values(), ids=IMAGES_AND_SIDECARS)
def test_check_and_run_refuse_broken_datasets(masked, refuses, spoil, words):
    spoil(masked)
    refuses(["check", "--bids", masked.root], 1, words)
    # 1: its one scan is left out; 2: there is not even that.
    status = 1 if index_dataset(masked.root).scans else 2
    refuses(["run", "--bids", masked.root, "--dry-run", "--coverage", "full"], status, words)


OPTIONS_OF_RUN = {
    "no folder": (["--bids", "nowhere"], "is not a folder"),
    "no participant": (["--bids", "."], "has no folder sub-"),
    "unknown participant": (["--participant-label", "99"], "there is no sub-99"),
    "path for participant": (["--participant-label", "../x"], "is not a BIDS label"),
    "path for session": (["--session-label", "a/b"], "is not a BIDS label"),
    "coverage of words": (["--coverage", "wide"], "coverage 'wide' is not understood"),
    "coverage backwards": (["--coverage", "300:100:50"], "stops below its start"),
    "coverage of nothing": (["--coverage", "0"], "is not understood"),
    "coverage of NaN": (["--coverage", "nan"], "is not understood"),
    "step of nothing": (["--coverage", "1:2:0"], "is not understood"),
    "extent": (["--dgm-extent", "-3"], "is neither a length in mm nor 'auto'"),
    "parameter": (["--param", "medi.x=1"], "medi has no parameter 'x'"),
    "parameter without step": (["--param", "x=1"], "is not STEP.NAME=VALUE"),
    "step": (["--param", "nowhere.x=1"], "there is no such step"),
    "weights": (["--weights", "xqsm=nowhere.pth"], "there is no such file"),
    "weights of medi": (["--weights", "medi=x.pth"], "weights are for"),
    "method": (["--method", "magic"], "invalid choice: 'magic'"),
    "threads": (["--threads", "0"], "0 is not positive"),
    "configuration": (["--config", "nowhere.toml"], "nowhere.toml"),
    "mask": (["--mask", "none/{subject}.nii.gz"], "no such file"),
    "placeholder": (["--mask", "{name}.nii.gz"], "{name} is not one of"),
    "centre": (["--coverage", "100", "--centre", "0", "0", "9999"], "lies outside the image"),
    "output": (["--out", "raw"], "is the raw dataset"),
    "output of others": (["--out", "foreign"], "did not write"),
}


@pytest.mark.parametrize(("options", "words"), OPTIONS_OF_RUN.values(), ids=OPTIONS_OF_RUN)
def test_run_refuses_options_that_make_no_sense(masked, refuses, tmp_path, options, words):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "dataset_description.json").write_text('{"GeneratedBy": [{"Name": "fMRIPrep"}]}')
    dataset = [] if "--bids" in options else ["--bids", masked.root]
    dry = [] if "--out" in options else ["--dry-run"]
    full = [] if "--coverage" in options else ["--coverage", "full"]
    method = [] if "--method" in options else ["--method", "tkd"]
    work = ["--work", "raw/../work"]
    status = 1 if {"--mask", "--centre"} & set(options) else 2
    if options[0] == "--out":
        (tmp_path / "work" / "crashes").mkdir(parents=True)
    refuses(["run", *dataset, *options, *dry, *full, *method, *work], status, words)


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
    "negative time": (with_options("--te=-0.004", *KNOWN), 1, "3 echoes, but 1"),
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
    "five dimensions": (pair(saved(lambda d: np.stack([d, d], 4))), 1, "give 3-D images"),
    "fewer echoes": (pair(phase=saved(lambda d: d[..., :2])), 1, "3 volumes of magnitude and 2"),
    "fewer voxels": (pair(phase=saved(lambda d: d[1:])), 1, "not on the grid of the magnitude"),
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


def spoil_tag(**fields):
    """Row in which one file of a scan has other tags."""

    def make(d):
        d.scan(echoes=2)
        path = sorted(d.folder.iterdir())[0]
        path.unlink()
        d.volume(np.ones((16, 12, 6)), **{"series": 1, "echo": 1, **fields})

    return make


def raw_bytes(content):
    return lambda d: (d.folder / "file.dcm").write_bytes(content)


def whole_scan(**fields):
    return lambda d: d.scan(echoes=2, **fields)


def every_file(change):
    def make(d):
        d.scan(echoes=2)
        for path in d.folder.iterdir():
            path.write_bytes(change(path.read_bytes()))

    return make


def archive_of(make):
    return lambda d: make(d.folder / "archive")


def encrypted_zip(path):
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("x", b"x")
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))


def truncated_tar(path):
    with tarfile.open(path, "w:xz") as opened:
        member = tarfile.TarInfo("x")
        data = np.random.default_rng(0).bytes(100_000)
        member.size = len(data)
        opened.addfile(member, io.BytesIO(data))
    path.write_bytes(path.read_bytes()[:50_000])


def tar_of_links(path):
    with tarfile.open(path, "w") as opened:
        member = tarfile.TarInfo("passwords")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        opened.addfile(member)


def drive_letter(path):
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("C:/windows", b"x")


NO_SCAN = "no gradient echo scan"

CONVERSIONS = {
    "empty folder": (lambda d: None, 2, "no DICOM file among 0 files"),
    "text": (raw_bytes(b"hello"), 2, "no DICOM file among 1 files"),
    "zero bytes": (raw_bytes(b""), 2, "no DICOM file among 1 files"),
    "preamble only": (raw_bytes(bytes(128) + b"DICM"), 2, "without modality"),
    "preamble and noise": (raw_bytes(bytes(128) + b"DICM" + b"\xff" * 500), 2, "DICOM"),
    "half a header": (every_file(lambda b: b[:400]), 2, "left out"),
    "no pixels": (every_file(lambda b: b[:-384]), 1, "dcm2niix made no image"),
    "echo time of text": (
        every_file(lambda b: b.replace(b"\x81\x00DS\x04\x005.0 ", b"\x81\x00DS\x04\x00five")),
        2,
        "echo 1 of 2 missing",
    ),
    "field of text": (
        every_file(lambda b: b.replace(b"\x87\x00DS\x04\x003.0 ", b"\x87\x00DS\x04\x00x.0 ")),
        2,
        "broken DICOM",
    ),
    "no field": (whole_scan(MagneticFieldStrength=None), 1, "do not state the field strength"),
    "field of zero": (whole_scan(MagneticFieldStrength=0), 1, "do not state the field strength"),
    "no matrix": (whole_scan(Rows=None), 1, "left out"),
    "CT": (whole_scan(Modality="CT"), 2, "not MR but CT"),
    "negative echo time": (whole_scan(EchoTime=-5), 2, "without echo times"),
    "tilted among straight": (
        spoil_tag(ImageOrientationPatient=[1, 0, 0, 0, 0.8, 0.6]),
        2,
        "slices of several orientations",
    ),
    "damaged archive": (archive_of(lambda p: p.write_bytes(b"PK\x03\x04 broken")), 2, "no DICOM"),
    "truncated archive": (archive_of(truncated_tar), 2, "cannot be unpacked"),
    "encrypted archive": (archive_of(encrypted_zip), 2, "cannot be unpacked"),
    "archive of links": (archive_of(tar_of_links), 2, "no DICOM file among 0 files"),
    "archive with a drive": (archive_of(drive_letter), 2, "leads out of the archive"),
}


@pytest.mark.parametrize(("make", "status", "words"), CONVERSIONS.values(), ids=CONVERSIONS)
def test_convert_refuses_broken_dicom(dicoms, refuses, tmp_path, make, status, words):
    make(dicoms)
    archive = dicoms.folder / "archive"
    given = archive if archive.exists() else dicoms.folder
    refuses(["convert", given, "--bids", tmp_path / "bids"], status, words)


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
    refuses(["import", "--bids", tmp_path / "out", *pair()(images)], 2, words)
    refuses(["convert", dicoms.folder, "--bids", tmp_path / "out"], 2, words)


def test_place_that_cannot_be_written_to(images, refuses):
    refuses(["import", "--bids", "/proc/dataset", *pair()(images)], 2, "/proc")


@pytest.mark.parametrize("option", ["--subject", "--session", "--acquisition"])
def test_labels_of_convert_cannot_lead_out_of_the_dataset(dicoms, refuses, tmp_path, option):
    dicoms.scan(echoes=2)
    arguments = ["convert", dicoms.folder, "--bids", tmp_path / "bids", option, "../x"]
    refuses(arguments, 2, "is not a BIDS label")


def test_one_label_for_two_patients(dicoms, refuses, tmp_path):
    dicoms.scan(echoes=2)
    dicoms.scan(echoes=2, patient="John^Roe")
    arguments = ["convert", dicoms.folder, "--bids", tmp_path / "bids", "--subject", "01"]
    refuses(arguments, 2, "there are 2 patients")


def test_series_that_is_not_there(dicoms, refuses, tmp_path):
    dicoms.scan(echoes=2)
    refuses(["convert", dicoms.folder, "--bids", tmp_path / "b", "--series", "77"], 2, NO_SCAN)


def test_path_with_blanks_brackets_and_other_alphabets_is_sound(images, tmp_path):
    folder = tmp_path / "Größe [1] 頭 a"
    out = folder / "data set"
    images.folder.rename(folder)
    images.folder = folder
    assert main(["import", "--bids", str(out), *map(str, pair()(images))]) == 0
    assert main(["check", "--bids", str(out), "--json"]) == 1  # no mask of so small a head
    assert json.loads((out / "dataset_description.json").read_text())["DatasetType"] == "raw"
