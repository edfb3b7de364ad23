"""Files of weights, good and bad."""

import hashlib
import shutil
import traceback

import pytest
import torch

from qsm_workflows.networks.checkpoints import ARCHITECTURES, read_checkpoint, write_checkpoint
from qsm_workflows.networks.ir2qsm import IR2QSM
from qsm_workflows.networks.lpcnn import LPCNN
from qsm_workflows.networks.unet import UNet
from qsm_workflows.networks.weights import find_weights, sha256
from qsm_workflows.networks.xqsm import XQSM


@pytest.fixture(scope="module")
def trained():
    """Network whose tensors all have values of their own."""
    generator = torch.Generator().manual_seed(0)
    network = XQSM(8)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator))
    return network.eval()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_original_checkpoint_loads_exactly(tmp_path, trained, prefix):
    path = tmp_path / "xqsm.pth"
    torch.save({prefix + k: v for k, v in trained.state_dict().items()}, path)
    checkpoint = read_checkpoint(path, "xqsm")
    assert (checkpoint.architecture, checkpoint.network.width) == ("xqsm", 8)
    assert checkpoint.voxel_size == 1.0
    assert not checkpoint.network.training
    for name, tensor in trained.state_dict().items():
        assert torch.equal(checkpoint.network.state_dict()[name], tensor)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_own_format_round_trip(tmp_path, name):
    network = ARCHITECTURES[name].network(8).eval()
    path = tmp_path / "weights.safetensors"
    write_checkpoint(path, network, voxel_size=0.8, metadata={"licence": "BSD-3-Clause"})
    checkpoint = read_checkpoint(path)
    assert (checkpoint.architecture, checkpoint.network.width) == (name, 8)
    assert checkpoint.voxel_size == 0.8
    assert checkpoint.metadata["licence"] == "BSD-3-Clause"
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    read = checkpoint.network.state_dict()
    for key, tensor in network.state_dict().items():
        assert torch.allclose(read[key], tensor, rtol=1e-3, atol=1e-7)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


PUBLISHED_IR2QSM = {
    "passes.0.pre.2.0.weight": "iteration0_pre_transform.2.conv.0.weight",
    "passes.1.encoders.0.join.0.bias": "iteration1_layer0_encoder_conv1.conv.0.bias",
    "passes.2.encoders.1.conv.1.1.weight": "iteration2_layer1_encoder_conv2.1.conv.1.weight",
    "passes.3.encoders.2.down.0.weight": "iteration3_layer2_encoder_down.0.conv.0.weight",
    "passes.0.update_gate.0.weight": "iteration0_middle.update_gate.conv.0.weight",
    "passes.0.decoders.2.up.0.weight": "iteration0_layer2_decoder_up.deconv.0.weight",
    "passes.0.decoders.0.convs.2.0.weight": "iteration0_layer0_decoder_convs.2.conv.0.weight",
    "passes.3.post.1.0.weight": "iteration3_post_transform.0.conv.0.weight",
    "passes.3.post.2.bias": "iteration3_post_transform.1.bias",
    "output.weight": "post_transform_conv_block2.0.weight",
    "unused.3.1.running_var": "post_transform_conv_block1.3.conv.1.running_var",
    "unused.4.bias": "post_transform_conv_block1.4.bias",
}


def test_ir2qsm_loads_with_the_names_of_its_authors(tmp_path):
    path = tmp_path / "model_IR2Unet.pth"
    state = IR2QSM(2).state_dict()
    value = torch.rand(state["passes.0.decoders.2.up.0.weight"].shape)
    state["passes.0.decoders.2.up.0.weight"] = value
    published = {f"module.{PUBLISHED_IR2QSM.get(k, k)}": v for k, v in state.items()}
    assert len(published.keys() - {f"module.{k}" for k in state}) == len(PUBLISHED_IR2QSM)
    torch.save(published, path)
    checkpoint = read_checkpoint(path)
    assert (checkpoint.architecture, checkpoint.network.width) == ("ir2qsm", 2)
    assert torch.equal(checkpoint.network.state_dict()["passes.0.decoders.2.up.0.weight"], value)


def test_original_lpcnn_lacks_the_scale_of_chi(tmp_path):
    path = tmp_path / "lpcnn.pth"
    state = LPCNN(8).state_dict()
    published = {k: v for k, v in state.items() if not k.startswith("chi_")}
    torch.save({"epoch": 99, "model_state": published}, path)
    with pytest.raises(
        ValueError, match=r"chi_mean is missing; chi_std is missing\..* add them to the state dict"
    ):
        read_checkpoint(path)
    scale = {"chi_mean": torch.tensor(0.01), "chi_std": torch.tensor(0.03)}
    torch.save({"epoch": 99, "model_state": published | scale}, path)
    assert read_checkpoint(path).network.chi_std == 0.03


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.pth"):
        read_checkpoint(tmp_path / "nowhere.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all, but long enough to be looked at"])
