"""Options of a single step, taken from the inputs and outputs of its node."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

_NAMES = {
    "echo_time": "te",
    "echo_times": "te",
    "magnitudes": "magnitude",
    "masks": "mask",
    "b0_dirs": "b0-dir",
    "num_threads": "threads",
    "out_file": "out",
    "out_files": "out",
}
"""Inputs and outputs whose option has another name than their own."""

_MAIN = ("in_file", "in_files")

_LEFT_OUT = {"use_gpu", "mask_file", "weights_sha256"}
"""Inputs that mean something in a workflow only."""


def input_names(interface: Any) -> list[str]:
    """Inputs of a node that a user may set, its main one first."""
    names = interface.input_spec().copyable_trait_names()
    known = [name for name in names if name not in _LEFT_OUT]
    return sorted(known, key=lambda name: name not in _MAIN)


def output_names(interface: Any) -> list[str]:
    """Files that a node makes."""
    names = interface.output_spec().copyable_trait_names()
    return [name for name in names if name.startswith("out_")]


def echo_outputs(interface: Any) -> list[str]:
    """Outputs of a node that are one file an echo."""
    spec = interface.output_spec()
    return [
        name
        for name in output_names(interface)
        if type(spec.trait(name).trait_type).__name__ == "OutputMultiObject"
    ]


def add_options(parser: argparse.ArgumentParser, interface: Any) -> None:
    """Add an argument for each input and output file of a node.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    interface : type
        Class of the node. The type, default and description of an argument are those of
        the node's trait; one that is not given is left out of the parsed arguments.
    """
    spec = interface.input_spec()
    files = parser.add_argument_group("files")
    parameters = parser.add_argument_group("parameters")
    for name in input_names(interface):
        trait = spec.trait(name)
        argument = _argument(trait)
        if name in _MAIN:
            files.add_argument(name, **argument | {"metavar": "INPUT"})
            continue
        group = files if argument.get("metavar") == "FILE" else parameters
        group.add_argument(
            f"--{option(name)}",
            dest=name,
            required=bool(trait.mandatory),
            default=argparse.SUPPRESS,
            **argument,
        )
    outputs = output_names(interface)
    for name in outputs:
        files.add_argument(
            "--out" if len(outputs) == 1 else f"--{option(name)}",
            dest=name,
            nargs="+" if name in echo_outputs(interface) else 1,
            type=Path,
            metavar="FILE",
            required=len(outputs) == 1 or name in ("out_file", "out_files"),
            default=argparse.SUPPRESS,
            help=interface.output_spec().trait(name).desc,
        )


def given_inputs(arguments: argparse.Namespace, interface: Any) -> dict[str, Any]:
    """Inputs of a node that the parsed arguments give."""
    return {
        name: getattr(arguments, name)
        for name in input_names(interface)
        if hasattr(arguments, name)
    }


def source(method: str) -> str | None:
    """Works that describe a method."""
    from qsm_workflows.report.citations import WORKS, works_of

    works = [WORKS[key] for key in works_of(method)]
    return " ".join(f"{work.text} {work.url}" for work in works) or None


def option(name: str) -> str:
    """Option, without its dashes, of an input or output."""
    return _NAMES.get(name, name).replace("_", "-")


def _argument(trait: Any) -> dict[str, Any]:
    """Keywords of `add_argument` for an input."""
    description = trait.desc.replace("%", "%%")
    if trait.usedefault:
        description += f" (default: {trait.default})"
    return {"help": description, **_values(trait)}


def _values(trait: Any) -> dict[str, Any]:
    """How the values of an input are read."""
    kind = type(trait.trait_type).__name__
    if kind == "Bool":
        return {"action": argparse.BooleanOptionalAction}
    if kind == "Enum":
        values = trait.trait_type.values
        return {"choices": values, "type": type(values[0])}
    if kind == "Tuple":
        return {"type": float, "nargs": 3, "action": _Vector, "metavar": ("X", "Y", "Z")}
    if kind in ("List", "InputMultiObject"):
        inner = _values(trait.inner_traits[0])
        return inner | ({"action": _Vectors} if "nargs" in inner else {"nargs": "+"})
    if kind == "InputFile":
        return {"type": _existing_file, "metavar": "FILE"}
    if kind in ("Real", "Whole"):
        return {"type": _bounded(trait.trait_type), "metavar": "VALUE"}
    return {"type": {"Float": float, "Int": int, "Str": str}[kind], "metavar": "VALUE"}


class _Vector(argparse.Action):
    """Stores a vector as a tuple."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, tuple(values))


class _Vectors(argparse.Action):
    """Collects the vectors of an option that is repeated."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, [*getattr(namespace, self.dest, []), tuple(values)])


def _bounded(kind: Any) -> Callable[[str], float]:
    """What reads a number that an input takes."""
    # Imported here: parsers are made without Nipype.
    from traits.api import TraitError

    def read(text: str) -> float:
        try:
            return kind.validate(None, None, kind.evaluate(text))
        except (ValueError, TraitError):
            raise argparse.ArgumentTypeError(f"must be {kind.info()}, not {text}") from None

    return read


def _existing_file(text: str) -> str:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return text
