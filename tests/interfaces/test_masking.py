import nibabel as nib
import numpy as np
import pytest
from fsl.utils.platform import platform

from qsm_workflows.interfaces.masking import BETMask, CSFMask, PhaseMask, RefineMask

SHAPE = (50, 50, 50)
AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])

FAKE_BET = """#!/bin/sh
# bet IN OUT -m -f FRACTION: the "brain" is the input itself.
echo "$@" > "{log}"
cp "$1" "$2_mask.nii"
"""


def write(path, data, affine=AFFINE):
    nib.save(nib.Nifti1Image(np.asarray(data, dtype=np.float32), affine), path)
    return str(path)


def ball(radius):
    x, y, z = np.ogrid[-24.5:25.5, -24.5:25.5, -24.5:25.5]
    return x**2 + y**2 + z**2 < radius**2


@pytest.fixture
def magnitude(tmp_path):
    """A bright ball of 60 mm in a dark and a bright shell."""
    noise = np.random.default_rng(0).normal(0, 0.02, SHAPE)
    head = np.select([ball(18), ball(20), ball(23)], [1.0, 0.05, 1.2])
    return write(tmp_path / "magnitude.nii", np.abs(head + noise))


@pytest.fixture(autouse=True)
def work_folder(tmp_path, monkeypatch):
    """Nodes write where they run; no FSL unless a test brings one."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    before = platform.fsldir
    platform.fsldir = None
    yield
    platform.fsldir = before


@pytest.fixture
def fake_fsl(tmp_path):
    folder = tmp_path / "fsl"
    (folder / "bin").mkdir(parents=True)
    log = tmp_path / "bet.log"
    executable = folder / "bin" / "bet"
    executable.write_text(FAKE_BET.format(log=log))
    executable.chmod(0o755)
    platform.fsldir = str(folder)
    return log


def load_mask(path):
    image = nib.load(path)
    np.testing.assert_array_equal(image.affine, AFFINE)
    return np.asarray(image.dataobj) > 0


def test_own_extraction_without_fsl(magnitude):
    outputs = BETMask(in_file=magnitude).run().outputs
    assert outputs.method == "qsm-workflows"
    mask, brain = load_mask(outputs.out_mask), ball(18)
    assert 2 * np.count_nonzero(mask & brain) / (mask.sum() + brain.sum()) > 0.95


def test_fsl_is_taken_when_it_is_there(magnitude, fake_fsl):
    outputs = BETMask(in_file=magnitude, fractional_intensity=0.35).run().outputs
    assert outputs.method == "fsl"
    arguments = fake_fsl.read_text().split()
    assert arguments[0] == magnitude
    assert "-m" in arguments
    assert arguments[arguments.index("-f") + 1] == "0.35"
    np.testing.assert_array_equal(
        load_mask(outputs.out_mask), np.asarray(nib.load(magnitude).dataobj) != 0
    )


def test_fsl_folder_without_bet_does_not_count(magnitude, fake_fsl, tmp_path):
    (tmp_path / "fsl" / "bin" / "bet").unlink()
    outputs = BETMask(in_file=magnitude, iterations=100).run().outputs
    assert outputs.method == "qsm-workflows"


def test_given_mask_always_wins(magnitude, fake_fsl, tmp_path):
    given = write(tmp_path / "given.nii", 3 * ball(10))
    outputs = BETMask(in_file=magnitude, mask_file=given).run().outputs
    assert outputs.method == "given"
    np.testing.assert_array_equal(load_mask(outputs.out_mask), ball(10))
    assert not fake_fsl.exists()


def test_given_mask_works_on_a_thin_slab(tmp_path):
    slab = write(tmp_path / "slab.nii", np.ones((50, 50, 8)))
    outputs = BETMask(in_file=slab, mask_file=slab).run().outputs
    assert load_mask(outputs.out_mask).all()


@pytest.mark.parametrize("with_fsl", [False, True])
def test_thin_slab_without_mask_is_refused(tmp_path, request, with_fsl):
    if with_fsl:
        request.getfixturevalue("fake_fsl")
    slab = write(tmp_path / "slab.nii", np.random.default_rng(0).random((50, 50, 8)))
    with pytest.raises(ValueError, match="--mask"):
        BETMask(in_file=slab).run()


@pytest.mark.parametrize(
    ("data", "affine", "message"),
    [
        (np.zeros(SHAPE), AFFINE, "mask is empty"),
        (np.ones((50, 50, 49)), AFFINE, "shape"),
        (np.ones(SHAPE), np.diag([3.0, 3.0, 3.1, 1.0]), "affine"),
    ],
)
def test_bad_mask_is_refused(magnitude, tmp_path, data, affine, message):
    given = write(tmp_path / "given.nii", data, affine)
    with pytest.raises(ValueError, match=message):
        BETMask(in_file=magnitude, mask_file=given).run()


def test_mask_of_phase(tmp_path):
    rng = np.random.default_rng(0)
    signal = 10 * ball(18) + rng.normal(0, 1, SHAPE) + 1j * rng.normal(0, 1, SHAPE)
    inputs = {
        "in_files": [write(tmp_path / "phase.nii", np.angle(signal))],
        "magnitudes": [write(tmp_path / "mag.nii", np.abs(signal))],
    }
    outputs = PhaseMask(**inputs).run().outputs
    assert outputs.method == "phase"
    mask = load_mask(outputs.out_mask)
    assert 2 * np.count_nonzero(mask & ball(18)) / (mask.sum() + ball(18).sum()) > 0.95
    given = write(tmp_path / "given.nii", ball(10))
    assert PhaseMask(**inputs, mask_file=given).run().outputs.method == "given"


def test_refined_mask(tmp_path):
    given = write(tmp_path / "given.nii", ball(10) & ~ball(4))
    refined = load_mask(RefineMask(in_file=given, margin=6.0).run().outputs.out_mask)
    assert refined[24, 24, 24]
    assert not (ball(11) & ~refined).any()
    assert not (refined & ~ball(13)).any()


def test_mask_of_the_ventricles(tmp_path):
    rates = np.where(ball(3), 1.0, 20.0) * ball(18)
    files = {
        "in_file": write(tmp_path / "r2star.nii", rates),
        "mask": write(tmp_path / "mask.nii", ball(18)),
    }
    np.testing.assert_array_equal(load_mask(CSFMask(**files).run().outputs.out_mask), ball(3))
    with pytest.raises(ValueError, match="no voxel of R2"):
        CSFMask(**files, threshold=0.5).run()
