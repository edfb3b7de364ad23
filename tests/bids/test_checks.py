import gzip
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.bids.checks import check_scan
from qsm_workflows.bids.companions import Companions
from qsm_workflows.bids.index import index_dataset
from qsm_workflows.bids.labels import Label

SHAPE = (8, 8, 8)
TABLE = (Label(1, "pallidum", "L"), Label(2, "optic_radiation", "R"))


@pytest.fixture
def paths(dataset):
    return dataset.scan("sub-01")


@pytest.fixture
def companions(dataset):
    labels = np.zeros(SHAPE, np.int16)
    labels[1:3, :, 1:7], labels[4:6, :, 1:7] = 1, 2
    return Companions(
        mask=dataset.image("derivatives/m/mask.nii.gz", np.ones(SHAPE, np.uint8)),
        labels=dataset.image("derivatives/m/dseg.nii.gz", labels),
        label_table=TABLE,
        truth_chi=dataset.image("derivatives/m/chi.nii.gz", np.zeros(SHAPE, np.float32)),
    )


def check(dataset, companions, **keywords):
    (scan,) = index_dataset(dataset.root).scans
    return check_scan(scan, companions, reference="optic_radiation", **keywords)


def test_sound_scan_has_no_problem(dataset, paths, companions):
    assert check(dataset, companions) == []


def image(path):
    return nib.load(path)


def rewrite(path, data, affine=None):
    template = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(data), template.affine if affine is None else affine), path)


def values(path):
    return np.asarray(nib.load(path).dataobj)


def with_nan(path):
    data = values(path).copy()
    data[0, 0, :2] = np.nan, np.inf
    rewrite(path, data)


def truncate_gzip(path):
    path.write_bytes(path.read_bytes()[:-400])


def break_gzip_header(path):
    path.write_bytes(b"not gzip at all")


def make_affine_singular(path):
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[280:296] = bytes(16)  # srow_x of the header
    path.write_bytes(gzip.compress(bytes(content)))


def move(path):
    affine = nib.load(path).affine.copy()
    affine[0, 3] += 1
    rewrite(path, values(path), affine)


def link_to_nothing(path):
    path.unlink()
    path.symlink_to(path.with_name("annexed"))


# What is done to one image, and what the user is told of it.
IMAGE_FAULTS = {
    "zero bytes": ("mag2", lambda p: p.write_bytes(b""), "empty (0 bytes)", "Copy"),
    "no gzip": ("mag2", break_gzip_header, "cannot be read as NIfTI", "Copy"),
    "truncated gzip": ("phase3", truncate_gzip, "is damaged", "Copy"),
    "broken link": ("phase1", link_to_nothing, "not there", "datalad get"),
    "4-D": (
        "mag1",
        lambda p: rewrite(p, np.ones((*SHAPE, 3), np.float32)),
        "4 dimensions, 8 × 8 × 8 × 3",
        "Split it",
    ),
    "complex": (
        "phase1",
        lambda p: rewrite(p, np.ones(SHAPE, np.complex64)),
        "type complex64",
        "two real images",
    ),
    "NaN": ("phase2", with_nan, "2 voxels are NaN or infinite", "Replace them"),
    "shape": (
        "phase2",
        lambda p: rewrite(p, values(p)[1:]),
        "its shape (7, 8, 8) is not that of sub-01_echo-1_part-mag_MEGRE.nii.gz, (8, 8, 8)",
        "one grid",
    ),
    "affine": ("mag3", move, "its affine is not that of", "one grid"),
    "singular affine": ("mag1", make_affine_singular, "affine is singular", "Convert"),
    "negative magnitude": ("mag1", lambda p: rewrite(p, -values(p)), "negative values", "phase?"),
    "constant magnitude": (
        "mag1",
        lambda p: rewrite(p, np.full(SHAPE, 5.0, np.float32)),
        "magnitude is 5 in every voxel",
        "Convert",
    ),
    "constant phase": (
        "phase1",
        lambda p: rewrite(p, np.zeros(SHAPE, np.float32)),
        "phase is 0 in every voxel",
        "Convert",
    ),
    "magnitude as phase": (
        "phase2",
        lambda p: rewrite(p, values(str(p).replace("phase", "mag"))),
        "looks like a magnitude image",
        "Put the phase",
    ),
    "radians out of range": (
        "phase2",
        lambda p: rewrite(p, values(p) * 652),
        "says Units: rad, but the values span -20",
        "Units: arbitrary",
    ),
}


