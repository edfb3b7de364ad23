"""Every way to mask, on real magnitudes and on heads whose brain is known.

    qsm-wf simulate heads/a --seed 7 --no-lesions --voxel-size 1.5
    python benchmarks/masks.py ../shared/data heads/* [--slabs] [--pictures DIR]

Takes simulated datasets and the folder of real scans. A row a head and method: volume, Dice
coefficient with the truth (with deepbet's mask where no truth is known), share of the mask that is
no brain, its deepest point outside, share of the brain that is left out, seconds of processor.
With --slabs the image is cut to ever thinner slabs about the middle of the brain.
"""

import argparse
import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from scipy import ndimage

from qsm_workflows.algorithms.echoes import scale_phase
from qsm_workflows.algorithms.geometry import voxel_size
from qsm_workflows.algorithms.masking import bet
from qsm_workflows.algorithms.phase_mask import phase_mask

THICKNESSES = (100, 80, 64, 48, 32)


class Scan(NamedTuple):
    """What masks are made from, and the brain where it is known."""

    name: str
    magnitudes: list[np.ndarray]
    phases: list[np.ndarray]
    affine: np.ndarray
    truth: np.ndarray | None

    def cut(self, thickness: float) -> "Scan":
        """Slab of the third axis about the middle of the brain."""
        height = voxel_size(self.affine)[2]
        middle = int(ndimage.center_of_mass(self.truth)[2])
        half = round(thickness / height / 2)
        part = np.s_[:, :, max(middle - half, 0) : middle + half]
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, 2] * part[2].start
        return Scan(
            f"{self.name}, {thickness} mm",
            [volume[part] for volume in self.magnitudes],
            [volume[part] for volume in self.phases],
            affine,
            self.truth[part],
        )


def simulated(folder: Path) -> Iterator[Scan]:
    for truth in sorted(folder.glob("derivatives/truth/sub-*/anat/*_desc-brain_mask.nii.gz")):
        anat = folder / truth.parts[-3] / "anat"
        yield scan(
            f"{folder.name} {truth.parts[-3]}",
            sorted(anat.glob("*part-mag*.nii.gz")),
            sorted(anat.glob("*part-phase*.nii.gz")),
            truth,
        )


def real(data: Path) -> Iterator[Scan]:
    philips = data / "philips_dualecho_invivo_wholehead" / "nii"
    yield scan(
        "Philips, 3 mm, TE 2.3/4.6",
        sorted(philips.glob("*part-mag*.nii.gz")),
        sorted(philips.glob("*part-phase*.nii.gz")),
    )
    siemens = data / "siemens_gre_fieldmap_invivo_wholehead" / "nii"
    yield scan("Siemens field map, 3 mm, TE 5.2/7.7", sorted(siemens.glob("*magnitude*.nii.gz")))
    phantom = data / "siemens_6echo_phantom" / "nii"
    yield scan("Siemens phantom", *siemens_phantom(phantom))
    romeo = data / "romeo_small_invivo_3echo"
    yield scan("crop, 24×24×41 mm", [romeo / "Mag.nii.gz"], [romeo / "Phase.nii.gz"])
    epi = data / "epi_phase_prelude_reference"
    mask = epi / "prelude_mask.nii.gz"
    for end in ("", "_snr2"):
        names = ([epi / f"{part}{end}.nii.gz"] for part in ("magnitude", "phase"))
        yield scan(f"EPI slab, 16 mm{end.replace('_', ', ')}", *names, mask)


def siemens_phantom(folder: Path) -> tuple[list[Path], list[Path]]:
    files = sorted(folder.glob("*.nii.gz"))
    phase = [path for path in files if "ph" in path.name]
    return [path for path in files if path not in phase], phase


def scan(name: str, magnitude: list[Path], phase: list[Path] = (), truth: Path | None = None):
    phases = [scale_phase(volume) for volume in volumes(phase)]
    known = None if truth is None else np.asarray(nib.load(truth).dataobj) > 0
    return Scan(name, volumes(magnitude), phases, nib.load(magnitude[0]).affine, known)


