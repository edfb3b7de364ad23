import inspect

import nibabel as nib
import numpy as np
import pytest
from nipype.pipeline import engine as pe
from scipy.spatial.transform import Rotation

from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.algorithms.geometry import b0_direction, voxel_size
from qsm_workflows.algorithms.inversion.cosmos import cosmos
from qsm_workflows.algorithms.inversion.direct import l2, tkd, tsvd
from qsm_workflows.algorithms.inversion.ilsqr import ilsqr
from qsm_workflows.algorithms.inversion.lnqsm import lnqsm
from qsm_workflows.algorithms.inversion.medi import medi
from qsm_workflows.algorithms.inversion.ndi import ndi
from qsm_workflows.algorithms.inversion.rts import rts
from qsm_workflows.algorithms.inversion.star import star
from qsm_workflows.algorithms.inversion.total_field_medi import total_field_medi
from qsm_workflows.algorithms.inversion.tv import tv
from qsm_workflows.interfaces.inversion import (
    COSMOS,
    ILSQR,
    L2,
    LNQSM,
    MEDI,
    NDI,
    RTS,
    STAR,
    TKD,
    TSVD,
    TV,
    TotalFieldMEDI,
)


@pytest.fixture
def volumes():
    """Volumes of an oblique acquisition, by name."""
    shape = (18, 17, 15)
    chi = np.zeros(shape, np.float32)
    chi[6:11, 7:12, 5:9] = 0.1
    mask = np.zeros(shape, bool)
    mask[2:-2, 2:-2, 2:-2] = True
    return {
        "field": forward_field(chi, voxel_size(affine()), b0_direction(affine())) * mask,
        "mask": mask.astype(np.uint8),
        "magnitude": (100 + 50 * (chi > 0) + np.random.default_rng(0).random(shape)) * mask,
        "noise": np.random.default_rng(1).uniform(0.5, 2, shape),
    }


@pytest.fixture
def files(volumes, tmp_path):
    paths = {}
    for name, volume in volumes.items():
        kind = np.uint8 if name == "mask" else np.float32
        volumes[name] = volume.astype(kind)
        paths[name] = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(volumes[name], affine()), paths[name])
    return paths


def affine():
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xy", (25, 10), degrees=True).as_matrix() * (1, 1, 1.5)
    matrix[:3, 3] = (-90, 20, 5)
    # As precise as a file holds it: iterations amplify the last digits.
    return matrix.astype(np.float32).astype(float)


def run(node, tmp_path):
    image = nib.load(node.run(cwd=str(tmp_path)).outputs.out_file)
    np.testing.assert_allclose(image.affine, affine(), atol=1e-5)
    assert image.get_data_dtype() == np.float32
    return np.asarray(image.dataobj)


@pytest.mark.parametrize(
    ("interface", "function", "keywords"),
    [
        (TKD, tkd, {"threshold": 0.3, "pad": 5.0}),
        (TKD, tkd, {}),
        (TKD, tkd, {"b0_dir": (0.0, 1.0, 0.0)}),
        (TSVD, tsvd, {}),
        (TSVD, tsvd, {"threshold": 0.3, "pad": 5.0}),
        (L2, l2, {}),
        (L2, l2, {"regularisation": 0.1, "pad": 5.0}),
        (RTS, rts, {}),
        (RTS, rts, {"threshold": 0.2, "least_squares_iterations": 3, "regularisation": 0.01}),
        (RTS, rts, {"coupling": 9.0, "tolerance": 0.2, "max_iterations": 3}),
        (NDI, ndi, {}),
        (STAR, star, {"regularisation": 0.01, "strong_regularisation": 0.02, "threshold": 0.05}),
        (STAR, star, {"tolerance": 0.1, "max_iterations": 7}),
        (LNQSM, lnqsm, {"max_outer": 2, "max_inner": 15}),
        (LNQSM, lnqsm, {"regularisation": 0.01, "shrinkage": 0.1, "max_outer": 1, "pad": 5.0}),
        (NDI, ndi, {"regularisation": 0.1, "step": 1.0, "b0": 7.0, "delta_te": 0.02}),
        (NDI, ndi, {"tolerance": 0.2, "max_iterations": 3}),
        (TV, tv, {}),
        (
            TV,
            tv,
            {"regularisation": 0.01, "coupling": 30.0, "tolerance": 0.1, "max_iterations": 7},
        ),
        (ILSQR, ilsqr, {"tolerance": 0.1, "max_iterations": 7, "pad": 0.0}),
        (ILSQR, ilsqr, {"signed_slopes": True}),
    ],
)
def test_node_does_what_the_function_does(files, volumes, tmp_path, interface, function, keywords):
    keywords = dict(keywords)
    chi = run(interface(in_file=files["field"], mask=files["mask"], **keywords), tmp_path)
    b0_dir = keywords.pop("b0_dir", b0_direction(affine()))
    expected = function(volumes["field"], volumes["mask"], voxel_size(affine()), b0_dir, **keywords)
    np.testing.assert_allclose(chi, expected, atol=1e-5)


