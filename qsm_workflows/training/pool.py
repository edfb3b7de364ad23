"""Training volumes kept on disk."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.files import write_whole

from .anatomy import Anatomies
from .config import TrainingConfig
from .labels import brain_volume, shapes_volume

GENERATOR = 1
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
    folder: Path, config: TrainingConfig, anatomy: Path | None = None, *, progress: bool = False
) -> Pool:
    """Make the volumes that a configuration asks for, or find them made.

    Parameters
    ----------
    folder : Path
        Where they are kept.
    config : TrainingConfig
    anatomy : Path, optional
        Label sets to make brains from; see :class:`~qsm_workflows.training.anatomy.Anatomies`.
    progress : bool
        Show a bar.

    Raises
    ------
    ValueError
        If the folder holds volumes of another kind.
    """
    wanted = {name: asdict(config)[name] for name in _KEYS} | {
        "generator": GENERATOR,
        "anatomy": str(anatomy) if config.volumes == "brains" else None,
    }
    about = folder / "pool.json"
    if about.exists():
        found = json.loads(about.read_text(encoding="utf-8"))
        if found | {"source": ""} != json.loads(json.dumps(wanted)) | {"source": ""}:
            raise ValueError(f"{folder} holds other volumes than asked for; use another folder")
    else:
        source = _make_volumes(folder, config, anatomy, progress)
        # Written last: a folder without it is not complete.
        write_whole(about, lambda path: path.write_text(json.dumps(wanted | {"source": source})))
    if config.mode == "cropped" and not (folder / "field.npy").exists():
        _add_fields(folder, progress)
    return Pool(folder)


def _make_volumes(
    folder: Path, config: TrainingConfig, anatomy: Path | None, progress: bool
) -> str:
    """Write susceptibilities and masks; returns what they were made from."""
    folder.mkdir(parents=True, exist_ok=True)
    anatomies = Anatomies(anatomy) if config.volumes == "brains" else None
    shape = (config.pool, *config.volume_shape)
    chi = np.lib.format.open_memmap(folder / "chi.npy", "w+", np.float16, shape)
    mask = np.lib.format.open_memmap(folder / "mask.npy", "w+", np.bool_, shape)
    for number in tqdm(range(config.pool), desc="volumes", disable=not progress):
        rng = np.random.default_rng([config.seed, number])
        if anatomies is None:
            values, inside = shapes_volume(rng, config.volume_shape)
        else:
            values, inside = brain_volume(rng, anatomies, config.volume_shape)
        chi[number], mask[number] = values.numpy(), inside.numpy()
    return anatomies.source if anatomies else "random boxes and ellipsoids"


def _add_fields(folder: Path, progress: bool) -> None:
    """Write the field of every whole, zero-padded volume."""
    pool = Pool(folder)

    def write(path: Path) -> None:
        fields = np.lib.format.open_memmap(path, "w+", np.float16, pool.chi.shape)
        for number in tqdm(range(len(pool)), desc="fields", disable=not progress):
            chi = pool.chi[number].astype(np.float32)
            fields[number] = forward_field(chi, (1, 1, 1), (0, 0, 1)) * pool.mask[number]

    write_whole(folder / "field.npy", write)