def volumes(paths: list[Path]) -> list[np.ndarray]:
    images = [np.asarray(nib.load(path).dataobj, np.float32) for path in paths]
    return (
        [v for image in images for v in np.moveaxis(np.atleast_3d(image), 3, 0)]
        if any(image.ndim == 4 for image in images)
        else images
    )


def make_mask(method: str, one: Scan) -> np.ndarray:
    size = voxel_size(one.affine)
    if method == "bet":
        return bet(one.magnitudes[0], size)
    if method == "phase":
        return phase_mask(one.phases, one.magnitudes, size)
    from qsm_workflows.networks.brain import deepbet

    return deepbet(one.magnitudes[0], one.affine)


def measure(one: Scan, pictures: Path | None) -> None:
    methods = ["deepbet", "bet", "phase"] if one.phases else ["deepbet", "bet"]
    if importlib.util.find_spec("deepbet") is None:
        methods.remove("deepbet")
    size = voxel_size(one.affine)
    found: dict[str, np.ndarray] = {}
    for method in methods:
        start = time.process_time()
        try:
            found[method] = make_mask(method, one)
        except ValueError as error:
            print(f"| {one.name} | {method} | refused: {str(error)[:60]}… | | | | | |", flush=True)
            continue
        seconds = time.process_time() - start
        brain = found.get("deepbet") if one.truth is None else one.truth
        figures = ["", "", "", ""]
        if brain is not None and not (one.truth is None and method == "deepbet"):
            figures = compare(found[method], brain, size)
        litres = np.count_nonzero(found[method]) * size.prod() / 1000
        row = " | ".join([f"{litres:.0f}", *figures, f"{seconds:.1f}"])
        print(f"| {one.name} | {method} | {row} |", flush=True)
    if pictures is not None:
        draw(one, found, pictures)


def compare(mask: np.ndarray, brain: np.ndarray, size: np.ndarray) -> list[str]:
    both = np.count_nonzero(mask & brain)
    dice = 2 * both / (np.count_nonzero(mask) + np.count_nonzero(brain))
    leak = 1 - both / np.count_nonzero(mask)
    lost = 1 - both / np.count_nonzero(brain)
    depth = ndimage.distance_transform_edt(~brain, sampling=size)[mask].max()
    return [f"{dice:.3f}", f"{100 * leak:.1f}", f"{depth:.0f}", f"{100 * lost:.1f}"]


def draw(one: Scan, found: dict[str, np.ndarray], folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colours = {"deepbet": "lime", "bet": "red", "phase": "cyan"}
    figure, axes = plt.subplots(1, 3, figsize=(15, 5), facecolor="black")
    volume = one.magnitudes[0]
    size = voxel_size(one.affine)
    middle = next(iter(found.values()), volume > 0)
    centre = np.rint(ndimage.center_of_mass(middle)).astype(int)
    for axis, panel in enumerate(axes):
        rest = [i for i in range(3) if i != axis]
        aspect = size[rest[1]] / size[rest[0]]
        top = np.percentile(volume, 99.5)
        plane = volume.take(centre[axis], axis).T
        panel.imshow(plane, cmap="gray", origin="lower", aspect=aspect, vmax=top)
        for method, mask in found.items():
            outline = mask.take(centre[axis], axis).T
            if outline.any() and not outline.all():
                panel.contour(outline, [0.5], colors=colours[method], linewidths=0.8)
        panel.axis("off")
    figure.suptitle(f"{one.name}: deepbet green, bet red, phase cyan", color="white")
    figure.tight_layout()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{one.name.replace('/', '-').replace(' ', '_')}.png", dpi=70)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--slabs", action="store_true")
    parser.add_argument("--pictures", type=Path, metavar="DIR")
    options = parser.parse_args()
    print("| head | method | ml | Dice | leak % | leak mm | lost % | CPU s |")
    print("|---|---|---|---|---|---|---|---|")
    for folder in options.folders:
        is_simulated = (folder / "dataset_description.json").exists()
        for one in simulated(folder) if is_simulated else real(folder):
            measure(one, options.pictures)
            if options.slabs and is_simulated:
                for thickness in THICKNESSES:
                    measure(one.cut(thickness), options.pictures)


if __name__ == "__main__":
    main()
