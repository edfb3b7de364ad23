import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.algorithms.units import radians_per_ppm
from qsm_workflows.interfaces.fieldmap import FitEchoes, FitEchoesNonlinear, ReliabilityMask
from qsm_workflows.interfaces.phase import RemovePhaseOffset, ScalePhase, SplitComplex
from qsm_workflows.interfaces.unwrapping import UnwrapBestPath, UnwrapLaplacian, UnwrapROMEO

B0 = 3.0
ECHO_TIMES = [0.005, 0.010, 0.015]
SHAPE = (20, 18, 14)
AFFINE = np.array([[-1.5, 0, 0, 4], [0, 1.5, 0, -7], [0, 0, 2.0, 1], [0, 0, 0, 1]])


def write(path, data, affine=AFFINE, dtype=np.float32):
    nib.save(nib.Nifti1Image(np.asarray(data).astype(dtype), affine), path)
    return str(path)


def read(path):
    image = nib.load(path)
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
    return np.asarray(image.dataobj)


def field():
    x, y, z = (np.linspace(-1, 1, n) for n in SHAPE)
    return 0.3 * x[:, None, None] - 0.2 * y[:, None] ** 2 + 0.1 * z


@pytest.fixture(autouse=True)
def work_folder(tmp_path, monkeypatch):
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture
def scan(tmp_path):
    """Magnitudes, stored phases (0…4095, offset 0.7 rad) and a mask, as files."""
    stored, magnitudes = [], []
    for number, time in enumerate(ECHO_TIMES, 1):
        phase = 0.7 + radians_per_ppm(B0, time) * field()
        integers = np.mod(np.rint((phase + np.pi) * 4096 / (2 * np.pi)), 4096)
        stored.append(write(tmp_path / f"phase{number}.nii", integers, dtype=np.int16))
        magnitudes.append(
            write(tmp_path / f"mag{number}.nii", np.full(SHAPE, 1000 * np.exp(-20 * time)))
        )
    mask = np.zeros(SHAPE)
    mask[1:-1, 1:-1, 1:-1] = 1
    return stored, magnitudes, write(tmp_path / "mask.nii", mask, dtype=np.uint8)


def test_chain_from_stored_phase_to_the_total_field(scan):
    stored, magnitudes, mask = scan
    scaled = ScalePhase(in_files=stored).run().outputs
    assert scaled.units == "0..4095"
    corrected = RemovePhaseOffset(
        in_files=scaled.out_files, magnitudes=magnitudes, echo_times=ECHO_TIMES, mask=mask
    ).run()
    unwrapped = UnwrapBestPath(
        in_files=corrected.outputs.out_files, echo_times=ECHO_TIMES, mask=mask
    ).run()
    assert len(unwrapped.outputs.out_files) == len(ECHO_TIMES)
    fit = FitEchoes(
        in_files=unwrapped.outputs.out_files,
        magnitudes=magnitudes,
        echo_times=ECHO_TIMES,
        b0=B0,
    ).run()
    kept = ReliabilityMask(residual=fit.outputs.out_residual, mask=mask).run()
    inside = read(mask) > 0
    np.testing.assert_array_equal(read(kept.outputs.out_mask) > 0, inside)
    np.testing.assert_allclose(read(fit.outputs.out_file)[inside], field()[inside], atol=2e-3)
    assert read(fit.outputs.out_residual)[inside].max() < 0.01


def test_single_echo_is_masked_by_what_its_neighbours_tell(scan, tmp_path):
    _, magnitudes, mask = scan
    inside = read(mask) > 0
    rng = np.random.default_rng(0)
    phase = radians_per_ppm(B0, ECHO_TIMES[0]) * field() + 0.1
    phase[:7] = rng.uniform(-np.pi, np.pi, phase[:7].shape)
    fit = FitEchoes(
        in_files=[write(tmp_path / "unwrapped.nii", phase)],
        magnitudes=magnitudes[:1],
        echo_times=ECHO_TIMES[:1],
        b0=B0,
        mask=mask,
    ).run()
    kept = ReliabilityMask(residual=fit.outputs.out_residual, mask=mask).run().outputs.out_mask
    kept = read(kept) > 0
    assert not kept[:5].any()
    assert kept[8:][inside[8:]].all()


def test_sign_turns_the_field(scan):
    stored = scan[0][0]
    phase = read(ScalePhase(in_files=stored, units="0..4095").run().outputs.out_files)
    minus = ScalePhase(in_files=stored, units="0..4095", sign=-1).run().outputs.out_files
    np.testing.assert_allclose(np.exp(1j * read(minus)), np.exp(-1j * phase), atol=1e-6)


