"""Cost of every background removal and inversion on a head of N³ voxels, beside its transforms.

    python benchmarks/methods.py [METHOD ...] [--size 160] [--threads 1 2] [--device cpu]

Each method runs in a process of its own with its defaults, once for each number of threads.
``pairs`` are Fourier transforms
there and back, counted; ``ratio`` is the time of the method over pairs times the time of one
pair on the same grid, measured in the same process: 1 is as fast as its transforms allow.
``volumes`` is the peak memory beyond the inputs in float32 volumes of the padded grid.
"""

import argparse
import importlib
import multiprocessing
import statistics
import threading
import time
from typing import NamedTuple

import numpy as np
import psutil

BACKGROUND = ("resharp", "sharp", "vsharp", "ismv", "pdf", "lbv")
INVERSION = (
    "tkd",
    "tsvd",
    "l2",
    "ilsqr",
    "medi",
    "tv",
    "rts",
    "ndi",
    "star",
    "lnqsm",
    "total_field_medi",
)
TOTAL_FIELD = ("lnqsm", "total_field_medi")
MODULES = {"vsharp": "sharp", "tkd": "direct", "tsvd": "direct", "l2": "direct"}
"""Where a function is, unless in a module of its own name."""

GEOMETRY = (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)


class Cost(NamedTuple):
    """What one method took."""

    method: str
    busy: float
    wall: float
    pairs: float
    grid: tuple[int, int, int]
    pair: float
    volumes: float
    error: float


class Head(NamedTuple):
    chi: np.ndarray
    mask: np.ndarray
    local_field: np.ndarray
    total_field: np.ndarray
    magnitude: np.ndarray


def make_head(size: int) -> Head:
    """Balls of 0.02 to 0.2 ppm in an ellipsoid, with noise, air outside and a shim."""
    from qsm_workflows.algorithms.dipole import forward_field

    rng = np.random.default_rng(0)
    x, y, z = np.ogrid[tuple(slice(-1, 1, size * 1j) for _ in range(3))]
    mask = (x / 0.8) ** 2 + (y / 0.95) ** 2 + (z / 0.75) ** 2 < 1
    chi = np.zeros(mask.shape, np.float32)
    for centre in rng.uniform(-0.5, 0.5, (30, 3)):
        radius = rng.uniform(0.04, 0.15)
        ball = sum((a - c) ** 2 for a, c in zip((x, y, z), centre, strict=True)) < radius**2
        chi[ball] = rng.uniform(-0.05, 0.2)
    local = forward_field(chi, *GEOMETRY, pad=40) + rng.normal(0, 2e-3, chi.shape)
    air = ((x / 0.3) ** 2 + ((y - 0.85) / 0.2) ** 2 + ((z + 0.75) / 0.2) ** 2 < 1) & ~mask
    background = forward_field(9.0 * air, *GEOMETRY, pad=40) + 0.5 * x * y + 0.3 * z
    magnitude = 100 - 200 * chi + rng.normal(0, 0.5, chi.shape)
    volumes = (chi, mask, local * mask, (local + background) * mask, magnitude * mask)
    return Head(*(np.ascontiguousarray(v, v.dtype if v is mask else np.float32) for v in volumes))


def call(method: str, head: Head, device: str) -> np.ndarray:
    """Result of a method with its defaults."""
    package = "background" if method in BACKGROUND else "inversion"
    module = f"qsm_workflows.algorithms.{package}.{MODULES.get(method, method)}"
    function = getattr(importlib.import_module(module), method)
    if method in BACKGROUND:
        geometry = GEOMETRY if method == "pdf" else GEOMETRY[:1]
        return function(head.total_field, head.mask, *geometry, device=device)[0]
    magnitude = (head.magnitude,) if method.endswith("medi") else ()
    field = head.total_field if method in TOTAL_FIELD else head.local_field
    return function(field, head.mask, *magnitude, *GEOMETRY, device=device)


def measure(method: str, size: int, threads: int, device: str) -> Cost:
    """Run a method once, after a small run that loads what it needs."""
    import torch

    from qsm_workflows.algorithms import fft
    from qsm_workflows.algorithms.metrics import nrmse

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    call(method, make_head(32), device)
    head = make_head(size)
    grids = []
    transforms = fft.forward, fft.inverse

    def count(transform):
        def counted(volume, shape, *crop):
            grids.append(tuple(shape))
            return transform(volume, shape, *crop)

        return counted

    fft.forward, fft.inverse = map(count, transforms)
    peak = PeakMemory(device)
    peak.start()
    busy, wall = clock(device), time.perf_counter()
    result = call(method, head, device)
    busy, wall = clock(device) - busy, time.perf_counter() - wall
    used = peak.stop()
    fft.forward, fft.inverse = transforms
    grid = statistics.mode(grids)
    truth = head.local_field if method in BACKGROUND else head.chi
    inside = head.mask & (result != 0)
    error = nrmse(result - result[inside].mean(), truth - truth[inside].mean(), inside)
    pair = time_pair(grid, device)
    volumes = used / (4 * np.prod(grid))
    return Cost(method, busy, wall, len(grids) / 2, grid, pair, volumes, error)


class PeakMemory(threading.Thread):
    """Most memory that was in use beyond what was in use at the start, in bytes."""

    def __init__(self, device: str) -> None:
        super().__init__(daemon=True)
        self.device, self.process = device, psutil.Process()
        self.start_bytes = self.peak = self.now()
        self.done = threading.Event()

    def now(self) -> float:
        if self.device != "cpu":
            import torch

            return torch.cuda.memory_allocated()
        return self.process.memory_info().rss

    def run(self) -> None:
        while not self.done.wait(0.002):
            self.peak = max(self.peak, self.now())

    def stop(self) -> float:
        self.done.set()
        self.join()
        return self.peak - self.start_bytes


def clock(device: str) -> float:
    """Seconds of the processor, or of the wall where another device works."""
    if device != "cpu":
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def time_pair(grid: tuple[int, int, int], device: str) -> float:
    """Seconds of a transform there and back, median of five."""
    import torch

    from qsm_workflows.algorithms import fft

    volume = torch.rand(grid, device=device)
    times = []
    for _ in range(5):
        start = clock(device)
        fft.inverse(fft.forward(volume, grid), grid, grid)
        times.append(clock(device) - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = (*BACKGROUND, *INVERSION)
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join(known)}")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    print(
        "| method | threads | CPU s | wall s | pairs | grid | pair s | ratio | volumes | error % |"
    )
    print("|---" * 10 + "|")
    # A fresh process for each method: peak memory never falls in one that lives on.
    context = multiprocessing.get_context("spawn")
    for method in options.methods or known:
        for threads in options.threads:
            with context.Pool(1) as pool:
                cost = pool.apply(measure, (method, options.size, threads, options.device))
            ratio = cost.busy / (cost.pairs * cost.pair)
            grid = "×".join(map(str, cost.grid))
            print(
                f"| {cost.method} | {threads} | {cost.busy:.2f} | {cost.wall:.2f} | {cost.pairs:g} "
                f"| {grid} | {cost.pair:.3f} | {ratio:.2f} | {cost.volumes:.1f} "
                f"| {100 * cost.error:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
