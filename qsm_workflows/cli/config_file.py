"""Options of ``qsm-wf run`` from a TOML file, put before those of the command line."""

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def expand_config(arguments: Sequence[str]) -> list[str]:
    """Put the options of a configuration file before those of the command line.

    Parameters
    ----------
    arguments : sequence of str
        Arguments after ``run``.

    Raises
    ------
    ValueError
        If the file cannot be read.
    """
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config", type=Path)
    config = finder.parse_known_args(arguments)[0].config
    return [*(config_arguments(config) if config else []), *arguments]


def config_arguments(path: Path) -> list[str]:
    """Read a configuration file as command-line arguments.

    Raises
    ------
    ValueError
        If it is no TOML file or holds a table that means nothing.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a TOML file: {error}") from error
    arguments: list[str] = []
    for name, value in settings.items():
        if name in ("param", "weights"):
            arguments += _table_arguments(path, name, value)
        elif isinstance(value, bool):
            arguments += [f"--{name}"] if value else []
        elif isinstance(value, dict):
            raise ValueError(f"{path}: there is no table [{name}]; parameters go in [param.{name}]")
        else:
            values = value if isinstance(value, list) else [value]
            arguments += [f"--{name.replace('_', '-')}", *map(str, values)]
    return arguments


def _table_arguments(path: Path, name: str, table: Any) -> list[str]:
    if not isinstance(table, dict):
        raise ValueError(f"{path}: {name} is a table, such as [{name}.medi]")
    arguments = []
    for key, value in table.items():
        if isinstance(value, dict):
            arguments += [f"--{name}={key}.{inner}={item}" for inner, item in value.items()]
        else:
            arguments.append(f"--{name}={key}={value}")
    return arguments
