"""The page of a run, made from an output folder alone."""

import json

import lxml.html
import pandas as pd
import pytest

from qsm_workflows.report.page import write_report
from qsm_workflows.report.sections import Failure

SMALL = {"methods": ["tkd", "medi"], "coverages": [100, 400]}


def read_page(path):
    return lxml.html.document_fromstring(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run(make_derivatives, tmp_path_factory):
    """Output folder of a whole run and its page."""
    root = make_derivatives(tmp_path_factory.mktemp("run"))
    return root, read_page(write_report(root))


def text_of(node):
    return " ".join(node.text_content().split())


def overview(page):
    """Names and values at the top of the page."""
    return {
        text_of(entry.xpath("./dt")[0]): text_of(entry.xpath("./dd")[0])
        for entry in page.xpath("//dl[@class='overview']/div")
    }


def cell(page, table, heading, row, column):
    """Text of a cell by title of the table, heading of the rows and names."""
    (found,) = [t for t in page.xpath("//div[@class='scroll']") if table in t.get("aria-label")]
    columns = [text_of(th) for th in found.xpath(".//thead//th")]
    (body,) = [b for b in found.xpath(".//tbody") if text_of(b.xpath("./tr[1]/th")[0]) == heading]
    (cells,) = [tr for tr in body.xpath("./tr") if text_of(tr.xpath("./th")[0]) == row]
    return text_of(cells.xpath("./td")[columns.index(column) - 1])


def test_numbers_are_those_of_the_table(run):
    root, page = run
    table = pd.read_csv(
        next(root.glob("sub-01/anat/*_stats.tsv")), sep="\t", na_values="n/a"
    ).query("order == 'T+B' and hemisphere == 'both'")
    rows = table.set_index(["method", "region", "coverage_percent"])
    for method, name in (("tkd", "TKD"), ("xqsm", "xQSM")):
        for coverage in (100, 400):
            row = rows.loc[(method, "putamen", coverage)]
            shown = cell(page, "Regional", "putamen (PU)", f"{name}, T+B", f"{coverage} %")
            mean, error = shown.replace("−", "-").split(" ", 1)
            assert float(mean) == pytest.approx(row["mean"], abs=5.1e-4)
            assert float(error.strip("()% ")) == pytest.approx(row["percent_truth"], abs=0.051)


def test_minimum_coverage_is_told_for_both_comparisons(run):
    _, page = run
    against_full = "less than 5 % error against the same pipeline"
    assert cell(page, against_full, "T+B", "xQSM", "pallidum (GP)") == "64 mm (200 %)"
    assert cell(page, against_full, "T+B", "TKD", "pallidum (GP)") == "96 mm (300 %)"
    assert cell(page, "error against the true", "T+B", "TKD", "pallidum (GP)") == "—"


def test_largest_coverage_is_no_evidence_for_itself(make_derivatives, tmp_path):
    root = make_derivatives(tmp_path, methods=["tkd"], coverages=[100, 150])
    page = read_page(write_report(root))
    shown = cell(page, "against the same pipeline", "T+B", "TKD", "caudate (CN)")
    assert shown == "— (none below 150 %)"


def test_one_coverage_has_no_error_against_itself(make_derivatives, tmp_path):
    root = make_derivatives(tmp_path, methods=["tkd"], coverages=[100], truth=False)
    page = read_page(write_report(root))
    shown = cell(page, "Regional", "caudate (CN)", "TKD, T+B", "100 %")
    assert shown == shown.split()[0]
    assert "in brackets" not in text_of(page)


def test_only_scans_with_maps_are_counted_as_done(run, make_derivatives, tmp_path):
    assert overview(run[1])["Scans"] == "1"
    make_derivatives(tmp_path, "01", **SMALL)
    root = make_derivatives(tmp_path, "02", **SMALL)
    for path in root.glob("sub-02/anat/*_Chimap.*"):
        path.unlink()
    shown = overview(read_page(write_report(root)))
    assert (shown["Subjects"], shown["Scans"]) == ("1", "1 of 2, 1 failed")


def test_page_needs_no_network_and_its_figures_exist(run):
    root, page = run
    images = page.xpath("//img")
    assert len(images) == 6
    for image in images:
        file = root / image.get("src").replace("%2B", "+")
        assert file.is_file()
        assert file.stat().st_size < 1e6
        assert len(image.get("alt")) > 20
        assert image.getparent().getnext().tag == "figcaption"
    assert not page.xpath("//script | //link | //iframe | //*[@srcset]")
    source = (root / "index.html").read_text()
    assert "url(" not in source
    assert "@import" not in source
    captions = " ".join(text_of(c) for c in page.xpath("//figcaption"))
    assert "−0.15 to 0.2 ppm" in captions
    assert "−0.05 to 0.05 ppm" in captions
    assert not list(root.rglob(".*"))


def test_hostile_text_stays_text(make_derivatives, tmp_path):
    root = make_derivatives(tmp_path, **SMALL)
    evil = "<script>alert('x')</script>\"><img src=x onerror=y>{{ 7 * 7 }}"
    sidecar = next(root.glob("sub-01/anat/*tkd*T+B100_Chimap.json"))
    content = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({**content, "CommandLine": evil, "Reference": {"region": evil}}))
    table = next(root.glob("sub-01/anat/*_stats.tsv"))
    table.write_text(table.read_text().replace("caudate", evil.replace('"', "'")))
    page = read_page(write_report(root, failures=[Failure(evil, evil, evil)]))
    assert not page.xpath("//script | //img[@src='x']")
    assert evil in " ".join(text_of(code) for code in page.xpath("//code"))


