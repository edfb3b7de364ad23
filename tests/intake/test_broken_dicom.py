"""What `qsm-wf convert` is given: each fault has its words, and leaves nothing behind.

Every row of the table is one broken input: what is done to sound input, the exit status,
and words of the message.
"""

import io
import tarfile
import zipfile

import numpy as np
import pytest


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
