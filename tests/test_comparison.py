"""The table of docs/comparison.md: mean and deviation over the seeds of an objective."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from cytopipe.evaluation.samples import write_scores

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
import comparison


def test_runs_of_an_objective_are_summed_up(tmp_path: Path) -> None:
    values = {"spatialnce-1": (0.6, 0.8), "spatialnce-2": (0.5, 0.5), "simclr-1": (0.9, 0.9)}
    for run, folds in values.items():
        scores = [
            (split, fold, "macro_f1", value)
            for split in comparison.SPLITS
            for fold, value in enumerate(folds)
        ]
        path = tmp_path / "results" / "evaluation" / "areas" / run / "scores.parquet"
        write_scores(path, run, {"areas": scores})
    table = comparison.summary(comparison.scores_of(tmp_path, "areas"))
    row = table.loc[("areas", "spatialnce", "seen", "macro_f1")]
    # probes are averaged first: 0.7 and 0.5
    assert row["mean"] == pytest.approx(0.6) and row["deviation"] == pytest.approx(0.1)
    assert len(pd.unique(table.index.get_level_values("objective"))) == 2
    lines = comparison.markdown(table, ("macro_f1",)).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| simclr", "| spatialnce"]
    assert lines[3].endswith("0.600 ± 0.100 |")


def test_a_study_without_such_runs_says_so(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="run make comparison first"):
        comparison.scores_of(tmp_path, "areas")
