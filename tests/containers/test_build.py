"""An image is built and does real work, as any user, with nothing but its folders writable.

Needs a container engine, a network and some minutes, so it is told how to build and run::

    QSM_WF_BUILD="docker build" QSM_WF_RUN="docker run --rm" \\
        python -m pytest tests/containers/test_build.py
"""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from qsm_workflows import __version__

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/qsm-wf-test"

pytestmark = pytest.mark.slow


def command(variable):
    """Command that a variable of the environment holds."""
    words = shlex.split(os.environ.get(variable, ""))
    if not words:
        pytest.skip(f"{variable} does not say how; see the head of {Path(__file__).name}")
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]}, of {variable}, is not installed")
    return words


@pytest.fixture(scope="module")
def image():
    """Build the image; gives how it is run."""
    build, run = command("QSM_WF_BUILD"), command("QSM_WF_RUN")
    recipe = ["--tag", IMAGE, "--file", "containers/Dockerfile", "."]
    subprocess.run([*build, *recipe], cwd=ROOT, check=True)
    return run


def test_it_tells_its_version(image):
    told = subprocess.run([*image, IMAGE, "--version"], capture_output=True, text=True, check=True)
    assert told.stdout == f"qsm-workflows {__version__}\n"


def test_it_simulates_a_head_and_maps_it_as_another_user(image, tmp_path):
    # Like one of a cluster: its number has no name inside, and its home cannot be written to.
    os.chmod(tmp_path, 0o777)
    run = [*image, "--user", "1234:1234", "--volume", f"{tmp_path}:{tmp_path}", IMAGE]
    bids, out, work = (str(tmp_path / name) for name in ("bids", "out", "work"))
    subprocess.run([*run, "simulate", bids, "--voxel-size", "4"], check=True)
    options = ["--coverage", "full", "--method", "tkd", "xqsm-individual", "--no-progress"]
    subprocess.run([*run, bids, out, "participant", "--work", work, *options], check=True)
    (sidecar,) = tmp_path.glob("out/sub-01/anat/*rec-xqsmindividual*_Chimap.json")
    assert json.loads(sidecar.read_text())["Units"] == "ppm"
    assert (tmp_path / "out" / "index.html").is_file()
