import dataclasses
import json

import pytest
import torch

from qsm_workflows.networks.checkpoints import (
    ARCHITECTURES,
    read_checkpoint,
    write_checkpoint,
)
from qsm_workflows.training import loop, state
from qsm_workflows.training.loop import learning_rate, relative_error, train
from qsm_workflows.training.metrics import read_metrics
from qsm_workflows.training.patches import Batch
from qsm_workflows.training.pool import GENERATOR


@pytest.fixture(autouse=True)
def _every_step(monkeypatch):
    monkeypatch.setattr(loop, "METRICS_STEPS", 2)
    monkeypatch.setattr(loop, "VALIDATION_PATCHES", 1)


def curve(folder):
    return [(row["loss"], row["validation_nrmse"]) for row in read_metrics(folder)]


def stop_after(monkeypatch, steps):
    """Let the clock of the loop run out after some steps."""
    step = loop._Run.step
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(done[0]))
    done = [0]

    def counted(self, number):
        done[0] += steps == len(taken) + 1
        taken.append(number)
        return step(self, number)

    taken: list[int] = []
    monkeypatch.setattr(loop._Run, "step", counted)


@pytest.mark.parametrize("network", ["deepqsm unet", "lpcnn lpcnn"])
def test_a_run_in_pieces_is_an_unbroken_one(config, network, pool, tmp_path, monkeypatch):
    """Also with dropout, which LPCNN has."""
    method, architecture = network.split()
    config = dataclasses.replace(config, method=method, architecture=architecture)
    whole, _ = train(config, pool, tmp_path / "whole")
    stopped(config, pool, tmp_path / "pieces", monkeypatch, 3)
    pieces, progress = train(config, pool, tmp_path / "pieces")
    assert progress.step == config.steps
    assert curve(tmp_path / "pieces") == curve(tmp_path / "whole")
    for a, b in zip(whole.state_dict().values(), pieces.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert (tmp_path / "pieces" / "metrics.png").stat().st_size > 1000


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_convolutions_compute_in_what_the_device_is_fast_in(
    config, pool, tmp_path, monkeypatch, dtype
):
    """bfloat16 without instructions for it takes tens of times as long."""
    monkeypatch.setattr(loop, "fastest_dtype", lambda device: dtype)
    seen = set()
    step = loop._Run.step

    def watched(self, number):
        for layer in self.network.modules():
            if isinstance(layer, torch.nn.Conv3d):
                layer.register_forward_hook(lambda _, __, output: seen.add(output.dtype))
        return step(self, number)

    monkeypatch.setattr(loop._Run, "step", watched)
    train(config, pool, tmp_path)
    assert seen == {getattr(torch, dtype)}


def test_batches_made_ahead_are_the_same(config, pool, tmp_path, monkeypatch):
    plain, _ = train(config, pool, tmp_path / "plain")
    start = loop._Run.__init__

    def ahead(self, *arguments):
        start(self, *arguments)
        self.prefetch(0)

    monkeypatch.setattr(loop._Run, "__init__", ahead)
    fetched, _ = train(config, pool, tmp_path / "ahead")
    assert curve(tmp_path / "ahead") == curve(tmp_path / "plain")
    for a, b in zip(plain.state_dict().values(), fetched.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_training_lowers_the_error(config, pool, tmp_path):
    longer = dataclasses.replace(config, width=8, steps=30, learning_rate=0.02)
    train(longer, pool, tmp_path)
    losses = [loss for loss, _ in curve(tmp_path)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def stopped(config, pool, folder, monkeypatch, steps, **options):
    """A run that time ran out of after some steps."""
    with monkeypatch.context() as patch:
        stop_after(patch, steps)
        _, progress = train(config, pool, folder, minutes=0.9 / 60, **options)
    assert progress.step == steps


def test_rows_of_lost_work_are_dropped(config, pool, tmp_path, monkeypatch):
    stopped(config, pool, tmp_path, monkeypatch, 3)
    with open(tmp_path / "metrics.tsv", "a") as file:
        file.write("4\t1\t1\t1\t1\n")
    train(config, pool, tmp_path)
    assert [row["step"] for row in read_metrics(tmp_path)] == [2, 4, 6]


def test_a_run_goes_on_by_its_configuration_only(config, pool, tmp_path, monkeypatch):
    stopped(config, pool, tmp_path, monkeypatch, 2)
    other = dataclasses.replace(config, steps=9, patches=((8, 8, 8),), noise_snr=(10.0,))
    with pytest.raises(ValueError, match="another configuration") as raised:
        train(other, pool, tmp_path)
    assert "steps is 6, not 9; patches is [[16, 16, 16]], not [[8, 8, 8]]" in str(raised.value)
    assert "use another folder" in str(raised.value)
    _, progress = train(config, pool, tmp_path)
    assert progress.step == config.steps


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"anatomy": "b2"}, r"\(anatomy is None, not b2\)"),
        ({"generator": -1}, rf"\(generator is {GENERATOR}, not -1\)"),
    ],
)
def test_a_run_goes_on_with_its_volumes_only(config, pool, tmp_path, monkeypatch, other, message):
    stopped(config, pool, tmp_path, monkeypatch, 2)
    with monkeypatch.context() as patch:
        patch.setattr(pool, "origin", pool.origin | other)
        with pytest.raises(ValueError, match=f"trains on other volumes {message}") as raised:
            train(config, pool, tmp_path)
    assert "use another folder" in str(raised.value)
    _, progress = train(config, pool, tmp_path)
    assert progress.step == config.steps


