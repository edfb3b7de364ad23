"""`qsm-wf import`: files of any naming become a dataset that a run can take."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.algorithms.geometry import b0_direction
from qsm_workflows.bids.index import index_dataset
from qsm_workflows.cli.main import main

TE = ["--te", "0.004", "0.008", "0.012"]


def give(out, *options, subject="01", b0="3"):
    labels = ["--subject", subject] if subject else []
    return main(["import", "--bids", str(out), *labels, "--b0", b0, *map(str, options)])


def stored(out, echo, part, prefix="sub-01"):
    folder = out / prefix.split("_")[0] / "anat"
    return nib.load(folder / f"{prefix}_echo-{echo}_part-{part}_MEGRE.nii.gz").get_fdata()


def same_phase(first, second, tolerance=2e-3):
    return np.abs(np.angle(np.exp(1j * (first - second)))).max() < tolerance


@pytest.fixture
def four_d(images):
    """Options for a 4-D magnitude and phase."""
    return [
        *("--magnitude", images.save("Mag.nii.gz", images.magnitude)),
        *("--phase", images.save("Phase.nii", images.phase)),
        *TE,
    ]


def test_four_dimensional_files_are_split_by_echo(images, four_d, tmp_path):
    out = tmp_path / "raw"
    assert give(out, *four_d, "--manufacturer", "GE") == 0
    for echo in (1, 2, 3):
        np.testing.assert_allclose(stored(out, echo, "mag"), images.magnitude[..., echo - 1])
        assert same_phase(stored(out, echo, "phase"), images.phase[..., echo - 1])
    (scan,) = index_dataset(out).scans
    assert (scan.echo_times, scan.b0, scan.phase_units) == ((0.004, 0.008, 0.012), 3.0, "rad")
    assert scan.phase_sign == -1


def test_what_is_written_is_valid_bids(four_d, tmp_path):
    out = tmp_path / "raw"
    give(out, *four_d, "--session", "a", "--run", "1", "--phase-sign", "-1")
    validator = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run(
        [validator, out, "--format", "json"], capture_output=True, text=True, check=False
    )
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    assert (out / "sub-01/ses-a/anat/sub-01_ses-a_run-1_echo-2_part-phase_MEGRE.json").exists()


def test_placeholders_tell_subjects_and_echoes_apart(images, tmp_path):
    for subject in ("a", "b"):
        for echo in range(1, 4):
            images.save(f"{subject}/mag_e{echo}.nii.gz", images.magnitude[..., echo - 1])
            images.save(f"{subject}/ph_e{echo}.nii.gz", images.phase[..., echo - 1])
    out = tmp_path / "raw"
    folder = images.folder
    assert (
        give(
            out,
            *("--magnitude", f"{folder}/{{subject}}/mag_e{{echo}}.nii.gz"),
            *("--phase", f"{folder}/{{subject}}/ph_*.nii.gz"),
            *TE,
            subject=None,
        )
        == 0
    )
    assert [scan.subject for scan in index_dataset(out).scans] == ["a", "b"]
    assert same_phase(stored(out, 3, "phase", "sub-b"), images.phase[..., 2])


IN_FOLDERS = ("{subject}/mag.nii", "{subject}/phase.nii")


def subjects(images, out, *names, patterns=IN_FOLDERS, options=()):
    """Import one scan for each name of a subject; gives the exit status."""
    for name in names:
        for pattern, data in zip(patterns, (images.magnitude, images.phase), strict=True):
            images.save(pattern.replace("{subject}", name), data)
    magnitude, phase = (images.folder / pattern for pattern in patterns)
    return give(out, "--magnitude", magnitude, "--phase", phase, *TE, *options, subject=None)


def test_names_that_are_no_labels_are_told(images, tmp_path, capsys):
    out = tmp_path / "raw"
    assert subjects(images, out, "ok", "a_b", "c-d", "é", "s 2") == 1
    told = capsys.readouterr()
    assert "1 of 5 scans imported" in told.out
    for name in ("a_b", "c-d", "é", "s 2"):
        path = images.folder / name / "mag.nii"
        assert f"{name!r} of {path} is no BIDS label, which has letters and digits" in told.err
    assert [scan.subject for scan in index_dataset(out).scans] == ["ok"]


def test_only_names_that_are_no_labels(images, tmp_path, capsys):
    assert subjects(images, tmp_path / "raw", "y_y", options=["--dry-run"]) == 1
    told = capsys.readouterr()
    assert "0 of 1 scans can be imported" in told.out
    assert "'y_y' of" in told.err


def test_labels_may_come_with_their_keys(images, tmp_path):
    out = tmp_path / "raw"
    images.save("sub-01/ses-x/sub-01_mag.nii", images.magnitude)
    images.save("sub-01/ses-x/phase.nii", images.phase)
    folder = images.folder / "{subject}/{session}"
    patterns = ["--magnitude", folder / "{subject}_mag.nii", "--phase", folder / "phase.nii"]
    assert give(out, *patterns, *TE, subject=None) == 0
    (scan,) = index_dataset(out).scans
    assert (scan.subject, scan.session) == ("01", "x")


def test_folders_with_and_without_the_key_are_not_one_scan(images, tmp_path, capsys):
    out = tmp_path / "raw"
    assert subjects(images, out, "01", "sub-01") == 2
    told = capsys.readouterr().err
    assert all(str(images.folder / name / "mag.nii") in told for name in ("01", "sub-01"))
    assert "named as one scan" in told
    assert not out.exists()


def test_wide_pattern_does_not_make_subjects_of_other_files(images, tmp_path, capsys):
    patterns = ("{subject}.nii", "{subject}_ph.nii")
    assert subjects(images, tmp_path / "raw", "01", patterns=patterns) == 0
    assert subjects(images, tmp_path / "again", "a_b", patterns=patterns) == 1
    told = capsys.readouterr()
    assert "sub-a_b is left out" in told.err
    assert "_ph" not in told.err


def test_tenth_echo_comes_after_the_ninth(images, tmp_path):
    for echo in range(1, 11):
        images.save(f"m{echo}.nii", np.full((10, 9, 8), echo) + images.magnitude[..., 0])
        images.save(f"p{echo}.nii", images.phase[..., 0])
    times = [str(0.002 * echo) for echo in range(1, 11)]
    out = tmp_path / "raw"
    folder = images.folder
    give(out, "--magnitude", f"{folder}/m*.nii", "--phase", f"{folder}/p*.nii", "--te", *times)
    assert np.allclose(stored(out, 10, "mag") - images.magnitude[..., 0], 10, atol=1e-4)


def test_mapping_file_gives_each_scan_its_files(images, tmp_path):
    images.save("one/mag.nii", images.magnitude)
    images.save("one/phase.nii", images.phase)
    images.save("two/signal.nii", images.signal[..., :2])
    mapping = images.folder / "mapping.toml"
    mapping.write_text(
        "b0 = 7\nte = [0.004, 0.008, 0.012]\n\n"
        '[[scan]]\nsubject = "01"\nmagnitude = "one/mag.nii"\nphase = ["one/phase.nii"]\n\n'
        '[[scan]]\nsubject = "02"\nsession = "b"\ncomplex = "two/*.nii"\nte = [0.01, 0.02]\n'
    )
    out = tmp_path / "raw"
    assert main(["import", "--bids", str(out), "--mapping", str(mapping)]) == 0
    scans = index_dataset(out).scans
    assert [(scan.subject, scan.session, scan.echo_times) for scan in scans] == [
        ("01", None, (0.004, 0.008, 0.012)),
        ("02", "b", (0.01, 0.02)),
    ]


def test_sidecars_of_the_files_tell_times_and_field(images, tmp_path):
    for echo in (1, 2, 3):
        for name, data in (("mag", images.magnitude), ("phase", images.phase)):
            path = Path(images.save(f"{name}{echo}.nii.gz", data[..., echo - 1]))
            path.with_name(f"{name}{echo}.json").write_text(
                json.dumps({"EchoTime": 0.003 * echo, "MagneticFieldStrength": 1.5})
            )
    out = tmp_path / "raw"
    folder = images.folder
    patterns = ["--magnitude", f"{folder}/mag*.nii.gz", "--phase", f"{folder}/phase*.nii.gz"]
    assert main(["import", "--bids", str(out), "--subject", "x", *patterns]) == 0
    (scan,) = index_dataset(out).scans
    assert scan.echo_times == pytest.approx((0.003, 0.006, 0.009))
    assert scan.b0 == 1.5


UNITS = {
    "rad": (lambda p: p, "auto"),
    "rad from zero": (lambda p: p + np.pi, "auto"),
    "mrad": (lambda p: 1000 * p, "auto"),
    "siemens": (lambda p: np.floor((p + np.pi) / (2 * np.pi) * 4096).astype(np.int16), "auto"),
    "siemens rescaled": (lambda p: np.rint(p / np.pi * 4095).astype(np.int16), "-4096..4095"),
    "romeo": (lambda p: p * 0.00367 / np.pi, "auto"),
    "deg": (lambda p: np.degrees(p), "deg"),
    "turns": (lambda p: p / (2 * np.pi), "turns"),
    "number": (lambda p: p * 500 / np.pi, "1000"),
}


@pytest.mark.parametrize(("store", "units"), UNITS.values(), ids=UNITS)
def test_phase_of_any_units_becomes_the_same_radians(images, tmp_path, store, units):
    out = tmp_path / "raw"
    magnitude = images.save("m.nii", images.magnitude)
    phase = images.save("p.nii", store(images.phase))
    options = ["--magnitude", magnitude, "--phase", phase, *TE, f"--phase-units={units}"]
    assert give(out, *options) == 0
    got = stored(out, 2, "phase") - images.phase[..., 1]
    # Units that begin at zero may turn all phase by half a turn, which QSM does not see.
    turned = np.angle(np.exp(1j * got).mean())
    assert same_phase(got, turned, 4e-3)
    assert min(abs(turned), np.pi - abs(turned)) < 2e-3


def test_complex_and_its_two_parts_are_the_same_scan(images, tmp_path):
    signal = images.signal
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert give(whole, "--complex", images.save("c.nii", signal), *TE) == 0
    real = images.save("r.nii", signal.real.copy())
    imaginary = images.save("i.nii", signal.imag.copy())
    assert give(parts, "--real", real, "--imaginary", imaginary, *TE) == 0
    for out in (whole, parts):
        np.testing.assert_allclose(stored(out, 3, "mag"), images.magnitude[..., 2], rtol=1e-5)
        assert same_phase(stored(out, 3, "phase"), images.phase[..., 2])


def test_alternating_slices_of_ge_are_put_right(images, tmp_path, capsys):
    z = np.arange(8)[:, None]
    smooth = images.magnitude * np.exp(1j * (0.1 * z + np.array([0.2, 0.4, 0.6])))
    chopped = (smooth * (-1.0) ** z).astype(np.complex64)
    out = tmp_path / "raw"
    assert give(out, "--complex", images.save("c.nii", chopped), *TE) == 0
    assert "every second slice" in capsys.readouterr().out
    assert same_phase(stored(out, 1, "phase"), np.broadcast_to(0.1 * z[:, 0] + 0.2, (10, 9, 8)))


def test_given_direction_of_b0_replaces_the_affine(images, tmp_path):
    out = tmp_path / "raw"
    magnitude = images.save("m.nii", images.magnitude, np.diag([8.0, 9.0, 10.0, 1.0]))
    phase = images.save("p.nii", images.phase, np.diag([8.0, 9.0, 10.0, 1.0]))
    options = ["--magnitude", magnitude, "--phase", phase, *TE]
    assert give(out, *options, "--b0-dir", "0", "0.6", "0.8") == 0
    image = nib.load(out / "sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz")
    np.testing.assert_allclose(b0_direction(image.affine), [0, 0.6, 0.8], atol=1e-6)
    np.testing.assert_allclose(image.header.get_zooms(), [8, 9, 10], rtol=1e-6)


def test_dry_run_tells_and_writes_nothing(four_d, tmp_path, capsys):
    assert give(tmp_path / "raw", *four_d, "--dry-run") == 0
    assert "→ sub-01/anat/sub-01_echo-3_part-phase_MEGRE.nii.gz" in capsys.readouterr().out
    assert not (tmp_path / "raw").exists()


def test_nothing_is_written_over(four_d, tmp_path, capsys):
    out = tmp_path / "raw"
    give(out, *four_d)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert give(out, *four_d) == 1
    assert "is there already" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_voxels_that_are_not_numbers_become_zero(images, tmp_path, capsys):
    images.magnitude[0, 0, 0, 0] = np.nan
    magnitude = images.save("m.nii", images.magnitude)
    phase = images.save("p.nii", images.phase)
    assert give(tmp_path / "raw", "--magnitude", magnitude, "--phase", phase, *TE) == 0
    assert "1 voxels of the magnitude images were NaN" in capsys.readouterr().out
    assert stored(tmp_path / "raw", 1, "mag")[0, 0, 0] == 0


@pytest.mark.shared
def test_real_crop_and_slab_come_in(shared_data, tmp_path):
    out = tmp_path / "raw"
    romeo, epi = (
        shared_data / "romeo_small_invivo_3echo",
        shared_data / "epi_phase_prelude_reference",
    )
    files = ["--magnitude", romeo / "Mag.nii.gz", "--phase", romeo / "Phase.nii.gz"]
    assert give(out, *files, *TE) == 0
    assert np.ptp(stored(out, 2, "phase")) == pytest.approx(2 * np.pi, rel=0.01)
    files = ["--magnitude", epi / "magnitude.nii.gz", "--phase", epi / "phase.nii.gz"]
    assert give(out, *files, "--te", "0.03", subject="02") == 0
    phase = nib.load(out / "sub-02/anat/sub-02_part-phase_T2starw.nii.gz").get_fdata()
    reference = nib.load(epi / "prelude_unwrapped.nii.gz").get_fdata()
    mask = nib.load(epi / "prelude_mask.nii.gz").get_fdata() != 0
    assert same_phase(phase[mask], reference[mask])
