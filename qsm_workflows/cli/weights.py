"""``qsm-wf weights``: what trained networks there are."""

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qsm_workflows.networks.methods import (
    NETWORK_METHODS,
    method_key,
    named_weights,
)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the ``weights`` command."""
    parser = subparsers.add_parser(
        "weights",
        help="list, show, add and remove the weights of networks",
        description="List the weights of networks that are installed.",
    )
    parser.set_defaults(func=_list)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    actions.add_parser("list", help="list what is installed, as without an action")
    show = actions.add_parser("show", help="show a card", description="Show the card of weights.")
    show.set_defaults(func=_show)
    show.add_argument("name", help="as `qsm-wf weights` lists it, a method, or a file")
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
    remove = actions.add_parser(
        "remove",
        help="remove a file that was added",
        description="Remove weights and their card from your folder; those of the package stay.",
    )
    remove.set_defaults(func=_remove)
    remove.add_argument("name", help="as `qsm-wf weights` lists it, or a method")


def _list(args: argparse.Namespace) -> int:
    from qsm_workflows.networks.weights import (
        installed_weights,
        package_folder,
        shadows_package,
        user_folder,
    )

    found = list(installed_weights())
    for path in found:
        megabytes = path.stat().st_size / 2**20
        note = " (instead of the package's)" if shadows_package(path) else ""
        print(f"{path.stem}: {_summary(path)}, {megabytes:.1f} MiB, {path}{note}")
    if not found:
        print(f"no weights in {user_folder()} or {package_folder()}; see `qsm-wf weights add`")
    return 0


def _summary(path: Path) -> str:
    """What the card of a file of weights says of the network, in a few words."""
    from qsm_workflows.networks.cards import read_card

    try:
        card = read_card(path)
    except ValueError as error:
        return f"bad card: {error}"
    if card is None:
        return "no card"
    if "architecture" not in card:
        return "bad card: it names no architecture"
    width = f" of width {card['width']}" if "width" in card else ""
    return f"{card['architecture']}{width}"


def _show(args: argparse.Namespace) -> int:
    from qsm_workflows.networks.cards import check_card, read_card
    from qsm_workflows.networks.weights import sha256

    path = named_weights(args.name)
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
    from qsm_workflows.networks.weights import SUFFIXES, shadows_package, user_folder

    checkpoint = read_checkpoint(args.file, args.method)
    if args.file.suffix not in SUFFIXES:
        raise ValueError(f"{args.file} must end in {', '.join(SUFFIXES)}")
    target = user_folder() / f"{NETWORK_METHODS[args.method].installed}{args.file.suffix}"
    if target.resolve() == args.file.resolve():
        raise ValueError(f"{target} is installed already")
    write_whole(target, lambda partial: shutil.copyfile(args.file, partial))
    for suffix in SUFFIXES:
        other = target.with_suffix(suffix)
        if other != target:
            other.unlink(missing_ok=True)
    card_path(target).unlink(missing_ok=True)
    about = {
        "method": checkpoint.metadata.get("method", args.method),
        "architecture": checkpoint.architecture,
        "width": checkpoint.network.width,
        "voxel_size": checkpoint.voxel_size,
    }
    write_card(target, (read_card(args.file) or {}) | about)
    print(f"{target}: {checkpoint.architecture} of width {checkpoint.network.width}")
    if shadows_package(target):
        print(
            f"it is used instead of the package's {target.stem}, until `qsm-wf weights remove "
            f"{target.stem}`"
        )
    return 0


def _remove(args: argparse.Namespace) -> int:
    from qsm_workflows.networks.cards import card_path
    from qsm_workflows.networks.weights import find_weights, user_folder

    path = named_weights(args.name)
    if path.parent.resolve() != user_folder().resolve():
        raise ValueError(
            f"{path} stays: only weights of your own, in {user_folder()}, can be removed"
        )
    path.unlink()
    card_path(path).unlink(missing_ok=True)
    print(f"removed {path}")
    if other := find_weights(path.stem):
        print(f"{path.stem} is {other} from now on")
    return 0
