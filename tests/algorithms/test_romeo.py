import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from qsm_workflows.algorithms.echoes import scale_phase, wrap
from qsm_workflows.algorithms.offsets import remove_phase_offset
from qsm_workflows.algorithms.romeo import unwrap_romeo
from qsm_workflows.algorithms.unwrapping import align_echoes, unwrap_bestpath

TURN = 2 * np.pi
TIMES = [0.005, 0.010, 0.015]


def scene(shape=(34, 30, 20)):
    """Phase in rad/s with a source so strong that late echoes are undersampled beside it."""
    x, y, z = np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij")
    r = np.sqrt(x**2 + y**2 + z**2) + 1e-6
    dipole = np.where(r < 4, 0, (4 / r) ** 3 * (3 * z**2 / r**2 - 1))
    frequency = 450 * dipole + 20 * x - 12 * y
    magnitude = np.where(r < 4, 5.0, 100.0)
    return frequency, magnitude, x**2 / 16**2 + y**2 / 14**2 + z**2 / 9.5**2 < 1


def signal(frequency, magnitude, noise, seed=0):
    rng = np.random.default_rng(seed)
    volumes = []
    for time in TIMES:
        parts = rng.normal(0, noise, (2, *frequency.shape))
        volumes.append(magnitude * np.exp(1j * frequency * time) + parts[0] + 1j * parts[1])
    return [np.angle(v) for v in volumes], [np.abs(v) for v in volumes]


def wrong(unwrapped, wrapped, truth, mask):
    """Share of voxels with wrong whole turns, but for a constant."""
    turns = np.rint((unwrapped - wrapped) / TURN) - np.rint((truth - wrapped) / TURN)
    turns = turns[mask]
    return np.mean(turns != np.median(turns))


def test_undersampled_late_echoes_follow_the_early_one():
    frequency, magnitude, mask = scene()
    phases, magnitudes = signal(frequency, magnitude, 2.0)
    truth = [frequency * time for time in TIMES]
    ours = unwrap_romeo(phases, magnitudes, TIMES, mask)
    theirs = align_echoes([unwrap_bestpath(p, mask) for p in phases], mask, TIMES)
    for echo in range(3):
        assert wrong(ours[echo], phases[echo], truth[echo], mask) < 0.002
        np.testing.assert_allclose(
            wrap(ours[echo] - phases[echo])[mask], 0, atol=1e-5
        )  # whole turns only
        assert (ours[echo][~mask] == 0).all()
    assert wrong(theirs[2], phases[2], truth[2], mask) > 0.005


def test_echoes_are_absolute_when_the_mean_field_is_within_half_a_turn_of_spacing():
    frequency, magnitude, mask = scene()
    frequency = frequency + 400  # 2 rad between echoes, 6 rad at the third
    mask[16:18] = False
    phases, magnitudes = signal(frequency, magnitude, 0.5)
    for echo, volume in enumerate(unwrap_romeo(phases, magnitudes, TIMES, mask)):
        difference = (volume - frequency * TIMES[echo])[mask]
        assert np.mean(np.abs(difference) < 1) > 0.995


@pytest.mark.parametrize("template", [1, 2, 3])
def test_any_echo_can_be_the_template(template):
    frequency, magnitude, mask = scene()
    phases, magnitudes = signal(0.2 * frequency, magnitude, 1.0)
    unwrapped = unwrap_romeo(phases, magnitudes, TIMES, mask, template=template)
    for echo, volume in enumerate(unwrapped):
        assert wrong(volume, phases[echo], 0.2 * frequency * TIMES[echo], mask) < 0.002


def test_noise_is_reached_last():
    # Two halves are joined by a clean bridge, and by a wide dark band whose phase is noise.
    x, y, _ = np.meshgrid(*(np.arange(n) for n in (40, 20, 10)), indexing="ij")
    truth = 0.5 * x + 0.1 * y
    band = (x > 15) & (x < 24) & (y > 2)
    noise = np.random.default_rng(1).uniform(-np.pi, np.pi, truth.shape)
    phase = np.where(band, noise, wrap(truth))
    magnitude = np.where(band, 3.0, 100.0)
    (unwrapped,) = unwrap_romeo([phase], [magnitude], [0.01], np.ones(truth.shape))
    turns = np.rint((unwrapped - truth)[~band] / TURN)
    assert len(np.unique(turns)) == 1


