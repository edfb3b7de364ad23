"""Running a network on a whole volume of any size, voxel size and orientation."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import nn

from ..algorithms.fft import Shape3, to_array, to_tensor
from ..algorithms.geometry import (
    FloatArray,
    MaskArray,
    Triple,
    bounding_box,
    check_geometry,
    check_mask,
    check_volume,
)
from .base import InversionNetwork
from .grid import TrainedGrid
from .methods import resampling_warning
from .tiles import Slices, split

_logger = logging.getLogger(__name__)

Progress = Callable[[float], None]

AUTO = "auto"
"""Precision that is chosen by what the device can do."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""As the kernel calls instructions for bfloat16, on x86 and ARM."""

MIRRORED = ((), (0,), (2,), (0, 2))
"""Axes that are turned over for each image of the mean; all eight gave no more."""

_SMALL_TILE = 64

SMALLEST_SIDE = 8
"""Voxels of the mask along an axis of the trained grid; with fewer a network sees too little."""


def apply_network(
    network: InversionNetwork,
    local_field: ArrayLike,
    mask: ArrayLike,
    voxel_size: Triple,
    b0_dir: Triple | None = None,
    *,
    trained_voxel_size: float = 1.0,
    device: str = "cpu",
    dtype: str = "float32",
    tile: int | None = None,
    progress: Progress | None = None,
) -> FloatArray:
    """Susceptibility of a whole volume by a network.

    The image is turned so that B0 lies along the last axis, interpolated only where its
    voxels or the tilt of B0 demand it (see :mod:`qsm_workflows.networks.grid`), masked,
    padded with zeros on both sides to sides that the network takes, and all of it is
    undone on the way back. Empty space round the brain is left out, unless the network
    needs the whole volume. Voxels much larger than the trained ones are warned of in the log.
    For the memory see :mod:`qsm_workflows.networks.costs`.

    Parameters
    ----------
    network : InversionNetwork
        Is moved to `device` and set to evaluation mode.
    local_field : (X, Y, Z) array_like
        Local field in ppm; ignored outside the mask.
    mask : (X, Y, Z) array_like
        Non-zero inside the brain.
    voxel_size : (3,) sequence of float
        Voxel edge lengths in mm.
    b0_dir : (3,) sequence of float, optional
        Unit vector of B0 in voxel axes; the third axis when not given.
    trained_voxel_size : float
        Edge of the isotropic voxels that the network was trained on, in mm.
    device : str
        Torch device.
    dtype : {"float32", "bfloat16", "float16", "auto"}
        Precision of the convolutions; a residual sum stays in float32. bfloat16 needs less
        memory, and less time where the processor has instructions for it: "auto" takes it
        there, and float32 elsewhere.
    tile : int, optional
        Voxels, along each axis of the trained grid, that are computed at once, together
        with the network's halo round them; all when not given. Bounds the memory to that
        of a volume of ``tile + 2 * network.halo`` a side, and takes longer.
    progress : callable, optional
        Is given the part of the convolutions that is done, from 0 to 1.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        χ in ppm, zero outside the mask.

    Raises
    ------
    ValueError
        If an input is not valid, the mask is too thin, the device does not exist, the
        network cannot work in tiles, or its output is not finite.
    MemoryError
        If the device has too little memory.
    """
    size, direction = check_geometry(voxel_size, b0_dir)
    inside = check_mask(mask)
    field = check_volume("local_field", local_field, mask=inside)
    target = check_device(device)
    if dtype == AUTO:
        dtype = fastest_dtype(target)
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join((*DTYPES, AUTO))}, not {dtype!r}")
    x, y, z = field.shape
    grid = TrainedGrid.of((x, y, z), size, direction, trained_voxel_size)
    if tile is not None:
        tile = _check_tile(network, tile)
    if warning := resampling_warning(size, trained_voxel_size):
        _logger.warning(warning)
    turned, turned_mask = grid.forward(field, inside)
    _check_thickness(turned_mask, trained_voxel_size)
    try:
        chi = _infer(network, turned, target, DTYPES[dtype], tile, progress)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(
            f"{device} has too little memory for {type(network).__name__} on {grid.shape} "
            f"voxels; use {_less_memory(network, grid.shape, dtype, tile)}"
        ) from error
    if not np.isfinite(chi).all():
        raise ValueError(
            f"{type(network).__name__} gave NaN or infinite values; check that the field is in "
            "ppm, and use dtype='float32'"
        )
    return np.where(inside, grid.backward(chi, turned_mask), np.float32(0))


def check_device(device: str) -> torch.device:
    """Validate the name of a torch device.

    Raises
    ------
    ValueError
        If there is no such device on this machine, or it is of a kind that networks are not
        run on.
    """
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(_unknown_device(device)) from error
    if found.type not in ("cpu", "cuda"):
        raise ValueError(_unknown_device(device))
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {device!r} was asked for but torch sees {torch.cuda.device_count()} CUDA "
            "devices; use device='cpu', or install a CUDA build of torch and its driver"
        )
    return found


def _unknown_device(device: str) -> str:
    return f"unknown device {device!r}; use 'cpu', 'cuda' or 'cuda:1'"


