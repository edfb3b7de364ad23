"""Background removal by projection onto dipole fields."""

import torch
from numpy.typing import ArrayLike

from .. import krylov
from ..checks import check_stopping
from ..dipole import dipole_kernel
from ..geometry import (
    DEFAULT_PAD,
    FloatArray,
    MaskArray,
    Triple,
    check_geometry,
    check_mask,
    check_volume,
)
from ..weighting import data_weight
from .problem import FieldProblem, report_unfinished


def pdf(
    total_field: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    b0_dir: Triple,
    *,
    noise: ArrayLike | None = None,
    tolerance: float = 1e-3,
    max_iterations: int = 100,
    pad: float = DEFAULT_PAD,
    device: str = "cpu",
) -> tuple[FloatArray, MaskArray]:
    """Remove the background field by projection onto dipole fields (PDF).

    The background is the field of the susceptibility outside the mask, χ, that minimises
    ‖W·(f − D∗χ)‖², found by conjugate gradients from zero.

    Sources may lie anywhere in the padding too: above and below the field of view of a
    slab, where most of its background comes from. Without padding a slab has nowhere to
    put them.

    Parameters
    ----------
    total_field : (X, Y, Z) array_like
        Field shift in ppm; not used outside the mask.
    mask : (X, Y, Z) array_like
        Brain.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    b0_dir : (3,) sequence of float
        Unit vector of B0 in voxel axes.
    noise : (X, Y, Z) array_like, optional
        Standard deviation of the field in any units; uniform when not given. Voxels where
        it is zero or negative get no weight.
    tolerance : float
        Relative residual of the normal equations that ends the iterations: far beyond it,
        sources outside begin to take up the local field at the rim.
    max_iterations : int
        Most conjugate gradient iterations.
    pad : float
        Millimetres around the mask that may hold sources; 0 works periodically on the image.
    device : str
        Torch device.

    Returns
    -------
    local_field : (X, Y, Z) ndarray of float32
        In ppm, zero outside the mask.
    mask : (X, Y, Z) ndarray of bool
        The mask itself: nothing is eroded. The last 2 or 3 mm are less reliable.

    Raises
    ------
    ValueError
        If the inputs do not fit together, the mask leaves no room for sources, or no voxel
        of it has a positive `noise`.

    References
    ----------
    Liu et al., NMR Biomed 24:1129 (2011); de Rochefort et al., Magn Reson Med 63:194 (2010).
    """
    size, direction = check_geometry(voxel_size, b0_dir)
    check_stopping(tolerance, max_iterations=max_iterations)
    inside = check_mask(mask)
    problem = FieldProblem.create(total_field, inside, size, pad, device)
    outside = 1 - problem.mask
    deviation = torch.ones_like(problem.field)
    if noise is not None:
        deviation = problem.grid.embed(check_volume("noise", noise, mask=inside), device)
    weight = data_weight(deviation, problem.mask > 0) ** 2
    kernel = dipole_kernel(problem.grid.shape, size, direction, device)

    chi, residual = fit_outside(
        problem.field,
        weight,
        outside,
        lambda volume: problem.convolve(volume, kernel),
        tolerance=tolerance,
        max_iterations=max_iterations,
    )
    report_unfinished("PDF", max_iterations, residual, tolerance)
    return problem.result(problem.field - problem.convolve(chi, kernel), problem.mask)


def fit_outside(
    field: torch.Tensor,
    weight: torch.Tensor,
    outside: torch.Tensor,
    convolve: krylov.Operator,
    *,
    tolerance: float,
    max_iterations: int,
) -> tuple[torch.Tensor, float]:
    """Susceptibility outside the mask that explains a field inside, by conjugate gradients.

    Parameters
    ----------
    field, weight : (X, Y, Z) torch.Tensor
        Field in ppm, and the weight of its squared residual, zero outside the mask.
    outside : (X, Y, Z) torch.Tensor of float32
        1 where sources may lie, else 0.
    convolve : callable
        Field of a susceptibility.
    tolerance, max_iterations : float, int
        End the iterations, as in :func:`pdf`.

    Returns
    -------
    chi : (X, Y, Z) torch.Tensor
        In ppm.
    residual : float
        Relative residual that was reached.

    Raises
    ------
    ValueError
        If sources may lie nowhere.
    """
    if not outside.any():
        raise ValueError("the mask fills the image: give a pad, in mm, for sources outside it")

    def project(volume: torch.Tensor) -> torch.Tensor:
        return convolve(volume.mul_(weight)).mul_(outside)

    return krylov.conjugate_gradient(
        lambda chi: project(convolve(chi)),
        project(field.clone()),
        tolerance=tolerance,
        max_iterations=max_iterations,
    )
