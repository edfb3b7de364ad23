"""A head that turned between scans: registration, and COSMOS after it."""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.algorithms.geometry import b0_direction, voxel_size
from qsm_workflows.algorithms.inversion.cosmos import align_orientations, cosmos
from qsm_workflows.algorithms.metrics import nrmse
from qsm_workflows.algorithms.registration import register_rigid, resample

BALLS = (
    ((-14, 5, 2), 9, 0.10),
    ((13, 8, -3), 8, 0.15),
    ((2, -18, 6), 9, -0.08),
    ((6, 18, 10), 7, 0.2),
    ((-8, -4, -16), 8, 0.12),
)


def head_at(points):
    """χ, brain and magnitude at points of the head, all with soft borders of 1.5 mm."""

    def inside(depth):
        return 1 / (1 + np.exp(-depth / 0.6))

    brain = inside(30 * (1 - np.linalg.norm(points / (26, 32, 24), axis=-1)))
    chi, magnitude = np.zeros(points.shape[:-1]), 80.0 * brain
    for centre, radius, value in BALLS:
        ball = inside(radius - np.linalg.norm(points - np.array(centre), axis=-1))
        chi += value * ball
        magnitude -= 250 * value * ball
    return chi, brain, magnitude


class Scan(NamedTuple):
    chi: np.ndarray
    field: np.ndarray
    mask: np.ndarray
    magnitude: np.ndarray
    affine: np.ndarray
    pose: np.ndarray


def scan(turn, shift, tilt, shape=(36, 40, 34), size=(2.0, 2.0, 2.2)):
    """The head, turned by `turn` and shifted in the scanner, on a grid tilted by `tilt`."""
    affine, pose = np.eye(4), np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", tilt, degrees=True).as_matrix() * size
    affine[:3, 3] = shift - affine[:3, :3] @ (np.array(shape) - 1) / 2
    pose[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    pose[:3, 3] = shift
    world = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    # A row vector times R is the transpose of R applied to it: back into the head.
    chi, brain, magnitude = head_at((world - pose[:3, 3]) @ pose[:3, :3])
    mask = brain > 0.5
    field = forward_field(chi, voxel_size(affine), b0_direction(affine)) * mask
    noise = np.random.default_rng(len(turn)).normal(0, 1, shape)
    return Scan(chi, field, mask, magnitude + noise, affine, pose)


@pytest.fixture(scope="module")
def scans():
    return [
        scan((0, 0, 0), (0, 0, 0), (0, 0, 0)),
        scan((28, 6, -5), (4, -6, 3), (10, 0, 0)),
        scan((-12, 25, 8), (-5, 2, 6), (0, 0, 15)),
    ]


@pytest.mark.parametrize("number", [1, 2])
def test_pose_is_found(scans, number):
    first, other = scans[0], scans[number]
    found = register_rigid(first.magnitude, first.affine, first.mask, other.magnitude, other.affine)
    true = other.pose @ np.linalg.inv(first.pose)
    difference = Rotation.from_matrix(found[:3, :3] @ true[:3, :3].T).magnitude()
    assert np.rad2deg(difference) < 0.5
    np.testing.assert_allclose(found[:3, 3], true[:3, 3], atol=0.3)


def test_an_image_at_rest_stays_where_it_is(scans):
    first = scans[0]
    found = register_rigid(first.magnitude, first.affine, first.mask, first.magnitude, first.affine)
    np.testing.assert_allclose(found, np.eye(4), atol=1e-3)
    same = resample(first.chi, first.affine, first.chi.shape, first.affine, np.eye(4))
    np.testing.assert_allclose(same, first.chi, atol=1e-6)


def test_units_of_the_magnitude_do_not_matter(scans):
    first, other = scans[:2]
    found = [
        register_rigid(first.magnitude, first.affine, first.mask, m, other.affine)
        for m in (other.magnitude, 30 * other.magnitude + 5)
    ]
    np.testing.assert_allclose(found[1], found[0], atol=0.05)


def test_susceptibility_from_a_head_that_turned(scans):
    """χ comes out only if B0 is turned the right way."""
    first = scans[0]
    volumes = ([getattr(s, name) for s in scans] for name in ("field", "mask", "magnitude"))
    fields, masks, directions = align_orientations(*volumes, [s.affine for s in scans])
    for direction, scanned in zip(directions, scans, strict=True):
        turned_back = scanned.pose[:3, :3].T @ (0, 0, 1)
        np.testing.assert_allclose(direction, turned_back, atol=0.01)
    known = np.all(masks, axis=0)
    assert known.sum() > 0.75 * first.mask.sum()

    def error(b0_dirs):
        chi = cosmos(fields, masks, voxel_size(first.affine), b0_dirs)
        return nrmse(chi - chi[known].mean(), first.chi - first.chi[known].mean(), known)

    assert error(directions) < 0.1
    transposed = [scanned.pose[:3, :3] @ (0, 0, 1) for scanned in scans]
    assert error(transposed) > 0.5


def test_images_of_other_things_do_not_match(scans):
    first = scans[0]
    noise = np.random.default_rng(0).normal(size=first.chi.shape)
    with pytest.raises(ValueError, match="do not match"):
        register_rigid(first.magnitude, first.affine, first.mask, noise, first.affine)


def test_every_orientation_needs_its_images(scans):
    first = scans[0]
    with pytest.raises(ValueError, match="own mask and magnitude"):
        align_orientations([first.field] * 2, [first.mask], [first.magnitude] * 2, [np.eye(4)] * 2)
