"""A plausible output folder, made in seconds."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

SHAPE = (40, 48, 36)
AFFINE = np.array([[4.0, 0, 0, -78], [0, 4, 0, -110], [0, 0, 4, -64], [0, 0, 0, 1]])
DEEP_GREY_MM = 32.0
# Name, centre in mm (right side), radius in mm, susceptibility in ppm.
NUCLEI = (
    ("pallidum", (20, -4, 0), 8, 0.13),
    ("putamen", (28, 4, 2), 10, 0.06),
    ("caudate", (13, 14, 8), 8, 0.05),
    ("optic_radiation", (34, -50, 6), 9, -0.04),
)


def _world() -> np.ndarray:
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    return voxels @ AFFINE[:3, :3].T + AFFINE[:3, 3]


def _ball(world, centre, radii) -> np.ndarray:
    return np.sum(((world - centre) / radii) ** 2, axis=-1) <= 1


def brain_and_chi() -> tuple[np.ndarray, np.ndarray]:
    """Brain mask and true susceptibility in ppm."""
    world = _world()
    brain = _ball(world, (0, -18, 8), (64, 80, 60))
    chi = np.where(brain, 0.01, 0.0)
    for _, centre, radius, value in NUCLEI:
        for side in (-1, 1):
            chi[_ball(world, np.multiply(centre, (side, 1, 1)), radius)] = value
    return brain, chi


def slab_slices(coverage: float) -> slice:
    """Slices of a slab of `coverage` percent, centred on the pallidum at z = 0 mm."""
    half = coverage / 100 * DEEP_GREY_MM / 2
    z = AFFINE[2, 3] + 4.0 * np.arange(SHAPE[2])
    inside = np.flatnonzero(np.abs(z) <= half)
    return slice(int(inside[0]), int(inside[-1]) + 1)


def _save(data, path: Path, sidecar=None, start: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = AFFINE.copy()
    affine[:3, 3] += start * AFFINE[:3, 2]
    nib.save(nib.Nifti1Image(data.astype(np.float32), affine), path)
    if sidecar is not None:
        target = path.with_name(path.name.removesuffix(".nii.gz") + ".json")
        target.write_text(json.dumps(sidecar))


def _sidecar(method: str, order: str, coverage: float | None) -> dict:
    thickness = SHAPE[2] * 4.0 if coverage is None else coverage / 100 * DEEP_GREY_MM
    return {
        "Units": "ppm",
        "SkullStripped": True,
        "Description": "Susceptibility map",
        "PipelineOrder": order,
        "CoveragePercent": coverage,
        "CoverageMillimeters": thickness,
        "CoverageMillimetersActual": min(thickness, SHAPE[2] * 4.0),
        "SlabAxis": "k",
        "InversionMethod": method,
        "InversionParameters": {"tkd": {"threshold": 0.15}, "medi": {"weight": 1000}}.get(
            method, {}
        ),
        "BackgroundRemoval": {"Method": "RESHARP", "radius": 3.0, "tikhonov": 1e-4},
        "Reference": {"region": "optic_radiation", "mean_ppm": -0.04},
        "SoftwareVersion": "qsm-workflows 0.1.0",
        "CommandLine": "qsm-wf run --bids /data --coverage 100:400:100",
    }


def gain(method: str, order: str, coverage: float | None) -> float:
    """Share of the true susceptibility that the made-up pipeline gives."""
    if coverage is None:
        return 0.95
    loss = {"tkd": 0.30, "medi": 0.20, "xqsm": 0.06}.get(method, 0.1) * (100 / coverage) ** 2
    return 0.95 - loss * (1.6 if order == "T+B" else 1.0)


def _rows(subject, methods, orders, coverages, truth):
    for order in orders:
        for coverage in coverages:
            for method in methods:
                for region, _, _, chi in NUCLEI:
                    for side in ("L", "R", "both"):
                        value, full, true = (
                            scale * (chi + 0.04)
                            for scale in (
                                gain(method, order, coverage),
                                gain(method, order, max(coverages)),
                                1.0 if truth else np.nan,
                            )
                        )
                        yield {
                            "subject": subject,
                            "session": None,
                            "run": None,
                            "acquisition": None,
                            "order": order,
                            "coverage_percent": coverage,
                            "coverage_mm": coverage / 100 * DEEP_GREY_MM,
                            "method": method,
                            "region": region,
                            "hemisphere": side,
                            "mean": value,
                            "sd": 0.01,
                            "n_voxels": 30,
                            "fraction_covered": 1.0 if coverage > 100 else 0.8,
                            "reference": "optic_radiation",
                            "mean_full": full,
                            "difference_full": value - full,
                            "percent_full": 100 * (value - full) / abs(full) if full else np.nan,
                            "mean_truth": true,
                            "difference_truth": value - true,
                            "percent_truth": 100 * (value - true) / abs(true) if true else np.nan,
                        }


def _make(
    root: Path,
    subject: str = "01",
    *,
    methods: Sequence[str] = ("tkd", "medi", "xqsm"),
    orders: Sequence[str] = ("B+T", "T+B"),
    coverages: Sequence[float] = (100, 200, 300, 400),
    full: bool = False,
    truth: bool = True,
    table: bool = True,
) -> Path:
    """Write the outputs of one subject to `root`, and return it."""
    rng = np.random.default_rng(int.from_bytes(subject.encode()))
    brain, chi = brain_and_chi()
    prefix = f"sub-{subject}"
    anat, fmap = (root / prefix / name for name in ("anat", "fmap"))
    texture = rng.normal(size=SHAPE)
    local = 0.3 * (chi - np.roll(chi, 1, 2) / 2 - np.roll(chi, -1, 2) / 2) + 0.003 * texture
    z = np.linspace(-1, 1, SHAPE[2])
    _save(brain, anat / f"{prefix}_desc-brain_mask.nii.gz", {"Type": "Brain"})
    _save(np.where(brain, 800 - 1500 * chi, 40) + 20 * texture, fmap / f"{prefix}_magnitude.nii.gz")
    _save((0.4 * z**3 + local) * brain, fmap / f"{prefix}_desc-total_fieldmap.nii.gz")
    _save(local * brain, fmap / f"{prefix}_desc-local+B+T_fieldmap.nii.gz")
    conditions = [(order, coverage) for order in orders for coverage in coverages]
    for order, coverage in [*conditions, *([("full", None)] if full else [])]:
        slab = slice(None) if coverage is None else slab_slices(coverage)
        start = slab.start or 0
        label = "full" if coverage is None else f"{order}{coverage:g}".replace(".", "p")
        mask = brain[..., slab].copy()
        if order == "T+B":
            mask[..., 0] = mask[..., -1] = False
            field = local[..., slab] * mask
            _save(field, fmap / f"{prefix}_desc-local+{label}_fieldmap.nii.gz", start=start)
        _save(mask, anat / f"{prefix}_desc-{label}_mask.nii.gz", start=start)
        for method in methods:
            noisy = (chi + 0.04) * gain(method, order, coverage) + 0.01 * texture
            _save(
                noisy[..., slab] * mask,
                anat / f"{prefix}_rec-{method}_desc-{label}_Chimap.nii.gz",
                _sidecar(method, order, coverage),
                start,
            )
    if table:
        rows = pd.DataFrame(_rows(subject, methods, orders, coverages, truth))
        path = anat / f"{prefix}_desc-regions_stats.tsv"
        rows.to_csv(path, sep="\t", na_rep="n/a", index=False)
        path.with_suffix(".json").write_text(json.dumps({"mean": {"Units": "ppm"}}))
    description = {
        "Name": "qsm-workflows",
        "BIDSVersion": "1.11.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "qsm-workflows", "Version": "0.1.0"}],
    }
    (root / "dataset_description.json").write_text(json.dumps(description))
    return root


@pytest.fixture(scope="session")
def make_derivatives() -> Callable[..., Path]:
    """Maker of a subject's outputs: ``make_derivatives(root, subject, ...)``."""
    return _make
