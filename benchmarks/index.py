"""How long a large dataset takes to be indexed.

    python benchmarks/index.py [--subjects 1000] [--echoes 5]

Makes a dataset of empty images with a sidecar each (echo times and field differ by file, so
nothing is inherited but what a root sidecar says), indexes it, changes a sidecar, adds and removes
subjects, and indexes it again.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

from qsm_workflows.bids.index import index_dataset


def add_subject(root: Path, number: int, echoes: int) -> Path:
    anat = root / f"sub-{number:04d}" / "anat"
    anat.mkdir(parents=True)
    for echo in range(1, echoes + 1):
        for part in ("mag", "phase"):
            stem = f"sub-{number:04d}_echo-{echo}_part-{part}_MEGRE"
            (anat / f"{stem}.nii.gz").touch()
            sidecar = {"EchoTime": 0.005 * echo, "Manufacturer": "Siemens", "FlipAngle": 15}
            (anat / f"{stem}.json").write_text(json.dumps(sidecar))
    (anat / f"sub-{number:04d}_T1w.nii.gz").touch()
    return anat


def timed(root: Path, what: str):
    start, busy = time.perf_counter(), time.process_time()
    index = index_dataset(root)
    print(
        f"{what}: {len(index.scans)} scans, {len(index.refused)} refused, "
        f"{time.perf_counter() - start:.2f} s ({time.process_time() - busy:.2f} s of processor)",
        flush=True,
    )
    return index


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", type=int, default=1000)
    parser.add_argument("--echoes", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "bids"
        root.mkdir()
        (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
        (root / "MEGRE.json").write_text('{"MagneticFieldStrength": 3}')
        for number in range(1, options.subjects + 1):
            anat = add_subject(root, number, options.echoes)
        timed(root, "first")
        timed(root, "again")
        for part in ("mag", "phase"):
            sidecar = next(anat.glob(f"*echo-1_part-{part}_MEGRE.json"))
            sidecar.write_text('{"EchoTime": 0.001}')
        add_subject(root, options.subjects + 1, options.echoes)
        shutil.rmtree(root / "sub-0001")
        index = timed(root, "after changes")
        assert len(index.scans) == options.subjects
        assert index.scans[-2].echo_times[0] == 0.001


if __name__ == "__main__":
    main()