@pytest.mark.parametrize(
    ("key", "spoil", "what", "remedy"), IMAGE_FAULTS.values(), ids=IMAGE_FAULTS
)
def test_faults_of_images(dataset, paths, companions, key, spoil, what, remedy):
    spoil(paths[key])
    (problem,) = check(dataset, companions)
    assert problem.severity == "error"
    assert problem.file == paths[key]
    assert what in problem.what
    assert remedy in problem.remedy
    assert str(paths[key]) in str(problem)


@pytest.fixture
def complex_paths(dataset, paths):
    """The scan stored as real and imaginary images, its magnitude and phase removed."""
    stored = {}
    for echo in (1, 2, 3):
        magnitude, phase = paths[f"mag{echo}"], paths[f"phase{echo}"]
        signal = values(magnitude) * np.exp(1j * values(phase))
        for part, data in (("real", signal.real), ("imag", signal.imag)):
            name = f"sub-01/anat/sub-01_echo-{echo}_part-{part}_MEGRE"
            stored[f"{part}{echo}"] = dataset.image(f"{name}.nii.gz", data.astype(np.float32))
            fields = {"EchoTime": 0.005 * echo, "MagneticFieldStrength": 3}
            dataset.json(f"{name}.json", fields)
        magnitude.unlink()
        phase.unlink()
    return stored


def test_real_and_imaginary_images_pass(dataset, complex_paths, companions):
    assert check(dataset, companions) == []


COMPLEX_FAULTS = {
    "no intercept": (
        lambda p: [rewrite(path, values(path) + 200) for path in p.values()],
        "imag1",
        "neither it nor the real image has a negative value",
    ),
    "constant": (
        lambda p: rewrite(p["imag2"], values(p["imag2"]) * 0),
        "imag2",
        "0 in every voxel",
    ),
    "NaN": (lambda p: with_nan(p["real3"]), "real3", "2 voxels are NaN"),
    "shape": (
        lambda p: rewrite(p["imag2"], values(p["imag2"])[1:]),
        "imag2",
        "its shape (7, 8, 8)",
    ),
}


@pytest.mark.parametrize(("spoil", "key", "what"), COMPLEX_FAULTS.values(), ids=COMPLEX_FAULTS)
def test_faults_of_real_and_imaginary_images(dataset, complex_paths, companions, spoil, key, what):
    spoil(complex_paths)
    problem = check(dataset, companions)[0]
    assert (problem.severity, problem.file) == ("error", complex_paths[key])
    assert what in problem.what


def test_parts_that_sidecars_contradict(dataset, complex_paths, companions):
    dataset.edit(complex_paths["real2"], ImageType=["ORIGINAL", "PRIMARY", "IMAGINARY"])
    (problem,) = check(dataset, companions)
    assert "its name says part-real" in problem.what


TIMING_FAULTS = {
    "milliseconds": ({"echo_times": (4.9, 9.8, 14.7)}, "looks like milliseconds", "0.0049"),
    "negative": ({"echo_times": (-0.01, 0.01, 0.02)}, "EchoTime of echo 1 is -0.01", "Correct"),
    "duplicate": ({"echo_times": (0.01, 0.01, 0.02)}, "the same as that of echo 1", "number"),
    "unsorted": ({"echo_times": (0.01, 0.03, 0.02)}, "shorter than that of echo 2", "number"),
    "gauss": ({"b0": 30000.0}, "MagneticFieldStrength is 30000", "tesla"),
}


