"""`qsm-wf convert`: DICOM becomes a dataset that a run can take, and nobody is named in it."""

import io
import json
import tarfile
import zipfile

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from qsm_workflows.bids.index import index_dataset
from qsm_workflows.cli.main import main


def convert(out, *options):
    return main(["convert", *map(str, options), "--bids", str(out)])


def stored(out, echo, part, prefix="sub-01"):
    folder = out / prefix.split("_")[0] / "anat"
    return nib.load(folder / f"{prefix}_echo-{echo}_part-{part}_MEGRE.nii.gz")


def test_unsorted_files_of_two_series_become_one_scan(dicoms, tmp_path, capsys):
    dicoms.scan()
    (dicoms.folder / "notes.txt").write_text("no DICOM")
    out = tmp_path / "raw"
    assert convert(out, dicoms.folder) == 0
    told = capsys.readouterr().out
    assert "series 1 + 2" in told
    # Philips' milliradians come in rad.
    assert "note: phase in 0..4095 from dcm2niix, written in radians" in told
    (scan,) = index_dataset(out).scans
    assert scan.echo_times == (0.005, 0.01, 0.015)
    assert (scan.b0, scan.phase_units, scan.phase_sign) == (3.0, "rad", 1)
    rng = np.random.default_rng(2)
    magnitude = rng.integers(100, 1000, (16, 12, 6))
    phase = rng.integers(0, 4096, (16, 12, 6)) * 2 * np.pi / 4096 - np.pi
    # DICOM counts towards left and back, dcm2niix towards right and front.
    np.testing.assert_array_equal(stored(out, 1, "mag").get_fdata(), magnitude[::-1, ::-1])
    got = stored(out, 1, "phase").get_fdata()
    assert np.abs(np.angle(np.exp(1j * (got - phase[::-1, ::-1])))).max() < 1e-5


def test_nothing_of_the_patient_is_written(dicoms, tmp_path):
    dicoms.scan()
    out = tmp_path / "raw"
    convert(out, dicoms.folder)
    secrets = (b"Jane", b"Doe", b"Secret", b"19700101", b"20200202", b"1010")
    for path in out.rglob("*"):
        if path.name.endswith(".json"):
            assert not [secret for secret in secrets if secret in path.read_bytes()]
        elif path.name.endswith(".nii.gz"):
            header = nib.load(path).header
            assert header["descrip"] == header["aux_file"] == header["db_name"] == b""


def test_dry_run_lists_series_and_writes_nothing(dicoms, tmp_path, capsys):
    dicoms.scan()
    dicoms.volume(np.ones((16, 12, 3)), series=9, ImageType=["ORIGINAL", "PRIMARY", "M"])
    assert convert(tmp_path / "raw", dicoms.folder, "--dry-run") == 0
    told = capsys.readouterr().out
    assert "16 × 12 × 6 voxels → sub-01" in told
    assert "series 9 (gre for Jane) is left out: only 3 slices" in told
    assert not (tmp_path / "raw").exists()


def test_patients_and_repetitions_are_told_apart(dicoms, tmp_path):
    for patient in ("Jane^Doe", "John^Roe"):
        dicoms.scan(patient=patient, echoes=2)
    dicoms.scan(patient="John^Roe", echoes=2, AcquisitionNumber=2)
    out = tmp_path / "raw"
    assert convert(out, dicoms.folder) == 0
    assert [scan.prefix for scan in index_dataset(out).scans] == [
        "sub-01",
        "sub-02_run-1",
        "sub-02_run-2",
    ]


def test_labels_can_be_given(dicoms, tmp_path):
    dicoms.scan(echoes=2)
    out = tmp_path / "raw"
    convert(out, dicoms.folder, "--subject", "sub-x", "--session", "a", "--acquisition", "thin")
    assert [scan.prefix for scan in index_dataset(out).scans] == ["sub-x_ses-a_acq-thin"]