def test_each_part_of_the_mask_is_centred_in_a_single_echo():
    x = np.broadcast_to(np.arange(30.0)[:, None, None], (30, 12, 10))
    truth, mask = 0.9 * x + 40, np.ones(x.shape, bool)
    mask[14:16] = False
    (unwrapped,) = unwrap_romeo([wrap(truth)], [np.ones(x.shape)], [0.01], mask)
    for part in (slice(14), slice(16, None)):
        assert len(np.unique(np.rint((unwrapped - truth)[part] / TURN))) == 1
        assert abs(np.median(unwrapped[part])) <= np.pi


def test_voxels_without_signal_and_single_ones_do_no_harm():
    truth = 0.4 * np.indices((12, 10, 8))[0]
    magnitude = np.ones(truth.shape)
    magnitude[5, 5, 5] = 0
    mask = np.ones(truth.shape)
    mask[0] = 0
    mask[0, 3, 3] = 1
    mask[1, 3, 3] = 0
    phases = [wrap(truth * (i + 1)) for i in range(3)]
    for echo, volume in enumerate(unwrap_romeo(phases, [magnitude] * 3, TIMES, mask)):
        np.testing.assert_allclose(wrap(volume - phases[echo])[mask > 0], 0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"template": 4}, "template must be an echo from 1 to 3"),
        ({"template": 0}, "template"),
        ({"echo_times": [0.01, 0.02]}, "3 echoes but 2 echo times"),
        ({"magnitudes": [np.ones((6, 6, 6))] * 2}, "2 images of magnitude for 3 echoes"),
        ({"magnitudes": [np.full((6, 6, 6), np.nan)] * 3}, "magnitude of echo 1 holds 216 NaN"),
        ({"phases": [np.full((6, 6, 6), 7.0)] * 3}, "phase of echo 1 must be in radians"),
        ({"mask": np.zeros((6, 6, 6))}, "mask is empty"),
        ({"mask": np.ones((6, 6, 5))}, "shape"),
    ],
)
def test_bad_input_is_named(change, message):
    one = np.ones((6, 6, 6))
    inputs = {"phases": [one] * 3, "magnitudes": [one] * 3, "echo_times": TIMES, "mask": one}
    with pytest.raises(ValueError, match=message):
        unwrap_romeo(**(inputs | change))


@pytest.mark.shared
def test_reference_phantom_has_fewer_wrong_turns_than_best_path(shared_data):
    folder = shared_data / "reference_outputs"

    def load(name):
        return np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj, dtype=np.float32)

    mask, times = load("in_mask") > 0, [0.004, 0.010, 0.016, 0.022]
    phases = np.moveaxis(load("in_phase_4echo"), 3, 0)
    magnitudes = np.moveaxis(load("in_magnitude_4echo"), 3, 0)
    truth = load("out_unwrap_counts_truth_4echo")
    unwrapped = unwrap_romeo(phases, magnitudes, times, mask)
    for echo, volume in enumerate(unwrapped):
        turns = np.rint((volume - phases[echo]) / TURN)
        assert np.mean((turns != truth[..., echo])[mask]) < 2e-4  # best-path 2e-3 at the last


@pytest.mark.shared
@pytest.mark.parametrize(("snr", "agreement"), [("", 0.995), ("_snr2", 0.975)])
def test_single_echo_agrees_with_prelude_in_the_brain(shared_data, snr, agreement):
    folder = shared_data / "epi_phase_prelude_reference"

    def load(name):
        return np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj, dtype=np.float32)

    mask = load("prelude_mask") > 0
    opened, _ = ndimage.label(ndimage.binary_opening(mask, iterations=4))
    core = opened == np.argmax(np.bincount(opened[opened > 0]))
    (unwrapped,) = unwrap_romeo([load(f"phase{snr}")], [load(f"magnitude{snr}")], [0.03], mask)
    turns = np.rint((unwrapped - load("prelude_unwrapped")) / TURN)
    assert np.mean(turns[core] == np.median(turns[core])) >= agreement


@pytest.mark.shared
def test_in_vivo_crop_is_consistent_over_echoes(shared_data):
    folder = shared_data / "romeo_small_invivo_3echo"
    stored = np.moveaxis(nib.load(folder / "Phase.nii.gz").get_fdata(), 3, 0)
    magnitudes = list(np.moveaxis(nib.load(folder / "Mag.nii.gz").get_fdata(), 3, 0))
    times = [0.004, 0.008, 0.012]
    mask = np.ones(stored.shape[1:])
    phases = [scale_phase(phase) for phase in stored]
    phases = remove_phase_offset(phases, magnitudes, times, mask, (0.47, 0.47, 1.0))
    early, _, late = unwrap_romeo(phases, magnitudes, times, mask)
    bright = magnitudes[2] > np.median(magnitudes[2])
    assert np.mean(np.abs(late - 3 * early)[bright] < np.pi) > 0.99
