import json

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from qsm_workflows.algorithms.echoes import detect_phase_units, scale_phase, wrap
from qsm_workflows.algorithms.fits import fit_echoes
from qsm_workflows.algorithms.offsets import readout_difference, readout_ramp, remove_phase_offset
from qsm_workflows.algorithms.unwrapping import align_echoes, unwrap_bestpath


def apart(a, b):
    """Largest distance of two phases on the circle."""
    return np.abs(wrap(np.asarray(a) - np.asarray(b))).max()


def field_after(echoes, phases, mask):
    unwrapped = align_echoes([unwrap_bestpath(p, mask) for p in phases], mask, echoes.times)
    return fit_echoes(unwrapped, echoes.magnitudes, echoes.times, echoes.b0)


def test_removing_the_offset_cures_the_bias(echoes):
    field, mask = echoes.field, np.ones(echoes.shape, bool)
    noise = np.random.default_rng(5).normal(0, 0.03, (4, *echoes.shape))
    phases = [
        wrap(phase + error)
        for phase, error in zip(echoes.phases(echoes.offset), noise, strict=True)
    ]
    biased = field_after(echoes, phases, mask)
    assert np.abs(biased.total_field - field).mean() > 0.04
    corrected = remove_phase_offset(
        phases, echoes.magnitudes, echoes.times, mask, (1, 1, 1), smoothing=1.5
    )
    cured = field_after(echoes, corrected, mask)
    assert np.abs(cured.total_field - field).mean() < 0.004
    assert np.median(cured.residual) < 0.1 * np.median(biased.residual)


def test_phase_without_offset_is_left_alone(echoes):
    phases = [wrap(phase) for phase in echoes.phases()]
    mask = np.ones(echoes.shape)
    same = remove_phase_offset(phases, echoes.magnitudes, echoes.times, mask, (1, 1, 1))
    for before, after in zip(phases, same, strict=True):
        assert apart(before, after) < 1e-4


def test_smoothing_of_the_offset_is_in_millimetres(echoes):
    offset = np.zeros(echoes.shape)
    offset[:12] = 1.0
    phases = [wrap(phase) for phase in echoes.phases(offset)]

    def removed(voxel_size):
        arguments = (echoes.magnitudes, echoes.times, np.ones(echoes.shape), voxel_size)
        return wrap(phases[0] - remove_phase_offset(phases, *arguments, smoothing=3.0)[0])

    coarse, fine = removed((3.0, 1.0, 1.0)), removed((1.0, 1.0, 1.0))
    # The same length is fewer voxels across the step where they are larger.
    assert np.ptp(coarse[10:14], axis=0).mean() > np.ptp(fine[10:14], axis=0).mean() + 0.1


def test_offset_of_a_single_echo_cannot_be_found(echoes):
    one = np.zeros(echoes.shape)
    with pytest.raises(ValueError, match="two echoes"):
        remove_phase_offset([one], [one + 1], [0.01], one + 1, (1, 1, 1))
    with pytest.raises(ValueError, match="three echoes"):
        readout_difference([one] * 2, [one + 1] * 2, [0.01, 0.02], one + 1, (1, 1, 1))


def back_and_forth(echoes, times, axis=0, ramp=9.0):
    """Echoes of which every second one has a ramp, a constant and a smooth rest more."""
    n = echoes.shape[axis]
    along = np.linspace(-0.5, 0.5, n).reshape([n if i == axis else 1 for i in range(3)])
    difference = ramp * along + 0.7 + 0.2 * np.linspace(-1, 1, echoes.shape[1])[:, None] ** 2
    phases = echoes.phases(echoes.offset, times)
    return difference, [wrap(p + difference * (i % 2)) for i, p in enumerate(phases)]


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize(
    "times", [[0.005, 0.010, 0.015, 0.020], [0.004, 0.007, 0.012], [0.004, 0.010, 0.013]]
)
def test_difference_of_readout_directions_is_removed(echoes, axis, times):
    added, phases = back_and_forth(echoes, times, axis)
    magnitudes = [np.ones(echoes.shape)] * len(times)
    common = magnitudes, times, np.ones(echoes.shape), (1, 1, 1)
    found = readout_difference(phases, *common, smoothing=1.5)
    assert found.is_bipolar
    n = echoes.shape[axis]
    assert found.ramp == pytest.approx(9 * n / (n - 1), rel=0.05)
    straight = found.remove(phases)
    for number, phase in enumerate(straight):
        expected = wrap(phases[number] - added * (number % 2))
        assert apart(phase[2:-2, 2:-2, 2:-2], expected[2:-2, 2:-2, 2:-2]) < 0.1
    # The chain as the node has it: the field comes out, which without this it does not.
    corrected = remove_phase_offset(straight, *common, smoothing=1.5)
    unwrapped = align_echoes([unwrap_bestpath(p, common[2]) for p in corrected], common[2], times)
    fit = fit_echoes(unwrapped, magnitudes, times, echoes.b0)
    assert np.abs(fit.total_field - echoes.field).mean() < 0.003