@pytest.mark.parametrize("unwrap", [UnwrapBestPath, UnwrapLaplacian, UnwrapROMEO])
@pytest.mark.parametrize("fit", [FitEchoes, FitEchoesNonlinear])
def test_unwrappings_and_fits_can_be_exchanged(scan, unwrap, fit):
    stored, magnitudes, mask = scan
    common = {"magnitudes": magnitudes, "echo_times": ECHO_TIMES}
    phases = ScalePhase(in_files=stored).run().outputs.out_files
    phases = RemovePhaseOffset(in_files=phases, mask=mask, **common).run().outputs.out_files
    given = common if unwrap is UnwrapROMEO else {"echo_times": ECHO_TIMES}
    unwrapped = unwrap(in_files=phases, mask=mask, **given).run().outputs.out_files
    found = fit(in_files=unwrapped, b0=B0, mask=mask, **common).run().outputs
    inside = read(mask) > 0
    np.testing.assert_allclose(read(found.out_file)[inside], field()[inside], atol=3e-3)
    assert read(found.out_residual)[inside].max() < 0.02
    noise = read(found.out_noise)
    assert 0 < noise[inside].max() < 1e-3
    assert (noise[~inside] == 0).all()


def test_chain_takes_images_without_values_outside_the_mask(scan, tmp_path):
    stored, magnitudes, mask = scan
    inside = read(mask) > 0
    phases = ScalePhase(in_files=stored).run().outputs.out_files
    phases, magnitudes = (
        [
            write(tmp_path / f"{name}{n}.nii", np.where(inside, read(path), np.nan))
            for n, path in enumerate(paths)
        ]
        for name, paths in (("angle", phases), ("size", magnitudes))
    )
    common = {"magnitudes": magnitudes, "echo_times": ECHO_TIMES, "mask": mask}
    phases = RemovePhaseOffset(in_files=phases, **common).run().outputs.out_files
    unwrapped = UnwrapROMEO(in_files=phases, **common).run().outputs.out_files
    found = FitEchoes(in_files=unwrapped, b0=B0, **common).run().outputs
    np.testing.assert_allclose(read(found.out_file)[inside], field()[inside], atol=3e-3)


@pytest.mark.parametrize("readout", ["auto", "monopolar", "bipolar"])
def test_echoes_read_back_and_forth_are_found_and_corrected(scan, tmp_path, caplog, readout):
    stored, magnitudes, mask = scan
    phases = ScalePhase(in_files=stored).run().outputs.out_files
    ramp = np.linspace(-2, 2, SHAPE[0])[:, None, None] + 0.5
    second = np.angle(np.exp(1j * (read(phases[1]) + ramp)))
    phases[1] = write(tmp_path / "backwards.nii", second)
    common = {"magnitudes": magnitudes, "echo_times": ECHO_TIMES, "mask": mask}
    outputs = RemovePhaseOffset(in_files=phases, readout=readout, **common).run().outputs
    assert outputs.bipolar is (readout != "monopolar")
    assert ("back and forth" in caplog.text) is (readout != "monopolar")
    unwrapped = UnwrapROMEO(in_files=outputs.out_files, **common).run().outputs.out_files
    del common["mask"]
    fit = FitEchoes(in_files=unwrapped, b0=B0, **common).run().outputs
    inside = read(mask) > 0
    error = np.abs(read(fit.out_file) - field())[inside].mean()
    assert error < 0.01 if outputs.bipolar else error > 0.05


def test_one_direction_is_not_taken_for_two(scan):
    stored, magnitudes, mask = scan
    phases = ScalePhase(in_files=stored).run().outputs.out_files
    given = {"magnitudes": magnitudes, "echo_times": ECHO_TIMES, "mask": mask}
    assert RemovePhaseOffset(in_files=phases, **given).run().outputs.bipolar is False
    two = {"magnitudes": magnitudes[:2], "echo_times": ECHO_TIMES[:2], "mask": mask}
    assert RemovePhaseOffset(in_files=phases[:2], **two).run().outputs.bipolar is False
    with pytest.raises(ValueError, match="three echoes"):
        RemovePhaseOffset(in_files=phases[:2], readout="bipolar", **two).run()


