"""``qsm-wf train``: train a network, in pieces if need be."""

import argparse
import math
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsm_workflows import __version__

if TYPE_CHECKING:
    from qsm_workflows.training.config import TrainingConfig
    from qsm_workflows.training.pool import Pool
    from qsm_workflows.training.state import Progress


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the ``train`` command."""
    parser = subparsers.add_parser(
        "train",
        help="train a network on simulated patches",
        description="Train a network, or go on where an earlier call with the same --out "
        "stopped. A run in pieces gives exactly what an unbroken one gives.",
    )
    parser.set_defaults(func=main)
    parser.add_argument(
        "config", metavar="CONFIG", help="TOML file, or the name of a configuration of the package"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="of the run: its state, metrics.tsv, metrics.png and, in the end, the weights",
    )
    parser.add_argument(
        "--start",
        metavar="WEIGHTS",
        help="file of weights, or a name of `qsm-wf weights`, to begin with instead of at random",
    )
    parser.add_argument(
        "--pool",
        type=Path,
        metavar="FOLDER",
        help="of the training volumes, which several runs may share (default: OUT/pool)",
    )
    parser.add_argument(
        "--anatomy",
        type=Path,
        metavar="FOLDER",
        help="label images to make brains from: sub-folders with *_dseg.nii.gz and a table "
        "dseg.tsv, at least one of whole brains; others lend their nuclei (default: digital "
        "heads as of qsm-wf simulate)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        metavar="M",
        help="stop after so long, the making of the volumes included",
    )
    parser.add_argument("--device", default="cpu", help="torch device (default cpu)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that make the training volumes, which do not depend on it (default 1)",
    )
    parser.add_argument(
        "--export", action="store_true", help="write the weights even if the run is not over"
    )


def main(args: argparse.Namespace) -> int:
    """Run ``qsm-wf train``; returns the exit status."""
    # Imported here, so that `qsm-wf --help` need not load torch.
    import torch

    from qsm_workflows.networks.cards import write_card
    from qsm_workflows.networks.checkpoints import read_checkpoint, write_checkpoint
    from qsm_workflows.networks.inference import check_device, is_out_of_memory
    from qsm_workflows.networks.methods import named_weights
    from qsm_workflows.training.config import TrainingConfig, builtin_configs
    from qsm_workflows.training.loop import check_run, train
    from qsm_workflows.training.pool import make_pool, pool_origin

    if not args.minutes > 0:
        raise ValueError(f"--minutes must be positive, not {args.minutes}")
    for option in ("threads", "workers"):
        if getattr(args, option) < 1:
            raise ValueError(f"--{option} must be at least 1, not {getattr(args, option)}")
    path = builtin_configs().get(args.config, Path(args.config))
    if not path.is_file():
        raise ValueError(
            f"there is no configuration {args.config}: give a TOML file or one of "
            f"{', '.join(builtin_configs())}"
        )
    started = time.monotonic()
    config = TrainingConfig.read(path)
    start = read_checkpoint(named_weights(args.start), config.method) if args.start else None
    check_run(config, args.out, pool_origin(config, args.anatomy), start)
    check_device(args.device)
    torch.set_num_threads(args.threads)
    # Numbers so small that the processor needs a hundred times as long for them.
    torch.set_flush_denormal(True)
    try:
        pool = make_pool(
            args.pool or args.out / "pool",
            config,
            args.anatomy,
            minutes=args.minutes - (time.monotonic() - started) / 60,
            workers=args.workers,
            progress=True,
        )
    except TimeoutError as stopped:
        _report(f"{stopped}; the same command goes on")
        return _without_a_step(args.export)
    try:
        network, progress = train(
            config,
            pool,
            args.out,
            start=start,
            minutes=args.minutes - (time.monotonic() - started) / 60,
            device=args.device,
            report=_report,
        )
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise RuntimeError(
            f"{args.device} has too little memory to train {config.architecture} of width "
            f"{config.width} with {config.batch} patches of up to "
            f"{max(config.patches, key=math.prod)} at a time; use a smaller batch, smaller "
            "patches or a narrower width, or --device cpu"
        ) from error
    _report(f"{progress.step} of {config.steps} steps, {progress.seconds / 3600:.2f} h")
    if progress.step == 0:
        return _without_a_step(args.export)
    if args.export or progress.step >= config.steps:
        weights = args.out / f"{path.stem}.safetensors"
        card = _card(config, pool, progress, args.device)
        write_checkpoint(weights, network, metadata={k: str(v) for k, v in card.items()})
        write_card(weights, card)
        _report(f"weights: {weights}")
    return 0


def _without_a_step(export: bool) -> int:
    """Exit status where time was up before the first step: there is nothing to export."""
    if not export:
        return 0
    print(
        "no weights were written: time was up before the first step; give more --minutes",
        file=sys.stderr,
    )
    return 1


def _card(
    config: "TrainingConfig", pool: "Pool", progress: "Progress", device: str
) -> dict[str, Any]:
    """What is known of a network before anybody has measured how right it is."""
    import torch

    from qsm_workflows.networks.inference import fastest_dtype

    if device == "cpu":
        hardware = f"{_processor()}, {torch.get_num_threads()} thread(s)"
    else:
        hardware = torch.cuda.get_device_name(device)
    return {
        **config.as_json(),
        "steps": progress.step,
        "planned_steps": config.steps,
        "voxel_size": 1.0,
        "data": f"{len(pool)} volumes of {pool.source}",
        **pool.origin,
        "loss": "mean squared error relative to the patch's mean |field|",
        "optimiser": "Adam",
        "precision": fastest_dtype(torch.device(device)),
        "software": f"qsm-workflows {__version__}",
        "hours": round(progress.seconds / 3600, 2),
        "hardware": hardware,
        **({"started_from": progress.started_from} if progress.started_from else {}),
    }


def _processor() -> str:
    """Kind of the processor, and its model where Linux tells it."""
    kind = f"{platform.machine()} CPU"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore").splitlines()
    except OSError:
        return kind
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{kind} ({models[0]})" if models else kind


def _report(line: str) -> None:
    print(line, flush=True)