@pytest.mark.parametrize(("fields", "what", "remedy"), TIMING_FAULTS.values(), ids=TIMING_FAULTS)
def test_faults_of_timing(dataset, paths, companions, fields, what, remedy):
    (scan,) = index_dataset(dataset.root).scans
    problem = check_scan(replace(scan, **fields), companions)[0]
    assert problem.severity == "error"
    assert problem.file in scan.phase
    assert what in problem.what
    assert remedy in problem.remedy


def test_single_echo_works_and_says_what_is_lost(dataset, companions):
    path = dataset.scan("sub-01", echoes=1)["phase1"]
    (problem,) = check(dataset, companions)
    assert (problem.severity, problem.file) == ("warning", path)
    assert "phase offset" in problem.what


def restate(dataset, paths, scale, offset, dtype):
    """Store the phase as a scanner does, of arbitrary units."""
    for echo in (1, 2, 3):
        path = paths[f"phase{echo}"]
        turns = (values(path) + np.pi) / (2 * np.pi)
        turns[0, 0, :2] = 0, 1 - 1e-6
        rewrite(path, (turns * scale + offset).astype(dtype))
        dataset.edit(path, Units="arbitrary")


@pytest.mark.parametrize(
    ("scale", "offset", "dtype"),
    [(4096, 0, np.int16), (8192, -4096, np.int16), (6283, -3141.5, np.float32)],
)
def test_known_units_of_scanners_pass(dataset, paths, companions, scale, offset, dtype):
    restate(dataset, paths, scale, offset, dtype)
    assert check(dataset, companions) == []


def test_slope_and_intercept_are_applied(dataset, paths, companions):
    for echo in (1, 2, 3):
        path = paths[f"phase{echo}"]
        stored = nib.Nifti1Image(values(path), image(path).affine)
        stored.set_data_dtype(np.int16)  # nibabel scales −π…π to the range of int16
        nib.save(stored, path)
        assert image(path).dataobj.slope < 1e-3
    assert check(dataset, companions) == []


def test_guessed_units_are_told(dataset, paths, companions):
    restate(dataset, paths, 0.00734, -0.00367, np.float32)
    problems = check(dataset, companions)
    assert [problem.severity for problem in problems] == ["warning"] * 3
    assert "taken for one turn" in problems[0].what


def test_echoes_in_different_units_are_refused(dataset, paths, companions):
    restate(dataset, paths, 4096, 0, np.int16)
    rewrite(paths["phase3"], values(paths["phase3"]) * 2.0 - 4096)
    (problem,) = check(dataset, companions)
    assert problem.file == paths["phase3"]
    assert "-4096..4095, other echoes in units of 0..4095" in problem.what


MASK_FAULTS = {
    "empty mask": ("mask", lambda p: rewrite(p, np.zeros(SHAPE, np.uint8)), "error", "is empty"),
    "mask elsewhere": ("mask", move, "error", "its affine is not that of sub-01_echo-1"),
    "labels smaller": ("labels", lambda p: rewrite(p, values(p)[1:]), "error", "its shape"),
    "soft labels": (
        "labels",
        lambda p: rewrite(p, values(p) * 0.3),
        "error",
        "values that are no integers",
    ),
    "foreign labels": (
        "labels",
        lambda p: rewrite(p, values(p) * 10),
        "error",
        "none of the values of its label table",
    ),
    "no reference": (
        "labels",
        lambda p: rewrite(p, (values(p) == 1).astype(np.int16)),
        "warning",
        "reference region optic_radiation has 0 voxels",
    ),
    "NaN truth": ("truth_chi", with_nan, "error", "NaN or infinite"),
}


@pytest.mark.parametrize(
    ("key", "spoil", "severity", "what"), MASK_FAULTS.values(), ids=MASK_FAULTS
)
def test_faults_of_companions(dataset, paths, companions, key, spoil, severity, what):
    path = getattr(companions, key)
    spoil(path)
    (problem,) = check(dataset, companions)
    assert (problem.severity, problem.file) == (severity, path)
    assert what in problem.what


def test_slab_without_mask_is_refused(dataset, paths, companions):
    (problem,) = check(dataset, replace(companions, mask=None))
    assert problem.severity == "error"
    assert "no brain mask" in problem.what
    assert "--mask" in problem.what


