"""Training volumes kept on disk."""

import json
import math
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.files import write_whole

from .anatomy import Anatomies, LabelSet, digital_head, fingerprint
from .config import TrainingConfig, differences
from .labels import brain_volume, shapes_volume

GENERATOR = 2
"""Raised whenever the same seed gives other volumes."""

COMPLETE, UNFINISHED = "pool.json", "unfinished.json"
"""Names of the record of what a folder's volumes are, by whether all of them are made."""

DIGITAL_HEADS = 4
"""How many heads of :mod:`qsm_workflows.phantom` the brains are where no anatomy is given."""

_KEYS = ("volumes", "pool", "volume_shape", "seed")


class Pool:
    """Volumes of susceptibility in float16, their masks and, for the cropped mode, fields.

    Parameters
    ----------
    folder : Path
        As :func:`make_pool` left it.
    """

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
        self.source: str = about["source"]
        """Of which anatomy the volumes are."""
        self.origin: dict[str, Any] = {name: about[name] for name in ("generator", "anatomy")}
        """As :func:`pool_origin` gives it."""
        self.chi = np.load(folder / "chi.npy", mmap_mode="r")
        self.mask = np.load(folder / "mask.npy", mmap_mode="r")
        field = folder / "field.npy"
        self.field = np.load(field, mmap_mode="r") if field.exists() else None

    def __len__(self) -> int:
        return len(self.chi)


def pool_origin(config: TrainingConfig, anatomy: Path | None) -> dict[str, Any]:
    """What volumes are made by and of, which their configuration does not say.

    Parameters
    ----------
    config, anatomy
        As :func:`make_pool` takes them.

    Returns
    -------
    dict
        ``generator``, and as ``anatomy`` the digest of the label images, None without any.
    """
    digest = None if anatomy is None or config.volumes == "shapes" else fingerprint(anatomy)
    return {"generator": GENERATOR, "anatomy": digest}


