"""Label tables: what the values of a label image mean."""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

# Other names of the package's regions, in lower case, words joined by underscores and
# without the side. Several labels may make up one region.
_ALIASES = {
    "pallidum": (
        "gp gpe gpi globus_pallidus globus_pallidus_externa globus_pallidus_external "
        "globus_pallidus_interna globus_pallidus_internal external_globus_pallidus "
        "internal_globus_pallidus pallidum_externa pallidum_interna pallidus"
    ),
    "putamen": "pu put",
    "caudate": "cn cd caudate_nucleus nucleus_caudatus",
    "thalamus": "th tha thal thalamus_proper",
    "red_nucleus": "rn nucleus_ruber",
    "substantia_nigra": (
        "sn snc snr snpc snpr substantia_nigra_pars_compacta substantia_nigra_pars_reticulata "
        "snandstn"
    ),
    "dentate": "dn dentate_nucleus",
    "optic_radiation": "or optic_radiations posterior_thalamic_radiation ptr",
    "white_matter": "wm cerebral_white_matter",
    "grey_matter": "gm gray_matter cortex cerebral_cortex cortical_grey_matter "
    "cortical_gray_matter",
    "csf": (
        "cerebrospinal_fluid lateral_ventricle ventricles third_ventricle fourth_ventricle "
        "3rd_ventricle 4th_ventricle"
    ),
    "vein": "veins blood venous_blood",
    "haemorrhage": "hemorrhage",
    "calcification": "calcifications",
}
_REGIONS = {
    alias: region for region, aliases in _ALIASES.items() for alias in (region, *aliases.split())
}

_SIDES = {"l": "L", "left": "L", "lh": "L", "r": "R", "right": "R", "rh": "R"}
_BACKGROUND = {"", "na", "n_a", "nan", "unknown", "background", "clear_label"}


@dataclass(frozen=True)
class Label:
    """One value of a label image.

    Attributes
    ----------
    index : int
    name : str
        The package's name of the region, or the table's own in the same manner.
    hemisphere : str
        ``L``, ``R`` or ``n/a``.
    """

    index: int
    name: str
    hemisphere: str


def parse_label_name(text: str) -> tuple[str, str]:
    """Region and hemisphere that a name of a label table means.

    Examples
    --------
    >>> parse_label_name("Left-Pallidum"), parse_label_name("R Caudate nucleus")
    (('pallidum', 'L'), ('caudate', 'R'))
    >>> parse_label_name("GPe"), parse_label_name("Subthalamic Nucleus")
    (('pallidum', 'n/a'), ('subthalamic_nucleus', 'n/a'))
    """
    words = [word for word in re.split(r"[^0-9a-z]+", text.lower()) if word]
    side = "n/a"
    for position in (0, -1):
        if len(words) > 1 and words[position] in _SIDES:
            side = _SIDES[words.pop(position)]
            break
    name = "_".join(words)
    return _REGIONS.get(name, name), side


def read_label_table(path: Path) -> tuple[Label, ...]:
    """Read a BIDS label table.

    Parameters
    ----------
    path : Path
        TSV with columns ``index`` and ``name``, and perhaps ``hemisphere``, which wins
        over the side that a name may carry.

    Raises
    ------
    ValueError
        If it cannot be read, lacks a column, or gives one value two meanings.
    """
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a label table: {error}") from error
    missing = {"index", "name"} - set(table.columns)
    if missing:
        raise ValueError(
            f"{path} has no column {' and '.join(sorted(missing))}, only "
            f"{', '.join(table.columns)}; a label table has index, name and hemisphere, "
            "separated by tabs"
        )
    labels: dict[int, Label] = {}
    for row in table.to_dict("records"):
        try:
            index = int(row["index"])
        except ValueError:
            raise ValueError(f"{path}: index {row['index']!r} is not an integer") from None
        name, side = parse_label_name(row["name"])
        if index == 0 or name in _BACKGROUND:
            continue
        side = _SIDES.get(row.get("hemisphere", "").lower(), side)
        label = Label(index, name, side)
        if labels.setdefault(index, label) != label:
            raise ValueError(f"{path} gives index {index} two meanings")
    return tuple(labels.values())