@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {
            "regularisation": 100.0,
            "b0": 7.0,
            "delta_te": 0.003,
            "merit": True,
            "csf_weight": 10.0,
            "smv_radius": 2.0,
            "precondition": False,
            "edge_fraction": 0.5,
            "max_outer": 2,
            "outer_tolerance": 0.3,
            "max_inner": 20,
            "inner_tolerance": 0.05,
            "pad": 8.0,
        },
    ],
)
def test_medi_node(files, volumes, tmp_path, keywords):
    volumes["csf_mask"] = np.zeros_like(volumes["mask"])
    volumes["csf_mask"][8:12, 8:10, 6:8] = 1
    nib.save(nib.Nifti1Image(volumes["csf_mask"], affine()), tmp_path / "csf.nii")
    node = MEDI(
        in_file=files["field"],
        mask=files["mask"],
        magnitude=files["magnitude"],
        noise=files["noise"],
        csf_mask=tmp_path / "csf.nii",
        **keywords,
    )
    expected = medi(
        volumes["field"],
        volumes["mask"],
        volumes["magnitude"],
        voxel_size(affine()),
        b0_direction(affine()),
        noise=volumes["noise"],
        csf_mask=volumes["csf_mask"],
        **keywords,
    )
    np.testing.assert_allclose(run(node, tmp_path), expected, atol=1e-4)


def test_total_field_medi_node(files, volumes, tmp_path):
    keywords = {
        "regularisation": 100.0,
        "shrinkage": 1e-5,
        "b0": 7.0,
        "delta_te": 0.003,
        "edge_fraction": 0.5,
        "max_outer": 2,
        "max_inner": 20,
        "pad": 8.0,
    }
    node = TotalFieldMEDI(
        in_file=files["field"],
        mask=files["mask"],
        magnitude=files["magnitude"],
        noise=files["noise"],
        **keywords,
    )
    expected = total_field_medi(
        *(volumes[name] for name in ("field", "mask", "magnitude")),
        voxel_size(affine()),
        b0_direction(affine()),
        noise=volumes["noise"],
        **keywords,
    )
    np.testing.assert_allclose(run(node, tmp_path), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("interface", "function"),
    [(TV, tv), (NDI, ndi), (STAR, star), (LNQSM, lnqsm)],
)
def test_noise(files, volumes, tmp_path, interface, function):
    node = interface(in_file=files["field"], mask=files["mask"], noise=files["noise"], pad=5.0)
    geometry = voxel_size(affine()), b0_direction(affine())
    expected = function(volumes["field"], volumes["mask"], *geometry, noise=volumes["noise"], pad=5)
    np.testing.assert_allclose(run(node, tmp_path), expected, atol=1e-5)


def test_cosmos_node(files, volumes, tmp_path):
    directions = [(0.0, 0.0, 1.0), (0.6, 0.0, 0.8)]
    node = COSMOS(
        in_files=[files["field"]] * 2, masks=[files["mask"]] * 2, b0_dirs=directions, pad=4.0
    )
    expected = cosmos(
        [volumes["field"]] * 2, volumes["mask"], voxel_size(affine()), directions, pad=4.0
    )
    np.testing.assert_allclose(run(node, tmp_path), expected, atol=1e-5)


def test_cosmos_node_registers(files, volumes, tmp_path):
    """The same scan twice, the second on a grid of its own: B0 lies as the affines say."""
    moved = affine()
    moved[:3, 3] += (3, -2, 1)
    second = {}
    for name in ("field", "mask", "magnitude"):
        second[name] = tmp_path / f"second_{name}.nii.gz"
        nib.save(nib.Nifti1Image(volumes[name], moved), second[name])
    given = {
        option: [files[name], second[name]]
        for option, name in (("in_files", "field"), ("masks", "mask"), ("magnitudes", "magnitude"))
    }
    chi = run(COSMOS(pad=4.0, **given), tmp_path)
    expected = cosmos(
        [volumes["field"]] * 2,
        volumes["mask"],
        voxel_size(affine()),
        [b0_direction(affine())] * 2,
        pad=4.0,
    )
    inner = np.s_[4:-4, 4:-4, 4:-4]
    assert np.corrcoef(chi[inner].ravel(), expected[inner].ravel())[0, 1] > 0.95
    with pytest.raises(ValueError, match="not both"):
        COSMOS(b0_dirs=[(0, 0, 1)] * 2, **given).run(cwd=str(tmp_path))
    del given["magnitudes"]
    with pytest.raises(ValueError, match="give b0_dirs"):
        COSMOS(**given).run(cwd=str(tmp_path))


@pytest.mark.parametrize("wrong", ["mask", "magnitude", "noise"])
def test_companions_on_another_grid_are_refused(files, volumes, tmp_path, wrong):
    nib.save(nib.Nifti1Image(volumes[wrong][1:], affine()), files[wrong])
    node = MEDI(
        in_file=files["field"],
        **{name: files[name] for name in ("mask", "magnitude", "noise")},
    )
    with pytest.raises(ValueError, match="bring both to one grid"):
        node.run(cwd=str(tmp_path))


@pytest.mark.parametrize(
    ("interface", "function"),
    [
        (TKD, tkd),
        (TSVD, tsvd),
        (L2, l2),
        (ILSQR, ilsqr),
        (MEDI, medi),
        (TV, tv),
        (RTS, rts),
        (NDI, ndi),
        (STAR, star),
        (LNQSM, lnqsm),
        (TotalFieldMEDI, total_field_medi),
        (COSMOS, cosmos),
    ],
)
def test_traits_are_the_keywords_with_their_defaults(interface, function):
    inputs = interface().inputs
    keywords = inspect.signature(function).parameters.values()
    defaults = {k.name: k.default for k in keywords if k.kind is k.KEYWORD_ONLY}
    given = {name: getattr(inputs, name) for name in defaults if defaults[name] is not None}
    assert given == {name: value for name, value in defaults.items() if value is not None}
    assert set(defaults) <= set(inputs.copyable_trait_names())


def test_threads_and_device_do_not_change_the_hash(files):
    def digest(**keywords):
        node = pe.Node(TKD(in_file=files["field"], mask=files["mask"], **keywords), "node")
        return node.inputs.get_hashval()[1]

    assert digest() == digest(num_threads=4, device="cuda")
    assert digest() != digest(pad=0.0)
