"""Faults that the phase of a scan betrays: its sign, and echoes read back and forth."""

from typing import Literal

import numpy as np

from qsm_workflows.algorithms.echoes import scale_phase
from qsm_workflows.algorithms.geometry import FloatArray, b0_direction, voxel_size
from qsm_workflows.algorithms.masking import check_whole_head
from qsm_workflows.algorithms.offsets import LONGEST_RAMP, readout_ramp

from .problems import Problems
from .scan import Scan

# Correlation below which the sign is taken to be wrong; right ones were above 0.4.
_WRONG_SIGN = -0.25
# Deviation from equal spacing, as a share of it.
_SPACING_TOLERANCE = 0.02


def check_phase(scan: Scan, echoes: list[tuple[FloatArray, FloatArray]], found: Problems) -> None:
    """Look for a wrong sign and for bipolar readout.

    Parameters
    ----------
    scan : Scan
    echoes : list of (magnitude, phase)
        The first echoes, three at most, that have no fault of their own; phase as stored.
    found : Problems
    """
    if not echoes or found.grid is None:
        return
    magnitudes = [magnitude for magnitude, _ in echoes]
    units: Literal["rad", "auto"] = "rad" if scan.phase_units == "rad" else "auto"
    phases = [scale_phase(phase, units=units, sign=scan.phase_sign or 1) for _, phase in echoes]
    _check_sign(scan, magnitudes, phases, found)
    times = np.diff(scan.echo_times[:3])
    if len(echoes) == 3 and abs(times[1] - times[0]) < _SPACING_TOLERANCE * abs(times[0]):
        _check_readout(scan, magnitudes, phases, found)


def _check_sign(
    scan: Scan, magnitudes: list[FloatArray], phases: list[FloatArray], found: Problems
) -> None:
    # Imported here: torch takes seconds, and slabs do without it.
    from qsm_workflows.algorithms.acquisition import sign_evidence

    assert found.grid is not None
    image = found.grid[1]
    size = voxel_size(image.affine)
    try:
        check_whole_head(image.shape, size)
    except ValueError:
        return  # the shape of a slab does not tell what lies about it
    evidence = sign_evidence(magnitudes, phases, size, b0_direction(image.affine))
    if evidence < _WRONG_SIGN:
        right = -(scan.phase_sign or 1)
        found.warning(
            scan.phase[0],
            "its sign seems to be wrong: the phase falls where the air in the head raises the "
            f"field (correlation {evidence:.2f})",
            f"State PhaseSign: {right} in the sidecars, or give --phase-sign {right}",
        )


def _check_readout(
    scan: Scan, magnitudes: list[FloatArray], phases: list[FloatArray], found: Problems
) -> None:
    ramp = readout_ramp(magnitudes, phases)
    if ramp > LONGEST_RAMP:
        found.warning(
            scan.phase[1],
            "odd and even echoes seem to be read in opposite directions: their phase differs by a "
            f"ramp of {ramp:.1f} rad",
            "The run removes it; where you can, scan with readout in one direction",
        )
