"""Methods text: what ran is told and cited, and nothing else."""

import json
import re

import pytest

from qsm_workflows.report.citations import WORKS, works_of
from qsm_workflows.report.discovery import find_scans
from qsm_workflows.report.methods import methods_text
from qsm_workflows.report.vocabulary import METHOD_NAMES


def text_and_works(root):
    result = methods_text(find_scans(root))
    works = {key for key, work in WORKS.items() if work in result.references}
    return " ".join(result.paragraphs), works, result


def change_sidecar(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_only_what_ran_is_cited(make_derivatives, tmp_path):
    text, works, _ = text_and_works(make_derivatives(tmp_path, methods=["tkd", "xqsm"]))
    assert works == {
        "nipype", "bids", "resharp", "coverage", "tkd", "xqsm", "dipole_salomir", "dipole_marques"
    }  # fmt: skip
    assert "thresholded k-space division (TKD)" in text
    assert "MEDI" not in text
    assert "BET" not in text


def test_a_network_alone_has_no_dipole_model_and_whole_heads_no_coverage(
    make_derivatives, tmp_path
):
    root = make_derivatives(tmp_path, methods=["deepqsm"], orders=[], full=True)
    text, works, _ = text_and_works(root)
    assert works == {"nipype", "bids", "resharp", "deepqsm"}
    assert "T+B" not in text


def test_masks_and_unwrapping_are_read_from_sources(make_derivatives, tmp_path):
    root = make_derivatives(tmp_path)
    magnitude = "bids:raw:sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz"
    mask = root / "sub-01/anat/sub-01_desc-brain_mask.json"
    field = root / "sub-01/fmap/sub-01_desc-total_fieldmap.json"
    field.write_text(
        json.dumps(
            {
                "Sources": [f"bids:raw:sub-01_echo-{n}_part-phase_MEGRE.nii.gz" for n in (1, 2, 3)],
                "Unwrapping": {"Method": "romeo", "template": 1},
                "BipolarReadoutCorrected": True,
            }
        )
    )
    change_sidecar(mask, Sources=[magnitude], SpatialReference=magnitude)
    text, works, _ = text_and_works(root)
    assert {"bet", "romeo"} <= works
    assert "reading every second echo backwards" in text
    assert "fitted to the 3 echoes" in text
    change_sidecar(mask, Sources=["../masks/sub-01_mask.nii.gz"])
    text, works, _ = text_and_works(root)
    assert "bet" not in works
    assert "Brain masks that came with the data were used." in text


def test_references_are_numbered_as_they_are_cited(make_derivatives, tmp_path):
    text, _, result = text_and_works(make_derivatives(tmp_path))
    brackets = re.findall(r"\[([\d, ]+)\]", text)
    numbers = [int(number) for bracket in brackets for number in bracket.split(",")]
    assert list(dict.fromkeys(numbers)) == list(range(1, len(result.references) + 1))
    assert f"MEDI) [{result.references.index(WORKS['medi']) + 1}]" in text


def test_parameters_are_told_unless_they_differ(make_derivatives, tmp_path):
    root = make_derivatives(tmp_path)
    text, _, _ = text_and_works(root)
    assert "(radius 3, tikhonov 0.0001)" in text
    assert "(threshold 0.15)" in text
    change_sidecar(
        next(root.glob("sub-01/anat/*tkd*T+B100_Chimap.json")),
        InversionParameters={"threshold": 0.2},
    )
    text, _, _ = text_and_works(root)
    assert "threshold 0" not in text
    assert "parameters that differ between maps" in text


@pytest.mark.parametrize(
    ("regions", "told"),
    [
        (["optic_radiation"] * 2, "the mean of the optic radiation (OR)."),
        (["mask"] * 2, "the mean of the brain mask."),
        (
            ["optic_radiation", "mask"],
            "the mean of the optic radiation (OR), or of the brain mask where there were no labels "
            "of it.",
        ),
    ],
)
def test_reference_is_one_region_or_where_it_is_not_labelled_the_mask(
    regions, told, make_derivatives, tmp_path
):
    root = make_derivatives(tmp_path, methods=["tkd"], orders=["T+B"], coverages=[100, 200])
    sidecars = sorted(root.rglob("*_Chimap.json"))
    for sidecar, region in zip(sidecars, regions, strict=True):
        change_sidecar(sidecar, Reference={"region": region})
    assert f"Susceptibility is stated relative to {told}" in text_and_works(root)[0]


def test_nothing_is_told_where_nothing_ran(tmp_path):
    assert methods_text(find_scans(tmp_path)).paragraphs == ()


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_every_method_has_a_work(method):
    assert works_of(method)
    assert set(works_of(method)) <= WORKS.keys()
