"""What resampling to a network's grid and back costs."""

import numpy as np
import pytest
from scipy import ndimage

from qsm_workflows.networks.grid import TrainedGrid

FINE = 0.5  # mm


def imaged(voxel_size):
    """Nuclei of 8 to 12 mm as an image sees them: means over its voxels; with their places."""
    factors = np.rint(np.divide(voxel_size, FINE)).astype(int)
    shape = 96 // factors
    axes = [(np.arange(n * f) + 0.5) * FINE for n, f in zip(shape, factors, strict=True)]
    fine, places = np.zeros(shape * factors), []
    for centre, radius in (((15, 16, 17), 6.0), ((30, 28, 29), 4.0), ((17, 33, 30), 5.0)):
        x, y, z = (a - c for a, c in zip(axes, centre, strict=True))
        places.append(x[:, None, None] ** 2 + y[:, None] ** 2 + z**2 < radius**2)
        fine[places[-1]] = 0.1

    def blocks(volume):
        x, y, z = (pair for pair in zip(shape, factors, strict=True))
        return volume.reshape(*x, *y, *z).mean(axis=(1, 3, 5))

    return blocks(fine).astype(np.float32), [blocks(place) > 0.5 for place in places]


@pytest.mark.parametrize(
    ("voxel_size", "bound", "error"),
    [
        ((2.0, 2.0, 2.0), 0.02, 0.15),
        ((1.0, 1.0, 2.0), 0.02, 0.15),
        ((1.5, 1.5, 3.0), 0.04, 0.15),
        # Finer than the grid, which cannot hold sharp edges.
        ((0.5, 0.5, 0.5), 0.12, 0.45),
    ],
)
@pytest.mark.parametrize("tilt", [0.0, 15.0])
def test_regions_keep_their_means(voxel_size, bound, error, tilt):
    chi, places = imaged(voxel_size)
    mask = np.ones(chi.shape, bool)
    b0_dir = (0, np.sin(np.radians(tilt)), np.cos(np.radians(tilt)))
    grid = TrainedGrid.of(chi.shape, voxel_size, b0_dir, 1.0)
    back = grid.backward(*grid.forward(chi, mask))
    assert back.shape == chi.shape
    for place in places:
        assert back[place].mean() == pytest.approx(chi[place].mean(), rel=bound)
    about = ndimage.binary_dilation(np.any(places, axis=0), iterations=2)
    assert np.std((back - chi)[about]) < error * np.std(chi[about])
