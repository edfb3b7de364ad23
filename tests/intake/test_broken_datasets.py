"""What `qsm-wf check` and `run` are given: each fault has its words, and leaves nothing behind.

Every row of the table is one broken input: what is done to sound input, the exit status,
and words of the message.
"""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.bids.index import index_dataset

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


def times(*seconds):
    """Row in which magnitude and phase of the echoes agree on these times."""

    def spoil(d):
        for echo, time in enumerate(seconds, 1):
            for part in ("mag", "phase"):
                name = f"sub-01/anat/sub-01_echo-{echo}_part-{part}_MEGRE.nii.gz"
                d.edit(d.root / name, EchoTime=time)

    return spoil


def bytes_only(path):
    put(path, np.clip(values(path) * 300, -128, 127).astype(np.int8))


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
    "magnitude in signed bytes": (image(MAG2, bytes_only), "all beyond 127 were lost"),
    "phase in signed bytes": (image(PHASE2, bytes_only), "all beyond 127 were lost"),
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
    "negative echo time": (times(-0.005, 0.01, 0.015), "EchoTime of echo 1 is -0.005 s"),
    "echo time of zero": (times(0, 0.01, 0.015), "EchoTime of echo 1 is 0 s"),
    "duplicated echo times": (times(0.005, 0.005, 0.015), "the same as that of echo 1"),
    "milliseconds": (times(5, 10, 15), "looks like milliseconds"),
    "echo time beyond all bounds": (times(0.005, 0.01, 1e300), "looks like milliseconds"),
    "true for echo time": (sidecar(EchoTime=True), "EchoTime is True, not a number"),
    "echo time NaN": (sidecar(EchoTime=float("nan")), "EchoTime"),
    "field of other echo": (sidecar(MagneticFieldStrength=7), "MagneticFieldStrength is 7 but"),
    "text for field": (sidecar(MagneticFieldStrength="3T"), "is '3T', not a number"),
    "object for units": (sidecar(Units={"rad": 1}), "another echo says rad"),
    "sign of five": (
        lambda d: d.edit(d.root / PHASE1, PhaseSign=5),
        "PhaseSign is 5",
    ),
    "maker that clears the screen": (
        lambda d: d.edit(d.root / PHASE1, Manufacturer="GE \x1b[2J"),
        "Manufacturer holds control characters, 'GE \\x1b[2J'",
    ),
    "subject of another folder": (
        image(MAG2, lambda p: p.rename(p.with_name(p.name.replace("sub-01", "sub-02")))),
        "lies in the folder of sub-01",
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
