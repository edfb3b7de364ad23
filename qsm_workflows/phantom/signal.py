"""Multi-echo gradient echo images of a digital head."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from qsm_workflows.algorithms.geometry import FloatArray
from qsm_workflows.algorithms.units import radians_per_ppm

from .grids import block_mean
from .head import Head


def simulate_signal(
    head: Head, echo_times: Sequence[float], b0: float = 3.0, snr: float = 50.0, seed: int = 0
) -> tuple[FloatArray, FloatArray]:
    """Magnitude and wrapped phase of every echo of a spoiled gradient echo scan.

    Each part of a voxel evolves on its own, ρ·exp(−TE·R2*)·exp(i·(φ₀ + 2πγ̄·B0·TE·field)),
    and a voxel's signal is the mean over its parts, so that steep fields dephase it.
    A smooth receive profile shades the magnitude, a smooth φ₀ offsets the phase at
    echo time zero, and complex white noise is added.

    Parameters
    ----------
    head : Head
    echo_times : sequence of float
        In seconds, increasing.
    b0 : float
        Main field, tesla.
    snr : float
        Mean magnitude of the brain at the first echo over the standard deviation of the
        noise in the real and in the imaginary part; infinite for none.
    seed : int
        Of φ₀ and of the noise.

    Returns
    -------
    magnitude : (E, X, Y, Z) ndarray of float32
    phase : (E, X, Y, Z) ndarray of float32
        Radians in [−π, π]; positive where the field is raised.

    Raises
    ------
    ValueError
        If echo times, field strength or SNR make no sense.
    """
    times = check_scan(echo_times, b0, snr)
    profile_rng, noise_rng = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2)
    )
    profile = _receive_profile(profile_rng, head.mask.shape)
    signal = np.stack([_clean_echo(head, time, b0) for time in times]) * profile
    if math.isfinite(snr):
        noise = noise_rng.standard_normal((*signal.shape, 2), dtype=np.float32).view(np.complex64)
        signal += noise[..., 0] * np.float32(np.abs(signal[0][head.mask]).mean() / snr)
    return np.abs(signal), np.angle(signal)


def check_scan(echo_times: Sequence[float], b0: float, snr: float) -> tuple[float, ...]:
    """Validate the parameters of a scan and return its echo times as a tuple.

    Raises
    ------
    ValueError
        If echo times are not positive, increasing seconds, or field strength or SNR are
        not positive.
    """
    times = tuple(float(time) for time in echo_times)
    sensible = all(math.isfinite(time) and 0 < time < 1 for time in times)
    if not times or not sensible or any(b <= a for a, b in pairwise(times)):
        raise ValueError(f"echo_times must be increasing and between 0 and 1 s, not {echo_times!r}")
    if not (math.isfinite(b0) and b0 > 0):
        raise ValueError(f"b0 must be a positive field in tesla, not {b0}")
    if not snr > 0:
        raise ValueError(f"snr must be positive, not {snr}")
    return times


def _clean_echo(head: Head, echo_time: float, b0: float) -> NDArray[np.complex64]:
    """Signal of one echo, averaged over the parts of each voxel."""
    parts = head.subvoxels
    turn = np.float32(radians_per_ppm(b0, echo_time))
    planes = []
    # Plane by plane: the complex fine grid would be the largest array of all.
    for start in range(0, parts.total_field.shape[0], parts.factor[0]):
        rows = slice(start, start + parts.factor[0])
        amplitude = parts.proton_density[rows] * np.exp(-echo_time * parts.r2star[rows])
        angle = turn * parts.total_field[rows]
        real = block_mean(amplitude * np.cos(angle), parts.factor)
        imaginary = block_mean(amplitude * np.sin(angle), parts.factor)
        planes.append(real + 1j * imaginary)
    return np.concatenate(planes)


def _receive_profile(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.complex64]:
    """Smooth complex sensitivity: shading of some ten percent, one or two radians of phase."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    basis = [*axes, *(axis**2 for axis in axes), axes[0] * axes[1], axes[1] * axes[2]]
    shading, phase = rng.normal(0, 1, (2, len(basis)))
    magnitude = 1 + sum(0.06 * weight * term for weight, term in zip(shading, basis, strict=True))
    offset = rng.uniform(-np.pi, np.pi)
    angle = offset + sum(0.5 * weight * term for weight, term in zip(phase, basis, strict=True))
    return (np.clip(magnitude, 0.3, None) * np.exp(1j * angle)).astype(np.complex64)
