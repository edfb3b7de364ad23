import numpy as np
import pytest
import scipy.sparse.linalg as linalg
import torch

from qsm_workflows.algorithms import krylov


@pytest.fixture
def system():
    """An ill-conditioned least-squares problem with noise."""
    rng = np.random.default_rng(0)
    left, _ = np.linalg.qr(rng.normal(size=(60, 40)))
    right, _ = np.linalg.qr(rng.normal(size=(40, 40)))
    matrix = left * np.geomspace(1, 0.03, 40) @ right.T
    rhs = matrix @ rng.normal(size=40) + 1e-3 * rng.normal(size=60)
    return matrix, rhs


def operators(matrix):
    forward, backward = torch.from_numpy(matrix), torch.from_numpy(matrix.T.copy())
    return (lambda x: forward @ x), (lambda y: backward @ y)


@pytest.mark.parametrize("iterations", [1, 5, 15])
@pytest.mark.parametrize("name", ["cgls", "lsmr"])
def test_iterates_are_those_of_scipy(system, name, iterations):
    matrix, rhs = system
    theirs = {
        "cgls": lambda: linalg.lsqr(matrix, rhs, atol=0, btol=0, conlim=0, iter_lim=iterations),
        "lsmr": lambda: linalg.lsmr(matrix, rhs, atol=0, btol=0, conlim=0, maxiter=iterations),
    }[name]()[0]
    ours = getattr(krylov, name)(
        *operators(matrix), torch.from_numpy(rhs), tolerance=0, max_iterations=iterations
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_lsmr_stops_where_that_of_scipy_does(system):
    matrix, rhs = system
    theirs = linalg.lsmr(matrix, rhs, atol=0.01, btol=0.01, conlim=0, maxiter=1000)[0]
    ours = krylov.lsmr(
        *operators(matrix), torch.from_numpy(rhs), tolerance=0.01, max_iterations=1000
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_cgls_stops_by_its_residual_alone(system):
    matrix, rhs = system
    # A gradient test at the same tolerance would have ended it earlier.
    theirs = linalg.lsqr(matrix, rhs, atol=0, btol=0.01, conlim=0)[0]
    early = linalg.lsqr(matrix, rhs, atol=0.01, btol=0.01, conlim=0)[0]
    ours = krylov.cgls(
        *operators(matrix), torch.from_numpy(rhs), tolerance=0.01, max_iterations=1000
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3)
    assert np.linalg.norm(early - theirs) > 0.02 * np.linalg.norm(theirs)


@pytest.mark.parametrize("preconditioned", [False, True])
def test_conjugate_gradient_solves_to_its_tolerance(system, preconditioned):
    matrix, rhs = system
    normal = torch.from_numpy(matrix.T @ matrix + 1e-3 * np.eye(40))
    right = torch.from_numpy(matrix.T @ rhs)
    diagonal = normal.diagonal()
    solution, residual = krylov.conjugate_gradient(
        lambda x: normal @ x,
        right.clone(),
        tolerance=1e-8,
        max_iterations=500,
        precondition=(lambda x: x / diagonal) if preconditioned else None,
    )
    true_residual = torch.linalg.norm(normal @ solution - right) / torch.linalg.norm(right)
    assert residual <= 1e-8
    assert float(true_residual) < 2e-8


def test_conjugate_gradient_says_how_far_it_came(system):
    matrix, rhs = system
    normal, right = torch.from_numpy(matrix.T @ matrix), torch.from_numpy(matrix.T @ rhs)
    solution, residual = krylov.conjugate_gradient(
        lambda x: normal @ x, right.clone(), tolerance=1e-12, max_iterations=3
    )
    true_residual = torch.linalg.norm(normal @ solution - right) / torch.linalg.norm(right)
    assert 1e-12 < residual == pytest.approx(float(true_residual))


@pytest.mark.parametrize("solve", [krylov.cgls, krylov.lsmr])
def test_zero_right_hand_side_gives_zero(system, solve):
    forward, backward = operators(system[0])
    zero = torch.zeros(60, dtype=torch.float64)
    assert not solve(forward, backward, zero, tolerance=0.01, max_iterations=10).any()


def test_complex_vectors_have_real_scalar_products():
    a = torch.tensor([1 + 2j, 3 - 1j])
    assert krylov.inner(a, a) == pytest.approx(15)
    assert krylov.norm(a) == pytest.approx(15**0.5)
