"""What a training run is made of, read from a TOML file."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args, get_type_hints

from qsm_workflows.algorithms.fft import Shape3
from qsm_workflows.networks.methods import NETWORK_METHODS

MODES = ("individual", "cropped")
VOLUMES = ("brains", "shapes", "mixed")
SCHEDULES = ("cosine", "multistep")


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides what a training run gives, apart from the anatomy folder.

    Every field is a key of the TOML file.
    """

    method: str
    """Inversion that the weights will serve: xqsm, deepqsm, unet, ir2qsm or lpcnn."""
    architecture: str
    """Key of :data:`qsm_workflows.networks.checkpoints.ARCHITECTURES`."""
    width: int
    mode: str
    """individual: the field of the patch alone; cropped: the field of all, then cropped."""
    steps: int
    """Length of the whole run; the learning rate's schedule ends here."""
    volumes: str = "brains"
    """brains, shapes, or mixed: one of each in turn."""
    pool: int = 64
    """How many volumes are made; the last of them are kept for validation."""
    validation: int = 4
    """How many of them validate."""
    volume_shape: Shape3 = (144, 192, 128)
    patches: tuple[Shape3, ...] = ((64, 64, 64),)
    """Patch shapes; each batch draws one."""
    batch: int = 2
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    """cosine, after a warm-up; or multistep: a tenth after 1/2 and again after 4/5."""
    weight_decay: float = 0.0
    """Of Adam."""
    warmup: int = 200
    settle: float = 1.0
    """Part of the run after which batch normalisation uses what it will use in inference,
    the statistics gathered so far, instead of those of the batch. Too early, while the
    learning rate is high, and the run is lost."""
    clip: float = 20.0
    """Norm that a step's gradient is cut down to, a little above what is usual: a patch with
    a strong source may give ten times as much, and would undo what hundreds have taught."""
    noise_probability: float = 0.2
    """Part of the patches whose field gets noise."""
    noise_snr: tuple[float, ...] = (50.0, 40.0, 20.0, 10.0, 5.0)
    """Ratios of power, one of which is drawn."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("mode", MODES), ("volumes", VOLUMES), ("schedule", SCHEDULES)):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}"
                )
        architectures = {m.trained_for: m.architectures for m in NETWORK_METHODS.values()}
        if self.architecture not in architectures.get(self.method, ()):
            known = "; ".join(f"{name}: {', '.join(of)}" for name, of in architectures.items())
            raise ValueError(
                f"no {self.method} is of the architecture {self.architecture}; there are {known}"
            )
        for name in ("steps", "batch", "learning_rate", "clip", "width", "validation"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("weight_decay", "warmup", "settle", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")
        if self.validation >= self.pool:
            raise ValueError(
                f"pool must be more than the {self.validation} volumes that validate, "
                f"not {self.pool}"
            )
        if not self.patches:
            raise ValueError("patches needs at least one shape")
        for patch in self.patches:
            if len(patch) != 3 or any(
                not 0 < n <= m for n, m in zip(patch, self.volume_shape, strict=True)
            ):
                raise ValueError(f"no patch of {patch} fits into volumes of {self.volume_shape}")
        if not 0 <= self.noise_probability <= 1:
            raise ValueError(
                f"noise_probability must be from 0 to 1, but is {self.noise_probability}"
            )
        if not self.noise_snr or not all(snr > 0 for snr in self.noise_snr):
            raise ValueError(
                "noise_snr needs at least one ratio, each of them positive, but is "
                f"{list(self.noise_snr)}; noise_probability = 0 leaves the noise out"
            )

    @classmethod
    def read(cls, path: Path) -> "TrainingConfig":
        """Read a TOML file.

        Raises
        ------
        ValueError
            If the file is no TOML, or a key is unknown, missing or of the wrong type.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ValueError(f"cannot read the configuration {path}: {error}") from error
        types = get_type_hints(cls)
        for name, value in values.items():
            if name not in types:
                raise ValueError(f"{path}: unknown key {name!r}; there are {', '.join(types)}")
            try:
                values[name] = _converted(value, types[name])
            except TypeError:
                raise ValueError(
                    f"{path}: {name} = {value!r} is of the wrong type; it must be like "
                    f"{_EXAMPLES[types[name]]}"
                ) from None
        required = {f.name for f in fields(cls) if not hasattr(cls, f.name)}
        if missing := sorted(required - values.keys()):
            raise ValueError(f"{path} lacks {', '.join(missing)}")
        return cls(**values)

    def as_json(self) -> dict[str, Any]:
        """Every key with its value, as JSON gives them back: lists instead of tuples."""
        return json.loads(json.dumps(asdict(self)))


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Say which of the entries that both have are others; nothing if none is.

    Examples
    --------
    >>> differences({"seed": 1, "steps": 20, "pool": 4}, {"seed": 2, "steps": 10, "pool": 4})
    'seed is 1, not 2; steps is 20, not 10'
    """
    return "; ".join(
        f"{name} is {found[name]}, not {wanted[name]}"
        for name in wanted
        if name in found and found[name] != wanted[name]
    )


_EXAMPLES = {
    str: '"text"',
    int: "2",
    float: "0.5",
    Shape3: "[64, 64, 64]",
    tuple[Shape3, ...]: "[[64, 64, 64], [80, 80, 48]]",
    tuple[float, ...]: "[40.0, 20.0]",
}
"""How a value of each type is written in the file."""


def _converted(value: Any, kind: Any) -> Any:
    """Value of a TOML file as the type of its field; TypeError if it is of another."""
    parts = get_args(kind)
    if parts and isinstance(value, list):
        if parts[-1] is Ellipsis:
            parts = parts[:1] * len(value)
        if len(parts) == len(value):
            return tuple(map(_converted, value, parts))
    elif kind is float and type(value) is int:
        return float(value)
    elif not parts and type(value) is kind:
        return value
    raise TypeError


def builtin_configs() -> dict[str, Path]:
    """Configurations that come with the package, by name."""
    folder = Path(str(files("qsm_workflows.training"))) / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}