def test_failures_are_told_beside_what_there_is(make_derivatives, tmp_path):
    root = make_derivatives(tmp_path, **SMALL)
    failures = [
        Failure("sub-01", "MemoryError: no memory", "tb_wf.cov100_wf.medi_wf.medi"),
        Failure("sub-02_ses-a", "no phase images"),
        Failure("sub-03", "MemoryError: no memory", "preprocessing_wf.unwrap"),
    ]
    page = read_page(write_report(root, failures=failures))
    contents = {text_of(li.xpath("./a")[0]): text_of(li) for li in page.xpath("//nav//li")}
    assert "partial" in contents["sub-01"]
    assert "left out" in contents["sub-02 ses-a"]
    assert "failed" in contents["sub-03"]
    assert "Why it was left out" in text_of(page.xpath("//section[h2[contains(., 'sub-02')]]")[0])
    assert overview(page)["Scans"] == "1 of 3, 1 left out, 1 failed"
    assert "no phase images" in contents["sub-02 ses-a"]
    assert page.xpath("//code[text()='tb_wf.cov100_wf.medi_wf.medi']")
    for link in page.xpath("//nav//a/@href"):
        assert page.xpath(f"//*[@id='{link.removeprefix('#')}']")


def test_without_labels_there_are_maps_but_no_curves(make_derivatives, tmp_path):
    root = make_derivatives(tmp_path, **SMALL, table=False)
    page = read_page(write_report(root))
    titles = [text_of(h) for h in page.xpath("//figure/h3")]
    assert "Susceptibility, T+B" in titles
    assert "Error against coverage" not in titles
    assert not page.xpath("//table")
    assert not (root / "group_desc-regions_stats.tsv").exists()


def test_whole_image_only(make_derivatives, tmp_path):
    root = make_derivatives(tmp_path, orders=[], full=True, table=False)
    page = read_page(write_report(root))
    (chi,) = page.xpath("//figure[h3[text()='Susceptibility']]")
    assert "slab leaves out" not in text_of(chi)
    assert "Reduced coverage" not in text_of(page.xpath("//section[@id='methods']")[0])


def test_missing_map_is_said(make_derivatives, tmp_path):
    root = make_derivatives(tmp_path, **SMALL)
    next(root.glob("sub-01/anat/*medi*T+B100_Chimap.nii.gz")).unlink()
    page = read_page(write_report(root))
    assert "Maps are missing: MEDI T+B 100 %." in text_of(page)


def test_unreadable_image_costs_its_figure_only(make_derivatives, tmp_path):
    root = make_derivatives(tmp_path, **SMALL)
    broken = next(root.glob("sub-01/anat/*medi*T+B100_Chimap.nii.gz"))
    broken.write_bytes(broken.read_bytes()[:500])
    page = read_page(write_report(root))
    titles = [text_of(h) for h in page.xpath("//figure/h3")]
    assert "Susceptibility, B+T" in titles
    assert "Susceptibility, T+B" not in titles
    assert "could not be drawn" in text_of(page)


def test_group_of_subjects(make_derivatives, tmp_path):
    for subject in ("01", "02"):
        root = make_derivatives(tmp_path, subject, **SMALL)
    page = read_page(write_report(root))
    group = page.xpath("//section[@id='group']")[0]
    assert "Group of 2 subjects" in text_of(group)
    assert "± 0.000" in text_of(group)
    table = pd.read_csv(root / "group_desc-regions_stats.tsv", sep="\t", dtype={"subject": str})
    assert set(table["subject"]) == {"01", "02"}
    dictionary = json.loads((root / "group_desc-regions_stats.json").read_text())
    assert set(table.columns) == set(dictionary)


def test_rewriting_gives_the_same_bytes(make_derivatives, tmp_path):
    root = make_derivatives(tmp_path, **SMALL)
    made = []
    for _ in range(2):
        write_report(root)
        files = [root / "index.html", *root.glob("sub-01/figures/*")]
        made.append({file: file.read_bytes() for file in files})
    assert made[0] == made[1]


def test_a_folder_without_results_says_so(tmp_path):
    assert "no results" in text_of(read_page(write_report(tmp_path)))
    with pytest.raises(ValueError, match="no folder"):
        write_report(tmp_path / "nowhere")
