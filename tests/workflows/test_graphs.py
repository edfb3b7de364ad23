"""The graphs: every connection is real, shared work is done once, nodes say what they need."""

import subprocess
import sys
from dataclasses import replace
from math import prod

import pytest
from nipype.interfaces.utility import IdentityInterface

from qsm_workflows.bids.companions import find_companions
from qsm_workflows.bids.index import index_dataset
from qsm_workflows.bids.sidecars import Provenance
from qsm_workflows.workflows import methods
from qsm_workflows.workflows.branches import init_bt_wf, init_tb_wf
from qsm_workflows.workflows.config import StudyConfig, parse_coverages
from qsm_workflows.workflows.inversion import init_inversion_wf
from qsm_workflows.workflows.outputs import outputs
from qsm_workflows.workflows.plan import plan_scan
from qsm_workflows.workflows.preprocessing import init_preprocessing_wf
from qsm_workflows.workflows.study import init_study_wf

METHODS = ("tkd", "ilsqr", "medi")


@pytest.fixture
def config():
    return StudyConfig(coverages=parse_coverages("100,400,full"), methods=METHODS)


@pytest.fixture
def plan(dataset, config):
    (scan,) = index_dataset(dataset).scans
    return plan_scan(scan, find_companions(scan, dataset), config)


@pytest.fixture
def study(plan, config, dataset, tmp_path):
    provenance = Provenance(dataset, tmp_path / "out", "qsm-wf run")
    return init_study_wf(
        plans=[plan], config=config, provenance=provenance, work_dir=tmp_path / "work"
    )


def nodes_of(workflow):
    return [
        node
        for node in workflow._create_flat_graph().nodes
        if not isinstance(node.interface, IdentityInterface)
    ]


def undeclared(workflow):
    """Connections from or to fields that a node does not have."""
    wrong = []
    for source, target, data in workflow._create_flat_graph().edges(data=True):
        for output, field in data["connect"]:
            name = output if isinstance(output, str) else output[0]
            if name not in source.outputs.copyable_trait_names():
                wrong.append(f"{source.fullname}.{name}")
            if field not in target.inputs.copyable_trait_names():
                wrong.append(f"{target.fullname}.{field}")
    return wrong


def test_every_connection_joins_declared_fields(study, plan, config):
    factories = [
        *(
            init_preprocessing_wf(
                echo_times=[0.004, 0.008],
                b0=3.0,
                shape=(8, 8, 8),
                mask_method=method,
                parameters={"refine": {"margin": -1.0}},
            )
            for method in methods.MASK_METHODS
        ),
        init_bt_wf(geometry=plan.geometry, config=config),
        init_tb_wf(geometry=plan.geometry, config=config),
        *(init_inversion_wf(method=method, n_voxels=1e6) for method in methods.METHODS),
        study,
    ]
    for workflow in factories:
        assert undeclared(workflow) == []


def test_the_check_finds_an_undeclared_field(plan, config):
    workflow = init_bt_wf(geometry=plan.geometry, config=config)
    inputnode, outputnode = (workflow.get_node(name) for name in ("inputnode", "outputnode"))
    workflow.connect(inputnode, "labels", outputnode, "typo")
    assert undeclared(workflow) == ["bt_wf.outputnode.typo"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_method": "bets"}, "^unknown mask method 'bets'; .*; did you mean bet[?]$"),
        ({"unwrapping": "x"}, "^unknown unwrapping 'x'; there are romeo, bestpath, laplacian$"),
        ({"parameters": {"fitt": {}}}, "no such step; .*; did you mean fit[?]$"),
        ({"parameters": {"bet": {"x": 1}}}, "^bet has no parameter 'x'"),
    ],
)
def test_preprocessing_refuses_names_that_there_are_not(changes, message):
    with pytest.raises(ValueError, match=message):
        init_preprocessing_wf(echo_times=[0.004, 0.008], b0=3.0, shape=(8, 8, 8), **changes)


@pytest.mark.parametrize("name", ["tkdd", "MEDI"])
def test_inversion_refuses_methods_that_there_are_not(name):
    with pytest.raises(ValueError, match=f"^unknown method '{name}'; .*; did you mean (tkd|medi)"):
        init_inversion_wf(method=name, n_voxels=1e6)


@pytest.mark.parametrize("factory", [init_bt_wf, init_tb_wf])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("tkdd",)}, "^unknown method 'tkdd'; .*; did you mean tkd[?]$"),
        ({"background_removal": "V-SHARP"}, "^unknown background removal .* mean vsharp[?]$"),
        ({"parameters": {"resharpp": {}}}, "no such step; .*; did you mean resharp[?]$"),
    ],
)
def test_branches_refuse_names_that_there_are_not(factory, changes, message, plan, config):
    with pytest.raises(ValueError, match=message):
        factory(geometry=plan.geometry, config=replace(config, **changes))


def test_shared_work_is_done_once(study):
    names = [node.fullname for node in nodes_of(study)]
    assert sum(name.endswith(".unwrap") for name in names) == 1
    background = [name.split(".")[2:] for name in names if name.endswith(".resharp")]
    # Once for B+T, whose coverages and whole image share it; once a coverage for T+B.
    assert sorted(background) == [
        ["bt_wf", "resharp"],
        ["tb_wf", "cov100_wf", "resharp"],
        ["tb_wf", "cov400_wf", "resharp"],
    ]


def test_every_map_is_inverted_and_saved(study, config):
    names = [node.name for node in nodes_of(study)]
    maps = outputs(config)
    assert len(maps) == (2 * 2 + 1) * len(METHODS)
    assert sum(name.startswith("save_chi_") for name in names) == len(maps)
    assert sum(name in METHODS for name in names) == len(maps)


def test_methods_of_the_total_field_need_no_background_removal(plan, config, dataset, tmp_path):
    def names(methods):
        provenance = Provenance(dataset, tmp_path / "out", "qsm-wf run")
        own = replace(config, methods=methods)
        workflow = init_study_wf(
            plans=[plan], config=own, provenance=provenance, work_dir=tmp_path / "work"
        )
        assert undeclared(workflow) == []
        return [node.fullname.split(".", 2)[2] for node in nodes_of(workflow)]

    one_step = names(("lnqsm", "tfi"))
    assert not [name for name in one_step if "resharp" in name or "local_field" in name]
    maps = {name for name in one_step if name.startswith("save_chi_")}
    # No B+T: two slabs and the whole image of each.
    assert maps == {
        f"save_chi_total{coverage}_{method}"
        for coverage in ("100", "400", "full")
        for method in ("lnqsm", "tfi")
    }
    # Beside another method they leave its branches as they are.
    assert set(names(("tkd", "tfi"))) == {
        *names(("tkd",)),
        *(name for name in one_step if "lnqsm" not in name),
    }


def test_every_node_declares_memory_and_threads(study, plan):
    volume = 4e-9 * prod(plan.geometry.shape)
    for node in nodes_of(study):
        assert node.mem_gb > volume
        assert node.n_procs == 1


def test_gpu_nodes_take_gpu_slots(plan, config):
    workflow = init_tb_wf(geometry=plan.geometry, config=replace(config, device="cuda"))
    on_gpu = {node.name for node in nodes_of(workflow) if node.is_gpu_node()}
    assert on_gpu == {"resharp", *METHODS}


def test_building_the_graph_loads_no_torch():
    code = (
        "import sys, qsm_workflows.workflows.runner, qsm_workflows.cli.study;"
        "assert 'interfaces' not in sys.modules; print('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
