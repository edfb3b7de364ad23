import dataclasses

import numpy as np
import pytest
import torch

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.training.patches import add_noise, draw_batch, individual_field
from qsm_workflows.training.pool import Pool, make_pool

NO_NOISE = {"noise_probability": 0.0, "noise_snr": (10.0,)}
GEOMETRY = (1, 1, 1), (0, 0, 1)


def draw(pool, mode, seed=0, size=3, **options):
    rng = np.random.default_rng(seed)
    options = NO_NOISE | options
    return draw_batch(rng, pool, range(len(pool)), (16, 16, 16), size, mode=mode, **options)


def test_individual_field_is_that_of_the_patch_alone(pool):
    batch = draw(pool, "individual")
    for field, chi, mask in zip(batch.field, batch.chi, batch.mask, strict=True):
        expected = forward_field(chi[0].numpy(), *GEOMETRY, pad=16)
        np.testing.assert_allclose(field[0], expected * mask[0].numpy(), atol=1e-6)


def test_cropped_field_holds_the_sources_outside(config, tmp_path):
    pool = make_pool(tmp_path, dataclasses.replace(config, mode="cropped"))
    whole = forward_field(pool.chi[0].astype(np.float32), *GEOMETRY) * pool.mask[0]
    # float16 keeps three digits.
    np.testing.assert_allclose(pool.field[0], whole, atol=1e-3 * np.abs(whole).max())
    batch = draw(pool, "cropped")
    alone = individual_field(batch.chi) * batch.mask
    assert (batch.field - alone).norm() > 0.1 * alone.norm()
    # The middle of what a patch's own sources leave is far from those outside: smoother.
    rest = (batch.field - alone)[..., 4:12, 4:12, 4:12]
    rough = batch.field[..., 4:12, 4:12, 4:12]
    assert rest.diff(dim=2).norm() < 0.5 * rough.diff(dim=2).norm()


def test_patches_are_mirrored_with_their_fields(config, tmp_path):
    """Patches as large as the volume have one place, so that only the eight flips are left."""
    pool = make_pool(tmp_path, dataclasses.replace(config, mode="cropped"))
    volume = [torch.from_numpy(a[0].astype(np.float32)) for a in (pool.chi, pool.field, pool.mask)]
    flips = [[axis for axis in range(3) if number >> axis & 1] for number in range(8)]
    seen = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        options = {"mode": "cropped"} | NO_NOISE
        batch = draw_batch(rng, pool, [0], tuple(pool.chi.shape[1:]), 1, **options)
        drawn = [tensor[0, 0].float() for tensor in (batch.chi, batch.field, batch.mask)]
        fitting = [
            number
            for number, axes in enumerate(flips)
            if all(torch.equal(a, b.flip(axes)) for a, b in zip(drawn, volume, strict=True))
        ]
        assert len(fitting) == 1
        seen.update(fitting)
    assert seen == set(range(8))


def test_patches_that_are_never_filled_are_refused(tmp_path):
    mask = np.zeros((1, 32, 32, 32), bool)
    mask[0, 12:20, 12:20, 12:20] = True
    np.save(tmp_path / "mask.npy", mask)
    np.save(tmp_path / "chi.npy", mask.astype(np.float16))
    (tmp_path / "pool.json").write_text('{"source": "one box", "generator": 0, "anatomy": null}')
    with pytest.raises(ValueError, match=r"none lies to 30% in the mask .* use smaller patches"):
        draw(Pool(tmp_path), "individual")


@pytest.mark.parametrize("snr", [5.0, 50.0])
def test_noise_has_the_power_asked_for(snr):
    field = torch.randn((1, 1, 32, 32, 32), generator=torch.Generator().manual_seed(0)) * 0.01
    mask = torch.zeros(field.shape, dtype=torch.bool)
    mask[..., 4:28, 4:28, 4:28] = True
    field = field * mask
    noisy = add_noise(np.random.default_rng(0), field, mask, 1.0, (snr,))
    noise = noisy - field
    assert not noise[~mask].any()
    assert field[mask].square().mean() / noise[mask].square().mean() == pytest.approx(snr, rel=0.05)
    assert torch.equal(add_noise(np.random.default_rng(0), field, mask, 0.0, (snr,)), field)
