"""Bring the weights of a finished run into the package, with a card that is complete.

    python benchmarks/ship.py runs/cropped/xqsm-cropped.safetensors --title "xQSM-Cropped, small \\
        trunk" --failure "…" --failure "…" --remark "…"
    python benchmarks/networks.py cropped=qsm_workflows/weights/xqsm-cropped.safetensors \\
        --seed 800 --heads 2 --classical --cache /tmp/networks --card

The first line copies the file under its own name and writes the card that training left together
with licences and what is known to fail; the second adds the accuracy, and a third without
``--classical`` the comparison with other methods.
"""

import argparse
import shutil
from pathlib import Path

from qsm_workflows.files import write_whole
from qsm_workflows.networks.cards import read_card, write_card
from qsm_workflows.networks.checkpoints import read_checkpoint
from qsm_workflows.networks.weights import package_folder

LARGEST = 16 * 2**20

LICENCES = {
    "rc2_head_labels": "MIT (neuropoly/Susceptibility-Separation-Phantom)",
    "hoa2_hcp100_subcortical": "3D Slicer licence, part B (Rushmore et al., Front. Neuroanat. "
    "16:894606, 2022)",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, help="weights of a run, with the card beside them")
    parser.add_argument("--title", required=True, help="what the network is called on the page")
    parser.add_argument("--failure", action="append", required=True, help="where it fails")
    parser.add_argument("--remark", action="append", default=[])
    args = parser.parse_args()
    checkpoint = read_checkpoint(args.file)
    card = read_card(args.file)
    if card is None:
        raise SystemExit(f"{args.file} has no card beside it: train with qsm-wf train")
    if args.file.stat().st_size > LARGEST:
        raise SystemExit(f"{args.file} is larger than {LARGEST >> 20} MiB")
    used = {name: licence for name, licence in LICENCES.items() if name in card["data"]}
    target = package_folder() / args.file.name
    write_whole(target, lambda partial: shutil.copyfile(args.file, partial))
    write_card(
        target,
        {
            "name": args.title,
            **card,
            "data_licences": used or "none: made here from nothing but numbers",
            "licence": "BSD-3-Clause, as the package",
            "remarks": args.remark,
            "known_failures": args.failure,
        },
    )
    print(f"{target}: {checkpoint.architecture} of width {checkpoint.network.width}")


if __name__ == "__main__":
    main()
