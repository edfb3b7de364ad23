import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from qsm_workflows.algorithms.laplacian import unwrap_laplacian
from qsm_workflows.algorithms.romeo import unwrap_romeo
from qsm_workflows.algorithms.unwrapping import align_echoes, unwrap_bestpath

TURN = 2 * np.pi


def wrap(phase):
    return np.angle(np.exp(1j * phase))


def ramp(shape=(21, 18, 15)):
    x, y, z = np.ogrid[: shape[0], : shape[1], : shape[2]]
    return 0.9 * x - 0.6 * y + 0.4 * z


def whole_turns(difference):
    turns = difference / TURN
    assert np.abs(turns - np.rint(turns)).max() < 1e-4
    return np.rint(turns)


def test_ramp_is_unwrapped_up_to_whole_turns():
    truth = ramp()
    unwrapped = unwrap_bestpath(wrap(truth), np.ones(truth.shape))
    assert len(np.unique(whole_turns(unwrapped - truth))) == 1
    assert abs(np.median(unwrapped)) <= np.pi


@pytest.mark.parametrize(
    "unwrap",
    [
        unwrap_bestpath,
        lambda phase, mask: unwrap_laplacian(phase, mask, (1, 1, 1)),
        lambda phase, mask: unwrap_romeo([phase], [1 + 0 * phase], [0.01], mask)[0],
    ],
)
def test_phase_outside_the_mask_may_be_missing(unwrap):
    mask = ndimage.binary_erosion(np.ones(ramp().shape))
    found, without = (unwrap(np.where(mask, wrap(ramp()), fill), mask) for fill in (np.nan, 0))
    np.testing.assert_array_equal(found, without)
    with pytest.raises(ValueError, match="NaN or infinite voxels in the mask"):
        unwrap(np.where(mask, np.nan, 0), mask)
    with pytest.raises(ValueError, match=r"mask has shape \(21, 18, 15\), but .* \(21, 18, 14\)"):
        unwrap(wrap(ramp())[..., 1:], mask)


def test_noisy_steep_phase_keeps_its_wrapped_values():
    rng = np.random.default_rng(1)
    noisy = wrap(2 * ramp() + rng.normal(0, 0.5, ramp().shape))
    mask = ndimage.binary_erosion(np.ones(noisy.shape), iterations=2)
    unwrapped = unwrap_bestpath(noisy, mask)
    whole_turns((unwrapped - noisy)[mask])
    assert (unwrapped[~mask] == 0).all()


def test_the_path_stays_inside_the_mask():
    # Two columns meet below a noisy gap; across the gap they differ by turns.
    truth = ramp((24, 12, 12))
    mask = np.ones(truth.shape, bool)
    mask[10:14, :, 3:] = False
    noise = np.random.default_rng(2).uniform(-np.pi, np.pi, truth.shape)
    phase = np.where(mask, wrap(truth), noise)
    unwrapped = unwrap_bestpath(phase, mask)
    assert len(np.unique(whole_turns((unwrapped - truth)[mask]))) == 1


def test_each_part_of_the_mask_is_centred():
    truth = ramp((30, 12, 10)) + 40
    mask = np.ones(truth.shape, bool)
    mask[14:16] = False
    unwrapped = unwrap_bestpath(wrap(truth), mask)
    for part in (slice(14), slice(16, None)):
        assert len(np.unique(whole_turns(unwrapped[part] - truth[part]))) == 1
        assert abs(np.median(unwrapped[part])) <= np.pi


def test_unwrapping_is_reproducible():
    noise = np.random.default_rng(3).uniform(-np.pi, np.pi, (16, 16, 16))
    mask = np.ones(noise.shape)  # up to the border of the image, where scikit-image is random
    np.testing.assert_array_equal(unwrap_bestpath(noise, mask), unwrap_bestpath(noise, mask))


def test_phase_that_is_not_in_radians_is_refused():
    with pytest.raises(ValueError, match="radians"):
        unwrap_bestpath(np.full((4, 4, 4), 4095.0), np.ones((4, 4, 4)))
    with pytest.raises(ValueError, match="mask"):
        unwrap_bestpath(np.zeros((4, 4, 4)), np.ones((4, 4, 5)))


