"""Faults that the phase of a scan betrays: its sign, and echoes read back and forth."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from qsm_workflows.algorithms.echoes import scale_phase
from qsm_workflows.algorithms.geometry import FloatArray, Triple, b0_direction, voxel_size
from qsm_workflows.algorithms.masking import check_whole_head
from qsm_workflows.algorithms.offsets import LONGEST_RAMP, readout_ramp

from .labels import Label
from .problems import Problems
from .scan import Scan

# Correlation below which the sign is taken to be wrong; right ones were above 0.4.
_WRONG_SIGN = -0.25
# Contrast of deep grey matter, in standard deviations, below which it is so in a slab; right ones
# were 0.5 to 1.9 in slabs of 20 to 64 mm of three heads.
_WRONG_NUCLEI = -0.25
_DEEP_GREY = ("pallidum", "putamen", "caudate")
# Deviation from equal spacing, as a share of it.
_SPACING_TOLERANCE = 0.02


Echo = tuple[FloatArray, FloatArray]
"""Magnitude and phase as stored."""


def check_phase(scan: Scan, echoes: list[Echo], found: Problems) -> None:
    """Look for a wrong sign and for bipolar readout.

    Parameters
    ----------
    scan : Scan
    echoes : list of Echo
        The first echoes, three at most, that have no fault of their own.
    found : Problems
    """
    if not echoes or found.grid is None:
        return
    magnitudes, phases = _scaled(scan, echoes)
    _check_sign(scan, magnitudes, phases, found)
    times = np.diff(scan.echo_times[:3])
    if len(echoes) == 3 and abs(times[1] - times[0]) < _SPACING_TOLERANCE * abs(times[0]):
        _check_readout(scan, magnitudes, phases, found)


def _scaled(scan: Scan, echoes: list[Echo]) -> tuple[list[FloatArray], list[FloatArray]]:
    """Magnitudes, and phases in radians with the sign that a run will give them."""
    units: Literal["rad", "auto"] = "rad" if scan.phase_units == "rad" else "auto"
    return [magnitude for magnitude, _ in echoes], [
        scale_phase(phase, units=units, sign=scan.phase_sign or 1) for _, phase in echoes
    ]


def check_nuclei(
    scan: Scan,
    echoes: list[Echo],
    labels: FloatArray,
    label_table: Sequence[Label],
    found: Problems,
) -> None:
    """Look whether iron of labelled deep grey matter comes out paramagnetic in a slab.

    The sign of a whole head is told by the air about it, which needs no labels.

    Parameters
    ----------
    scan : Scan
        Without errors.
    echoes : list of Echo
        As for :func:`check_phase`.
    labels : (X, Y, Z) ndarray
    label_table : sequence of Label
        Meaning of their values.
    found : Problems
    """
    assert found.grid is not None
    image = found.grid[1]
    size = voxel_size(image.affine)
    if not echoes or _is_whole_head(image.shape, size):
        return
    from qsm_workflows.algorithms.acquisition import nuclei_evidence

    indices = [label.index for label in label_table if label.name in _DEEP_GREY]
    nuclei = np.isin(labels, indices)
    magnitudes, phases = _scaled(scan, echoes)
    evidence = nuclei_evidence(magnitudes, phases, nuclei, size, b0_direction(image.affine))
    if evidence < _WRONG_NUCLEI:
        _tell_wrong_sign(
            scan,
            "deep grey matter comes out less paramagnetic than what is about it (by "
            f"{-evidence:.1f} standard deviations)",
            found,
        )


def _is_whole_head(shape: tuple[int, ...], size: Triple) -> bool:
    try:
        check_whole_head(shape, size)
    except ValueError:
        return False
    return True


def _tell_wrong_sign(scan: Scan, reason: str, found: Problems) -> None:
    right = -(scan.phase_sign or 1)
    found.warning(
        scan.phase_images[0],
        f"its sign seems to be wrong: {reason}",
        f"State PhaseSign: {right} in the sidecars, or give --phase-sign {right}",
    )


def _check_sign(
    scan: Scan, magnitudes: list[FloatArray], phases: list[FloatArray], found: Problems
) -> None:
    # Imported here: torch takes seconds, and slabs do without it.
    from qsm_workflows.algorithms.acquisition import sign_evidence

    assert found.grid is not None
    image = found.grid[1]
    size = voxel_size(image.affine)
    if not _is_whole_head(image.shape, size):
        return  # the shape of a slab does not tell what lies about it
    evidence = sign_evidence(magnitudes, phases, size, b0_direction(image.affine))
    if evidence < _WRONG_SIGN:
        _tell_wrong_sign(
            scan,
            f"the phase falls where the air in the head raises the field (correlation "
            f"{evidence:.2f})",
            found,
        )


def _check_readout(
    scan: Scan, magnitudes: list[FloatArray], phases: list[FloatArray], found: Problems
) -> None:
    ramp = readout_ramp(magnitudes, phases)
    if ramp > LONGEST_RAMP:
        found.warning(
            scan.phase_images[1],
            "odd and even echoes seem to be read in opposite directions: their phase differs by a "
            f"ramp of {ramp:.1f} rad",
            "The run removes it; where you can, scan with readout in one direction",
        )
