"""What whole-volume inference costs beside its convolutions alone.

    python benchmarks/inference.py xqsm:64 lite:32 --shape 144 192 128

For each network, with weights drawn at random and in a process of its own: the time of
:func:`qsm_workflows.networks.inference.apply_network`, the time of every one of its convolutions
run by itself on an input of the same shape, precision and memory format, and their ratio, which
is what padding, normalisation, activations, sums, poolings and copies cost on top. CPU time of
the process, so that other work on the machine counts little; on a GPU wall time. Then the rate of
the convolutions in GFLOP/s, as a part of that of a product of large matrices too, and the peak
memory: of the process, on a GPU of the device. Time and growth of the memory are also given for a
voxel, as :mod:`qsm_workflows.networks.costs` has them (``--shape 96 96 96``).
"""

import argparse
import re
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import nn

from qsm_workflows.networks.base import InversionNetwork
from qsm_workflows.networks.checkpoints import ARCHITECTURES
from qsm_workflows.networks.inference import DTYPES, apply_network, fastest_dtype

Convolution = nn.Conv3d | nn.ConvTranspose3d


def clock(device: str) -> float:
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def calls(network: InversionNetwork, field: np.ndarray, settings: dict) -> list:
    """Every convolution that inference runs, with the shape of its input."""
    seen: list[tuple[Convolution, torch.Size]] = []

    def note(layer: Convolution, inputs: tuple[torch.Tensor]) -> None:
        seen.append((layer, inputs[0].shape))

    hooks = [
        layer.register_forward_pre_hook(note)
        for layer in network.modules()
        if isinstance(layer, Convolution)
    ]
    apply_network(network, field, np.ones(field.shape), (1, 1, 1), **settings)
    for hook in hooks:
        hook.remove()
    return seen


@torch.inference_mode()
def alone(layer: Convolution, shape: torch.Size, device: str, dtype: torch.dtype) -> float:
    """Best time of three of a convolution by itself."""
    volume = torch.randn(shape, device=device).to(dtype=dtype, memory_format=torch.channels_last_3d)
    times = []
    for _ in range(3):
        start = clock(device)
        with torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32):
            layer(volume)
        times.append(clock(device) - start)
    return min(times)


def gflop(layer: Convolution, shape: torch.Size) -> float:
    """Floating-point operations of a convolution."""
    positions = np.prod(shape[2:])
    if isinstance(layer, nn.Conv3d):
        positions = positions / np.prod(layer.stride)
    return 2e-9 * positions * layer.weight.numel()


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Best rate of three of a product of large matrices, GFLOP/s."""
    side = 2048 if device == "cpu" else 8192
    matrix = torch.randn(side, side, device=device, dtype=dtype)
    times = []
    for _ in range(3):
        start = clock(device)
        matrix @ matrix
        times.append(clock(device) - start)
    return 2e-9 * side**3 / min(times)


def peak_bytes(device: str) -> int:
    """Peak of the process so far; on a GPU that of the device."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    # Not `getrusage`, whose peak of a new process is at least that of the one it came from.
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s*(\d+)", status)
    return int(found[1]) * 1024 if found else 0


def measure(name: str, shape: list[int], device: str, dtype: str, threads: int) -> str:
    """A line about a network."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    settings = {"device": device, "dtype": dtype}
    architecture, _, width = name.partition(":")
    network = ARCHITECTURES[architecture].network(int(width))
    field = np.random.default_rng(0).normal(0, 0.02, shape).astype(np.float32)
    small = np.ones((16, 16, 16))
    apply_network(network, small, small, (1, 1, 1), **settings)
    before = peak_bytes(device)
    found = calls(network, field, settings)
    times = []
    for _ in range(2):
        start = clock(device)
        apply_network(network, field, np.ones(field.shape), (1, 1, 1), **settings)
        times.append(clock(device) - start)
    took, peak = min(times), peak_bytes(device)
    own = sum(alone(*call, device, DTYPES[dtype]) for call in found)
    work = sum(gflop(*call) for call in found)
    return (
        f"{name}: {took:.2f} s, convolutions alone {own:.2f} s, ratio {took / own:.2f}; "
        f"{work:.0f} GFLOP at {work / own:.0f} GFLOP/s, "
        f"{work / own / matrix_rate(device, DTYPES[dtype]):.0%} of that of matrices; peak "
        f"{peak / 2**30:.1f} GiB; a voxel {1e6 * took / field.size:.1f} µs, "
        f"{(peak - before) / field.size:.0f} bytes"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("networks", nargs="+", metavar="ARCHITECTURE:WIDTH")
    parser.add_argument("--shape", nargs=3, type=int, default=[144, 192, 128])
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    dtype = fastest_dtype(torch.device(args.device)) if args.dtype == "auto" else args.dtype
    print(f"{torch.__version__}, {args.device}, {dtype}, {args.threads} thread(s), {args.shape}")
    for name in args.networks:
        # A process each: the peak of one must not hide that of the next.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            about = name, args.shape, args.device, dtype, args.threads
            print(process.submit(measure, *about).result(), flush=True)


if __name__ == "__main__":
    main()