def test_slab_can_be_masked_by_its_phase(dataset, paths):
    assert check(dataset, Companions(), mask_method="phase") == []


def test_network_that_is_not_installed_is_named(dataset, paths, monkeypatch):
    monkeypatch.setattr("qsm_workflows.bids.checks.find_spec", lambda name: None)
    (problem,) = check(dataset, Companions(), mask_method="deepbet")
    assert problem.severity == "error"
    assert "deepbet" in problem.what
    assert "pip install qsm-workflows[deepbet]" in problem.remedy


def test_cut_off_head_is_warned_of(dataset, monkeypatch):
    dataset.scan("sub-01", echoes=2)
    for path in (dataset.root / "sub-01/anat").glob("*.nii.gz"):
        rewrite(path, np.tile(values(path), (2, 2, 1)), np.diag([12, 12, 12, 1]))
    monkeypatch.setattr("qsm_workflows.bids.checks.find_spec", lambda name: "installed")
    for method in ("bet", "deepbet"):
        (problem,) = check(dataset, Companions(), mask_method=method)
        assert problem.severity == "warning"
        assert "96 mm are less than a whole head" in problem.what
    assert "Look at the mask" in problem.remedy


def test_too_few_slices_are_refused(dataset, companions):
    for path in dataset.scan("sub-01", echoes=2).values():
        rewrite(path, values(path)[..., :2])
    (scan,) = index_dataset(dataset.root).scans
    mask = dataset.image("derivatives/m/mask.nii.gz", np.ones((8, 8, 2), np.uint8))
    (problem,) = check_scan(scan, Companions(mask=mask))
    assert "too thin: 8 × 8 × 2 voxels, 16 mm along axis 2" in problem.what


def test_unknown_orientation_is_told(dataset, paths, companions):
    for path in (*paths.values(), companions.mask):
        plain = image(path)
        bare = nib.Nifti1Image(values(path), None)
        bare.header.set_zooms((8, 8, 8))
        bare.header["pixdim"][0] = plain.header["pixdim"][0]
        nib.save(bare, path)
    (scan,) = index_dataset(dataset.root).scans
    (problem,) = check_scan(scan, Companions(mask=companions.mask))
    assert (problem.severity, problem.file) == ("warning", paths["mag1"])
    assert "third voxel axis" in problem.what


def test_each_file_is_read_once(dataset, paths, companions, monkeypatch):
    read = []
    original = nib.arrayproxy.ArrayProxy.__array__

    def count(self, *args, **keywords):
        read.append(self.file_like)
        return original(self, *args, **keywords)

    monkeypatch.setattr(nib.arrayproxy.ArrayProxy, "__array__", count)
    check(dataset, companions)
    assert len(read) == len(set(read)) == 9


@pytest.mark.shared
def test_real_head_of_a_philips_scanner_passes(shared_data, tmp_path):
    anat = tmp_path / "sub-philips" / "anat"
    anat.mkdir(parents=True)
    for path in (shared_data / "philips_dualecho_invivo_wholehead" / "nii").iterdir():
        (anat / path.name).symlink_to(path.resolve())
    (scan,) = index_dataset(tmp_path).scans
    assert (scan.echo_times, scan.b0, scan.phase_sign) == ((0.0023, 0.0046), 3.0, 1)
    assert check_scan(scan) == []


@pytest.mark.shared
def test_philips_phase_rises_with_the_field(shared_data):
    """Air in the sinuses raises the field of the brain right above them."""
    folder = shared_data / "philips_dualecho_invivo_wholehead" / "nii"
    first, second = (
        nib.as_closest_canonical(
            nib.load(folder / f"sub-philips_echo-{echo}_part-phase_MEGRE.nii.gz")
        ).get_fdata()
        for echo in (1, 2)
    )
    gained = np.angle(np.exp(1j * (second - first)))
    brain, above_sinuses = gained[30:50, 20:60, 30:45], gained[35:45, 50:58, 25:28]
    assert np.median(above_sinuses) > np.median(brain) + 0.5
