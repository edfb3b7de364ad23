"""``qsm-wf weights``: what trained networks there are."""

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qsm_workflows.networks.methods import NETWORK_METHODS, find_method, method_key


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the ``weights`` command."""
    parser = subparsers.add_parser(
        "weights",
        help="list, show and add the weights of networks",
        description="List the weights of networks that are installed.",
    )
    parser.set_defaults(func=_list)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    show = actions.add_parser("show", help="show a card", description="Show the card of weights.")
    show.set_defaults(func=_show)
    show.add_argument("name", help="as `qsm-wf weights` lists it, or a file")
    add = actions.add_parser(
        "add",
        help="install a file",
        description="Check a file of weights and copy it to your own folder, where `qsm-wf run` "
        "finds it.",
    )
    add.set_defaults(func=_add)
    add.add_argument(
        "method",
        type=method_key,
        choices=tuple(NETWORK_METHODS),
        metavar="METHOD",
        help=f"inversion that it serves: {', '.join(NETWORK_METHODS)}",
    )
    add.add_argument("file", type=Path, help=".safetensors, or .pth of the original authors")


def _list(args: argparse.Namespace) -> int:
    from qsm_workflows.networks.cards import installed_weights
    from qsm_workflows.networks.weights import package_folder, user_folder

    found = list(installed_weights())
    for weights in found:
        about = weights.card or {"architecture": "no card"}
        width = f" of width {about['width']}" if "width" in about else ""
        megabytes = weights.path.stat().st_size / 2**20
        print(
            f"{weights.name}: {about['architecture']}{width}, {megabytes:.1f} MiB, {weights.path}"
        )
    if not found:
        print(f"no weights in {user_folder()} or {package_folder()}; see `qsm-wf weights add`")
    return 0


def _show(args: argparse.Namespace) -> int:
    from qsm_workflows.networks.cards import check_card, read_card
    from qsm_workflows.networks.weights import find_weights, sha256

    path = find_weights(args.name) or Path(args.name)
    digest = sha256(path)
    check_card(path, digest)
    card = read_card(path) or {"sha256": digest}
    print(path)
    print("\n".join(_lines(card)))
    return 0


def _lines(block: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """A block of a card for reading: what is simple on a line, the rest further in."""
    for name, value in block.items():
        if isinstance(value, dict) and any(isinstance(part, dict) for part in value.values()):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, dict):
            yield f"{indent}{name}: " + "; ".join(f"{key} {part}" for key, part in value.items())
        elif isinstance(value, list) and all(isinstance(part, str) for part in value):
            yield f"{indent}{name}:"
            yield from (f"{indent}  - {part}" for part in value)
        else:
            yield f"{indent}{name}: {value if isinstance(value, str) else json.dumps(value)}"


def _add(args: argparse.Namespace) -> int:
    from qsm_workflows.files import write_whole
    from qsm_workflows.networks.cards import card_path, read_card, write_card
    from qsm_workflows.networks.checkpoints import read_checkpoint
    from qsm_workflows.networks.weights import SUFFIXES, user_folder

    checkpoint = read_checkpoint(args.file, args.method)
    if args.file.suffix not in SUFFIXES:
        raise ValueError(f"{args.file} must end in {', '.join(SUFFIXES)}")
    target = user_folder() / f"{find_method(args.method).installed}{args.file.suffix}"
    if target.resolve() == args.file.resolve():
        raise ValueError(f"{target} is installed already")
    write_whole(target, lambda partial: shutil.copyfile(args.file, partial))
    for suffix in SUFFIXES:
        other = target.with_suffix(suffix)
        if other != target:
            other.unlink(missing_ok=True)
    card_path(target).unlink(missing_ok=True)
    card = read_card(args.file) or {
        "method": args.method,
        "architecture": checkpoint.architecture,
        "width": checkpoint.network.width,
        "voxel_size": checkpoint.voxel_size,
    }
    write_card(target, card)
    print(f"{target}: {checkpoint.architecture} of width {checkpoint.network.width}")
    return 0
