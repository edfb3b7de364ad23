"""Networks as published: sizes, names, shapes and their state before training."""

import pytest
import torch
import torch.nn.functional as F

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.networks.deepqsm import DeepQSM
from qsm_workflows.networks.ir2qsm import IR2QSM
from qsm_workflows.networks.lite import (
    LiteIR2QSM,
    LiteLPCNN,
    LiteQSM,
    LiteUNet,
    depth_to_space,
    space_to_depth,
)
from qsm_workflows.networks.lpcnn import LPCNN
from qsm_workflows.networks.octave import OctaveConv
from qsm_workflows.networks.unet import UNet
from qsm_workflows.networks.xqsm import XQSM


def _lively(network):
    """Give a network weights that change its input a good deal."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.uniform_(parameter, -0.3, 0.3)
    return network.eval()


@pytest.mark.parametrize(
    ("kind", "width", "parameters", "entries"),
    [
        (XQSM, 64, 5_215_681, 398),
        (XQSM, 32, 1_306_593, 398),
        (UNet, 64, 4_150_785, 86),
        (LiteQSM, 32, 1_312_872, 398),
        (IR2QSM, 16, 10_375_866, 670),
        # Two more entries than the authors': the scale of χ.
        (LPCNN, 32, 446_337, 101 + 2),
    ],
)
def test_size_is_the_published_one(kind, width, parameters, entries):
    network = kind(width)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(network.state_dict()) == entries


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("InputOct.EncodeConv1.convHH.weight", (32, 1, 3, 3, 3)),
        ("InputOct.EncodeConv2.up.weight", (32, 32, 2, 2, 2)),
        ("EncodeConvs.1.EncodeConv1.convLH.weight", (64, 32, 3, 3, 3)),
        ("MidConv1.MidConv1.BN_HL.running_var", (128,)),
        ("DecodeConvs.0.up.up_LH.weight", (64, 64, 4, 4, 4)),
        ("DecodeConvs.1.DecodeConv1.convHH.weight", (32, 64, 3, 3, 3)),
        ("FinalOct.BN_LH.weight", (64,)),
        ("FinalOct.FinalConv.weight", (1, 64, 1, 1, 1)),
    ],
)
def test_xqsm_entries_have_their_published_names_and_shapes(name, shape):
    assert XQSM(64).state_dict()[name].shape == shape


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("EncodeConvs.0.EncodeConv.0.weight", (64, 1, 3, 3, 3)),
        ("MidConv1.MidConv.3.weight", (128, 256, 3, 3, 3)),
        ("DecodeConvs.0.up.0.weight", (128, 128, 2, 2, 2)),
        ("DecodeConvs.1.DecodeConv.4.running_mean", (64,)),
        ("FinalConv.weight", (1, 64, 1, 1, 1)),
    ],
)
def test_unet_entries_have_their_published_names_and_shapes(name, shape):
    assert UNet(64).state_dict()[name].shape == shape


LITE = [LiteQSM, LiteUNet, LiteIR2QSM, LiteLPCNN]


@pytest.mark.parametrize("kind", [XQSM, UNet, DeepQSM, IR2QSM, LPCNN, *LITE])
def test_output_has_the_shape_of_the_input(kind):
    network = kind(8).eval()
    side = max(network.multiple, 4)
    field = torch.randn(2, 1, side, 2 * side, 3 * side)
    with torch.inference_mode():
        assert network(field).shape == field.shape


def test_sides_that_are_no_multiple_of_8_are_refused():
    network = XQSM(8).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 40, 8, 8)).shape == (1, 1, 40, 8, 8)
        with pytest.raises(ValueError, match="multiples of 8"):
            network(torch.zeros(1, 1, 36, 8, 8))


def test_odd_width_is_refused():
    with pytest.raises(ValueError, match="even"):
        XQSM(9)


@pytest.mark.parametrize("kind", [XQSM, LiteQSM])
def test_untrained_residual_network_returns_its_input(kind):
    field = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        assert torch.allclose(kind(16).eval()(field), field, atol=1e-6)


def test_octave_convolution_is_the_published_formula():
    """H' = ReLU(BN(HH H) + BN(up(LH L))), L' = ReLU(BN(LL L) + BN(HL pool H)).

    Features agree also when torch does the pooling and no sum is taken in place.
    """
    layer = _lively(OctaveConv(4, 6)).double()
    high, low = torch.randn(2, 2, 8, 4, 8).double(), torch.randn(2, 2, 4, 2, 4).double()
    from_low = layer.BN_LH(layer.up(layer.convLH(low)))
    from_high = layer.BN_HL(layer.convHL(F.avg_pool3d(high, 2)))
    expected_high = torch.relu(layer.BN_HH(layer.convHH(high)) + from_low)
    expected_low = torch.relu(layer.BN_LL(layer.convLL(low)) + from_high)
    new_high, new_low = layer((high, low))
    assert torch.allclose(new_high, expected_high)
    assert torch.allclose(new_low, expected_low)
    assert new_high.std() > 0
    assert new_low.std() > 0


@pytest.mark.parametrize("kind", [XQSM, UNet, DeepQSM, LiteQSM, LiteUNet])
def test_no_weight_is_left_out_of_the_computation(kind):
    network = _lively(kind(8)).double()
    field = torch.randn(2, 1, *3 * (max(network.multiple, 16),), dtype=torch.float64)
    network.train()(field).square().sum().backward()
    # A bias before a batch normalisation is removed by it and cannot matter.
    weights = {n: p for n, p in network.named_parameters() if n.endswith("weight")}
    assert [n for n, p in weights.items() if not p.grad.abs().max() > 0] == []


def test_deepqsm_output_stays_within_one_ppm():
    network = DeepQSM(8).eval()
    with torch.inference_mode():
        assert network(1000 * torch.randn(1, 1, 32, 32, 32)).abs().max() <= 1


def test_space_to_depth_is_a_rearrangement():
    volume = torch.arange(4 * 6 * 8.0).reshape(1, 1, 4, 6, 8)
    blocks = space_to_depth(volume)
    assert blocks.shape == (1, 8, 2, 3, 4)
    assert blocks[0, :, 1, 2, 3].tolist() == volume[0, 0, 2:4, 4:6, 6:8].flatten().tolist()
    assert torch.equal(depth_to_space(blocks), volume)


@pytest.mark.parametrize("kind", LITE)
def test_lite_is_scale_equivariant(kind):
    """Twice the iron gives twice the susceptibility, whatever the weights."""
    network = _lively(kind(8))
    field = 0.01 * torch.randn(2, 1, 16, 16, 32)
    field[0, 0, 8:] = 0
    factors = torch.tensor([0.5, 40.0]).reshape(2, 1, 1, 1, 1)
    with torch.inference_mode():
        chi = network(field)
        assert (chi - field).std() > 0.1 * field.std()
        assert torch.allclose(network(factors * field), factors * chi, rtol=1e-4, atol=1e-6)
        assert torch.isfinite(network(torch.zeros_like(field))).all()


def test_ir2qsm_adds_noise_while_training_only():
    network = _lively(IR2QSM(2))
    field = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        assert torch.equal(network(field), network(field))
        network.train()
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0
        assert not torch.equal(network(field), network(field))


def test_ir2qsm_weighs_the_outputs_of_its_passes():
    network = _lively(IR2QSM(2))
    torch.nn.init.constant_(network.output.weight, 0.25)
    torch.nn.init.zeros_(network.output.bias)
    field = torch.randn(1, 1, 8, 8, 16)
    with torch.inference_mode():
        outputs = network.outputs(field)
        assert len(outputs) == 4
        assert torch.allclose(network(field), field + sum(outputs) / 4, atol=1e-4)


def test_training_of_ir2qsm_penalises_every_pass():
    network = _lively(IR2QSM(2))
    field = torch.randn(1, 1, 8, 8, 16)
    with torch.inference_mode():
        weights, outputs = zip(*network.supervised(field), strict=True)
        assert weights == (0.125, 0.25, 0.5, 1, 1)
        assert torch.equal(outputs[-1], network(field))
        assert all(torch.equal(a, b) for a, b in zip(outputs, network.outputs(field), strict=False))
        assert len(_lively(XQSM(2)).supervised(field)) == 1


def test_training_of_the_small_ir2qsm_penalises_every_pass_too():
    network = _lively(LiteIR2QSM(2))
    field = torch.randn(2, 1, 16, 16, 32)
    with torch.inference_mode():
        weights, outputs = zip(*network.supervised(field), strict=True)
        assert weights == (0.125, 0.25, 0.5, 1, 1)
        assert torch.equal(outputs[-1], network(field))
        assert all(output.shape == field.shape for output in outputs)
        assert not torch.allclose(outputs[0], outputs[1])


def test_small_lpcnn_descends_with_the_physics_of_the_published_one():
    """With nothing learned both are the same descent, at full resolution."""
    plain, small = LPCNN(8).eval(), LiteLPCNN(8).eval()
    plain.gen = small.trunk.gen = torch.nn.Identity()
    field = torch.randn(1, 1, 12, 16, 10)
    with torch.inference_mode():
        assert torch.allclose(small(field), plain(field), atol=1e-5)


def test_lpcnn_descends_towards_the_field_when_its_prox_does_nothing():
    network = LPCNN(8).eval()
    network.gen = torch.nn.Identity()
    # The largest |D| is 2/3, so steps up to 2 / (2/3)² = 4.5 converge.
    chi = torch.zeros(1, 1, 24, 24, 24)
    chi[..., 8:16, 10:14, 9:15] = 0.1
    field = torch.from_numpy(forward_field(chi[0, 0].numpy(), (1, 1, 1), (0, 0, 1)))
    with torch.inference_mode():
        found = network(field[None, None])[0, 0]
    explained = torch.from_numpy(forward_field(found.numpy(), (1, 1, 1), (0, 0, 1)))
    assert (explained - field).std() < 0.5 * field.std()