def make_pool(
    folder: Path,
    config: TrainingConfig,
    anatomy: Path | None = None,
    *,
    minutes: float = math.inf,
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
        Label sets to make brains from, at least one of them a whole brain; see
        :func:`~qsm_workflows.training.anatomy.find_label_images`. Without it digital heads are
        made first, and kept in `folder` until all volumes are.
    minutes : float
        Time after which to stop; what is being made then is finished.
    workers : int
        Processes that make volumes; the volumes do not depend on it.
    progress : bool
        Show a bar.

    Raises
    ------
    ValueError
        If the folder holds volumes of another kind.
    TimeoutError
        If time is up before all are made; the same call makes the rest.
    """
    deadline = time.monotonic() + 60 * minutes
    wanted = {name: config.as_json()[name] for name in _KEYS} | pool_origin(config, anatomy)
    for name in (COMPLETE, UNFINISHED):
        if (folder / name).exists():
            _check_same(folder / name, wanted)
    crew = _Crew(workers, progress, deadline)
    if not (folder / COMPLETE).exists():
        anatomies = None if config.volumes == "shapes" else _anatomies(folder, anatomy, crew)
        _make_volumes(folder, _Volumes(folder, config, anatomies), wanted, crew)
        shutil.rmtree(_heads_folder(folder), ignore_errors=True)
    if config.mode == "cropped" and not (folder / "field.npy").exists():
        _add_fields(folder, crew)
    return Pool(folder)


def _check_same(record: Path, wanted: dict[str, Any]) -> None:
    """Refuse a pool, complete or not, of other volumes than those wanted."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        other = differences(dict.fromkeys(wanted) | found, wanted)
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(
            f"{record} is damaged ({error}); remove the volumes there, or use another folder"
        ) from error
    if other:
        raise ValueError(
            f"{record.parent} holds other volumes than asked for ({other}); use another folder, "
            "or remove them"
        )


def _heads_folder(pool: Path) -> Path:
    """Where the digital heads of a pool are until its volumes are; no other generator's are."""
    return pool / f"heads-{GENERATOR}"


def _anatomies(folder: Path, given: Path | None, crew: "_Crew") -> Anatomies:
    """Brains to make volumes of; the digital heads of an earlier call are not made again."""
    if given is not None:
        return Anatomies.read(given)
    heads = _Heads(_heads_folder(folder))
    made = heads.folder / "made.npy"
    if not made.exists():
        _new_array(made, np.bool_, (DIGITAL_HEADS,))
    crew.make(heads, made, "digital heads")
    brains = [heads.read(number) for number in range(DIGITAL_HEADS)]
    return Anatomies(brains, donors=(), source=f"{DIGITAL_HEADS} digital heads")


@dataclass(frozen=True)
class _Heads:
    """Makes and writes one digital head after the other."""

    folder: Path

    def __call__(self, number: int) -> None:
        head = digital_head(number)
        write_whole(
            self._path(number),
            lambda path: np.savez_compressed(path, labels=head.labels, affine=head.affine),
        )

    def read(self, number: int) -> LabelSet:
        """Read one that is written."""
        return LabelSet(**np.load(self._path(number)))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.npz"


def _make_volumes(folder: Path, maker: "_Volumes", wanted: dict[str, Any], crew: "_Crew") -> None:
    """Write susceptibilities and masks, those of an earlier call left out."""
    made, unfinished = folder / "made.npy", folder / UNFINISHED
    if not unfinished.exists():
        shape = (maker.config.pool, *maker.config.volume_shape)
        _new_array(folder / "chi.npy", np.float16, shape)
        _new_array(folder / "mask.npy", np.bool_, shape)
        _new_array(made, np.bool_, shape[:1])
        text = json.dumps(wanted | {"source": maker.source})
        write_whole(unfinished, lambda path: path.write_text(text, encoding="utf-8"))
    crew.make(maker, made, "volumes")
    unfinished.replace(folder / COMPLETE)
    made.unlink()


def _new_array(path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    """Lay out a file of zeros, which is then filled piece by piece."""
    write_whole(path, lambda partial: np.lib.format.open_memmap(partial, "w+", dtype, shape))


class _Volumes:
    """Makes and writes one volume after the other."""

    def __init__(self, folder: Path, config: TrainingConfig, anatomies: Anatomies | None) -> None:
        self.folder, self.config, self.anatomies = folder, config, anatomies
        sources = [anatomies.source] if anatomies else []
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


def _add_fields(folder: Path, crew: "_Crew") -> None:
    """Write the field of every whole, zero-padded volume, likewise."""
    pool = Pool(folder)
    made, unfinished = folder / "fields-made.npy", folder / "unfinished-field.npy"
    if not unfinished.exists():
        _new_array(made, np.bool_, (len(pool),))
        _new_array(unfinished, np.float16, pool.chi.shape)
    crew.make(_Fields(folder, unfinished), made, "fields")
    unfinished.replace(folder / "field.npy")
    made.unlink()


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


@dataclass(frozen=True)
class _Noted:
    """Makes one thing after the other, and notes which are made."""

    make: Callable[[int], None]
    made: Path

    def __call__(self, number: int) -> None:
        self.make(number)
        np.load(self.made, mmap_mode="r+")[number] = True


@dataclass(frozen=True)
class _Crew:
    """How volumes are made: side by side if need be, with a bar, until time is up."""

    workers: int
    progress: bool
    deadline: float

    def make(self, make: Callable[[int], None], made: Path, title: str) -> None:
        """Make what is not noted to be made.

        Raises
        ------
        TimeoutError
            If time was up first.
        """
        done = np.load(made)
        missing = np.flatnonzero(~done).tolist()
        with ExitStack() as stack:
            results: Iterable[object] = map(_Noted(make, made), missing)
            if self.workers > 1:
                processes = ProcessPoolExecutor(self.workers, get_context("spawn"), _settle)
                stack.callback(processes.shutdown, cancel_futures=True)
                results = processes.map(_Noted(make, made), missing)
            bar = tqdm(
                results,
                total=len(done),
                initial=len(done) - len(missing),
                desc=title,
                disable=not self.progress,
            )
            for _ in bar:
                if time.monotonic() > self.deadline:
                    break
        done = np.load(made)
        if not done.all():
            raise TimeoutError(f"{done.sum()} of {len(done)} {title} were made when time was up")


def _settle() -> None:
    """Keep a worker to one thread, and denormal numbers out of it."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
