"""What whole-volume inference costs beside its convolutions alone.

    python benchmarks/inference.py xqsm:64 lite:32 --shape 144 192 128

For each network, with weights drawn at random: the time of
:func:`qsm_workflows.networks.inference.apply_network`, the time of every one of its convolutions
run by itself on an input of the same shape, precision and memory format, and their ratio, which
is what padding, normalisation, activations, sums, poolings and copies cost on top. CPU time of
the process, so that other work on the machine counts little; on a GPU wall time. Then the rate of
the convolutions in GFLOP/s and the peak memory of the process.
"""

import argparse
import resource
import time

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("networks", nargs="+", metavar="ARCHITECTURE:WIDTH")
    parser.add_argument("--shape", nargs=3, type=int, default=[144, 192, 128])
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    dtype = fastest_dtype(torch.device(args.device)) if args.dtype == "auto" else args.dtype
    settings = {"device": args.device, "dtype": dtype}
    field = np.random.default_rng(0).normal(0, 0.02, args.shape).astype(np.float32)
    print(f"{torch.__version__}, {args.device}, {dtype}, {args.threads} thread(s), {args.shape}")
    for name in args.networks:
        architecture, _, width = name.partition(":")
        network = ARCHITECTURES[architecture].network(int(width))
        found = calls(network, field, settings)
        times = []
        for _ in range(2):
            start = clock(args.device)
            apply_network(network, field, np.ones(field.shape), (1, 1, 1), **settings)
            times.append(clock(args.device) - start)
        own = sum(alone(*call, args.device, DTYPES[dtype]) for call in found)
        work = sum(gflop(*call) for call in found)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{name}: {min(times):.2f} s, convolutions alone {own:.2f} s, ratio "
            f"{min(times) / own:.2f}; {work:.0f} GFLOP at {work / own:.0f} GFLOP/s; "
            f"peak {peak:.1f} GiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
