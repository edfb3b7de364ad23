import pytest

from qsm_workflows.bids.labels import Label, parse_label_name, read_label_table


@pytest.mark.parametrize(
    ("name", "region", "side"),
    [
        ("Left-Pallidum", "pallidum", "L"),
        ("Left Putamen", "putamen", "L"),
        ("Right-Thalamus-Proper*", "thalamus", "R"),
        ("L Globus Pallidus externa", "pallidum", "L"),
        ("R Substantia-Nigra-pars-reticulata", "substantia_nigra", "R"),
        ("Caudate Right", "caudate", "R"),
        ("lh_red_nucleus", "red_nucleus", "L"),
        ("GPi", "pallidum", "n/a"),
        ("SNandSTN", "substantia_nigra", "n/a"),
        ("Left-Cerebral-White-Matter", "white_matter", "L"),
        ("hemorrhage", "haemorrhage", "n/a"),
        ("L Ventral Pallidum", "ventral_pallidum", "L"),
        ("Brain-Stem", "brain_stem", "n/a"),
    ],
)
def test_names_of_common_tables(name, region, side):
    assert parse_label_name(name) == (region, side)


def test_table_without_a_hemisphere_column(tmp_path):
    path = tmp_path / "dseg.tsv"
    path.write_text("index\tname\n0\tUnknown\n1\tL Putamen\n2\tGPe\n3\tGPi\n")
    assert read_label_table(path) == (
        Label(1, "putamen", "L"),
        Label(2, "pallidum", "n/a"),
        Label(3, "pallidum", "n/a"),
    )


def test_hemisphere_column_wins(tmp_path):
    path = tmp_path / "dseg.tsv"
    path.write_text("index\tname\themisphere\n1\tputamen\tR\n2\tLeft-Caudate\tn/a\n3\tOR\tright\n")
    assert read_label_table(path) == (
        Label(1, "putamen", "R"),
        Label(2, "caudate", "L"),
        Label(3, "optic_radiation", "R"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 pallidum\n", "no column index and name"),
        ("index\tlabel\n1\tpallidum\n", "no column name"),
        ("index\tname\nx\tpallidum\n", "'x' is not an integer"),
        ("index\tname\n1\tpallidum\n1\tputamen\n", "index 1 two meanings"),
        ("", "cannot be read"),
    ],
)
def test_broken_tables_are_refused(tmp_path, text, message):
    path = tmp_path / "dseg.tsv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_label_table(path)


@pytest.mark.shared
def test_tables_of_public_atlases(shared_data):
    for table, count in (
        ("atlases_mni/CIT168_dseg.tsv", 4),
        ("atlases_mni/PD25_dseg.tsv", 4),
        ("hoa2_hcp100_subcortical/lut/dseg.tsv", 2),
        ("rc2_head_labels/head_labels_dseg.tsv", 1),
    ):
        labels = read_label_table(shared_data / table)
        assert sum(label.name == "pallidum" for label in labels) == count
