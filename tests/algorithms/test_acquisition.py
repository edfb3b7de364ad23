import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.algorithms.acquisition import sign_evidence
from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.algorithms.geometry import b0_direction, voxel_size


@pytest.fixture(scope="module")
def head():
    """Magnitude and radians of a ball of tissue with an air-filled sinus and a shim."""
    shape = (40, 48, 36)
    x, y, z = np.indices(shape) - np.reshape(shape, (3, 1, 1, 1)) / 2
    tissue = (x**2 + y**2 + z**2 < 15**2) & ~(x**2 + (y - 9) ** 2 + (z + 6) ** 2 < 4**2)
    field = forward_field(-9.05 * tissue, (4, 4, 4), (0, 0.6, 0.8)) + 0.05 * z + 0.02 * x
    rng = np.random.default_rng(0)
    magnitude = 100.0 * tissue + rng.uniform(0, 1, shape)
    return magnitude.astype(np.float32), field.astype(np.float32)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("echoes", [1, 2])
def test_sign_is_told_by_the_air_of_the_head(head, sign, echoes):
    magnitude, field = head
    phases = [sign * np.angle(np.exp(1j * field * (1 + number))) for number in range(echoes)]
    evidence = sign_evidence([magnitude] * echoes, phases, (4, 4, 4), (0, 0.6, 0.8))
    assert sign * evidence > 0.5


def test_noise_has_no_sign(head):
    noise = np.random.default_rng(1).uniform(-np.pi, np.pi, (2, *head[0].shape))
    assert abs(sign_evidence([head[0]] * 2, noise, (4, 4, 4), (0, 0, 1))) < 0.25


def test_image_without_signal_has_no_sign():
    empty = np.zeros((20, 20, 20))
    assert sign_evidence([empty], [empty], (4, 4, 4), (0, 0, 1)) == 0


@pytest.mark.shared
def test_sign_of_real_heads(shared_data):
    philips = shared_data / "philips_dualecho_invivo_wholehead/nii"
    siemens = shared_data / "siemens_gre_fieldmap_invivo_wholehead/nii"
    magnitudes, phases = (
        [nib.load(philips / f"sub-philips_echo-{e}_part-{part}_MEGRE.nii.gz") for e in (1, 2)]
        for part in ("mag", "phase")
    )
    affine = phases[0].affine
    volumes = [[image.get_fdata() for image in images] for images in (magnitudes, phases)]
    assert sign_evidence(*volumes, voxel_size(affine), b0_direction(affine)) > 0.4
    magnitude = nib.load(siemens / "sub-rordie_magnitude1.nii.gz")
    difference = nib.load(siemens / "sub-rordie_phasediff.nii.gz")
    geometry = voxel_size(magnitude.affine), b0_direction(magnitude.affine)
    phase = difference.get_fdata() * np.pi / 4096
    assert sign_evidence([magnitude.get_fdata()], [phase], *geometry) > 0.4
