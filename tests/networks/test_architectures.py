"""Networks as published: sizes, names, shapes and their state before training."""

import pytest
import torch

from qsm_workflows.networks.deepqsm import DeepQSM
from qsm_workflows.networks.unet import UNet
from qsm_workflows.networks.xqsm import XQSM


@pytest.mark.parametrize(
    ("kind", "width", "parameters", "entries"),
    [
        (XQSM, 64, 5_215_681, 398),
        (XQSM, 32, 1_306_593, 398),
        (UNet, 64, 4_150_785, 86),
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


@pytest.mark.parametrize("kind", [XQSM, UNet, DeepQSM])
def test_output_has_the_shape_of_the_input(kind):
    network = kind(8).eval()
    field = torch.randn(2, 1, network.multiple, 2 * network.multiple, 3 * network.multiple)
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


def test_untrained_xqsm_returns_its_input():
    field = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        assert torch.allclose(XQSM(16).eval()(field), field, atol=1e-6)


def test_low_octave_reaches_the_output():
    """Weights of every branch matter: none of them is left out of the computation."""
    network = XQSM(8).double()
    for parameter in network.parameters():
        torch.nn.init.uniform_(parameter, -0.3, 0.3)
    network(torch.randn(2, 1, 16, 16, 16, dtype=torch.float64)).square().sum().backward()
    # A bias before a batch normalisation is removed by it and cannot matter.
    weights = {n: p for n, p in network.named_parameters() if n.endswith("weight")}
    assert [n for n, p in weights.items() if not p.grad.abs().max() > 0] == []


def test_deepqsm_output_stays_within_one_ppm():
    network = DeepQSM(8).eval()
    with torch.inference_mode():
        assert network(1000 * torch.randn(1, 1, 32, 32, 32)).abs().max() <= 1
