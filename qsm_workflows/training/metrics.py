"""The record of a training run: a table and a plot."""

import csv
from pathlib import Path

COLUMNS = ("step", "seconds", "loss", "validation_nrmse", "learning_rate")


class Metrics:
    """Table ``metrics.tsv`` of a run.

    Parameters
    ----------
    folder : Path
        Of the run.
    step : int
        Step that the run goes on from; later rows, of work that was lost, are dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._table = folder / "metrics.tsv"
        self._plot = folder / "metrics.png"
        self.rows = [row for row in read_metrics(folder) if row["step"] <= step]
        lines = ["\t".join(COLUMNS), *(_line(row) for row in self.rows)]
        self._table.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def add(
        self, step: int, seconds: float, loss: float, validation_nrmse: float, learning_rate: float
    ) -> None:
        """Append a row."""
        values = (step, seconds, loss, validation_nrmse, learning_rate)
        self.rows.append(dict(zip(COLUMNS, map(float, values), strict=True)))
        with open(self._table, "a", encoding="utf-8") as file:
            file.write(_line(self.rows[-1]) + "\n")

    def last_line(self) -> str:
        """The newest row, to be read."""
        row = self.rows[-1]
        return (
            f"step {row['step']:.0f}  {row['seconds']:.0f} s  loss {row['loss']:.4g}  "
            f"validation NRMSE {row['validation_nrmse']:.3f}"
        )

    def plot(self) -> None:
        """Draw loss and validation error against the step."""
        if not self.rows:
            return
        # Without the state that pyplot keeps: no window, nothing to close.
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        steps = [row["step"] for row in self.rows]
        for column, label in (("loss", "training loss"), ("validation_nrmse", "validation NRMSE")):
            axes.plot(steps, [row[column] for row in self.rows], label=label)
        axes.set(xlabel="step", yscale="log")
        axes.grid(alpha=0.3, which="both")
        axes.legend()
        figure.savefig(self._plot, dpi=120)


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Rows of a run's table; none if there is no table."""
    table = folder / "metrics.tsv"
    if not table.exists():
        return []
    with open(table, encoding="utf-8", newline="") as file:
        return [
            {name: float(value) for name, value in row.items()}
            for row in csv.DictReader(file, delimiter="\t")
        ]


def _line(row: dict[str, float]) -> str:
    return "\t".join(f"{row[name]:.7g}" for name in COLUMNS)
