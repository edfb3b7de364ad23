"""Susceptibility volumes to train on, each a function of a seed and a number alone.

Susceptibilities of tissues are relative to tissue water. They are near those of the digital
heads, whose sources :mod:`qsm_workflows.phantom.susceptibility` names, and of the head of
Marques et al.

References
----------
Marques et al., Magn Reson Med 86:526 (2021): a head made of images at 7 T; Li et al., Hum Brain
Mapp 35:2698 (2014): susceptibility from 1 to 83 years of age.
"""

import numpy as np
import torch

from qsm_workflows.algorithms.fft import Shape3

from .anatomy import CODES, TISSUES, Anatomies, LabelSet
from .fields import blur, noise, sample_labels, sampling_points
from .shapes import draw_outline, paint_lesions, paint_shapes, paint_veins

Volume = tuple[torch.Tensor, torch.Tensor]
"""Susceptibility in ppm, float32, zero outside the mask; and the mask."""

SHAPE: Shape3 = (144, 192, 128)
"""Default grid, 1 mm voxels."""

_CENTRES = {
    "white_matter": (-0.03, 0.012),
    "grey_matter": (0.015, 0.012),
    "csf": (0.0, 0.012),
    "vein": (0.25, 0.08),
}
"""Mean and standard deviation between volumes, ppm.

Marques et al. have −0.03, 0.02, 0.019 and 0.19, the digital heads −0.035, 0.015, 0 and 0.30. The
deviations are two to three times those of the digital heads, on purpose: a network shall not
take a tissue to have a value.
"""

_IRON = {
    "thalamus": 0.015,
    "caudate": 0.05,
    "putamen": 0.065,
    "pallidum": 0.14,
    "accumbens": 0.03,
    "red_nucleus": 0.11,
    "substantia_nigra": 0.13,
    "dentate": 0.11,
}
"""Susceptibility of healthy adults, ppm.

Within 0.015 of the digital heads and 0.045 of Marques et al., who differ most in the dentate
(0.11 and 0.152). Neither has the accumbens, which is put between thalamus and caudate. Volumes
get from 0.3 to 2.5 times as much: these values grow from childhood to old age (Li et al.), and a
network shall not know them from the anatomy.
"""

_TEXTURE = {"white_matter": 0.010, "grey_matter": 0.012, "csf": 0.004}
_NUCLEI_TEXTURE = 0.15
"""Relative to the value of a nucleus."""


def brain_volume(rng: np.random.Generator, anatomies: Anatomies, shape: Shape3 = SHAPE) -> Volume:
    """Draw a brain: anatomy, deformation, values, texture, veins and lesions.

    Iron is drawn far more widely than people differ, and in every third volume without
    regard to the structure, so that a network cannot know it from the anatomy.

    Parameters
    ----------
    rng : numpy.random.Generator
    anatomies : Anatomies
    shape : tuple of int
        Grid of 1 mm voxels; B0 is along the last axis.
    """
    brain = anatomies.draw(rng)
    labels = sample_labels(brain.labels, _nuclei_centre(brain), sampling_points(rng, shape))
    mask = labels > 0
    chi = draw_values(rng)[labels]
    chi += _texture(rng, labels, chi)
    chi = blur(chi, rng.uniform(0.3, 0.7))
    if rng.random() < 0.5:
        paint_shapes(rng, chi, count=int(rng.integers(2, 12)), size=(2, 10), spread=0.12)
    paint_veins(rng, chi, mask, count=int(rng.integers(60, 200)))
    paint_lesions(rng, chi, mask)
    return chi * mask, mask


def shapes_volume(rng: np.random.Generator, shape: Shape3 = SHAPE) -> Volume:
    """Draw boxes and ellipsoids at random, as DeepQSM was trained on.

    Most volumes end at a ragged ellipsoid, beyond which there is no χ and no field is known,
    as beyond the mask of a brain; the published ones filled every patch.

    References
    ----------
    Bollmann et al., NeuroImage 195:373 (2019).
    """
    chi = torch.zeros(shape)
    # From shapes that stand alone to shapes as close as the folds of a cortex.
    count = int(np.prod(shape) / 64**3 * np.exp(rng.uniform(np.log(30), np.log(400))))
    paint_shapes(rng, chi, count=count, size=(1, 16), spread=0.06)
    mask = draw_outline(rng, shape) if rng.random() < 0.75 else torch.ones(shape, dtype=torch.bool)
    return chi * mask, mask


def _nuclei_centre(brain: LabelSet) -> np.ndarray:
    """Voxel midway between the pallida, which comes to the middle of the volume."""
    x, y, z = np.nonzero(brain.labels == CODES["pallidum"])
    return np.array([x.mean(), y.mean() - 12, z.mean()])


def draw_values(rng: np.random.Generator) -> torch.Tensor:
    """Draw the susceptibility of each tissue, ppm, by its code."""
    values = np.zeros(len(TISSUES), np.float32)
    for name, (mean, spread) in _CENTRES.items():
        values[CODES[name]] = rng.normal(mean, spread)
    free = rng.random() < 0.33
    load = np.exp(rng.uniform(np.log(0.3), np.log(2.5)))
    for name, healthy in _IRON.items():
        own = np.exp(0.3 * rng.standard_normal())
        values[CODES[name]] = rng.uniform(-0.1, 0.4) if free else healthy * load * own
    return torch.from_numpy(values)


def _texture(rng: np.random.Generator, labels: torch.Tensor, chi: torch.Tensor) -> torch.Tensor:
    """Variation inside tissues, at scales of 2 to 16 mm."""
    x, y, z = labels.shape
    pattern = sum(noise(rng, (x, y, z), spacing)[0] for spacing in (2.0, 4.0, 16.0)) / 3**0.5
    amount = torch.zeros(len(TISSUES))
    for name, deviation in _TEXTURE.items():
        amount[CODES[name]] = deviation * rng.uniform(0.3, 1.5)
    relative = torch.zeros(len(TISSUES))
    for name in _IRON:
        relative[CODES[name]] = _NUCLEI_TEXTURE
    return pattern * (amount[labels] + relative[labels] * chi.abs())
