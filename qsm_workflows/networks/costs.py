"""What a network costs on the CPU, for planning; imports no torch.

Measured with :func:`qsm_workflows.networks.inference.apply_network` on one thread of an
AMD EPYC (AVX-512 with bfloat16, torch 2.13) shared with other work: process CPU time, and
the growth of the peak resident memory, over the voxels of a cube of 96 (IR2QSM and LPCNN:
64) a side, as benchmarks/inference.py does.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class _Measured:
    width: int
    microseconds: float
    bytes: float


_FLOAT32 = {
    "xqsm": _Measured(64, 12.1, 1250),
    "unet": _Measured(64, 15.7, 1310),
    "deepqsm": _Measured(32, 0.5, 130),
    "lite": _Measured(32, 3.6, 190),
    "lite-unet": _Measured(32, 2.8, 260),
    "lite-ir2qsm": _Measured(8, 11.5, 290),
    "lite-lpcnn": _Measured(16, 6.6, 290),
    "ir2qsm": _Measured(16, 13.6, 620),
    "lpcnn": _Measured(32, 46.0, 670),
}

_BFLOAT16 = {
    "xqsm": _Measured(64, 5.6, 700),
    "unet": _Measured(64, 7.4, 760),
    "deepqsm": _Measured(32, 0.2, 70),
    "lite": _Measured(32, 1.0, 115),
    "lite-unet": _Measured(32, 1.0, 105),
    "lite-ir2qsm": _Measured(8, 1.4, 115),
    "lite-lpcnn": _Measured(16, 3.2, 175),
    "ir2qsm": _Measured(16, 6.4, 560),
    "lpcnn": _Measured(32, 14.9, 530),
}

PROCESS_GB = 0.5
"""Python with torch, the weights and the images themselves."""


@dataclass(frozen=True)
class Cost:
    """What one run of a network takes."""

    memory_gb: float
    """Peak resident memory of the process."""
    cpu_seconds: float
    """CPU time, on one thread."""


def network_cost(
    architecture: str, n_voxels: int, *, width: int | None = None, dtype: str = "float32"
) -> Cost:
    """Estimate what a network needs on the CPU.

    Parameters
    ----------
    architecture : str
        Key of :data:`qsm_workflows.networks.checkpoints.ARCHITECTURES`.
    n_voxels : int
        Voxels of the image, on the grid that the network was trained on.
    width : int, optional
        Feature channels; as published (our small ones: as shipped) when not given. Time grows
        with its power of 1.5 and memory with the width itself, as was seen between 32 and 64.
    dtype : {"float32", "bfloat16"}
        Precision; bfloat16 is as fast as this only with instructions for it.

    Raises
    ------
    ValueError
        If there is no such architecture or precision.
    """
    tables = {"float32": _FLOAT32, "bfloat16": _BFLOAT16}
    if dtype not in tables:
        raise ValueError(f"dtype must be one of {', '.join(tables)}, not {dtype!r}")
    if architecture not in tables[dtype]:
        raise ValueError(
            f"unknown architecture {architecture!r}; there are {', '.join(tables[dtype])}"
        )
    measured = tables[dtype][architecture]
    ratio = (width or measured.width) / measured.width
    return Cost(
        memory_gb=PROCESS_GB + measured.bytes * ratio * n_voxels / 1e9,
        cpu_seconds=measured.microseconds * ratio**1.5 * n_voxels / 1e6,
    )
