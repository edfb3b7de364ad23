"""What is wrong with the files of a scan, and what to do about it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel as nib


@dataclass(frozen=True)
class Problem:
    """Something wrong with a file.

    Attributes
    ----------
    severity : {"error", "warning"}
        Whether the scan cannot be processed, or can with a loss.
    file : Path
    what : str
        What is wrong.
    remedy : str
        What the user can do about it.
    """

    severity: Literal["error", "warning"]
    file: Path
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.text}"

    @property
    def text(self) -> str:
        """File, fault and remedy in sentences."""
        return f"{self.file}: {_sentence(self.what)} {_sentence(self.remedy)}"


class Problems:
    """What was found so far, and the grid that all images must share.

    Attributes
    ----------
    problems : list of Problem
    grid : (Path, image) or None
        First image that was read whole.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.grid: tuple[Path, nib.Nifti1Image] | None = None

    @property
    def has_errors(self) -> bool:
        """Whether the scan cannot be processed."""
        return any(problem.severity == "error" for problem in self.problems)

    def error(self, file: Path, what: str, remedy: str) -> None:
        """Add a fault that keeps the scan from being processed."""
        self.problems.append(Problem("error", file, what, remedy))

    def warning(self, file: Path, what: str, remedy: str) -> None:
        """Add a loss that the user should know of."""
        self.problems.append(Problem("warning", file, what, remedy))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
