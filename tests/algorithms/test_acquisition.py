import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.algorithms.acquisition import nuclei_evidence, sign_evidence
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


@pytest.mark.parametrize("sign", [1, -1])
def test_iron_tells_the_sign_in_a_slab(sign):
    size, b0_dir, shape = (1.5, 1.5, 2.0), (0, 0.28, 0.96), (48, 44, 12)
    x = (np.arange(48) - 23.5)[:, None, None] * 1.5 + np.zeros(shape)
    y = (np.arange(44) - 21.5)[:, None] * 1.5 + np.zeros(shape)
    nuclei = (np.abs(x) - 12) ** 2 + y**2 < 6**2
    brain = x**2 + y**2 < 30**2
    field = forward_field(0.1 * nuclei, size, b0_dir) + 0.01 * x + 2e-4 * y**2
    rng = np.random.default_rng(0)
    magnitude = 100.0 * brain + rng.uniform(0, 1, shape)
    phases = [
        np.angle(np.exp(1j * (sign * 20 * field * echo + rng.normal(0, 0.05, shape))))
        for echo in (1, 2, 3)
    ]
    evidence = nuclei_evidence([magnitude] * 3, phases, nuclei, size, b0_dir)
    assert sign * evidence > 1
    noise = rng.uniform(-3, 3, (3, *shape))
    assert nuclei_evidence([magnitude] * 3, noise, nuclei, size, b0_dir) == 0
    assert nuclei_evidence([magnitude] * 3, phases, np.zeros(shape), size, b0_dir) == 0


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
