import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.algorithms.inversion.cosmos import cosmos
from qsm_workflows.algorithms.inversion.direct import tkd
from qsm_workflows.algorithms.metrics import nrmse

DIRECTIONS = ((0.0, 0.0, 1.0), (0.0, 0.6, 0.8), (0.6, 0.0, 0.8))


def fields(head, directions, pad=None):
    return [forward_field(head.chi, head.voxel_size, b0_dir, pad=pad) for b0_dir in directions]


def test_three_orientations_determine_susceptibility(head):
    everywhere = np.ones(head.mask.shape)
    chi = cosmos(
        fields(head, DIRECTIONS, 0),
        everywhere,
        head.voxel_size,
        DIRECTIONS,
        shrinkage=1e-6,
        tolerance=1e-6,
        pad=0,
    )
    np.testing.assert_allclose(chi - chi.mean(), head.chi - head.chi.mean(), atol=1e-4)


def test_more_orientations_beat_one(head):
    one = tkd(head.local_field, head.mask, head.voxel_size, head.b0_dir, pad=20)
    several = cosmos(fields(head, DIRECTIONS), head.mask, head.voxel_size, DIRECTIONS, pad=20)
    assert nrmse(several, head.chi, head.mask) < 0.6 * nrmse(one, head.chi, head.mask)


def test_a_head_that_was_turned_in_the_scanner():
    """Quarter turns are exact: the head turns, B0 does not; the field is turned back."""
    chi = np.zeros((24, 24, 24), np.float32)
    chi[9:14, 8:16, 10:13] = 0.1
    chi[4:7, 15:19, 15:20] = -0.2
    size = (1.0, 1.0, 1.0)
    scanner_b0 = np.array([0.0, 0.0, 1.0])
    back_turned, directions = [], []
    for axes, turn in (((0, 1), 0), ((1, 2), 1), ((0, 2), 1)):
        measured = forward_field(np.rot90(chi, turn, axes), size, scanner_b0)
        back_turned.append(np.rot90(measured, -turn, axes))
        third = 3 - sum(axes)
        vector = np.zeros(3)
        vector[third] = 1 if axes != (0, 2) else -1  # right-handed
        head_to_scanner = Rotation.from_rotvec(turn * np.pi / 2 * vector)
        directions.append(head_to_scanner.inv().apply(scanner_b0))
    everywhere = np.ones(chi.shape)
    right = cosmos(back_turned, everywhere, size, directions)
    # Three orthogonal directions leave the waves along (1, 1, 1) and the like undetermined.
    assert nrmse(right - right.mean(), chi - chi.mean(), everywhere) < 0.2
    # The transposed rotation, a mistake easily made, only flips B0 by a quarter turn, so
    # that it must be tried on an orientation where it matters.
    wrong = cosmos(back_turned, everywhere, size, [scanner_b0, *directions[:0:-1]])
    assert nrmse(wrong, chi, everywhere) > 0.5


def test_masks_are_intersected(head):
    first, second = head.mask.copy(), head.mask.copy()
    first[:10], second[:, :10] = False, False
    both = fields(head, DIRECTIONS[:2])
    chi = cosmos(both, [first, second], head.voxel_size, DIRECTIONS[:2], pad=20)
    assert not chi[~(first & second)].any()
    assert chi[first & second].all()


@pytest.mark.parametrize("count", [1, 3])
def test_bad_number_of_orientations_is_refused(head, count):
    with pytest.raises(ValueError, match="two or more"):
        cosmos([head.local_field] * count, head.mask, head.voxel_size, DIRECTIONS[: min(count, 2)])


def test_fields_are_not_taken_for_zero_outside_their_masks(head):
    """As the closed formula does, which errs by a third here."""
    chi = cosmos(fields(head, DIRECTIONS), head.mask, head.voxel_size, DIRECTIONS)
    mean = chi[head.mask].mean() - head.chi[head.mask].mean()
    assert nrmse(chi - mean, head.chi, head.mask) < 0.1


def test_noise_of_few_orientations_is_not_blown_up(head):
    rng = np.random.default_rng(0)
    noisy = [f + rng.normal(0, 2e-3, f.shape) for f in fields(head, DIRECTIONS[:2])]
    chi = cosmos(noisy, head.mask, head.voxel_size, DIRECTIONS[:2])
    assert nrmse(chi - np.median(chi[head.mask]), head.chi, head.mask) < 0.35
