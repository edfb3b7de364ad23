"""Training volumes kept on disk."""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.files import write_whole

from .anatomy import Anatomies
from .config import TrainingConfig
from .labels import brain_volume, shapes_volume

GENERATOR = 2
"""Raised whenever the same seed gives other volumes."""

_KEYS = ("volumes", "pool", "volume_shape", "seed")


class Pool:
    """Volumes of susceptibility in float16, their masks and, for the cropped mode, fields.

    Parameters
    ----------
    folder : Path
        As :func:`make_pool` left it.
    """

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / "pool.json").read_text(encoding="utf-8"))
        self.source: str = about["source"]
        """Of which anatomy the volumes are."""
        self.chi = np.load(folder / "chi.npy", mmap_mode="r")
        self.mask = np.load(folder / "mask.npy", mmap_mode="r")
        field = folder / "field.npy"
        self.field = np.load(field, mmap_mode="r") if field.exists() else None

    def __len__(self) -> int:
        return len(self.chi)


def make_pool(
    folder: Path,
    config: TrainingConfig,
    anatomy: Path | None = None,
    *,
    workers: int = 1,
    progress: bool = False,
) -> Pool:
    """Make the volumes that a configuration asks for, or find them made.

    Parameters
    ----------
    folder : Path
        Where they are kept.
    config : TrainingConfig
    anatomy : Path, optional
        Label sets to make brains from; see :class:`~qsm_workflows.training.anatomy.Anatomies`.
    workers : int
        Processes that make volumes; the volumes do not depend on it.
    progress : bool
        Show a bar.

    Raises
    ------
    ValueError
        If the folder holds volumes of another kind.
    """
    wanted = {name: asdict(config)[name] for name in _KEYS} | {
        "generator": GENERATOR,
        "anatomy": None if config.volumes == "shapes" else str(anatomy),
    }
    about = folder / "pool.json"
    if about.exists():
        found = json.loads(about.read_text(encoding="utf-8"))
        if found | {"source": ""} != json.loads(json.dumps(wanted)) | {"source": ""}:
            raise ValueError(f"{folder} holds other volumes than asked for; use another folder")
    else:
        source = _make_volumes(folder, config, anatomy, workers, progress)
        # Written last: a folder without it is not complete.
        write_whole(about, lambda path: path.write_text(json.dumps(wanted | {"source": source})))
    if config.mode == "cropped" and not (folder / "field.npy").exists():
        _add_fields(folder, workers, progress)
    return Pool(folder)


def _make_volumes(
    folder: Path, config: TrainingConfig, anatomy: Path | None, workers: int, progress: bool
) -> str:
    """Write susceptibilities and masks; returns what they were made from."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = (config.pool, *config.volume_shape)
    for name, dtype in (("chi", np.float16), ("mask", np.bool_)):
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shape)
    maker = _Volumes(folder, config, anatomy)
    _run(maker, config.pool, workers, "volumes" if progress else "")
    return maker.source


class _Volumes:
    """Makes and writes one volume after the other."""

    def __init__(self, folder: Path, config: TrainingConfig, anatomy: Path | None) -> None:
        self.folder, self.config = folder, config
        self.anatomies = None if config.volumes == "shapes" else Anatomies(anatomy)
        sources = [self.anatomies.source] if self.anatomies else []
        if config.volumes != "brains":
            sources.append("random boxes and ellipsoids")
        self.source = " and of ".join(sources)

    def __call__(self, number: int) -> None:
        rng = np.random.default_rng([self.config.seed, number])
        if self.anatomies is None or (self.config.volumes == "mixed" and number % 2):
            values, inside = shapes_volume(rng, self.config.volume_shape)
        else:
            values, inside = brain_volume(rng, self.anatomies, self.config.volume_shape)
        for name, volume in (("chi", values), ("mask", inside)):
            np.load(self.folder / f"{name}.npy", mmap_mode="r+")[number] = volume.numpy()


def _add_fields(folder: Path, workers: int, progress: bool) -> None:
    """Write the field of every whole, zero-padded volume."""
    pool = Pool(folder)

    def write(path: Path) -> None:
        np.lib.format.open_memmap(path, "w+", np.float16, pool.chi.shape)
        _run(_Fields(folder, path), len(pool), workers, "fields" if progress else "")

    write_whole(folder / "field.npy", write)


@dataclass(frozen=True)
class _Fields:
    """Computes and writes the field of one volume after the other."""

    folder: Path
    target: Path

    def __call__(self, number: int) -> None:
        pool = Pool(self.folder)
        chi = pool.chi[number].astype(np.float32)
        field = forward_field(chi, (1, 1, 1), (0, 0, 1)) * pool.mask[number]
        np.load(self.target, mmap_mode="r+")[number] = field


def _run(make: Callable[[int], None], count: int, workers: int, title: str) -> None:
    """Make so many volumes, side by side if need be, with a bar if it has a title."""
    with ExitStack() as stack:
        numbers: Iterable[object] = map(make, range(count))
        if workers > 1:
            processes = stack.enter_context(
                ProcessPoolExecutor(workers, get_context("spawn"), _settle)
            )
            numbers = processes.map(make, range(count))
        for _ in tqdm(numbers, total=count, desc=title, disable=not title):
            pass


def _settle() -> None:
    """Keep a worker to one thread, and denormal numbers out of it."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
