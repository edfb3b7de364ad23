"""Scans out of NIfTI files of any naming."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from qsm_workflows.algorithms.coils import combine_coils
from qsm_workflows.algorithms.complex_images import combine_parts, split_complex
from qsm_workflows.algorithms.geometry import check_geometry, voxel_size

from .raw import COMBINED_HERE, RawScan
from .sources import Source, with_sidecars
from .volumes import Echoes, pair_parts, read_echoes, to_radians


def load_scan(source: Source) -> tuple[RawScan, list[str]]:
    """Read the files of a scan.

    Parameters
    ----------
    source : Source

    Returns
    -------
    scan : RawScan
    notes : list of str
        What was done to the values that the user should know of.

    Raises
    ------
    ValueError
        If the files do not make up a scan.
    """
    facts, metadata = with_sidecars(source)
    parts = {kind: read_echoes(paths, facts.channels) for kind, paths in source.files.items()}
    grid = pair_parts(parts)
    notes = _notes(parts, facts.b0_dir is not None)
    if "phase" in parts:
        for name, part in parts.items():
            if any(np.iscomplexobj(volume) for volume in part.volumes):
                raise ValueError(f"the {name} images are complex; give them as --complex")
        magnitude = [np.asarray(v, np.float32) for v in parts["magnitude"].volumes]
        phase, units = to_radians(parts["phase"].volumes, facts.phase_units)
        if units == "range":
            notes.append("the lowest to the highest phase value is taken for one turn")
    else:
        volumes = (
            parts["complex"].volumes
            if "complex" in parts
            else combine_parts(parts["real"].volumes, parts["imaginary"].volumes)
        )
        magnitude, phase, alternated = split_complex(volumes)
        if alternated:
            notes.append("the sign of every second slice was undone, as GE stores complex images")
    if facts.te is None or facts.b0 is None or len(facts.te) != len(phase):
        raise ValueError(
            f"there are {len(phase)} echoes, but {len(facts.te or ())} echo times; give one for "
            "each with --te"
        )
    if facts.channels is not None:
        notes.append(f"{phase[0].shape[3]} receive channels were combined")
        phase, magnitude = combine_coils(phase, magnitude, facts.te, voxel_size(grid.affine))
        metadata |= COMBINED_HERE
    if facts.manufacturer is not None:
        metadata["Manufacturer"] = facts.manufacturer
    affine = grid.affine if facts.b0_dir is None else turn_to(grid, facts.b0_dir)
    return RawScan(
        source.entities,
        magnitude,
        phase,
        tuple(float(time) for time in facts.te),
        float(facts.b0),
        affine,
        metadata,
        facts.phase_sign,
    ), notes


def turn_to(grid: Echoes, b0_dir: Sequence[float]) -> NDArray[np.float64]:
    """Affine of a grid whose B0 lies along a given direction of its voxel axes.

    Of all such affines the one that turns the voxel axes least, with the centre of the
    image at the origin.

    Parameters
    ----------
    grid : Echoes
    b0_dir : (3,) sequence of float
        Any length but zero.

    Raises
    ------
    ValueError
        If it is not a direction.
    """
    length = np.linalg.norm(b0_dir)
    size, direction = check_geometry(
        voxel_size(grid.affine), np.asarray(b0_dir, float) / (length or 1)
    )
    rotation, _ = Rotation.align_vectors([[0, 0, 1]], [direction])
    affine = np.eye(4)
    affine[:3, :3] = rotation.as_matrix() * size
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(grid.volumes[0].shape[:3]) - 1) / 2)
    return affine


def describe_import(source: Source, scan: RawScan, notes: Sequence[str]) -> str:
    """What becomes of the files of a scan, for a reader."""
    times = ", ".join(f"{1000 * time:g}" for time in scan.echo_times)
    shape = " × ".join(map(str, scan.phase[0].shape))
    lines = [f"{scan.prefix}: {shape} voxels, echoes at {times} ms, {scan.b0:g} T"]
    lines += [
        f"  {kind}: {', '.join(str(path) for path in paths)}"
        for kind, paths in source.files.items()
    ]
    lines += [f"  note: {note}" for note in notes]
    lines += [f"  → {path.as_posix()}" for path, _, _ in scan.files()]
    return "\n".join(lines)


def _notes(parts: dict[str, Any], has_direction: bool) -> list[str]:
    notes = [
        f"{part.n_replaced} voxels of the {name} images were NaN or infinite and became 0"
        for name, part in parts.items()
        if part.n_replaced
    ]
    if not has_direction and not any(part.has_orientation for part in parts.values()):
        notes.append(
            "the images do not say how they lie in the scanner: B0 is taken to lie along the third "
            "voxel axis; give --b0-dir if it does not"
        )
    return notes
