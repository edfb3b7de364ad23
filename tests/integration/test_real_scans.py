"""The study on a scan of a person, from files as a scanner gives them."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from qsm_workflows.algorithms.units import radians_per_ppm
from qsm_workflows.cli.main import main

pytestmark = pytest.mark.shared


@pytest.fixture
def philips(shared_data, tmp_path):
    """Dual-echo scan of a whole head, 3 mm voxels, arranged as BIDS."""
    bids = tmp_path / "bids"
    anat = bids / "sub-philips" / "anat"
    anat.mkdir(parents=True)
    for path in (shared_data / "philips_dualecho_invivo_wholehead" / "nii").iterdir():
        shutil.copyfile(path, anat / path.name)
    description = {"Name": "Dual echo", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (bids / "dataset_description.json").write_text(json.dumps(description))
    return bids


def test_whole_head_of_a_person(philips, tmp_path, capsys):
    out = tmp_path / "out"
    folders = ["--bids", str(philips), "--out", str(out), "--work", str(tmp_path / "work")]
    options = ["--coverage", "100,full", "--method", "tkd", "--plugin", "Linear", "--no-progress"]
    status = main(["run", *folders, *options])
    assert status == 0
    # Without labels the user is told what that costs.
    assert "relative to the mean of the brain mask" in capsys.readouterr().err
    folder = out / "sub-philips"
    mask = nib.load(folder / "anat" / "sub-philips_desc-brain_mask.nii.gz")
    litres = np.count_nonzero(mask.dataobj) * np.prod(mask.header.get_zooms()) / 1e6
    assert 1.1 < litres < 1.9
    inside = np.asarray(mask.dataobj) != 0
    total = nib.load(folder / "fmap" / "sub-philips_desc-total_fieldmap.nii.gz").get_fdata()
    assert 0.05 < np.abs(total[inside]).mean() < 0.6
    # The strongest field of a head is above the sinuses, at the front and low down.
    highest = np.argwhere((total > np.percentile(total[inside], 99.5)) & inside).mean(axis=0)
    centre = np.argwhere(inside).mean(axis=0)
    front, up = (mask.affine[:3, :3] @ (highest - centre))[1:]
    assert front > 20
    assert up < 0
    local = nib.load(folder / "fmap" / "sub-philips_desc-local+B+T_fieldmap.nii.gz").get_fdata()
    assert np.abs(local[inside]).mean() < 0.25 * np.abs(total[inside]).mean()
    chi = nib.load(folder / "anat" / "sub-philips_rec-tkd_desc-full_Chimap.nii.gz").get_fdata()
    valid = nib.load(folder / "anat" / "sub-philips_desc-full_mask.nii.gz").get_fdata() != 0
    assert chi[valid].mean() == pytest.approx(0, abs=1e-6)
    assert np.percentile(np.abs(chi[valid]), 95) < 0.5
    slab = nib.load(folder / "anat" / "sub-philips_rec-tkd_desc-T+B100_Chimap.nii.gz")
    assert slab.shape[2] == 11


@pytest.fixture
def process(tmp_path, capsys):
    """Check and run a dataset of one slab, masked by its phase; gives a reader of its outputs."""

    def process(bids):
        assert main(["check", "--bids", str(bids)]) == 1  # brain extraction needs a head
        assert "--mask-method phase" in capsys.readouterr().out
        assert main(["check", "--bids", str(bids), "--mask-method", "phase"]) == 0
        out = tmp_path / "out"
        folders = ["--bids", str(bids), "--out", str(out), "--work", str(tmp_path / "work")]
        # The sphere of the recommended preset is smaller than these voxels.
        removal = ["--bgremove", "resharp"]
        options = ["--coverage", "full", "--method", "tkd", "--reference", "mask", *removal]
        plain = ["--mask-method", "phase", "--plugin", "Linear", "--no-progress"]
        assert main(["run", *folders, *options, *plain]) == 0

        def read(name):
            (path,) = out.glob(f"sub-*/*/*_{name}.nii.gz")
            return nib.load(path).get_fdata()

        return read

    return process


def import_set(bids, magnitude, phase, *facts):
    given = ["--subject", "01", "--magnitude", str(magnitude), "--phase", str(phase)]
    assert main(["import", "--bids", str(bids), *given, *facts]) == 0
    return bids


def test_phantom_is_one_homogeneous_body(shared_data, tmp_path, process):
    archive = shared_data / "siemens_6echo_phantom" / "dicom_120.tar.xz"
    assert main(["convert", str(archive), "--bids", str(tmp_path / "bids")]) == 0
    read = process(tmp_path / "bids")
    mask = read("desc-brain_mask") > 0
    # A cylinder of 30 mm of which the first and last slices are as large as the middle one.
    areas = mask.sum(axis=(0, 1)) * 2.1875**2
    assert np.ptp(areas) < 0.1 * areas.mean()
    assert 110 < 2 * np.sqrt(areas.mean() / np.pi) < 130
    # Its field spans many ppm, nearly all of it from outside, for there is nothing within.
    assert np.ptp(read("desc-total_fieldmap")[mask]) > 1.5
    valid = read("desc-full_mask") > 0
    assert np.percentile(np.abs(read("desc-local+B+T_fieldmap")[valid]), 95) < 0.01
    assert np.percentile(np.abs(read("rec-tkd_desc-full_Chimap")[valid]), 95) < 0.03


def test_crop_of_a_brain_shows_its_veins(shared_data, tmp_path, process):
    folder = shared_data / "romeo_small_invivo_3echo"
    facts = ["--te", "0.004", "0.008", "0.012", "--b0", "7", "--phase-units", "range"]
    bids = import_set(tmp_path / "bids", folder / "Mag.nii.gz", folder / "Phase.nii.gz", *facts)
    read = process(bids)
    assert np.mean(read("desc-brain_mask") > 0) > 0.98
    chi = read("rec-tkd_desc-full_Chimap")[read("desc-full_mask") > 0]
    # Blood is paramagnetic and takes little of the volume: the tail is on its side.
    deviation = chi - chi.mean()
    assert np.mean(deviation**3) > 0.2 * chi.std() ** 3
    assert 0.01 < chi.std() < 0.1


def test_slab_is_unwrapped_as_the_reference_was(shared_data, tmp_path, process):
    folder = shared_data / "epi_phase_prelude_reference"
    # Its echo time is not told: any will do to and fro.
    magnitude, phase = folder / "magnitude.nii.gz", folder / "phase.nii.gz"
    read = process(import_set(tmp_path / "bids", magnitude, phase, "--te", "0.03", "--b0", "3"))
    mask = read("desc-brain_mask") > 0
    reference = nib.load(folder / "prelude_unwrapped.nii.gz").get_fdata()
    known = np.asarray(nib.load(folder / "prelude_mask.nii.gz").dataobj) > 0
    assert np.count_nonzero(mask & known) > 0.98 * np.count_nonzero(mask)
    core = ndimage.binary_opening(mask & known, iterations=4)
    turns = (read("desc-total_fieldmap") * radians_per_ppm(3, 0.03) - reference) / (2 * np.pi)
    turns = turns[core] - np.rint(np.median(turns[core]))
    assert np.mean(np.abs(turns) < 0.01) > 0.99
