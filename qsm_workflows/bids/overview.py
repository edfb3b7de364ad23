"""What a run takes for granted of a scan, in words and numbers."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from qsm_workflows.algorithms.coverage import slab_axis
from qsm_workflows.algorithms.echoes import detect_phase_units
from qsm_workflows.algorithms.geometry import b0_direction, voxel_size

from .companions import Companions
from .scan import Scan


def describe_scan(scan: Scan, companions: Companions) -> dict[str, Any]:
    """Timing, phase, geometry and companions of a scan, as a run will use them.

    Parameters
    ----------
    scan : Scan
    companions : Companions

    Returns
    -------
    dict
        Ready for JSON. What cannot be told since an image cannot be read is left out.
    """
    return {
        "scan": scan.prefix,
        "magnitude": [str(path) for path in scan.magnitude],
        "phase": [str(path) for path in scan.phase],
        "real": [str(path) for path in scan.real],
        "imaginary": [str(path) for path in scan.imaginary],
        "echo_times": list(scan.echo_times),
        "b0": scan.b0,
        "manufacturer": scan.manufacturer,
        "phase_units": _phase_units(scan),
        "phase_sign": scan.phase_sign or 1,
        "phase_sign_source": _sign_source(scan),
        **_geometry(scan.images[0]),
        "mask": None if companions.mask is None else str(companions.mask),
        "labels": None if companions.labels is None else str(companions.labels),
        "truth": None if companions.truth_chi is None else str(companions.truth_chi),
        "notes": list(companions.notes),
    }


def format_scan(overview: dict[str, Any]) -> str:
    """Text of :func:`describe_scan` for a reader."""
    times = ", ".join(f"{1000 * time:g}" for time in overview["echo_times"])
    sign = {1: "rises", -1: "falls"}[overview["phase_sign"]]
    computed = ", computed of real and imaginary images" if overview["real"] else ""
    lines = [
        f"{overview['scan']}",
        f"  echoes: {len(overview['echo_times'])} at {times} ms, {overview['b0']:g} T",
        f"  phase: {overview['phase_units'] or 'units not recognised'}{computed}; {sign} with the "
        f"field ({overview['phase_sign_source']})",
    ]
    if "shape" in overview:
        shape, size, extent = (
            " × ".join(f"{x:.4g}" for x in overview[key])
            for key in ("shape", "voxel_size", "extent")
        )
        lines += [
            f"  grid: {shape} voxels of {size} mm, {extent} mm; slabs across axis "
            f"{overview['slab_axis']}",
            f"  B0: along {overview['b0_dir']} in voxel axes, {overview['obliquity']:g}° oblique",
        ]
    lines += [
        f"  mask: {overview['mask'] or 'none, the brain will be extracted'}",
        f"  labels: {overview['labels'] or 'none, no region will be measured'}",
    ]
    return "\n".join(lines)


def _phase_units(scan: Scan) -> str | None:
    """Units that are stated, or recognised by the values of the first echo."""
    if scan.phase_units == "rad":
        return "rad"
    try:
        return detect_phase_units(np.asarray(nib.load(scan.phase[0]).dataobj, dtype=np.float32))
    except (OSError, EOFError, ValueError, TypeError, nib.filebasedimages.ImageFileError):
        return None


def _sign_source(scan: Scan) -> str:
    if scan.stated_phase_sign is not None:
        return "PhaseSign of the sidecar"
    if scan.phase_sign is not None:
        return f"as {scan.manufacturer} does"
    return "assumed: the sidecar names no manufacturer that is known"


def _geometry(path: Path) -> dict[str, Any]:
    """Grid and direction of B0."""
    try:
        image = nib.load(path)
        size = voxel_size(image.affine)
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError):
        return {}
    if len(image.shape) != 3:
        return {}
    direction = b0_direction(image.affine)
    angle = np.degrees(np.arccos(np.clip(np.abs(direction).max(), 0, 1)))
    return {
        "shape": list(image.shape),
        "voxel_size": [round(float(x), 6) for x in size],
        "extent": [round(float(x), 3) for x in size * image.shape],
        "b0_dir": [round(float(x), 6) + 0.0 for x in direction],
        "obliquity": round(float(angle), 2),
        "slab_axis": "ijk"[slab_axis(image.affine)],
    }
