"""The table of scores against the ground truth: goals, format, and the rows of pretraining."""

from pathlib import Path

import pandas as pd
import pytest

from cytopipe.formats import truth_table
from cytopipe.truth.scoring import judged, probe_rows


def test_goals_are_judged_and_missed_goals_are_red() -> None:
    assert judged("a", "B01", 0.92, "", "at least", 0.92).met == "yes"
    assert judged("a", "B01", 0.91, "", "at least", 0.92).met == "no"
    assert judged("a", "B01", 3.1, "px", "at most", 3).met == "no"
    assert judged("a", "B01", 0.99, "", "exactly", 1).met == "no"
    assert judged("a", "B01", float("nan"), "", "at most", 1).met == "no"
    assert judged("a", "B01", 5.0, "", "", float("nan")).met == ""
    rows = [
        judged("drift", "B01", 0.5, "mm", "at most", 1),
        judged("drift", "B02", 1.5, "mm", "at most", 1),
    ]
    text = truth_table.format_table(rows, colour=True)
    assert "\033[31m" in text and text.count("\033[31m") == 1
    assert "1.5 !" in text and "goals met: 1 of 2" in text
    assert "\033" not in truth_table.format_table(rows, colour=False)


def test_the_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = [
        judged("a", "B01", 0.25, "", "", float("nan")),
        judged("b", "all", float("nan"), "mm", "at most", 1),
    ]
    truth_table.write(rows, tmp_path / "truth.tsv")
    # as text, since NaN is not equal to NaN
    assert str(truth_table.read(tmp_path / "truth.tsv")) == str(rows)


def test_pretraining_is_compared_with_the_best_baseline() -> None:
    runs = {"spatialnce": (0.6, 0.7), "untrained": (0.5, 0.5), "profiles": (0.3, 0.62)}
    rows = [
        {"run": run, "task": "areas", "split": split, "fold": fold, "metric": "macro_f1",
         "value": value + (0.01 if fold else -0.01)}
        for run, values in runs.items()
        for split, value in zip(("seen", "transfer"), values, strict=True)
        for fold in range(2)
    ]  # fmt: skip
    scored = probe_rows(pd.DataFrame(rows), ["untrained", "profiles"])
    margins = {line.metric: line for line in scored if line.goal}
    seen, transfer = margins.values()
    assert seen.value == pytest.approx(0.1) and "untrained" in seen.metric
    assert transfer.value == pytest.approx(0.08) and "profiles" in transfer.metric
    assert seen.met == transfer.met == "yes"
    # a goal without scores is missed
    lost = [row for row in rows if row["split"] != "transfer"]
    transfer = probe_rows(pd.DataFrame(lost), ["untrained", "profiles"])[-1]
    assert "transfer" in transfer.metric and transfer.met == "no"
    level = probe_rows(pd.DataFrame(rows).assign(value=0.5), ["untrained"])
    assert {line.met for line in level} == {"", "no"}