def without(folder, *names):
    """Make a state one of those from before it had these entries."""
    record = json.loads((folder / "state.json").read_text())
    for name in names:
        del record[name]
    (folder / "state.json").write_text(json.dumps(record))


@pytest.mark.parametrize("names", [("origin",), ("origin", "config")])
def test_a_state_from_before_goes_on(config, pool, tmp_path, monkeypatch, names):
    stopped(config, pool, tmp_path, monkeypatch, 2)
    without(tmp_path, *names)
    _, progress = train(config, pool, tmp_path)
    assert progress.step == config.steps
    record = json.loads((tmp_path / "state.json").read_text())
    assert record["config"]["steps"] == config.steps
    assert record["origin"] == pool.origin


def test_state_of_another_network_is_refused(config, pool, tmp_path, monkeypatch):
    stopped(config, pool, tmp_path, monkeypatch, 1)
    without(tmp_path, "config")
    other = dataclasses.replace(config, method="ir2qsm", architecture="ir2qsm")
    with pytest.raises(ValueError, match="holds no state of this run") as raised:
        train(other, pool, tmp_path)
    assert len(str(raised.value)) < len(str(tmp_path)) + 320


@pytest.mark.parametrize("name", ["state.json", "state-00000001/weights-00.safetensors"])
def test_damaged_state_is_refused(config, pool, tmp_path, monkeypatch, name):
    stopped(config, pool, tmp_path, monkeypatch, 1)
    (tmp_path / name).write_text("[]")
    with pytest.raises(ValueError, match="holds no state of this run"):
        train(config, pool, tmp_path)


def test_the_only_state_is_not_written_over(config, pool, tmp_path, monkeypatch):
    """An interruption would leave nothing to go on with."""
    train(config, pool, tmp_path)

    def interrupted(*arguments):
        raise RuntimeError

    monkeypatch.setattr(state, "save_file", interrupted)
    _, progress = train(config, pool, tmp_path)
    assert progress.step == config.steps