def fastest_dtype(device: torch.device) -> str:
    """bfloat16 where the device computes in it, otherwise float32."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    # torch has no public question for this; without instructions bfloat16 is emulated, slowly.
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore").split())
    except OSError:
        flags = set()
    return "bfloat16" if flags & _BFLOAT16_FLAGS else "float32"


def is_out_of_memory(error: Exception) -> bool:
    """Whether torch or the system had too little memory."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "allocate memory" in str(error)


def _check_thickness(mask: MaskArray, voxel_size: float) -> None:
    if not mask.any():
        raise ValueError(
            f"nothing is left of the mask on voxels of {voxel_size:g} mm: it is too thin for a "
            "network; use a thicker slab, or check the mask"
        )
    sides = tuple(side.stop - side.start for side in bounding_box(mask))
    if min(sides) < SMALLEST_SIDE:
        raise ValueError(
            f"the mask spans {' × '.join(map(str, sides))} voxels of {voxel_size:g} mm: fewer than "
            f"{SMALLEST_SIDE} along an axis is too thin for a network; use a thicker slab, or "
            "check the mask"
        )


def _check_tile(network: InversionNetwork, tile: int) -> int:
    """Side of the tiles, rounded up to what the network takes."""
    if network.halo is None:
        raise ValueError(
            f"{type(network).__name__} needs the whole volume at once; leave out the tiles"
        )
    if tile < 1:
        raise ValueError(f"a tile must have at least 1 voxel a side, not {tile}")
    return -(-tile // network.multiple) * network.multiple


def _images(network: InversionNetwork) -> tuple[tuple[int, ...], ...]:
    return MIRRORED if network.averages_mirrored else ((),)


def _occupied(network: InversionNetwork, volume: torch.Tensor) -> Slices:
    """Part of a padded volume that holds a field, as blocks that the network's poolings keep."""
    box = (slice(None), slice(None), slice(None))
    if network.halo is None or not volume.any():
        return box
    x, y, z = (
        slice(
            side.start // network.multiple * network.multiple,
            side.stop + -side.stop % network.multiple,
        )
        for side in bounding_box((volume != 0).numpy())
    )
    return x, y, z


@contextmanager
def _reporting(network: InversionNetwork, progress: Progress | None, runs: int) -> Iterator[None]:
    """Report each convolution of a network that is run so many times."""
    layers = [m for m in network.modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)]
    calls = runs * network.repeats * len(layers)
    done = 0

    def step(*_: object) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            # A network may leave out a layer.
            progress(min(done / calls, 1.0))

    hooks = [] if progress is None else [layer.register_forward_hook(step) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    if progress is not None:
        progress(1.0)


@torch.inference_mode()
def _infer(
    network: InversionNetwork,
    field: FloatArray,
    device: torch.device,
    dtype: torch.dtype,
    tile: int | None,
    progress: Progress | None,
) -> FloatArray:
    network.eval().to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    padding = [
        (missing // 2, missing - missing // 2)
        for missing in (-n % network.multiple for n in field.shape)
    ]
    # F.pad counts its axes from the last one.
    volume = F.pad(torch.from_numpy(field), [n for pair in reversed(padding) for n in pair])
    padded_chi = torch.zeros_like(volume)
    box = _occupied(network, volume)
    volume, chi = volume[box], padded_chi[box]
    scale = network.scale(volume[None, None])
    if scale is not None:
        scale = scale.to(device)
    x, y, z = volume.shape
    pieces = list(split((x, y, z), tile or max(x, y, z), network.halo or 0))
    images = _images(network)
    with _reporting(network, progress, len(pieces) * len(images)):
        for axes in images:
            image, mirrored_chi = volume.flip(axes), torch.zeros_like(chi)
            for piece in pieces:
                part = to_tensor(image[piece.outer].numpy(), device)
                with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                    found = network(part[None, None], scale)[0, 0]
                mirrored_chi[piece.target] = found[piece.inner].float().cpu()
            chi += mirrored_chi.flip(axes) / len(images)
    crop = tuple(
        slice(before, before + n) for (before, _), n in zip(padding, field.shape, strict=True)
    )
    return to_array(padded_chi[crop])


def _less_memory(network: InversionNetwork, shape: Shape3, dtype: str, tile: int | None) -> str:
    """What takes less memory: keywords, and how the command line takes them."""
    ways = []
    if dtype == "float32":
        ways.append("dtype='bfloat16' (--dtype bfloat16)")
    if network.halo is not None:
        whole = _largest_piece(shape, tile or max(shape), network.halo)
        # A tile sees as much as the whole volume where the halo is as wide.
        if _largest_piece(shape, _SMALL_TILE, network.halo) < whole:
            ways.append(f"tile={_SMALL_TILE} (--tile {_SMALL_TILE})")
    in_a_run = "; a run takes --dtype and --tile as --param METHOD.dtype and METHOD.tile"
    others = "a thinner slab", "a narrower network or another device (--device)"
    return ", ".join((*ways, *others)) + (in_a_run if ways else "")


def _largest_piece(shape: Shape3, tile: int, halo: int) -> int:
    """Most voxels that a network sees at once."""
    return max(
        math.prod(side.stop - side.start for side in piece.outer)
        for piece in split(shape, tile, halo)
    )
