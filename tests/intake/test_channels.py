"""Receive channels are combined while scans are taken in, and leave the phase of the field."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.cli.main import main

TIMES = (0.005, 0.010, 0.015)
INNER = np.s_[3:-3, 3:-3, 2:-2]


class Coil:
    """Four channels with smooth sensitivities, and a field that turns the phase over in TE."""

    def __init__(self, shape):
        x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
        self.field = 300 * np.exp(-(x**2 + (y - 0.2) ** 2 + z**2) / 0.5) + 150 * x
        self.channels = np.stack(
            [
                np.exp(-((x - a) ** 2 + (y - b) ** 2) / 4 + 1j * (turn + 0.5 * a * x - 0.4 * b * z))
                for a, b, turn in ((-1, -1, 0.3), (-1, 1, 1.7), (1, -1, -2.4), (1, 1, 3.0))
            ],
            axis=-1,
        )
        echoes = [np.exp((1j * self.field - 20) * time)[..., None] for time in TIMES]
        self.signal = np.stack([800 * echo * self.channels for echo in echoes], axis=3)

    def agrees(self, bids):
        """Compare a dataset with the field and with the root of the sum of squares."""
        size = np.sqrt((np.abs(self.channels) ** 2).sum(axis=-1))
        for number, time in enumerate(TIMES, 1):
            stem = bids / "sub-01" / "anat" / f"sub-01_echo-{number}_part-"
            phase, magnitude = (nib.load(f"{stem}{part}_MEGRE.nii.gz") for part in ("phase", "mag"))
            assert phase.shape == magnitude.shape == self.field.shape
            off = np.angle(np.exp(1j * (phase.get_fdata() - self.field * time)))
            assert np.abs(off)[INNER].max() < 0.06
            expected = 800 * size * np.exp(-20 * time)
            np.testing.assert_allclose(magnitude.get_fdata()[INNER], expected[INNER], rtol=0.02)
            sidecar = json.loads(Path(f"{stem}phase_MEGRE.json").read_text())
            assert "MCPC-3D-S" in sidecar["CoilCombinationMethod"]
            assert "ReceiveCoilName" not in sidecar


@pytest.fixture
def coil():
    return Coil((26, 24, 22))


def give(images, out, *options, times=TIMES):
    known = ["--te", *map(str, times), "--b0", "3", "--subject", "01"]
    return main(["import", "--bids", str(out), *map(str, options), *known])


def save(images, name, data):
    return images.save(name, data, np.diag([4.0, 4, 4, 1]))


def test_channels_after_the_echoes(images, coil, tmp_path, capsys):
    files = [
        *("--magnitude", save(images, "m.nii.gz", np.abs(coil.signal).astype(np.float32))),
        *("--phase", save(images, "p.nii.gz", np.angle(coil.signal).astype(np.float32))),
    ]
    assert give(images, tmp_path / "raw", *files) == 1
    assert "--channels 5" in capsys.readouterr().err
    assert give(images, tmp_path / "raw", *files, "--channels", 5) == 0
    assert "4 receive channels were combined" in capsys.readouterr().out
    coil.agrees(tmp_path / "raw")


def test_channels_of_one_file_an_echo(images, coil, tmp_path):
    for number in range(len(TIMES)):
        signal = coil.signal[..., number, :]
        save(images, f"m{number}.nii", np.abs(signal).astype(np.float32))
        save(images, f"p{number}.nii", np.rint(1000 * np.angle(signal)).astype(np.int16))
    mapping = images.folder / "scans.toml"
    mapping.write_text(
        f"te = {list(TIMES)}\nb0 = 3\nchannels = 4\nphase_units = 'mrad'\n"
        "[[scan]]\nsubject = '01'\nmagnitude = 'm{echo}.nii'\nphase = 'p{echo}.nii'\n"
    )
    assert main(["import", "--bids", str(tmp_path / "raw"), "--mapping", str(mapping)]) == 0
    coil.agrees(tmp_path / "raw")


def test_complex_channels_before_the_echoes_with_alternating_slices(images, coil, tmp_path, capsys):
    signs = np.where(np.arange(coil.field.shape[2]) % 2, -1, 1)[:, None, None]
    signal = np.moveaxis(coil.signal * signs, 3, 4).astype(np.complex64)
    file = save(images, "c.nii.gz", signal)
    assert give(images, tmp_path / "raw", "--complex", file, "--channels", 4) == 0
    assert "every second slice" in capsys.readouterr().out
    coil.agrees(tmp_path / "raw")


def test_channels_that_cannot_be_combined(images, coil, tmp_path, capsys):
    file = save(images, "c.nii.gz", coil.signal[..., 0, :].astype(np.complex64))
    options = ("--complex", file, "--channels")
    assert give(images, tmp_path / "raw", *options, 4, times=TIMES[:1]) == 1
    assert "needs two echoes" in capsys.readouterr().err
    assert give(images, tmp_path / "raw", *options, 5) == 1
    assert "cannot lie along axis 5" in capsys.readouterr().err
    assert not (tmp_path / "raw").exists()


def scan(dicoms, coil, echoes=3):
    """Channels as Siemens stores them: magnitude in one series, phase in the next."""
    for number in range(echoes):
        for channel in range(4):
            same = {
                "echo": number + 1,
                "time": 1000 * TIMES[number],
                "tag_0051_0010_LO": "SIEMENS MR HEADER",
                "tag_0051_100F_LO": f"H{channel + 1}",
                "RepetitionTime": 50,
            }
            # Rows and columns run against the voxel axes of what dcm2niix writes.
            signal = coil.signal[::-1, ::-1, :, number, channel]
            phase = np.rint((np.angle(signal) + np.pi) / (2 * np.pi) * 4095)
            dicoms.volume(np.rint(np.abs(signal)), part="M", series=1, **same)
            dicoms.volume(phase, part="P", series=2, **same)


def test_channels_of_dicom(dicoms, tmp_path, capsys):
    coil = Coil((26, 24, 10))
    scan(dicoms, coil)
    assert main(["convert", str(dicoms.folder), "--bids", str(tmp_path / "raw")]) == 0
    told = capsys.readouterr().out
    assert "magnitude and phase of 4 receive channels at 5, 10, 15 ms" in told
    assert "note: 4 receive channels were combined" in told
    coil.agrees(tmp_path / "raw")


def test_channels_of_dicom_that_cannot_be_combined(dicoms, tmp_path, capsys):
    coil = Coil((8, 7, 6))
    scan(dicoms, coil, echoes=1)
    assert main(["convert", str(dicoms.folder), "--bids", str(tmp_path / "raw")]) == 2
    assert "takes the phase of two echoes; export the combined" in capsys.readouterr().out
    scan(dicoms, coil, echoes=2)
    for path in sorted(dicoms.folder.iterdir())[-6:]:
        path.unlink()  # the last channel of the phase
    assert main(["convert", str(dicoms.folder), "--bids", str(tmp_path / "raw")]) == 2
    assert "1 of 4 receive channels missing of phase at 10 ms" in capsys.readouterr().out