def test_single_echo_goes_through_every_node(scan):
    stored, magnitudes, mask = (scan[0][0], scan[1][0], scan[2])
    phase = ScalePhase(in_files=stored, units="0..4095").run().outputs.out_files
    same = RemovePhaseOffset(
        in_files=phase, magnitudes=magnitudes, echo_times=ECHO_TIMES[:1], mask=mask
    ).run()
    assert same.outputs.out_files == phase
    unwrapped = UnwrapBestPath(in_files=phase, echo_times=ECHO_TIMES[:1], mask=mask).run()
    fit = FitEchoes(
        in_files=unwrapped.outputs.out_files,
        magnitudes=magnitudes,
        echo_times=ECHO_TIMES[:1],
        b0=B0,
    ).run()
    inside = read(mask) > 0
    offset = 0.7 / radians_per_ppm(B0, ECHO_TIMES[0])
    np.testing.assert_allclose(
        read(fit.outputs.out_file)[inside], field()[inside] + offset, atol=1e-3
    )


def test_units_are_recognised_from_all_echoes_together(tmp_path):
    # The first echo of a masked scan need not span the whole turn; the last one does.
    quiet = np.linspace(1500, 2600, 1000).reshape(10, 10, 10)
    full = np.linspace(0, 4095, 1000).reshape(10, 10, 10)
    files = [write(tmp_path / "quiet.nii", quiet), write(tmp_path / "full.nii", full)]
    outputs = ScalePhase(in_files=files).run().outputs
    assert outputs.units == "0..4095"
    np.testing.assert_allclose(
        read(outputs.out_files[0]), quiet * 2 * np.pi / 4096 - np.pi, atol=1e-3
    )
    with pytest.raises(ValueError, match="not recognised"):
        ScalePhase(in_files=files[0]).run()


def test_int16_with_slope_is_scaled_first(tmp_path):
    phase = np.linspace(-np.pi, np.pi, 1000).reshape(10, 10, 10)
    image = nib.Nifti1Image(phase, AFFINE)
    image.set_data_dtype(np.int16)  # nibabel stores a slope and an intercept
    nib.save(image, tmp_path / "phase.nii")
    outputs = ScalePhase(in_files=str(tmp_path / "phase.nii")).run().outputs
    assert outputs.units == "rad"
    np.testing.assert_allclose(np.exp(1j * read(outputs.out_files)), np.exp(1j * phase), atol=1e-3)


def test_files_on_different_grids_are_named(scan, tmp_path):
    stored, magnitudes, _ = scan
    shifted = write(tmp_path / "shifted.nii", np.ones(SHAPE), AFFINE + np.eye(4) * [1, 0, 0, 0])
    with pytest.raises(ValueError, match=r"shifted\.nii"):
        ScalePhase(in_files=[*stored, shifted]).run()
    with pytest.raises(ValueError, match=r"shifted\.nii"):
        UnwrapBestPath(in_files=stored, echo_times=ECHO_TIMES, mask=shifted).run()
    with pytest.raises(ValueError, match=r"shifted\.nii"):
        FitEchoes(
            in_files=stored,
            magnitudes=[*magnitudes[:2], shifted],
            echo_times=ECHO_TIMES,
            b0=B0,
        ).run()


@pytest.mark.parametrize("alternates", [False, True])
def test_real_and_imaginary_parts_become_phase_and_magnitude(scan, tmp_path, alternates, caplog):
    signs = np.where(np.arange(SHAPE[2]) % 2, -1, 1) if alternates else 1
    phases = [np.angle(np.exp(1j * radians_per_ppm(B0, time) * field())) for time in ECHO_TIMES]
    signals = [100 * np.exp(1j * phase) * signs for phase in phases]
    real = [write(tmp_path / f"r{n}.nii", signal.real) for n, signal in enumerate(signals)]
    imaginary = [write(tmp_path / f"i{n}.nii", signal.imag) for n, signal in enumerate(signals)]
    made = SplitComplex(in_files=real, imaginary=imaginary).run().outputs
    for path, phase in zip(made.out_files, phases, strict=True):
        np.testing.assert_allclose(read(path), phase, atol=1e-5)
    for path in made.out_magnitudes:
        np.testing.assert_allclose(read(path), 100, rtol=1e-5)
    assert ("every second slice" in caplog.text) == alternates


def test_parts_that_do_not_belong_together(scan):
    stored, magnitudes, _ = scan
    with pytest.raises(ValueError, match="3 real and 2 imaginary"):
        SplitComplex(in_files=stored, imaginary=magnitudes[:2]).run()