def test_statistics_settle(config, pool, tmp_path):
    """Later steps leave the statistics of batch normalisation as they are."""
    network, _ = train(dataclasses.replace(config, settle=0.5), pool, tmp_path)
    counts = {n: t for n, t in network.state_dict().items() if n.endswith("num_batches_tracked")}
    assert counts
    assert all(int(count) == config.steps // 2 for count in counts.values())


def test_state_is_kept_in_files_of_limited_size(config, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "LARGEST_FILE", 2000)
    network = ARCHITECTURES["unet"].network(2)
    optimiser = torch.optim.Adam(network.parameters())
    for step in (1, 2):
        sum(p.sum() for p in network.parameters()).backward()
        optimiser.step()
        state.save_state(tmp_path, config, {}, network, optimiser, state.Progress(step=step))
    files = list(tmp_path.glob("state-*/*"))
    # Only the newest state is kept, whole.
    assert {path.parent.name for path in files} == {"state-00000002"}
    largest = max(t.nbytes for t in network.state_dict().values())
    assert max(path.stat().st_size for path in files) < 2000 + largest + 20_000
    other = ARCHITECTURES["unet"].network(2)
    restored = torch.optim.Adam(other.parameters())
    assert state.load_state(tmp_path, config, {}, other, restored).step == 2
    for a, b in zip(network.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    saved, loaded = optimiser.state_dict()["state"], restored.state_dict()["state"]
    assert saved.keys() == loaded.keys()
    for number, entry in saved.items():
        assert all(torch.equal(value, loaded[number][name]) for name, value in entry.items())


def test_learning_rate_schedules(config):
    long = dataclasses.replace(config, steps=1000, warmup=100, learning_rate=1.0)
    rates = [learning_rate(long, step) for step in range(1000)]
    assert rates[0] == 0.01
    assert max(rates) == rates[100] == 1
    assert rates[-1] < 0.02
    steps = dataclasses.replace(long, schedule="multistep")
    assert [learning_rate(steps, n) for n in (100, 499, 500, 799, 800)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01]
    )


def test_loss_is_blind_to_the_strength_of_a_patch():
    generator = torch.Generator().manual_seed(0)
    chi, field, prediction = torch.randn((3, 1, 1, 8, 8, 8), generator=generator)
    mask = torch.ones(chi.shape, dtype=torch.bool)
    mask[..., 0] = False
    loss = relative_error(prediction, Batch(field, chi, mask))
    strong = relative_error(5 * prediction, Batch(5 * field, 5 * chi, mask))
    assert strong == pytest.approx(float(loss), rel=1e-5)
    # Nothing outside the mask counts.
    other = torch.where(mask, prediction, 100)
    assert relative_error(other, Batch(field, chi, mask)) == loss


METADATA = {"method": "deepqsm", "steps": "6", "batch": "1", "generator": "2", "licence": "mine"}


@pytest.fixture
def trained(config, pool, tmp_path):
    """Weights of a finished run."""
    network, _ = train(config, pool, tmp_path / "first")
    path = tmp_path / "first.safetensors"
    write_checkpoint(path, network, metadata=METADATA)
    return read_checkpoint(path)


def test_a_run_can_start_from_weights(config, pool, tmp_path, trained):
    """At a rate of almost nothing the network stays what it was."""
    before = {name: tensor.clone() for name, tensor in trained.network.state_dict().items()}
    still = dataclasses.replace(config, learning_rate=1e-12, settle=0.0)
    network, progress = train(still, pool, tmp_path / "second", start=trained)
    for name, tensor in network.state_dict().items():
        assert torch.allclose(tensor.float(), before[name].float(), atol=1e-6), name
    kept = {"steps": "6", "batch": "1", "generator": "2"}
    assert progress.started_from == {"sha256": trained.sha256} | kept


def test_a_run_goes_on_with_what_it_started_from(config, pool, tmp_path, trained, monkeypatch):
    stopped(config, pool, tmp_path / "second", monkeypatch, 2, start=trained)
    _, progress = train(config, pool, tmp_path / "second")
    assert progress.started_from["sha256"] == trained.sha256
    train(config, pool, tmp_path / "plain")
    with pytest.raises(ValueError, match="did not start from these weights"):
        train(config, pool, tmp_path / "plain", start=trained)


def test_a_run_of_no_step_may_still_start_from_weights(config, pool, tmp_path, trained):
    """Its random weights are not taken for those."""
    before = {name: tensor.clone() for name, tensor in trained.network.state_dict().items()}
    train(config, pool, tmp_path / "second", minutes=-1)
    network, progress = train(config, pool, tmp_path / "second", start=trained, minutes=-1)
    assert progress.started_from["sha256"] == trained.sha256
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_weights_of_another_width_are_no_start(config, pool, tmp_path, trained):
    with pytest.raises(ValueError, match="width 2, but the configuration is of unet, width 4"):
        train(dataclasses.replace(config, width=4), pool, tmp_path / "second", start=trained)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_on_a_gpu_goes_on_where_it_stopped(config, pool, tmp_path, monkeypatch):
    train(config, pool, tmp_path / "cpu")
    stopped(config, pool, tmp_path / "cuda", monkeypatch, 3, device="cuda")
    _, progress = train(config, pool, tmp_path / "cuda", device="cuda")
    assert progress.step == config.steps
    here, there = ([loss for loss, _ in curve(tmp_path / name)] for name in ("cpu", "cuda"))
    # The same patches, in bfloat16.
    assert there == pytest.approx(here, rel=0.05)