@pytest.mark.parametrize("echo_times", [[0.005, 0.010, 0.015, 0.020], [0.004, 0.007, 0.016]])
def test_turns_between_echoes_are_removed(echo_times):
    frequency = ramp((20, 12, 9)) * 4  # rad/s; less than half a turn between echoes
    offset = 0.5
    mask = np.ones(frequency.shape, bool)
    mask[9:11] = False
    truth = [np.where(mask, offset + frequency * time, 0) for time in echo_times]
    rng = np.random.default_rng(4)
    shifted = []
    for phase in truth:
        shift = np.zeros(mask.shape)
        shift[:9], shift[11:] = TURN * rng.integers(-5, 6, 2)
        shifted.append(phase + shift)
    for aligned, expected in zip(align_echoes(shifted, mask, echo_times), truth, strict=True):
        np.testing.assert_allclose(aligned[mask], expected[mask], atol=1e-5)


def test_single_echo_passes_alignment_unchanged():
    phase = ramp((5, 5, 5)).astype(np.float32)
    (aligned,) = align_echoes([phase], np.ones(phase.shape), [0.02])
    np.testing.assert_array_equal(aligned, phase)


@pytest.mark.parametrize("echo_times", [[0.01], [0.02, 0.01], [0.0, 0.01], [5.0, 10.0]])
def test_bad_echo_times_are_refused(echo_times):
    with pytest.raises(ValueError, match="echo times"):
        align_echoes([np.zeros((4, 4, 4))] * 2, np.ones((4, 4, 4)), echo_times)


@pytest.mark.shared
@pytest.mark.parametrize(("snr", "agreement"), [("", 0.995), ("_snr2", 0.975)])
def test_best_path_agrees_with_prelude_in_the_brain(shared_data, snr, agreement):
    folder = shared_data / "epi_phase_prelude_reference"

    def load(name):
        return np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj, dtype=np.float32)

    mask = load("prelude_mask") > 0
    opened, _ = ndimage.label(ndimage.binary_opening(mask, iterations=4))
    core = opened == np.argmax(np.bincount(opened[opened > 0]))
    turns = np.rint((unwrap_bestpath(load(f"phase{snr}"), mask) - load("prelude_unwrapped")) / TURN)
    assert np.mean(turns[core] == np.median(turns[core])) >= agreement


@pytest.mark.shared
def test_turns_are_those_of_the_reference_implementation(shared_data):
    folder = shared_data / "reference_outputs"
    mask = np.asarray(nib.load(folder / "in_mask.nii.gz").dataobj) > 0
    stored = np.asarray(nib.load(folder / "in_phase_4echo.nii.gz").dataobj.get_unscaled())
    phase = stored * (np.pi / 4096)
    counts = nib.load(folder / "out_unwrap_counts_geggo_skimage_4echo.nii.gz").dataobj
    for echo in range(4):
        turns = np.rint((unwrap_bestpath(phase[..., echo], mask) - phase[..., echo]) / TURN)
        difference = (turns - counts[..., echo])[mask]
        assert len(np.unique(difference)) == 1


@pytest.mark.shared
def test_aligned_turns_of_the_reference_phantom_are_true(shared_data):
    folder = shared_data / "reference_outputs"
    mask = np.asarray(nib.load(folder / "in_mask.nii.gz").dataobj) > 0
    phase = nib.load(folder / "in_phase_4echo.nii.gz").get_fdata()
    truth = nib.load(folder / "out_unwrap_counts_truth_4echo.nii.gz").dataobj
    unwrapped = [unwrap_bestpath(phase[..., echo], mask) for echo in range(4)]
    aligned = align_echoes(unwrapped, mask, [0.004, 0.010, 0.016, 0.022])
    for echo, volume in enumerate(aligned):
        turns = np.rint((volume - phase[..., echo]) / TURN)
        # What differs lies in the haemorrhage and veins, where late echoes are undersampled.
        assert np.mean((turns == truth[..., echo])[mask]) > 0.997