def test_complex_images_of_ge_with_alternating_slices(dicoms, tmp_path, capsys):
    z = np.arange(6)
    signal = 500 * np.exp(1j * (0.3 + 0.1 * z)) * (-1.0) ** z * np.ones((16, 12, 1))
    for code, voxels in ((2, signal.real), (3, signal.imag)):
        dicoms.volume(
            np.rint(voxels).astype(np.int16),
            Manufacturer="GE MEDICAL SYSTEMS",
            ImageType=["ORIGINAL", "PRIMARY", "OTHER"],
            PixelRepresentation=1,
            BitsStored=16,
            HighBit=15,
            tag_0043_0010_LO="GEMS_PARM_01",
            tag_0043_102F_SS=code,
        )
    out = tmp_path / "raw"
    assert convert(out, dicoms.folder) == 0
    assert "every second slice" in capsys.readouterr().out
    (scan,) = index_dataset(out).scans
    assert scan.phase_sign == -1
    phase = nib.load(scan.phase[0]).get_fdata()
    np.testing.assert_allclose(np.diff(phase, axis=2), 0.1, atol=5e-3)
    np.testing.assert_allclose(nib.load(scan.magnitude[0]).get_fdata(), 500, atol=1)


# What is done to a scan, and what is said of it.
REFUSED = {
    "missing slice": (
        lambda d: (d.scan(), sorted(d.folder.iterdir())[3].unlink()),
        "1 of 6 slices missing of magnitude at 5 ms",
    ),
    "no phase": (
        lambda d: d.volume(np.ones((16, 12, 6))),
        "magnitude images, without what belongs to them",
    ),
    "spin echo": (lambda d: d.scan(ScanningSequence="SE"), "not a gradient echo"),
    "echo planar": (lambda d: d.scan(ScanningSequence=["EP", "GR"]), "echo planar"),
    "CT": (lambda d: d.scan(Modality="CT"), "not MR but CT"),
    "no position": (lambda d: d.scan(ImagePositionPatient=None), "without positions"),
    "no echo time": (lambda d: d.scan(EchoTime=None), "without echo times"),
    "localiser": (
        lambda d: d.scan(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "a localiser",
    ),
    "derived": (
        lambda d: d.scan(ImageType=["DERIVED", "PRIMARY", "MNIP"]),
        "derived images (DERIVED, MNIP)",
    ),
}


@pytest.mark.parametrize(("make", "what"), REFUSED.values(), ids=REFUSED)
def test_what_is_of_no_use_is_left_out_with_its_reason(dicoms, tmp_path, capsys, make, what):
    make(dicoms)
    assert convert(tmp_path / "raw", dicoms.folder) == 2
    told = capsys.readouterr()
    assert what in told.out
    assert "no gradient echo scan" in told.err
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("kept", [200, -100])
def test_truncated_file_fails_its_scan(dicoms, tmp_path, capsys, kept):
    dicoms.scan()
    path = sorted(dicoms.folder.iterdir())[0]
    path.write_bytes(path.read_bytes()[:kept])
    assert convert(tmp_path / "raw", dicoms.folder) != 0
    told = capsys.readouterr()
    assert "slices missing" in told.out or "dcm2niix" in told.err
    assert not (tmp_path / "raw").exists()


def test_archives_are_unpacked(dicoms, tmp_path):
    dicoms.scan(echoes=2)
    archive = tmp_path / "scan.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for path in dicoms.folder.iterdir():
            opened.write(path, f"a b/{path.name}")
    assert convert(tmp_path / "raw", archive) == 0
    assert len(index_dataset(tmp_path / "raw").scans) == 1


def zip_leading_out(path):
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("../../outside", b"x")


def tar_leading_out(path):
    with tarfile.open(path, "w:gz") as opened:
        member = tarfile.TarInfo("/tmp/outside")
        member.size = 1
        opened.addfile(member, io.BytesIO(b"x"))


def zip_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for number in range(5):
            opened.writestr(f"{number}", bytes(60 * 2**20))


def damaged_zip(path):
    zip_leading_out(path)
    path.write_bytes(path.read_bytes().replace(b"outside", b"0utside", 1))


ARCHIVES = {
    "zip leading out": (zip_leading_out, "leads out of the archive"),
    "tar leading out": (tar_leading_out, "leads out of the archive"),
    "zip bomb": (zip_bomb, "unpacks to more than 256 MiB"),
    "damaged zip": (damaged_zip, "cannot be unpacked"),
}


@pytest.mark.parametrize(("make", "what"), ARCHIVES.values(), ids=ARCHIVES)
def test_unsafe_archives_are_refused(tmp_path, capsys, make, what):
    archive = tmp_path / "archive"
    make(archive)
    assert convert(tmp_path / "raw", archive) == 2
    assert what in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == [archive]


@pytest.fixture(scope="module")
def real(shared_data, tmp_path_factory):
    """Converts a real set once; gives the dataset."""
    done = {}

    def convert_set(name):
        if name not in done:
            out = tmp_path_factory.mktemp("converted") / "raw"
            (archive,) = shared_data.glob(f"*/{name}.tar.xz")
            done[name] = convert(out, archive), out
        return done[name]

    return convert_set


@pytest.mark.shared
def test_classic_and_enhanced_philips_dicom_give_the_same_images(real, shared_data):
    status, classic = real("dicom_classic_212")
    assert status == 0
    _, enhanced = real("dicom_enhanced_1")
    folder = shared_data / "philips_dualecho_invivo_wholehead" / "nii"
    for echo in (1, 2):
        for part in ("mag", "phase"):
            image, other = stored(classic, echo, part), stored(enhanced, echo, part)
            np.testing.assert_array_equal(image.get_fdata(), other.get_fdata())
            np.testing.assert_allclose(image.affine, other.affine, atol=1e-5)
            known = nib.load(folder / f"sub-philips_echo-{echo}_part-{part}_MEGRE.nii.gz")
            np.testing.assert_allclose(image.get_fdata(), known.get_fdata(), rtol=1e-6, atol=1e-6)


@pytest.mark.shared
def test_philips_head_passes_the_check_and_can_be_run(real, tmp_path, capsys):
    _, out = real("dicom_enhanced_1")
    assert main(["check", "--bids", str(out)]) == 0
    assert main(["run", "--bids", str(out), "--work", str(tmp_path), "--dry-run"]) == 0
    assert "33 mm, slices 21 to 31" in capsys.readouterr().out


@pytest.mark.shared
def test_phase_of_the_siemens_phantom_is_linear_in_echo_time(real):
    status, out = real("dicom_120")
    assert status == 0
    (scan,) = index_dataset(out).scans
    assert scan.echo_times == pytest.approx((0.0025, 0.0055, 0.0085, 0.0115, 0.0145, 0.0175))
    magnitude = stored(out, 1, "mag").get_fdata()
    inside = ndimage.binary_erosion(magnitude > 0.3 * np.percentile(magnitude, 99), iterations=2)
    phase = np.stack([stored(out, echo, "phase").get_fdata()[inside] for echo in range(1, 7)])
    # The first difference tells how many turns later echoes have made.
    times = np.array(scan.echo_times)
    step = np.angle(np.exp(1j * (phase[1] - phase[0])))
    predicted = phase[0] + np.outer((times - times[0]) / (times[1] - times[0]), step)
    unwrapped = predicted + np.angle(np.exp(1j * (phase - predicted)))
    line = np.polynomial.polynomial.polyfit(times, unwrapped, 1)
    residual = unwrapped - np.polynomial.polynomial.polyval(times, line, tensor=True).T
    assert np.sqrt(np.mean(residual**2)) < 0.1


@pytest.mark.shared
def test_phantom_can_be_run_with_a_mask(real, tmp_path, capsys):
    _, out = real("dicom_120")
    image = stored(out, 1, "mag")
    mask = tmp_path / "mask.nii.gz"
    inside = image.get_fdata() > 0.3 * image.get_fdata().max()
    nib.save(nib.Nifti1Image(inside.astype(np.uint8), image.affine), mask)
    options = ["--mask", str(mask), "--work", str(tmp_path / "work"), "--dry-run"]
    assert main(["run", "--bids", str(out), "--coverage", "full", *options]) == 0
    assert "whole image" in capsys.readouterr().out


@pytest.mark.shared
def test_field_map_is_kept_as_phase_difference_and_refused_by_the_check(real, capsys):
    status, out = real("dicom_108")
    told = capsys.readouterr()
    assert status == 0
    assert "phase DIFFERENCE" in told.out
    assert "no susceptibility can be mapped" in told.err
    sidecar = json.loads((out / "sub-01/fmap/sub-01_phasediff.json").read_text())
    assert (sidecar["EchoTime1"], sidecar["EchoTime2"]) == (0.00519, 0.00765)
    assert main(["check", "--bids", str(out)]) == 1
    assert "sub-01_phasediff.nii.gz" in capsys.readouterr().out
