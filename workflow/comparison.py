"""Print the comparison of the objectives, as the table of docs/comparison.md.

    python workflow/comparison.py STUDY

The names of runs end in their seed: spatialnce-1, spatialnce-2. The score of a run is the mean over
its probes; the table shows mean and standard deviation over the runs of an objective.
"""

import sys
from pathlib import Path

import pandas as pd

SPLITS = ("seen", "transfer", "unseen")


def scores_of(study: Path, task: str) -> pd.DataFrame:
    """Scores (ScoreRow) of a task, with the objective and seed of each run."""
    paths = sorted((study / "results" / "evaluation" / task).glob("*-[0-9]/scores.parquet"))
    if not paths:
        sys.exit(f"{study}: no scores of {task}; run make comparison first")
    table = pd.concat([pd.read_parquet(path) for path in paths])
    parts = table.run.str.rpartition("-")
    return table.assign(objective=parts[0], seed=parts[2])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over the runs of an objective."""
    keys = ["task", "objective", "split", "metric"]
    of_run = table.groupby([*keys, "seed"]).value.mean()
    groups = of_run.groupby(keys)
    return pd.DataFrame({"mean": groups.mean(), "deviation": groups.std(ddof=0)})


def markdown(means: pd.DataFrame, metrics: tuple[str, ...]) -> str:
    """The result of `summary` as a table, sorted by the score on the transfer brain."""
    columns = [(split, metric) for split in SPLITS for metric in metrics]
    order = means["mean"].xs(("transfer", metrics[0]), level=("split", "metric"))
    lines = [
        "| objective | scored by | " + " | ".join(f"{s}, {m}" for s, m in columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for task, objective in order.sort_values(ascending=False).index:
        cells = []
        for split, metric in columns:
            row = means.loc[(task, objective, split, metric)]
            cells.append(f"{row['mean']:.3f} ± {row['deviation']:.3f}")
        lines.append(f"| {objective} | {task} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(summary(scores_of(Path(sys.argv[1]), "areas")), ("macro_f1", "top1")))
