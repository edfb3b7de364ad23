"""Single-step methods in a run: they take the slab's total field, and have no B+T."""

import json

import lxml.html
import nibabel as nib
import numpy as np
import pandas as pd

from qsm_workflows.algorithms.geometry import b0_direction, voxel_size
from qsm_workflows.algorithms.inversion.total_field_medi import total_field_medi

QUICK = {"max_outer": 2, "max_inner": 12}
OPTIONS = ["--plugin", "Linear", "--no-progress"]
for key, value in QUICK.items():
    OPTIONS += ["--param", f"tfi.{key}={value}"]


def load(path):
    image = nib.load(path)
    return np.asarray(image.dataobj), image.affine


def sidecar(path):
    return json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())


def page_of(out):
    page = lxml.html.document_fromstring((out / "index.html").read_text(encoding="utf-8"))
    return page, " ".join(page.text_content().split())


def test_slab_of_the_total_field_is_inverted_as_it_is(run):
    status, out = run("--coverage", "100,full", "--method", "tkd", "tfi", *OPTIONS)
    assert status == 0
    anat, fmap = out / "sub-01" / "anat", out / "sub-01" / "fmap"
    branches = {p.name.split("desc-")[1].split("_")[0] for p in anat.glob("*rec-tfi*Chimap.nii*")}
    assert branches == {"T+B100", "full"}

    path = anat / "sub-01_rec-tfi_desc-T+B100_Chimap.nii.gz"
    chi, affine = load(path)
    total, whole = load(fmap / "sub-01_desc-total_fieldmap.nii.gz")
    first = round(float((np.linalg.inv(whole) @ affine)[2, 3]))
    slab = np.s_[:, :, first : first + chi.shape[2]]
    brain = load(anat / "sub-01_desc-brain_mask.nii.gz")[0][slab] > 0
    magnitude = load(fmap / "sub-01_magnitude.nii.gz")[0][slab]
    direct = total_field_medi(
        total[slab], brain, magnitude, voxel_size(affine), b0_direction(affine), **QUICK
    )
    told = sidecar(path)
    expected = np.where(brain, direct - told["Reference"]["mean_ppm"], 0)
    np.testing.assert_allclose(chi, expected, atol=1e-5)
    mask = load(anat / "sub-01_desc-total+T+B100_mask.nii.gz")[0] > 0
    np.testing.assert_array_equal(mask, brain)

    # Sidecars: no background removal where there was none.
    assert "BackgroundRemoval" not in told
    assert told["InputField"] == "total"
    assert told["PipelineOrder"] == "T+B"
    assert told["Sources"][0].endswith("desc-total_fieldmap.nii.gz")
    assert told["InversionParameters"]["max_outer"] == 2
    other = sidecar(anat / "sub-01_rec-tkd_desc-T+B100_Chimap.nii.gz")
    assert other["BackgroundRemoval"]["Method"] == "RESHARP"
    assert other["InputField"] == "local"
    whole_head = sidecar(anat / "sub-01_rec-tfi_desc-full_Chimap.nii.gz")
    assert whole_head["Sources"][1].endswith("desc-brain_mask.nii.gz")

    # Both are measured in the same voxels, and no row is empty for want of a B+T.
    table = pd.read_csv(out / "group_desc-regions_stats.tsv", sep="\t")
    assert set(table[table.method == "tfi"].order) == {"T+B", "full"}
    pallidum = table[(table.region == "pallidum") & (table.hemisphere == "both")]
    pallidum = pallidum.set_index(["order", "method", "coverage_mm"])
    assert (
        pallidum.loc[("T+B", "tfi", 32.0)].n_voxels == pallidum.loc[("T+B", "tkd", 32.0)].n_voxels
    )
    page, text = page_of(out)
    assert "Maps are missing" not in text
    assert "total-field MEDI, T+B" in text
    assert "total-field MEDI, B+T" not in text
    captions = {h.text: h.getparent().text_content() for h in page.xpath("//figure/h3")}
    assert "Without B+T, since it takes the total field" in captions["Susceptibility, B+T"]
    assert "without background removal: total-field MEDI" in captions["Susceptibility, T+B"]
    assert "was inverted in one step by total-field MEDI" in text
    assert "10.1002/mrm.26331" in text


def test_whole_image_beside_slabs_of_another_order_has_a_figure(run):
    options = ["--coverage", "400,full", "--order", "B+T", "--method", "tkd", "tfi"]
    status, out = run(*options, *OPTIONS)
    assert status == 0
    page, text = page_of(out)
    pictures = {h.text: h.getparent().xpath(".//img/@alt")[0] for h in page.xpath("//figure/h3")}
    assert "total-field MEDI" not in pictures["Susceptibility, B+T"]
    assert "TKD" not in pictures["Susceptibility, full"]
    assert "total-field MEDI at coverage full" in pictures["Susceptibility, full"]
    assert "Maps are missing" not in text
    # Its row of the table is that of the whole image.
    (row,) = page.xpath("//tbody[tr/th[contains(., 'pallidum')]]/tr[th[. = 'total-field MEDI']]")
    cells = [" ".join(cell.text_content().split()) for cell in row.xpath("./td")]
    assert cells[0] == "n/a"
    assert float(cells[1].split()[0]) > 0.03


def test_plan_says_which_methods_have_no_b_plus_t(run, capsys):
    assert run("--dry-run", "--coverage", "100,full", "--method", "tkd", "lnqsm", "tfi")[0] == 0
    plan = capsys.readouterr().out
    assert "from the total field, so without B+T: lnqsm, tfi" in plan
    # Three of TKD, and T+B and the whole image of the two others.
    assert "7 maps by tkd, lnqsm, tfi" in plan


def test_inversions_beside_those_of_the_study_run_too(run):
    methods = ["tsvd", "l2", "rts", "ndi", "star", "lnqsm"]
    quick = ["--param", "lnqsm.max_outer=2", "--param", "lnqsm.max_inner=20"]
    status, out = run(
        "--coverage", "400", "--order", "T+B", "--method", *methods, *quick, *OPTIONS[:3]
    )
    assert status == 0
    table = pd.read_csv(out / "group_desc-regions_stats.tsv", sep="\t")
    assert set(table.method) == set(methods)
    pallidum = table[(table.region == "pallidum") & (table.hemisphere == "both")]
    # Iron is seen by all, and none makes more of it than there is.
    assert pallidum.percent_truth.between(-50, 10).all()
    _, text = page_of(out)
    for name in ("TSVD", "L2", "RTS", "NDI", "STAR-QSM", "LN-QSM"):
        assert f"({name}) [" in text
