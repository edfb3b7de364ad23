import logging

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from qsm_workflows.algorithms import fft
from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.algorithms.inversion import medi as module
from qsm_workflows.algorithms.inversion.medi import medi
from qsm_workflows.algorithms.inversion.problem import DipoleProblem
from qsm_workflows.algorithms.metrics import nrmse, slope


def invert(head, field=None, magnitude=None, **keywords):
    return medi(
        head.local_field if field is None else field,
        head.mask,
        head.magnitude if magnitude is None else magnitude,
        head.voxel_size,
        head.b0_dir,
        pad=10,
        **keywords,
    )


def test_the_data_are_followed_more_closely_with_a_higher_weight(head):
    # Edges in random places, as with true ones little weight is enough.
    magnitude = np.random.default_rng(0).normal(size=head.mask.shape)
    slopes, residuals = [], []
    for regularisation in (1, 10, 100, 1000):
        chi = invert(head, magnitude=magnitude, regularisation=regularisation)
        slopes.append(slope(chi, head.chi, head.mask))
        field = forward_field(chi, head.voxel_size, head.b0_dir)
        difference = (field - head.local_field)[head.mask]
        residuals.append((difference - difference.mean()).std())
    assert np.all(np.diff(slopes) > 0)
    assert np.all(np.diff(residuals) < 0)


def test_noise_is_smoothed_but_not_the_edges_of_the_magnitude(head):
    chi = invert(head)
    flat = head.mask & ~binary_dilation(head.chi != 0, iterations=3)
    assert chi[flat].std() < 2e-3
    pallidum = head.chi > 0.14
    assert chi[pallidum].mean() - np.median(chi[head.mask]) == pytest.approx(0.17, abs=0.04)


@pytest.mark.parametrize("level", [0, 1, 3000])
def test_constant_magnitude_terminates(head, level):
    """Fewer differences than edges asked for: all of them are edges."""
    chi = invert(head, magnitude=level * head.mask, max_outer=2)
    assert np.isfinite(chi).all()
    assert slope(chi, head.chi, head.mask) > 0.3


def test_edges_are_as_many_as_asked_for(head):
    problem = DipoleProblem.create(
        head.local_field, head.mask, head.voxel_size, head.b0_dir, 10, "cpu"
    )
    anatomy = problem.grid.embed(head.magnitude)
    for fraction in (0.3, 0.9, 1.5):
        smooth = module.smooth_differences(anatomy, problem, fraction)
        edges = float((~smooth).sum()) / np.count_nonzero(head.mask)
        assert edges == pytest.approx(fraction, abs=0.12)


def test_units_of_the_magnitude_do_not_matter(head):
    chi = invert(head, max_outer=2)
    np.testing.assert_allclose(
        invert(head, magnitude=1024 * head.magnitude, max_outer=2), chi, atol=1e-6
    )


def test_noisy_voxels_are_not_followed(head):
    noise = np.ones(head.mask.shape)
    noise[12:16, 12:16, 16:20] = 1e3
    corrupted = head.local_field + 0.2 * (noise > 1)
    trusting, weighted = invert(head, corrupted), invert(head, corrupted, noise=noise)
    assert nrmse(weighted, head.chi, head.mask) < 0.7 * nrmse(trusting, head.chi, head.mask)


def test_merit_gives_up_on_outliers(head):
    corrupted = head.local_field.copy()
    corrupted[14:16, 13:15, 17:19] += 0.25
    plain, robust = (invert(head, corrupted, merit=merit) for merit in (False, True))
    assert nrmse(robust, head.chi, head.mask) < 0.9 * nrmse(plain, head.chi, head.mask)


def test_phase_may_exceed_half_a_turn(head):
    """The data term compares phasors, so that only the field in ppm need be unwrapped."""
    chi = invert(head, 10 * head.local_field, b0=7, delta_te=0.02, regularisation=100)
    assert np.isfinite(chi).all()


def test_preconditioning_changes_the_way_not_the_goal(head):
    tight = {"inner_tolerance": 1e-4, "max_inner": 1000, "max_outer": 2}
    plain, faster = (invert(head, precondition=use, **tight) for use in (False, True))
    assert nrmse(faster, plain, head.mask) < 5e-3


def test_preconditioning_saves_iterations(head, monkeypatch):
    transforms = []
    original = fft.forward
    monkeypatch.setattr(fft, "forward", lambda *a: transforms.append(0) or original(*a))
    counts = []
    for use in (False, True):
        transforms.clear()
        invert(head, precondition=use, max_outer=1, inner_tolerance=0.01)
        counts.append(len(transforms))
    assert counts[1] < 0.6 * counts[0]


def test_only_the_product_of_field_strength_and_echo_spacing_matters(head):
    """λ refers to the radians that they make of a ppm."""
    chi = invert(head, b0=3, delta_te=0.005)
    np.testing.assert_allclose(invert(head, b0=1.5, delta_te=0.01), chi, atol=1e-5)
    assert nrmse(invert(head, b0=7, delta_te=0.02), chi, head.mask) > 0.02


def test_spherical_means_remove_what_is_left_of_the_background(head):
    x, y, _ = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in head.mask.shape)]
    spoilt = head.local_field + np.float32(0.2) * x * y * head.mask
    plain, filtered = (invert(head, spoilt, smv_radius=radius) for radius in (0, 3))
    kept = filtered != 0
    assert np.count_nonzero(kept) < 0.8 * np.count_nonzero(head.mask)
    clean = invert(head, smv_radius=3)
    assert nrmse(filtered, clean, kept) < 0.1
    assert nrmse(filtered, head.chi, kept) < 0.7 * nrmse(plain, head.chi, kept)


def test_fluid_is_uniform_and_zero(head):
    fluid = np.zeros(head.mask.shape, bool)
    fluid[9:22, 11:23, 11:14] = True  # holds parts of nuclei, which it would not in a brain
    free, bound = invert(head), invert(head, csf_mask=fluid)
    assert abs(bound[fluid].mean()) < 1e-4
    assert bound[fluid].std() < 0.5 * free[fluid].std()
    weak = invert(head, csf_mask=fluid, csf_weight=1.0)
    assert bound[fluid].std() < weak[fluid].std() < free[fluid].std()


def test_an_unfinished_solve_is_reported(head, caplog):
    with caplog.at_level(logging.WARNING):
        invert(head, max_outer=1)
    assert "Gauss-Newton" in caplog.text


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"regularisation": 0}, "regularisation"),
        ({"edge_fraction": 4}, "edge_fraction"),
        ({"smv_radius": -1}, "smv_radius"),
        ({"smv_radius": 40}, "radius"),
        ({"csf_weight": 0}, "csf_weight"),
        ({"csf_mask": np.zeros((30, 33, 27))}, "csf_mask has no voxel"),
        ({"csf_mask": np.ones((2, 2, 2))}, "csf_mask has shape"),
        ({"noise": np.zeros((30, 33, 27))}, "noise must be positive"),
        ({"noise": np.ones((2, 2, 2))}, "noise has shape"),
        ({"magnitude": np.ones((2, 2, 2))}, "magnitude has shape"),
    ],
)
def test_bad_parameters_are_refused(head, keywords, message):
    with pytest.raises(ValueError, match=message):
        invert(head, **keywords)
