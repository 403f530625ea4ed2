"""Which sections before a chunk its pairs reach, across excluded ones."""

from pathlib import Path

import empty_study
import pytest
from snakemake.api import DAGSettings


def reached(study: Path, chunk: str) -> tuple[list[str], dict[int, bool]]:
    """Chunks that a job reads, and which of its sections it takes for excluded."""
    settings = DAGSettings(targets=frozenset({f"results/alignment/B01/pairs-{chunk}.parquet"}))
    with empty_study.planned(study, empty_study.ROOT, {}, settings) as workflow:
        (job,) = (
            job
            for job in workflow.dag.jobs
            if job.rule.name == "alignment_pairs" and job.wildcards.chunk == chunk
        )
        chunks = [Path(path).stem for path in job.input.tables]
        return chunks, {row["section"]: row["excluded"] for row in job.params.sections}


@pytest.mark.slow
def test_excluded_sections_do_not_split_the_stack(tmp_path: Path) -> None:
    numbers = list(range(0, 1440, 30))  # 16 in each of three chunks
    study = empty_study.write(tmp_path, {"B01": "seen"}, numbers)
    assert reached(study, "00960")[0] == ["00480", "00960"]
    # the last ten of a chunk: pairs reach the six before them, as decided
    ten = numbers[22:32]
    decisions = study / "manual" / "B01" / "sections.tsv"
    decisions.parent.mkdir(parents=True)
    decisions.write_text("section\texcluded\n" + "".join(f"{n}\tyes\n" for n in ten))
    chunks, excluded = reached(study, "00960")
    assert chunks == ["00480", "00960"]
    assert [n for n, is_excluded in excluded.items() if is_excluded] == ten
    # a whole chunk: pairs reach the one before it
    whole = numbers[16:32]
    decisions.write_text("section\texcluded\n" + "".join(f"{n}\tyes\n" for n in whole))
    chunks, excluded = reached(study, "00960")
    assert chunks == ["00000", "00480", "00960"]
    assert [n for n, is_excluded in excluded.items() if is_excluded] == whole
