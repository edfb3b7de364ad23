"""Whole-volume inference: sizes, masks, orientations, voxel sizes, precision."""

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from qsm_workflows.networks.checkpoints import write_checkpoint
from qsm_workflows.networks.deepqsm import DeepQSM
from qsm_workflows.networks.inference import apply_network, fastest_dtype
from qsm_workflows.networks.ir2qsm import IR2QSM
from qsm_workflows.networks.lite import LiteIR2QSM, LiteLPCNN, LiteQSM, LiteUNet
from qsm_workflows.networks.lpcnn import LPCNN
from qsm_workflows.networks.unet import UNet
from qsm_workflows.networks.xqsm import XQSM

ISOTROPIC = (1.0, 1.0, 1.0)


# Gives the process 200 MB more than it holds after a small volume.
OUT_OF_MEMORY = """
import resource, sys
from qsm_workflows.cli.main import main
def invert(name):
    line = f"invert xqsm {name}.nii --mask {name}.nii --weights xqsm.safetensors --out chi.nii"
    return main([*line.split(), "--dtype", "float32"])
assert invert("small") == 0
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2 * 10**8, used + 2 * 10**8))
sys.exit(invert("large"))
"""


def _lively(network):
    """Give a network weights that change its input a good deal."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, fan_in**-0.5, generator=generator)
    return network.eval()


def _blobs(shape, sigma=2.0):
    """Smooth random field, about ±0.1 ppm, in an off-centre mask."""
    rng = np.random.default_rng(2)
    field = ndimage.gaussian_filter(rng.standard_normal(shape), sigma).astype(np.float32)
    mask = np.zeros(shape, bool)
    mask[2:-1, 1:-3, 1:-1] = True
    return 0.1 * field / field.std(), mask


@pytest.mark.parametrize(
    "shape",
    [
        (11, 12, 10),
        (12, 13, 15),
        (17, 12, 23),
        (15, 31, 11),
        (33, 14, 10),
        (25, 25, 25),
        (11, 40, 19),
    ],
)
def test_padding_is_cropped_back_exactly(shape):
    """A network that returns its input gives back each voxel in its own place."""
    field, mask = _blobs(shape)
    chi = apply_network(XQSM(8), field, mask, ISOTROPIC)
    assert chi.shape == shape
    assert chi.dtype == np.float32
    np.testing.assert_allclose(chi, np.where(mask, field, 0), atol=1e-6)


def test_padding_leaves_suitable_volumes_alone():
    network = _lively(UNet(8))
    field, mask = _blobs((16, 24, 12))
    with torch.inference_mode():
        direct = network(torch.from_numpy(np.where(mask, field, 0))[None, None])[0, 0].numpy()
    chi = apply_network(network, field, mask, ISOTROPIC)
    np.testing.assert_allclose(chi[mask], direct[mask], rtol=1e-3, atol=1e-6)


def test_voxels_outside_the_mask_are_ignored_and_zero():
    network = _lively(XQSM(8))
    field, mask = _blobs((24, 16, 16))
    chi = apply_network(network, field, mask, ISOTROPIC)
    polluted = np.where(mask, field, 100).astype(np.float32)
    np.testing.assert_array_equal(apply_network(network, polluted, mask, ISOTROPIC), chi)
    assert np.all(chi[~mask] == 0)
    assert np.all(chi[mask] != 0)


@pytest.mark.parametrize(
    "kind", [XQSM, UNet, DeepQSM, IR2QSM, LPCNN, LiteQSM, LiteUNet, LiteIR2QSM, LiteLPCNN]
)
def test_two_runs_are_equal_and_training_mode_is_left(kind):
    network = _lively(kind(8)).train()
    field, mask = _blobs((16, 16, 16))
    first = apply_network(network, field, mask, ISOTROPIC)
    np.testing.assert_array_equal(apply_network(network.train(), field, mask, ISOTROPIC), first)


def test_bfloat16_differs_little():
    network = _lively(XQSM(16))
    field, mask = _blobs((32, 32, 32))
    exact = apply_network(network, field, mask, ISOTROPIC)
    rounded = apply_network(network, field, mask, ISOTROPIC, dtype="bfloat16")
    correction = np.std((exact - field)[mask])
    assert 0 < np.std((rounded - exact)[mask]) < 0.02 * correction


@pytest.mark.parametrize("kind", [XQSM, UNet, DeepQSM, LiteQSM, LiteUNet])
@pytest.mark.parametrize(
    ("device", "tolerance"),
    [
        ("cpu", 1e-5),
        pytest.param(
            *("cuda", 1e-4),
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
            ],
        ),
    ],
)
def test_tiles_give_what_the_whole_volume_gives(kind, device, tolerance):
    network = _lively(kind(4))
    field, mask = _blobs((24, 20, 2 * network.halo + 70))
    whole = apply_network(network, field, mask, ISOTROPIC, device=device)
    tiled = apply_network(network, field, mask, ISOTROPIC, device=device, tile=30)
    np.testing.assert_allclose(tiled, whole, atol=tolerance * np.abs(whole).max())
    assert np.std((whole - field)[mask]) > 0.01 * np.std(field[mask])


@pytest.mark.parametrize("axis", [0, 2])
def test_mirror_image_gives_the_mirrored_map_of_the_small_trunk(axis):
    field, mask = _blobs((32, 16, 48))

    def asymmetry(network):
        chi = apply_network(network, field, mask, ISOTROPIC)
        mirrored = apply_network(network, np.flip(field, axis), np.flip(mask, axis), ISOTROPIC)
        return np.std(np.flip(mirrored, axis) - chi) / np.std(chi - field * mask)

    assert asymmetry(_lively(LiteQSM(8))) < 1e-5
    assert asymmetry(_lively(XQSM(8))) > 1e-2  # as published: one image alone


def test_empty_space_round_the_brain_is_left_out():
    network = _lively(LiteQSM(4))
    field, mask = _blobs((32, 48, 16))
    chi = apply_network(network, field, mask, ISOTROPIC)
    seen = []
    network.register_forward_hook(lambda _, args, __: seen.append(args[0].shape[2:]))
    margins = [(32, 16), (0, 48), (16, 16)]
    wide = apply_network(network, np.pad(field, margins), np.pad(mask, margins), ISOTROPIC)
    np.testing.assert_array_equal(wide, np.pad(chi, margins))
    assert set(seen) == {(32, 48, 16)}


def test_networks_that_need_the_whole_volume_refuse_tiles():
    field, mask = _blobs((16, 16, 16))
    with pytest.raises(ValueError, match="LPCNN needs the whole volume at once"):
        apply_network(LPCNN(8), field, mask, ISOTROPIC, tile=8)
    with pytest.raises(ValueError, match="at least 1 voxel"):
        apply_network(XQSM(8), field, mask, ISOTROPIC, tile=0)


@pytest.mark.parametrize(
    ("kind", "tile"),
    [(XQSM, None), (UNet, 8), (LPCNN, None), (LiteQSM, 16), (LiteIR2QSM, None), (LiteLPCNN, None)],
)
def test_progress_goes_from_nothing_to_all(kind, tile):
    field, mask = _blobs((16, 16, 16))
    parts = []
    apply_network(kind(4), field, mask, ISOTROPIC, tile=tile, progress=parts.append)
    assert parts == sorted(parts)
    assert 0 < parts[0] < 0.1
    assert parts[-1] == 1
    assert len(set(parts)) > 10
    # All of it is said when all of it is done.
    assert sum(part == 1 for part in parts) <= 2


def test_automatic_precision_is_one_of_the_two():
    network = _lively(XQSM(16))
    field, mask = _blobs((32, 32, 32))
    chosen = apply_network(network, field, mask, ISOTROPIC, dtype="auto")
    expected = fastest_dtype(torch.device("cpu"))
    assert expected in ("float32", "bfloat16")
    np.testing.assert_array_equal(
        chosen, apply_network(network, field, mask, ISOTROPIC, dtype=expected)
    )


@pytest.mark.parametrize(
    ("plane", "b0_dir"),
    [
        ((0, 2), (-1.0, 0.0, 0.0)),
        ((2, 0), (1.0, 0.0, 0.0)),
        ((1, 2), (0.0, -1.0, 0.0)),
        ((2, 1), (0.0, 1.0, 0.0)),
    ],
)
def test_quarter_turns_of_image_and_b0_turn_the_result(plane, b0_dir):
    network = _lively(XQSM(8))
    field, mask = _blobs((16, 24, 32))
    chi = apply_network(network, field, mask, ISOTROPIC)
    turned = apply_network(
        network, np.rot90(field, axes=plane), np.rot90(mask, axes=plane), ISOTROPIC, b0_dir
    )
    np.testing.assert_array_equal(np.rot90(turned, -1, axes=plane), chi)
    unaware = apply_network(
        network, np.rot90(field, axes=plane), np.rot90(mask, axes=plane), ISOTROPIC
    )
    assert not np.allclose(np.rot90(unaware, -1, axes=plane), chi, atol=1e-3)


def test_upside_down_image_is_turned():
    network = _lively(XQSM(8))
    field, mask = _blobs((16, 24, 32))
    chi = apply_network(network, field, mask, ISOTROPIC)
    flip = np.s_[:, ::-1, ::-1]
    turned = apply_network(network, field[flip], mask[flip], ISOTROPIC, (0.0, 0.0, -1.0))
    np.testing.assert_array_equal(turned[flip], chi)


@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 2.0), (0.7, 0.7, 0.7), (1.5, 0.8, 1.0)])
@pytest.mark.parametrize("b0_dir", [(0.0, 0.0, 1.0), (0.0, 0.6, 0.8)])
def test_interpolation_there_and_back_keeps_smooth_structures(voxel_size, b0_dir):
    """An almost-identity network gives the field back at its own place and size."""
    field, mask = _blobs((32, 28, 30), sigma=3.0)
    chi = apply_network(XQSM(8), field, mask, voxel_size, b0_dir)
    inner = ndimage.binary_erosion(mask, iterations=3)
    assert np.std((chi - field)[inner]) < 0.06 * np.std(field[inner])


def test_oblique_image_agrees_with_the_upright_one():
    """The same object, scanned straight and tilted by 20°, gives the same map."""

    def scan(tilt):
        axis = np.arange(-19.5, 20)
        x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
        y, z = y * np.cos(tilt) - z * np.sin(tilt), y * np.sin(tilt) + z * np.cos(tilt)
        field = 0.1 * np.exp(-((x - 3) ** 2 + y**2 + 3 * (z - 4) ** 2) / 72)
        return field.astype(np.float32), x**2 + y**2 + z**2 < 17**2

    network = _lively(XQSM(8))
    tilt = np.radians(20)
    upright, mask = scan(0)
    oblique, _ = scan(tilt)
    expected = apply_network(network, upright, mask, ISOTROPIC)
    inner = ndimage.binary_erosion(mask, iterations=5)

    def error(b0_dir):
        chi = apply_network(network, oblique, mask, ISOTROPIC, b0_dir)
        back = ndimage.rotate(chi, np.degrees(tilt), axes=(1, 2), reshape=False)
        return np.std((back - expected)[inner]) / np.std(expected[inner])

    right = error((0.0, np.sin(tilt), np.cos(tilt)))
    assert right < 0.03
    # Taking the image as straight, or tilting the wrong way, is worse.
    assert error((0.0, 0.0, 1.0)) > 1.3 * right
    assert error((0.0, -np.sin(tilt), np.cos(tilt))) > 1.3 * right


def _part(where):
    mask = np.zeros((16, 16, 16))
    mask[where] = 1
    return mask


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"local_field": np.full((16, 16, 16), np.nan)}, "local_field holds 4096 NaN"),
        ({"mask": np.zeros((16, 16, 16))}, "mask is empty"),
        ({"mask": np.ones((16, 16, 8))}, "mask has shape"),
        ({"voxel_size": (1.0, 0.0, 1.0)}, "voxel_size"),
        ({"b0_dir": (0.0, 0.0, 2.0)}, "b0_dir"),
        ({"voxel_size": (1.0, 1.0, 0.25)}, "too thin"),
        ({"mask": _part(np.s_[:, :, 7:9])}, r"spans 16 × 16 × 2 voxels of 1 mm.* too thin"),
        ({"mask": _part(np.s_[4:11])}, r"spans 7 × 16 × 16 voxels of 1 mm.* too thin"),
        ({"mask": _part(np.s_[8, 8, 8])}, r"spans 1 × 1 × 1 voxels of 1 mm.* too thin"),
        (
            {"mask": _part(np.s_[:, :, 8]), "voxel_size": (1.0, 1.0, 0.25)},
            "nothing is left of the mask on voxels of 1 mm",
        ),
        ({"dtype": "int8"}, "dtype"),
        ({"device": "abacus"}, "unknown device 'abacus'"),
        ({"device": "mps"}, "unknown device 'mps'"),
        ({"device": "meta"}, "unknown device 'meta'"),
        ({"device": "cuda:99"}, "CUDA"),
    ],
)
def test_bad_input(changes, message):
    arguments = {
        "local_field": np.zeros((16, 16, 16)),
        "mask": np.ones((16, 16, 16)),
        "voxel_size": ISOTROPIC,
        **changes,
    }
    with pytest.raises(ValueError, match=message):
        apply_network(XQSM(8), **arguments)


def test_a_mask_of_the_smallest_thickness_is_enough():
    field, _ = _blobs((16, 16, 16))
    assert apply_network(XQSM(8), field, _part(np.s_[:, :, 4:12]), ISOTROPIC)[..., 4:12].any()


def test_output_that_is_not_finite_is_an_error():
    network = XQSM(8)
    network.FinalOct.FinalConv.bias.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN or infinite"):
        apply_network(network, np.ones((8, 8, 8)), np.ones((8, 8, 8)), ISOTROPIC)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_out_of_memory_is_told_in_a_line(tmp_path):
    write_checkpoint(tmp_path / "xqsm.safetensors", XQSM(32))
    for name, side in (("small", 16), ("large", 96)):
        image = nib.Nifti1Image(np.ones((side, side, side), np.float32), np.eye(4))
        nib.save(image, tmp_path / f"{name}.nii")
    run = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY], capture_output=True, text=True, cwd=tmp_path
    )
    assert run.returncode == 2
    assert "qsm-wf: error: cpu has too little memory for XQSM on (96, 96, 96)" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("kind", "shape", "keywords", "precision", "tiles"),
    [
        (UNet, (96, 16, 16), {}, True, True),
        (UNet, (96, 16, 16), {"dtype": "bfloat16"}, False, True),
        (UNet, (96, 16, 16), {"tile": 32}, True, False),
        # Every tile sees all of so small a volume.
        (UNet, (64, 16, 16), {}, True, False),
        (LPCNN, (96, 16, 16), {}, True, False),
    ],
)
def test_only_what_takes_less_memory_is_advised(
    monkeypatch, kind, shape, keywords, precision, tiles
):
    def allocate(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ...")

    monkeypatch.setattr(kind, "forward", allocate)
    with pytest.raises(MemoryError, match="thinner slab") as error:
        apply_network(kind(4), np.ones(shape), np.ones(shape), ISOTROPIC, **keywords)
    assert ("dtype='bfloat16' (--dtype bfloat16)" in str(error.value)) is precision
    assert ("tile=64 (--tile 64)" in str(error.value)) is tiles
    assert ("--param METHOD." in str(error.value)) is (precision or tiles)
