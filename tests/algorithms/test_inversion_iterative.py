"""RTS and NDI."""

import numpy as np

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.algorithms.inversion.direct import tsvd
from qsm_workflows.algorithms.inversion.ndi import ndi
from qsm_workflows.algorithms.inversion.rts import rts
from qsm_workflows.algorithms.metrics import nrmse


def test_rts_fills_in_what_the_cone_lost(head):
    filled = rts(head.local_field, head.mask, *head[4:], pad=20)
    truncated = tsvd(head.local_field, head.mask, *head[4:], pad=20)
    error = nrmse(filled, head.chi, head.mask)
    assert error < 0.8 * nrmse(truncated, head.chi, head.mask)


def test_second_step_of_rts_keeps_the_well_conditioned_spectrum(head):
    """With hardly any penalty, only the cone changes."""
    everywhere = np.ones_like(head.mask)
    field = forward_field(head.chi, *head[4:], pad=0)
    chi = rts(
        field,
        everywhere,
        *head[4:],
        least_squares_iterations=60,
        regularisation=1e-7,
        coupling=100,
        pad=0,
    )
    impulse = np.zeros(head.chi.shape)
    impulse[0, 0, 0] = 1
    kernel = np.abs(np.fft.fftn(forward_field(impulse, *head[4:], pad=0)).real)
    found, true = np.fft.fftn(chi)[kernel > 0.2], np.fft.fftn(head.chi)[kernel > 0.2]
    assert np.linalg.norm(found - true) < 0.02 * np.linalg.norm(true)


def test_more_regularisation_of_rts_gives_flatter_maps(head):
    flat, rough = (
        np.abs(np.diff(rts(head.local_field, head.mask, *head[4:], regularisation=r), axis=0)).sum()
        for r in (1e-1, 1e-5)
    )
    assert flat < 0.9 * rough


def test_ndi_does_not_mind_whole_turns(head):
    """The phase of a field one turn higher is the same: an unwrapping error does no harm."""
    from qsm_workflows.algorithms.units import radians_per_ppm

    turned = head.local_field.copy()
    turned[12:20, 12:20, 12:20] += 2 * np.pi / radians_per_ppm(3.0, 0.005)
    chi, other = (ndi(f, head.mask, *head[4:], pad=20) for f in (head.local_field, turned))
    assert nrmse(other, chi, head.mask) < 1e-3


def test_regularisation_of_ndi_shrinks_susceptibility(head):
    weak, strong = (
        ndi(head.local_field, head.mask, *head[4:], regularisation=r, pad=20) for r in (1e-3, 0.1)
    )
    assert np.std(strong) < 0.8 * np.std(weak)


def test_ndi_means_the_same_at_every_field_strength_where_phases_are_small(head):
    low, high = (ndi(head.local_field, head.mask, *head[4:], b0=b0, pad=20) for b0 in (0.3, 0.6))
    assert nrmse(high, low, head.mask) < 1e-3


def test_noisy_voxels_count_less(head):
    spoilt = head.local_field.copy()
    spoilt[10:13, 10:13, 10:13] += 0.3
    noise = np.where(spoilt == head.local_field, 1.0, 100.0)
    plain, weighted = (ndi(spoilt, head.mask, *head[4:], noise=n, pad=20) for n in (None, noise))
    assert nrmse(weighted, head.chi, head.mask) < 0.7 * nrmse(plain, head.chi, head.mask)
