"""Run Snakemake on a study and say in one line a job how far it is and how long it will take.

    python workflow/progress.py STUDY [snakemake's arguments]

Everything that Snakemake itself says stands in STUDY/logs/snakemake.log; its exit status is passed
through.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
_STAGE_PROGRESS = re.compile(r"^\d\d:\d\d:\d\d (.* left)$")


class Progress:
    """What is known of a run from the lines that Snakemake has written so far.

    Attributes
    ----------
    to_do : jobs of each rule that have not finished.
    seconds : run times of the finished jobs of each rule.
    expected : run time of a rule from an earlier run, where there is one.
    """

    def __init__(self, expected: dict[str, float], now: float) -> None:
        self.expected = expected
        self.start = now
        self.to_do: Counter[str] = Counter()
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.total = self.done = 0
        self._began: dict[str, float] = {}
        self._labels: dict[str, str] = {}
        self._block = {"rule": "", "jobid": ""}
        self._in_stats = False

    def hear(self, line: str, now: float) -> Iterator[str]:
        """Take in one line of Snakemake's; yield what a person should see of it."""
        if line.startswith("Job stats:"):
            self._in_stats, self.to_do = True, Counter()
        elif self._in_stats and (row := re.match(r"^(\w+) +(\d+)$", line)):
            if row[1] == "total":
                self._in_stats, self.total = False, int(row[2])
            else:
                self.to_do[row[1]] = int(row[2])
        elif start := re.match(r"^(?:local)?(?:rule|checkpoint) (\w+):$", line):
            self._block = {"rule": start[1], "jobid": ""}
        elif key := re.match(r"^    (jobid|wildcards): (.*)$", line):
            self._block[key[1]] = key[2]
            job = self._block["jobid"]
            if key[1] == "jobid":
                self._began[job] = now
            values = [
                part.partition("=")[2] for part in self._block.get("wildcards", "").split(", ")
            ]
            self._labels[job] = " ".join([self._block["rule"], *values]).rstrip()
        elif end := re.match(r"^Finished jobid: (\d+) \(Rule: (\w+)\)$", line):
            yield self._finished(end[1], end[2], now)
        elif _STAGE_PROGRESS.match(line):
            yield f"    {line}"

    def _finished(self, job: str, rule: str, now: float) -> str:
        self.done += 1
        self.to_do[rule] -= 1
        self.seconds[rule].append(now - self._began.get(job, now))
        minutes = (now - self.start) / 60
        left = self.left_s(now) / 60
        return (
            f"[{self.done} of {self.total}, {minutes:.1f} min, about {left:.0f} min left] "
            f"{self._labels.get(job, rule)}"
        )

    def left_s(self, now: float) -> float:
        """Seconds that the jobs to do will take, at the number of jobs that ran side by side."""
        spent = [second for seconds in self.seconds.values() for second in seconds]
        if not spent:
            return 0.0
        mean = sum(spent) / len(spent)
        work = 0.0
        for rule, jobs in self.to_do.items():
            seen = self.seconds.get(rule)
            work += jobs * (sum(seen) / len(seen) if seen else self.expected.get(rule, mean))
        side_by_side = max(1.0, sum(spent) / max(now - self.start, 1e-3))
        return work / side_by_side


def read_expected(path: Path) -> dict[str, float]:
    """Seconds a rule, from a table of two columns; empty without one."""
    if not path.exists():
        return {}
    rows = [line.split("\t") for line in path.read_text().splitlines() if line[:1] != "#"]
    return {rule: float(seconds) for rule, seconds in rows}


def main(arguments: list[str]) -> int:
    """Run Snakemake; returns its exit status."""
    study, *rest = arguments
    log = Path(study) / "logs" / "snakemake.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
    command += ["--directory", study, *rest]
    progress = Progress(read_expected(REPOSITORY / "demo" / "seconds.tsv"), time.monotonic())
    said: list[str] = []
    with (
        log.open("a") as full,  # a second start, refused, must not empty it
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,  # a terminal's Ctrl-C comes here first, and goes on once
        ) as run,
    ):
        assert run.stdout is not None
        # TERM lets running jobs finish, INT ends them too, as Snakemake does by itself
        signal.signal(signal.SIGTERM, lambda number, _: run.send_signal(number))
        signal.signal(signal.SIGINT, lambda number, _: os.killpg(run.pid, number))
        for line in run.stdout:
            full.write(line)
            full.flush()
            said.append(line)
            for message in progress.hear(line.rstrip("\n"), time.monotonic()):
                print(message, flush=True)
        status = run.wait()
    if status:
        print(troubles(said), file=sys.stderr)
        print(f"The run stopped (exit status {status}); all of it: {log}", file=sys.stderr)
    elif not progress.total:
        print(f"{study}: nothing to do, every result is up to date")
    else:
        print(
            f"{study}: {progress.done} jobs in {(time.monotonic() - progress.start) / 60:.1f} min"
        )
    return status


def troubles(lines: list[str]) -> str:
    """The part of Snakemake's output that says what went wrong."""
    start = re.compile(r"^(Error in |RuleException|WorkflowError|\w*Exception|\w*Error\b)")
    found = next((i for i, line in enumerate(lines) if start.match(line)), max(0, len(lines) - 15))
    return "".join(lines[found : found + 40]).rstrip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
