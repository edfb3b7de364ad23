"""The container recipes name what exists and agree with each other and with the package."""

import os
import re
import shlex
import subprocess
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest

from qsm_workflows import __version__
from qsm_workflows.cli.main import build_parser, from_bids_app

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "containers"
DOCKERFILE = (CONTAINERS / "Dockerfile").read_text()
DEFINITION = (CONTAINERS / "qsm-wf.def").read_text()


def instructions(name):
    """Arguments of each use of an instruction of the Dockerfile, continued lines joined."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name} +(.+)$", joined, re.MULTILINE)


def section(name):
    """Lines of a section of the Apptainer recipe, continued lines joined, without comments."""
    text = re.search(rf"^%{name}\n(.*?)(?=^%|\Z)", DEFINITION, re.DOTALL | re.MULTILINE)[1]
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def copied_by_dockerfile():
    """Where each file or folder goes, as COPY does it: of a folder the content is copied."""
    placed = {}
    for copy in instructions("COPY"):
        *sources, target = copy.split()
        for source in sources:
            is_file = (ROOT / source).is_file()
            placed[source] = f"{target}{Path(source).name}" if is_file else target
    return placed


def copied_by_definition():
    """Where each file or folder goes, as %files does it: a folder itself is copied."""
    pairs = (line.split() for line in section("files"))
    return {source: f"{target}{Path(source).name}" for source, target in pairs}


def test_both_recipes_copy_the_same_files_to_the_same_places():
    assert copied_by_dockerfile() == copied_by_definition()


def test_what_is_copied_is_in_the_repository():
    tracked = subprocess.run(
        ["git", "ls-files", *copied_by_definition()], cwd=ROOT, capture_output=True, text=True
    )
    if tracked.returncode:
        pytest.skip("this is not a git checkout")
    files = tracked.stdout.split()
    for source in copied_by_definition():
        assert any(file == source or file.startswith(f"{source}/") for file in files), source


def test_what_an_installation_reads_is_copied():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    roots = dict(
        line.split(" = ") for line in config["options"]["package_dir"].strip().splitlines()
    )
    wanted = {"setup.cfg", "pyproject.toml", "constraints.txt"}
    wanted |= {config["metadata"]["long_description"].removeprefix("file: ")}
    wanted |= {config["metadata"]["license_files"]}
    packages = config["options"]["packages"].split()
    wanted |= {roots.get(package, package.split(".")[0]) for package in packages}
    assert wanted <= copied_by_definition().keys()


def test_both_recipes_run_the_one_list_of_steps():
    (run,) = instructions("RUN")
    provision, clean = (part.strip() for part in run.split("&&"))
    assert shlex.split(provision)[:3] == [
        "sh",
        copied_by_definition()["containers/provision.sh"],
        "/opt/source",
    ]
    post = section("post")
    assert [shlex.split(line)[:3] for line in post] == [
        shlex.split(command)[:3] for command in (provision, clean)
    ]
    # The one argument of a build: declared by both, empty unless given, passed on by both.
    assert "TORCH_INDEX=" in instructions("ARG")
    assert section("arguments") == ["torch_index="]
    assert shlex.split(provision)[3] == "$TORCH_INDEX"
    assert shlex.split(post[0])[3] == "{{ torch_index }}"


def test_both_recipes_start_from_the_same_python_which_the_package_takes():
    (base,) = re.findall(r"^From: (.+)$", DEFINITION, re.MULTILINE)
    assert f"BASE={base}" in instructions("ARG")
    assert instructions("FROM") == ["${BASE}"]
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    minor = int(re.search(r"python:3\.(\d+)-", base)[1])
    assert minor >= int(config["options"]["python_requires"].removeprefix(">=3."))


def test_versions_agree():
    assert f'org.opencontainers.image.version="{__version__}"' in DOCKERFILE
    assert f"Version {__version__}" in section("labels")


def test_images_run_a_command_that_the_package_installs():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    scripts = config["options.entry_points"]["console_scripts"].split("=")
    command = scripts[0].strip()
    assert tomllib.loads(f"value = {instructions('ENTRYPOINT')[0]}")["value"] == [command]
    assert section("runscript") == [f'exec {command} "$@"']


def test_both_images_have_the_same_environment():
    (environment,) = instructions("ENV")
    exported = {line.removeprefix("export ") for line in section("environment")}
    # Apptainer brings home and variables of the machine outside; Docker brings neither.
    assert {*environment.split()} ^ exported == {"MPLCONFIGDIR=/tmp/matplotlib", "PYTHONPATH="}
    # Where provision.sh installs.
    assert "-m venv /opt/qsm-wf\n" in (CONTAINERS / "provision.sh").read_text()
    assert "PATH=/opt/qsm-wf/bin:$PATH" in exported


def test_commands_of_the_image_s_own_test_are_accepted():
    commands = [shlex.split(line) for line in section("test") if line.startswith("qsm-wf")]
    assert [command[1] for command in commands] == ["--version", "simulate", "run"]
    for command in commands[1:]:
        build_parser().parse_args(command[1:])


@pytest.mark.parametrize("script", sorted(CONTAINERS.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_parse_and_may_be_executed(script):
    shell = "bash" if script.read_text().startswith("#!/bin/bash") else "sh"
    subprocess.run([shell, "-n", script], check=True)
    assert os.access(script, os.X_OK)


@pytest.fixture
def sbatch(tmp_path, dataset):
    """Run the job script with a stand-in for Apptainer; gives what that was called with."""
    for subject in ("01", "02", "10"):
        dataset.scan(f"sub-{subject}")
    programs = tmp_path / "programs"
    programs.mkdir()
    stand_in = programs / "apptainer"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)

    def run(task, *options):
        script = (CONTAINERS / "slurm.sh").read_text()
        (cores,) = re.findall(r"^#SBATCH --cpus-per-task=(\d+)$", script, re.MULTILINE)
        (memory,) = re.findall(r"^#SBATCH --mem=(\d+)G$", script, re.MULTILINE)
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SLURM_ARRAY_TASK_ID": str(task),
            "SLURM_CPUS_PER_TASK": cores,
            "SLURM_MEM_PER_NODE": str(int(memory) * 1024),
        }
        folders = ("image.sif", "raw", "out", "work")
        result = subprocess.run(
            ["bash", CONTAINERS / "slurm.sh", *folders, *options],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        return result.returncode, result.stdout.splitlines()

    return run


def test_a_job_of_the_array_processes_its_subject(sbatch, tmp_path):
    status, called = sbatch(2, "--coverage", "full")
    assert status == 0
    image = called.index("image.sif")
    arguments = build_parser().parse_args(from_bids_app(called[image + 1 :]))
    assert arguments.participant_label == ["sub-10"]
    assert (arguments.bids, arguments.out, arguments.work) == tuple(
        tmp_path / name for name in ("raw", "out", "work")
    )
    assert (arguments.n_procs, arguments.mem, arguments.coverage) == (4, 14, "full")
    # What is bound exists, and nothing else of the machine is needed.
    assert called[:image] == [
        "run",
        *("--bind", f"{tmp_path}/raw:{tmp_path}/raw:ro"),
        *("--bind", f"{tmp_path}/out"),
        *("--bind", f"{tmp_path}/work"),
    ]
    assert (tmp_path / "out").is_dir()
    assert (tmp_path / "work").is_dir()


def test_a_job_beyond_the_last_subject_fails(sbatch):
    status, called = sbatch(3)
    assert (status != 0, called) == (True, [])
