"""The training loop: resumable, and the same however often it is interrupted."""

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from qsm_workflows.networks.base import InversionNetwork
from qsm_workflows.networks.checkpoints import ARCHITECTURES, Checkpoint
from qsm_workflows.networks.inference import fastest_dtype

from .config import TrainingConfig
from .metrics import Metrics
from .patches import Batch, draw_batch
from .pool import Pool
from .state import Progress, load_state, read_progress, save_state

SAVE_SECONDS = 120.0
"""Between two saved states."""

METRICS_STEPS = 100
"""Between two rows of metrics."""

VALIDATION_PATCHES = 8

BATCH_NORM_MOMENTUM = 0.02

HISTORY = (
    "data",
    "generator",
    "anatomy",
    "mode",
    "patches",
    "batch",
    "seed",
    "steps",
    "optimiser",
    "schedule",
    "learning_rate",
    "hours",
    "started_from",
)
"""What is kept of the training of weights that a run starts from."""


def train(
    config: TrainingConfig,
    pool: Pool,
    folder: Path,
    *,
    start: Checkpoint | None = None,
    minutes: float = math.inf,
    device: str = "cpu",
    report: Callable[[str], None] | None = None,
) -> tuple[InversionNetwork, Progress]:
    """Train until the last step or until time is up, from where an earlier call stopped.

    Each step draws its patches from the seed and its number alone, so that a run in
    pieces gives what an unbroken one gives.

    Parameters
    ----------
    config : TrainingConfig
    pool : Pool
        Volumes, the last of which validate.
    folder : Path
        Of this run: state, ``metrics.tsv`` and ``metrics.png``.
    start : Checkpoint, optional
        Trained network to begin with, instead of random weights; it is trained in place.
    minutes : float
        Time after which to stop.
    device : str
        Torch device; convolutions are computed in bfloat16 where it has instructions for it,
        otherwise in float32. On anything but the CPU each batch is made while the step
        before it is computed.
    report : callable, optional
        Is given a line now and then.

    Returns
    -------
    network : InversionNetwork
        As trained so far.
    progress : Progress

    Raises
    ------
    ValueError
        As :func:`check_run`, or if the state in `folder` is damaged.
    """
    deadline = time.monotonic() + 60 * minutes
    check_run(config, folder, pool.origin, start)
    torch.manual_seed(config.seed)
    if start is None:
        network = ARCHITECTURES[config.architecture].network(config.width)
    else:
        network = start.network
    network = _to_train(network).to(device)
    optimiser = torch.optim.Adam(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    progress = load_state(folder, config, pool.origin, network, optimiser)
    if start is not None and progress.step == 0:
        kept = {name: start.metadata[name] for name in HISTORY if name in start.metadata}
        progress.started_from = {"sha256": start.sha256, **kept}
    metrics = Metrics(folder, progress.step)
    run = _Run(config, pool, device, network, optimiser)
    if progress.step < config.steps and device != "cpu":
        run.prefetch(progress.step)
    saved = started = time.monotonic()
    before = progress.seconds
    while progress.step < config.steps and time.monotonic() < deadline:
        progress.losses.append(run.step(progress.step))
        progress.step += 1
        progress.seconds = before + time.monotonic() - started
        if progress.step % METRICS_STEPS == 0:
            loss = sum(progress.losses) / len(progress.losses)
            rate = learning_rate(config, progress.step)
            metrics.add(progress.step, progress.seconds, loss, run.validate(), rate)
            progress.losses.clear()
            if report:
                report(metrics.last_line())
        if time.monotonic() - saved > SAVE_SECONDS:
            save_state(folder, config, pool.origin, network, optimiser, progress)
            saved = time.monotonic()
    run.stop()
    save_state(folder, config, pool.origin, network, optimiser, progress)
    metrics.plot()
    return network.eval(), progress


def check_run(
    config: TrainingConfig,
    folder: Path,
    origin: Mapping[str, Any],
    start: Checkpoint | None = None,
) -> None:
    """Refuse, before any work, what :func:`train` could not begin or go on with.

    Parameters
    ----------
    config, folder, start
        As :func:`train` takes them.
    origin : mapping
        Of the volumes, as :func:`~qsm_workflows.training.pool.pool_origin` gives it.

    Raises
    ------
    ValueError
        If there is no such network, it cannot take the patches, `start` is of another network
        than the configuration's, or the run in `folder` began otherwise, by another
        configuration or on other volumes.
    """
    # Built to see that it can be: some networks refuse some widths.
    ARCHITECTURES[config.architecture].network(config.width)
    _check_patches(config)
    progress = read_progress(folder, config, origin)
    if start is None:
        return
    if (start.architecture, start.network.width) != (config.architecture, config.width):
        raise ValueError(
            f"the weights to start from are of {start.architecture}, width "
            f"{start.network.width}, but the configuration is of {config.architecture}, width "
            f"{config.width}: they must be the same"
        )
    if progress.step and progress.started_from.get("sha256") != start.sha256:
        raise ValueError(
            f"the run in {folder} did not start from these weights; use another folder, or "
            "leave them out to go on"
        )


def _check_patches(config: TrainingConfig) -> None:
    """Refuse patches whose sides the network cannot take, saying which it can."""
    multiple = ARCHITECTURES[config.architecture].network.multiple
    for patch in config.patches:
        if any(n % multiple for n in patch):
            raise ValueError(
                f"patches has {list(patch)}, but {config.architecture} takes sides that are "
                f"multiples of {multiple} only, such as {[n + -n % multiple for n in patch]}"
            )


def _to_train(network: InversionNetwork) -> InversionNetwork:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            # Batches are small: the statistics for inference need more of them.
            module.momentum = BATCH_NORM_MOMENTUM
        for parameter in module.parameters(recurse=False):
            if parameter.ndim == 5:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    return network


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Learning rate of a step."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if config.schedule == "multistep":
        return config.learning_rate * 0.1 ** sum(step >= part * config.steps for part in (0.5, 0.8))
    part = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part)))


