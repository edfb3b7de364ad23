from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.algorithms.geometry import b0_direction
from qsm_workflows.networks.axes import ScannerAxes

TURNS = [
    np.eye(3)[:, list(order)] * signs
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]


@pytest.mark.parametrize("turn", TURNS)
def test_every_order_of_axes_comes_to_the_scanners_and_back(turn):
    affine = np.eye(4)
    affine[:3, :3] = turn * (1.0, 1.5, 2.0)
    affine[:3, 3] = (-7, 3, 11)
    volume = np.random.default_rng(0).random((3, 4, 5))
    axes = ScannerAxes.of(affine, volume.shape)
    turned = axes.forward(volume)
    assert nib.aff2axcodes(axes.affine) == ("R", "A", "S")
    np.testing.assert_allclose(b0_direction(axes.affine), (0, 0, 1), atol=1e-12)
    np.testing.assert_array_equal(axes.backward(turned), volume)
    # The turned affine finds every voxel where the image has it.
    index = np.array((1, 2, 4))
    place = affine[:3, :3] @ index + affine[:3, 3]
    found = np.rint(np.linalg.inv(axes.affine) @ [*place, 1])[:3].astype(int)
    assert turned[tuple(found)] == volume[tuple(index)]
