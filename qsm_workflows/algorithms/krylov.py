"""Krylov solvers on torch tensors, for operators that are given as functions.

The vectors may be tensors of any shape, real or complex.
"""

import math
from collections.abc import Callable

import torch

Operator = Callable[[torch.Tensor], torch.Tensor]


def inner(a: torch.Tensor, b: torch.Tensor) -> float:
    """Real part of the scalar product of two tensors."""
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    return float(torch.dot(a.reshape(-1), b.reshape(-1)))


def norm(a: torch.Tensor) -> float:
    """Euclidean norm of a tensor."""
    return inner(a, a) ** 0.5


def _normalise(a: torch.Tensor) -> float:
    """Scale a tensor to unit norm, unless it is zero, and return the norm it had."""
    size = norm(a)
    if size > 0:
        a.mul_(1 / size)
    return size


def conjugate_gradient(
    operator: Operator,
    rhs: torch.Tensor,
    *,
    tolerance: float,
    max_iterations: int,
    precondition: Operator | None = None,
    product: Callable[[torch.Tensor, torch.Tensor], float] = inner,
) -> tuple[torch.Tensor, float]:
    """Solve A·x = b from x = 0, for a symmetric positive definite A.

    Parameters
    ----------
    operator : callable
        A.
    rhs : torch.Tensor
        b; its memory is used for the residual b − A·x.
    tolerance : float
        Stops when ‖b − A·x‖ ≤ tolerance·‖b‖.
    max_iterations : int
        Most applications of A.
    precondition : callable, optional
        Approximate inverse of A, symmetric positive definite too.
    product : callable, optional
        Scalar product for which A is symmetric, where it is not the sum of products.

    Returns
    -------
    solution : torch.Tensor
    residual : float
        ‖b − A·x‖/‖b‖ that was reached.
    """
    solution = torch.zeros_like(rhs)
    scale = product(rhs, rhs) ** 0.5
    if scale == 0:
        return solution, 0.0
    residual = rhs
    direction: torch.Tensor | None = None
    energy = 1.0
    for _ in range(max_iterations):
        descent = residual if precondition is None else precondition(residual)
        previous, energy = energy, product(residual, descent)
        if direction is None:
            direction = descent.clone()
        else:
            torch.add(descent, direction, alpha=energy / previous, out=direction)
        image = operator(direction)
        step = energy / product(direction, image)
        solution.add_(direction, alpha=step)
        residual.sub_(image, alpha=step)
        left = product(residual, residual) ** 0.5 / scale
        if left <= tolerance:
            break
    return solution, left


def cgls(
    operator: Operator,
    adjoint: Operator,
    rhs: torch.Tensor,
    *,
    tolerance: float,
    max_iterations: int,
    product: Callable[[torch.Tensor, torch.Tensor], float] = inner,
) -> torch.Tensor:
    """Minimise ‖A·x − b‖ from x = 0 by conjugate gradients.

    The iterates are those of LSQR, which takes more passes over memory. Stops when
    ‖A·x − b‖ ≤ tolerance·‖b‖, as MATLAB's LSQR does. There is no test of the gradient
    Aᵀ·(A·x − b): it would end an ill-posed problem much earlier.

    Parameters
    ----------
    operator, adjoint : callable
        A and its adjoint with regard to `product`.
    rhs : torch.Tensor
        b; its memory is used for the residual b − A·x.
    tolerance : float
        Relative residual that ends the iterations.
    max_iterations : int
        Most iterations.
    product : callable, optional
        Scalar product on both sides of A, where it is not the sum of products.

    References
    ----------
    Paige & Saunders, ACM Trans Math Softw 8:43 (1982), section 7.1.
    """
    residual = rhs
    square = product(rhs, rhs)
    goal = tolerance**2 * square
    gradient = adjoint(residual)
    direction = gradient.clone()
    solution = torch.zeros_like(gradient)
    energy = product(gradient, gradient)
    for number in range(max_iterations):
        if energy == 0:
            break
        if number > 0:
            gradient = adjoint(residual)
            previous, energy = energy, product(gradient, gradient)
            torch.add(gradient, direction, alpha=energy / previous, out=direction)
        image = operator(direction)
        step = energy / product(image, image)
        solution.add_(direction, alpha=step)
        residual.sub_(image, alpha=step)
        # ‖b − A·x‖², by what orthogonal steps take off it.
        square -= step * energy
        if square <= goal:
            break
    return solution


def lsmr(
    operator: Operator,
    adjoint: Operator,
    rhs: torch.Tensor,
    *,
    tolerance: float,
    max_iterations: int,
) -> torch.Tensor:
    """Minimise ‖A·x − b‖ from x = 0 by LSMR.

    Stops when ‖Aᵀ·r‖ ≤ tolerance·‖A‖·‖r‖ or ‖r‖ ≤ tolerance·(‖b‖ + ‖A‖·‖x‖), r = b − A·x,
    with the Frobenius norm of A estimated as the iteration goes.

    References
    ----------
    Fong & Saunders, SIAM J Sci Comput 33:2950 (2011); names as there, section 5.
    """
    u = rhs.clone()
    beta = norm_b = _normalise(u)
    v = adjoint(u)
    alpha = _normalise(v)
    solution = torch.zeros_like(v)
    if alpha == 0:
        return solution
    h, h_bar = v.clone(), torch.zeros_like(v)
    alpha_bar, zeta_bar = alpha, alpha * beta
    rho = rho_bar = c_bar = 1.0
    s_bar = 0.0
    # For the estimate of ‖r‖.
    beta_dd, beta_d, rho_d, tau_tilde, theta_tilde, zeta = beta, 0.0, 1.0, 0.0, 0.0, 0.0
    frobenius = alpha**2
    for _ in range(max_iterations):
        u = operator(v).sub_(u, alpha=alpha)
        beta = _normalise(u)
        v = adjoint(u).sub_(v, alpha=beta)
        alpha = _normalise(v)

        rho_old, rho = rho, math.hypot(alpha_bar, beta)
        c, s = alpha_bar / rho, beta / rho
        theta, alpha_bar = s * alpha, c * alpha
        rho_bar_old, zeta_old = rho_bar, zeta
        theta_bar, rho_temp = s_bar * rho, c_bar * rho
        rho_bar = math.hypot(rho_temp, theta)
        c_bar, s_bar = rho_temp / rho_bar, theta / rho_bar
        zeta, zeta_bar = c_bar * zeta_bar, -s_bar * zeta_bar

        h_bar.mul_(-theta_bar * rho / (rho_old * rho_bar_old)).add_(h)
        solution.add_(h_bar, alpha=zeta / (rho * rho_bar))
        h.mul_(-theta / rho).add_(v)

        beta_hat, beta_dd = c * beta_dd, -s * beta_dd
        rho_tilde = math.hypot(rho_d, theta_bar)
        c_tilde, s_tilde = rho_d / rho_tilde, theta_bar / rho_tilde
        tau_tilde = (zeta_old - theta_tilde * tau_tilde) / rho_tilde
        theta_tilde, rho_d = s_tilde * rho_bar, c_tilde * rho_bar
        beta_d = -s_tilde * beta_d + c_tilde * beta_hat
        tau_d = (zeta - theta_tilde * tau_tilde) / rho_d
        residual = math.hypot(beta_d - tau_d, beta_dd)

        frobenius += beta**2
        norm_a = math.sqrt(frobenius)
        frobenius += alpha**2
        if abs(zeta_bar) <= tolerance * norm_a * residual:
            break
        if residual <= tolerance * (norm_b + norm_a * norm(solution)):
            break
    return solution