class _Run:
    """Steps and validation of one call."""

    def __init__(
        self,
        config: TrainingConfig,
        pool: Pool,
        device: str,
        network: InversionNetwork,
        optimiser: torch.optim.Optimizer,
    ) -> None:
        self.config = config
        self.pool = pool
        self.device = device
        self.device_type = torch.device(device).type
        self.is_mixed = fastest_dtype(torch.device(device)) == "bfloat16"
        self.network = network
        self.optimiser = optimiser
        self.numbers = range(len(pool))[: -config.validation]
        self.thread: ThreadPoolExecutor | None = None
        self.coming: Future[Batch] | None = None
        self.known = [
            self._batch([config.seed, 1, n], range(len(pool))[-config.validation :])
            for n in range(VALIDATION_PATCHES // config.batch + 1)
        ]

    def step(self, number: int) -> float:
        """One step; returns its loss."""
        batch = self._training_batch(number)
        # Dropout and noise layers draw from the step's number too.
        torch.manual_seed((self.config.seed << 32) + number)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.config, number)
        self.network.train()
        if number >= self.config.settle * self.config.steps:
            for module in self.network.modules():
                if isinstance(module, nn.BatchNorm3d):
                    module.eval()
        self.optimiser.zero_grad()
        with self._autocast():
            outputs = self.network.supervised(_channels_last(batch.field))
        losses = [part * relative_error(output.float(), batch) for part, output in outputs]
        torch.stack(losses).sum().backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.optimiser.step()
        return losses[-1].item()

    @torch.no_grad()
    def validate(self) -> float:
        """Normalised root-mean-square error on patches of volumes that do not train."""
        self.network.eval()
        squared = total = 0.0
        for batch in self.known:
            difference = (self._predict(batch) - batch.chi) * batch.mask
            squared += float(difference.square().sum())
            total += float((batch.chi * batch.mask).square().sum())
        return math.sqrt(squared / total)

    def prefetch(self, number: int) -> None:
        """From here on, make each step's batch in a thread while the one before it runs."""
        self.thread = ThreadPoolExecutor(1)
        self.coming = self.thread.submit(self._batch, [self.config.seed, 0, number], self.numbers)

    def stop(self) -> None:
        """End the thread, if there is one."""
        if self.thread is not None:
            self.thread.shutdown(cancel_futures=True)

    def _training_batch(self, number: int) -> Batch:
        if self.coming is None or self.thread is None:
            return self._batch([self.config.seed, 0, number], self.numbers)
        batch = self.coming.result()
        seed = [self.config.seed, 0, number + 1]
        self.coming = self.thread.submit(self._batch, seed, self.numbers)
        return batch

    def _batch(self, seed: list[int], numbers: range) -> Batch:
        rng = np.random.default_rng(seed)
        patch = self.config.patches[rng.integers(len(self.config.patches))]
        return draw_batch(
            rng,
            self.pool,
            numbers,
            patch,
            self.config.batch,
            mode=self.config.mode,
            noise_probability=self.config.noise_probability,
            noise_snr=self.config.noise_snr,
            device=self.device,
        )

    def _predict(self, batch: Batch) -> torch.Tensor:
        with self._autocast():
            return self.network(_channels_last(batch.field)).float()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device_type, torch.bfloat16, enabled=self.is_mixed)


def _channels_last(field: torch.Tensor) -> torch.Tensor:
    return field.contiguous(memory_format=torch.channels_last_3d)


def relative_error(prediction: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Mean squared error in the mask, in units of each patch's mean ``|field|``.

    A patch with a strong source then counts as much as any other.
    """
    count = batch.mask.sum((1, 2, 3, 4)).clamp(min=1)
    scale = (batch.field.abs() * batch.mask).sum((1, 2, 3, 4)) / count
    squared = nn.functional.mse_loss(prediction, batch.chi, reduction="none") * batch.mask
    return (squared.sum((1, 2, 3, 4)) / count / scale.clamp(min=1e-9) ** 2).mean()
