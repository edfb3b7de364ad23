"""What a study cost and what it found, from the folder it left.

    qsm-wf simulate bids --no-lesions
    qsm-wf run --bids bids --n-procs 2
    python benchmarks/study.py bids/derivatives/qsm-workflows --n-procs 2

Prints the error of each region by order, method and coverage; time and memory of each kind of
node; and the share of the processors' time in which no interface ran.
"""

import argparse
import re
from pathlib import Path

import pandas as pd

COST = re.compile(r"^(\S+ \S+) cost of (\S+): ([\d.]+) s, at most ([\d.]+) GB$", re.MULTILINE)
STAMP = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:start|end) ", re.MULTILINE)
REGIONS = ["pallidum", "putamen", "caudate"]


def errors(root: Path, column: str) -> pd.DataFrame:
    """Error of each region in percent, a column a coverage."""
    table = pd.read_csv(root / "group_desc-regions_stats.tsv", sep="\t")
    table = table[(table.hemisphere == "both") & table.region.isin(REGIONS)]
    table = table.assign(region=pd.Categorical(table.region, REGIONS))
    rows = ["order", "method", "region"]
    return table.pivot_table(column, rows, "coverage_mm", observed=True).round(1)


def costs(log: str) -> pd.DataFrame:
    """Time and memory of every node that ran."""
    found = [(step, float(s), float(gb)) for _, step, s, gb in COST.findall(log)]
    frame = pd.DataFrame(found, columns=["step", "seconds", "gb"])
    # The same step of all coverages is one kind.
    frame["kind"] = (
        frame.step.str.split(".").str[-1].str.replace(r"^(save_[a-z]+).*", r"\1", regex=True)
    )
    return frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--n-procs", type=int, required=True)
    args = parser.parse_args()
    for column in ("percent_full", "percent_truth"):
        print(f"\n{column}\n{errors(args.root, column).to_string()}")
    log = "\n".join(path.read_text() for path in sorted((args.root / "logs").glob("sub-*.log")))
    frame = costs(log)
    kinds = frame.groupby("kind").agg(
        n=("seconds", "size"),
        mean_s=("seconds", "mean"),
        max_s=("seconds", "max"),
        sum_s=("seconds", "sum"),
        max_gb=("gb", "max"),
    )
    print(f"\n{kinds.sort_values('sum_s', ascending=False).round(2).to_string()}")
    stamps = pd.to_datetime(pd.Series(STAMP.findall(log)))
    wall = (stamps.max() - stamps.min()).total_seconds()
    busy = frame.seconds.sum() / (args.n_procs * wall)
    print(
        f"\nwall {wall:.0f} s, nodes {frame.seconds.sum():.0f} s on {args.n_procs} processes: "
        f"{100 * (1 - busy):.1f} % of the processes' time is not in a node"
    )


if __name__ == "__main__":
    main()
