"""Relative paths of inputs, which are those of whoever sets them and not of a node's folder."""

import importlib
import pkgutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nipype import Node, Workflow
from nipype.interfaces.base import File, SimpleInterface, TraitError, isdefined

from qsm_workflows import interfaces
from qsm_workflows.interfaces.inversion import TKD, TSVD
from qsm_workflows.interfaces.masking import RefineMask
from qsm_workflows.interfaces.outputs import SaveDerivative
from qsm_workflows.interfaces.phase import ScalePhase


def file_inputs():
    """Every interface with each of its inputs that names one file or several."""
    for module in pkgutil.iter_modules(interfaces.__path__, "qsm_workflows.interfaces."):
        for interface in vars(importlib.import_module(module.name)).values():
            if not (isinstance(interface, type) and issubclass(interface, SimpleInterface)):
                continue
            if interface.__module__ != module.name or interface.input_spec is None:
                continue
            for name, trait in interface.input_spec().traits().items():
                kinds = [trait, *trait.inner_traits]
                if any(isinstance(kind.trait_type, File) for kind in kinds):
                    yield pytest.param(interface, name, id=f"{interface.__name__}.{name}")


FILE_INPUTS = list(file_inputs())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mask = np.zeros((12, 12, 12), np.float32)
    mask[2:-2, 2:-2, 2:-2] = 1
    field = mask * np.random.default_rng(0).normal(scale=0.02, size=mask.shape)
    for name, volume in (("mask", mask), ("field", field.astype(np.float32))):
        nib.save(nib.Nifti1Image(volume, np.eye(4)), f"{name}.nii")
    return tmp_path


def test_interfaces_are_found():
    assert len({parameter.values[0] for parameter in FILE_INPUTS}) > 40


@pytest.mark.parametrize(("interface", "name"), FILE_INPUTS)
def test_every_file_is_kept_by_its_absolute_path(folder, interface, name):
    inputs = interface(**{name: "field.nii"}).inputs
    value = getattr(inputs, name)
    assert value in (str(folder / "field.nii"), [str(folder / "field.nii")])


def test_links_keep_their_names(folder):
    Path("store").mkdir()
    Path("field.nii").rename("store/MD5-s10")
    Path("field.nii").symlink_to("store/MD5-s10")
    assert TKD(in_file="field.nii").inputs.in_file == str(folder / "field.nii")


def test_a_missing_file_is_refused_and_none_stays_undefined(folder):
    with pytest.raises(TraitError, match="existing file"):
        TKD(in_file="none.nii")
    assert not isdefined(TKD().inputs.in_file)


def test_results_are_found_again_however_the_path_is_written(folder):
    hashes = [
        TKD(in_file=start / "field.nii", mask=start / "mask.nii").inputs.get_hashval()[1]
        for start in (Path(), folder)
    ]
    assert hashes[0] == hashes[1]


def test_nodes_of_a_workflow_take_relative_paths(folder):
    refine = Node(RefineMask(in_file="mask.nii"), name="refine")
    invert = Node(TKD(pad=0.0), name="invert")
    invert.inputs.in_file = "field.nii"
    scale = Node(ScalePhase(in_files=["field.nii", "field.nii"], units="rad"), name="scale")
    workflow = Workflow(name="wf", base_dir="work")
    workflow.connect(refine, "out_mask", invert, "mask")
    workflow.add_nodes([scale])
    workflow.run()
    made = {path.name for path in (folder / "work" / "wf").rglob("*.nii")}
    assert made == {"mask.nii", "chi.nii", "echo-1_phase.nii", "echo-2_phase.nii"}


def test_a_node_runs_after_the_folder_was_left(folder, monkeypatch, tmp_path_factory):
    invert = Node(TSVD(in_file="field.nii", mask="mask.nii", pad=0.0), name="invert")
    invert.base_dir = str(folder / "work")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert Path(invert.run().outputs.out_file).is_file()


def test_the_final_name_of_a_result_may_be_relative(folder):
    save = Node(SaveDerivative(in_file="field.nii", out_path="out/chi.nii.gz"), name="save")
    save.base_dir = str(folder / "work")
    save.run()
    assert (folder / "out" / "chi.nii.gz").is_file()