def test_echoes_read_in_one_direction_are_left_alone(echoes):
    rng = np.random.default_rng(0)
    phases = [wrap(p + rng.normal(0, 0.3, echoes.shape)) for p in echoes.phases(echoes.offset)]
    common = echoes.magnitudes, echoes.times, np.ones(echoes.shape), (1, 1, 1)
    found = readout_difference(phases, *common)
    assert not found.is_bipolar
    for before, after in zip(phases, found.remove(phases), strict=True):
        assert np.abs(wrap(after - before)).mean() < 0.05


@pytest.mark.parametrize("axis", [0, 1])
def test_opposite_readout_is_seen_without_a_mask(echoes, axis):
    times = [0.005, 0.010, 0.015]
    _, phases = back_and_forth(echoes, times, axis, ramp=4)
    magnitude = np.ones(echoes.shape)
    assert readout_ramp([magnitude] * 3, phases) == pytest.approx(4, rel=0.1)
    straight = [wrap(p) for p in echoes.phases(echoes.offset, times)]
    assert readout_ramp([magnitude] * 3, straight) < 0.05


@pytest.mark.shared
def test_echoes_of_the_real_phantom_are_read_in_one_direction(shared_data):
    folder = shared_data / "siemens_6echo_phantom" / "nii"
    volumes = {
        part: [
            nib.load(folder / f"sub-acdc95p_echo-{e}_part-{part}_MEGRE.nii.gz").get_fdata()
            for e in (1, 2, 3)
        ]
        for part in ("mag", "phase")
    }
    phases = [phase * 2 * np.pi / 4096 - np.pi for phase in volumes["phase"]]
    assert readout_ramp(volumes["mag"], phases) < 0.25


@pytest.mark.shared
def test_siemens_phantom_is_linear_in_echo_time(shared_data):
    paths = sorted((shared_data / "siemens_6echo_phantom" / "nii").glob("*part-phase*.nii.gz"))
    images = [nib.load(path) for path in paths]
    times = np.array(
        [
            json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())[
                "EchoTime"
            ]
            for path in paths
        ]
    )
    magnitudes = [nib.load(str(path).replace("phase", "mag")).get_fdata() for path in paths]
    bright = magnitudes[0] > 0.3 * np.percentile(magnitudes[0], 99)
    mask = ndimage.binary_erosion(ndimage.binary_fill_holes(bright))
    parts, _ = ndimage.label(mask)
    mask = parts == np.argmax(np.bincount(parts[mask]))
    phases = [scale_phase(image.dataobj) for image in images]

    def deviation(wrapped):
        unwrapped = align_echoes([unwrap_bestpath(p, mask) for p in wrapped], mask, list(times))
        samples = np.stack(unwrapped)[:, mask]
        line = np.stack([times, np.ones_like(times)], axis=1)
        fitted = line @ np.linalg.lstsq(line, samples, rcond=None)[0]
        through_zero = fit_echoes(unwrapped, magnitudes, list(times), 3.0).residual[mask]
        return np.sqrt(np.mean((samples - fitted) ** 2)), np.sqrt(np.mean(through_zero**2))

    size = images[0].header.get_zooms()
    line, through_zero = deviation(phases)
    assert line < 0.1
    assert through_zero > 1
    corrected = remove_phase_offset(phases, magnitudes, list(times), mask, size)
    line, through_zero = deviation(corrected)
    assert line < 0.1
    assert through_zero < 0.15


@pytest.mark.shared
def test_tiny_range_of_an_in_vivo_crop_is_rescaled(shared_data):
    folder = shared_data / "romeo_small_invivo_3echo"
    stored = nib.load(folder / "Phase.nii.gz").get_fdata()
    magnitude = nib.load(folder / "Mag.nii.gz").get_fdata()
    assert detect_phase_units(stored) == "range"
    times = [0.004, 0.008, 0.012]
    phases = [scale_phase(stored[..., echo]) for echo in range(3)]
    magnitudes = [magnitude[..., echo] for echo in range(3)]
    mask = np.ones(stored.shape[:3])
    phases = remove_phase_offset(phases, magnitudes, times, mask, (0.47, 0.47, 1.0))
    unwrapped = align_echoes([unwrap_bestpath(p, mask) for p in phases], mask, times)
    # A wrong scale would not be linear in echo time once it is unwrapped.
    assert np.median(fit_echoes(unwrapped, magnitudes, times, 3.0).residual) < 0.05
