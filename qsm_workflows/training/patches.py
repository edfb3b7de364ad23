"""Pairs of field and susceptibility, cut from volumes as xQSM was trained.

References
----------
Zhu et al., arXiv:2106.00525 (2021); Gao et al., NMR Biomed 34:e4461 (2021).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from qsm_workflows.algorithms import fft
from qsm_workflows.algorithms.dipole import dipole_kernel
from qsm_workflows.algorithms.fft import Shape3

from .pool import Pool

LEAST_FILLED = 0.3
"""Part of a patch that must lie in the mask."""

MOST_DRAWS = 1000
"""Patches looked at for one that does; it is enough that one in fifty does."""


class Batch(NamedTuple):
    """Patches as tensors (N, 1, X, Y, Z), fields and susceptibility in ppm."""

    field: torch.Tensor
    chi: torch.Tensor
    mask: torch.Tensor


def draw_batch(
    rng: np.random.Generator,
    pool: Pool,
    numbers: Sequence[int],
    patch: Shape3,
    size: int,
    *,
    mode: str,
    noise_probability: float,
    noise_snr: Sequence[float],
    device: str = "cpu",
) -> Batch:
    """Draw patches, turned over at random, with the field of each.

    In the mode "individual" each patch gets the field that its own χ causes; in the mode
    "cropped" the field of the whole volume, cut together with χ.

    Parameters
    ----------
    rng : numpy.random.Generator
    pool : Pool
    numbers : sequence of int
        Volumes to draw from.
    patch : tuple of int
        Shape of the patches.
    size : int
        How many.
    mode : {"individual", "cropped"}
    noise_probability, noise_snr
        See :func:`add_noise`.
    device : str
        Torch device.

    Raises
    ------
    ValueError
        If hardly any patch of this shape lies far enough in the mask.
    """
    names = ("chi", "mask") if mode == "individual" else ("chi", "mask", "field")
    drawn = [_draw(rng, pool, numbers, patch, names) for _ in range(size)]
    chi, mask, *fields = (
        torch.from_numpy(np.stack(arrays))[:, None].to(device)
        for arrays in zip(*drawn, strict=True)
    )
    chi = chi.float()
    field = fields[0].float() if fields else individual_field(chi) * mask
    return Batch(add_noise(rng, field, mask, noise_probability, noise_snr), chi, mask)


def _draw(
    rng: np.random.Generator,
    pool: Pool,
    numbers: Sequence[int],
    patch: Shape3,
    names: Sequence[str],
) -> list[np.ndarray]:
    """The same patch of several arrays of the pool."""
    for _ in range(MOST_DRAWS):
        number = numbers[int(rng.integers(len(numbers)))]
        corner = [rng.integers(n - m + 1) for n, m in zip(pool.mask.shape[1:], patch, strict=True)]
        where = (number, *(slice(a, a + n) for a, n in zip(corner, patch, strict=True)))
        if pool.mask[where].mean() >= LEAST_FILLED:
            break
    else:
        raise ValueError(
            f"of {MOST_DRAWS} patches of {patch} none lies to {LEAST_FILLED:.0%} in the mask of "
            "its volume; use smaller patches"
        )
    # The dipole field of a mirrored source is the mirrored field.
    flips = tuple(axis for axis in range(3) if rng.random() < 0.5)
    return [np.ascontiguousarray(np.flip(getattr(pool, name)[where], flips)) for name in names]


def individual_field(chi: torch.Tensor) -> torch.Tensor:
    """Field of each patch alone, zero-padded to twice its size.

    Parameters
    ----------
    chi : (N, 1, X, Y, Z) torch.Tensor
        ppm, voxels of 1 mm, B0 along the last axis.
    """
    x, y, z = chi.shape[2:]
    grid = (2 * x, 2 * y, 2 * z)
    spectrum = torch.fft.rfftn(chi, s=grid, dim=(2, 3, 4)) * _kernel(grid, str(chi.device))
    return torch.fft.irfftn(spectrum, s=grid, dim=(2, 3, 4))[..., :x, :y, :z]


@lru_cache(maxsize=16)
def _kernel(grid: fft.Shape3, device: str) -> torch.Tensor:
    return dipole_kernel(grid, (1, 1, 1), (0, 0, 1), device)


def add_noise(
    rng: np.random.Generator,
    field: torch.Tensor,
    mask: torch.Tensor,
    probability: float,
    snr: Sequence[float],
) -> torch.Tensor:
    """Add white noise inside the mask to some of the fields: xQSM's noise layer.

    Parameters
    ----------
    rng : numpy.random.Generator
    field, mask : (N, 1, X, Y, Z) torch.Tensor
    probability : float
        That a patch gets noise.
    snr : sequence of float
        Ratios of the field's power in the mask to the noise's, one of which is drawn.
    """
    power = (field**2).sum((1, 2, 3, 4)) / mask.sum((1, 2, 3, 4)).clamp(min=1)
    amount = [float(rng.choice(snr)) ** -0.5 * (rng.random() < probability) for _ in field]
    if not any(amount):
        return field
    noise = torch.from_numpy(rng.standard_normal(tuple(field.shape), dtype=np.float32))
    deviation = power.sqrt() * torch.tensor(amount, device=field.device)
    return field + noise.to(field.device) * mask * deviation[:, None, None, None, None]
