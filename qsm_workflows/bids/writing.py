"""Writing of JSON, text and tables: whole, or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from qsm_workflows.files import write_whole

from .names import sidecar_path


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all; the folder is made where it is missing."""
    # NaN is no JSON: refused here rather than by whoever reads the file.
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; the folder is made where it is missing."""
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_table(
    path: Path, table: pd.DataFrame, dictionary: Mapping[str, Any] | None = None
) -> None:
    """Write a TSV file, missing values as ``n/a``, with a data dictionary beside it."""
    write_whole(path, lambda partial: table.to_csv(partial, sep="\t", index=False, na_rep="n/a"))
    if dictionary is not None:
        write_json(sidecar_path(path), dictionary)