def test_foreign_file(tmp_path, suffix, content):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or not a file of weights"):
        read_checkpoint(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_file(tmp_path, trained, suffix):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(trained.state_dict(), path)
    else:
        write_checkpoint(path, trained)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="damaged"):
        read_checkpoint(path)


def test_pickled_objects_are_not_executed(tmp_path, trained):
    path = tmp_path / "whole_network.pth"
    torch.save(trained, path)
    with pytest.raises(ValueError, match=r"more than tensors.*state_dict\(\) alone"):
        read_checkpoint(path)


@pytest.mark.parametrize("save", [torch.save, lambda trained, path: path.write_text("<html>")])
def test_nobody_is_told_to_let_a_file_run_code(tmp_path, trained, save):
    """As torch does, in an error that a traceback would show as the cause of ours."""
    path = tmp_path / "weights.pth"
    save(trained, path)
    with pytest.raises(ValueError, match=r"weights\.pth is damaged") as raised:
        read_checkpoint(path)
    assert "weights_only" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("name", ["model_state", "model_state_dict", "state_dict"])
def test_checkpoint_of_training_holds_the_state_dict(tmp_path, trained, name):
    path = tmp_path / "training.pth"
    state = {f"module.{key}": value for key, value in trained.state_dict().items()}
    torch.save({"epoch": 3, "optimizer": {"lr": 1e-3}, name: state}, path)
    read = read_checkpoint(path).network.state_dict()
    assert all(torch.equal(read[key], value) for key, value in trained.state_dict().items())


@pytest.mark.parametrize(
    "content", [{"epoch": 3, "net": {"a": torch.ones(1)}}, {"state_dict": {"epoch": 3}}, [1, 2]]
)
def test_no_state_dict(tmp_path, content):
    path = tmp_path / "training.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match="no plain state dict"):
        read_checkpoint(path)


def test_other_network(tmp_path):
    path = tmp_path / "linear.pth"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(ValueError, match=r"none of the networks xqsm.*weight"):
        read_checkpoint(path)


def test_wrong_architecture_for_the_method(tmp_path):
    path = tmp_path / "unet.pth"
    torch.save(UNet(8).state_dict(), path)
    assert read_checkpoint(path, "deepqsm").architecture == "unet"
    with pytest.raises(ValueError, match="architecture unet, but xqsm needs xqsm or lite"):
        read_checkpoint(path, "xqsm")


def test_weights_trained_for_another_method(tmp_path):
    path = tmp_path / "unet.safetensors"
    write_checkpoint(path, UNet(8), metadata={"method": "something else"})
    with pytest.raises(ValueError, match="trained for something else, not for deepqsm"):
        read_checkpoint(path, "deepqsm")


def test_unknown_method(tmp_path):
    path = tmp_path / "unet.safetensors"
    write_checkpoint(path, UNet(8))
    with pytest.raises(ValueError, match="unknown network method 'qsmnet'; there are xqsm, "):
        read_checkpoint(path, "qsmnet")


def test_wrong_shape_says_what_was_expected(tmp_path, trained):
    path = tmp_path / "bent.pth"
    state = dict(trained.state_dict())
    state["MidConv1.MidConv1.convHH.weight"] = torch.zeros(16, 8, 1, 1, 1)
    torch.save(state, path)
    with pytest.raises(
        ValueError, match=r"MidConv1\.MidConv1\.convHH\.weight has shape .* \(16, 8, 3, 3, 3\)"
    ):
        read_checkpoint(path)


def test_missing_and_superfluous_entries_are_named(tmp_path, trained):
    path = tmp_path / "renamed.pth"
    state = dict(trained.state_dict())
    state["EncodeConvs.0.EncodeConv1.BN_XX.bias"] = state.pop(
        "EncodeConvs.0.EncodeConv1.BN_HH.bias"
    )
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"BN_HH\.bias is missing.*BN_XX\.bias is not expected"):
        read_checkpoint(path)


def test_weights_that_are_not_finite(tmp_path, trained):
    path = tmp_path / "diverged.pth"
    state = dict(trained.state_dict())
    state["FinalOct.FinalConv.bias"] = torch.tensor([float("nan")])
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"FinalConv\.bias holds NaN"):
        read_checkpoint(path)


def test_users_weights_come_before_those_of_the_package(tmp_path, monkeypatch):
    monkeypatch.delenv("QSM_WORKFLOWS_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert find_weights("a name that nobody uses") is None
    in_xdg = tmp_path / "xdg" / "qsm-workflows" / "weights" / "mine.pth"
    in_xdg.parent.mkdir(parents=True)
    in_xdg.write_bytes(b"x")
    assert find_weights("mine") == in_xdg
    named = tmp_path / "named"
    named.mkdir()
    shutil.copy(in_xdg, named / "mine.safetensors")
    monkeypatch.setenv("QSM_WORKFLOWS_WEIGHTS", str(named))
    assert find_weights("mine") == named / "mine.safetensors"


def test_sha256_is_that_of_the_content(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
