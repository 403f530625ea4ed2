"""`python -m cytopipe run`: run what is missing or out of date in a study, and say what happens."""

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cytopipe.commands.status import error_in
from cytopipe.commands.study_parser import config_of, study_parser
from cytopipe.files import require, shipped
from cytopipe.study import changes

# what people call it: Snakemake's rule
_UNTIL = {
    "pyramids": "pyramids",
    "segmentation": "segmentation",
    "alignment": "alignment",
    "reconstruction": "reconstruction",
    "midsurface": "midsurface",
    "midline": "midline",
    "points": "coordinates",
    "pages": "report_brain",
    "patches": "patches",
    "pretraining": "pretraining",
    "features": "features",
}
# seconds of one job, measured on two cores with 32 sections of a human brain at 64 um in a chunk,
# 116 in a brain. They only compare kinds of jobs; the machine's speed is measured while it works.
# Networks are not included, as their time depends on the GPU
_SECONDS = {
    "pyramids": 30.0,
    "segmentation": 60.0,
    "alignment_pairs": 60.0,
    "alignment": 15.0,
    "reconstruction_volume": 30.0,
    "reconstruction": 40.0,
    "midsurface": 100.0,
    "midline": 40.0,
    "coordinates": 90.0,
    "report_brain": 60.0,
    "report": 5.0,
}


@dataclass
class Job:
    """A job that has started."""

    rule: str
    started: float
    wildcards: dict[str, str] = field(default_factory=dict)
    log: str = ""

    @property
    def what(self) -> str:
        """Brain, section or chunk, and rule, for people."""
        places = {"brain": "{}", "section": "section {}", "chunk": "sections from {}"}
        words = [
            text.format(self.wildcards[name].lstrip("0") or "0")
            if name != "brain"
            else self.wildcards[name]
            for name, text in places.items()
            if name in self.wildcards
        ]
        words += [value for name, value in self.wildcards.items() if name not in places]
        rule = self.rule.replace("_", " ")
        return f"{', '.join(words)}: {rule}" if words else rule


class Run:
    """A run of Snakemake, followed line by line.

    Parameters
    ----------
    study : its folder, for logs and pages.
    clock : seconds.
    """

    def __init__(self, study: Path, clock: Iterator[float] | None = None) -> None:
        self.study = study
        self._clock = clock
        self.left: Counter[str] = Counter()
        self.jobs: dict[str, Job] = {}
        self.total = self.done = 0
        self.failed: list[Job] = []
        self._took: dict[str, list[float]] = {}
        self._start = self._now()
        self._block: Job | None = None
        self._failing = False

    def _now(self) -> float:
        return time.monotonic() if self._clock is None else next(self._clock)

    def read(self, lines: Iterable[str]) -> Iterator[str]:
        """Messages for a person, from the lines that Snakemake prints."""
        for line in lines:
            yield from self._read(line.rstrip("\n"))

    def _read(self, line: str) -> Iterator[str]:
        if count := re.fullmatch(r"(\w+) +(\d+)", line):
            if count[1] == "total" and not self.total:
                self.total = int(count[2])
                counts = [f"{name} {n}" for name, n in self.left.items() if name != "all"]
                yield f"to run: {', '.join(counts)}".replace("_", " ")
            elif not self.total:
                self.left[count[1]] = int(count[2])
        elif start := re.fullmatch(r"(?:local)?(?:rule|checkpoint) (\w+):", line):
            self._block, self._failing = Job(start[1], self._now()), False
        elif error := re.fullmatch(r"Error in rule (\w+)(?:, jobid: \d+)?:", line):
            self._block, self._failing = Job(error[1], self._now()), True
        elif self._block and (entry := re.fullmatch(r" +(\w+): (.*)", line)):
            yield from self._entry(entry[1], entry[2])
        elif finished := re.fullmatch(r"Finished jobid: (\d+) \(Rule: \w+\)", line):
            yield from self._finished(finished[1])
        elif line.startswith("Nothing to be done"):
            yield "nothing to do: everything is up to date"

    def _entry(self, name: str, value: str) -> Iterator[str]:
        assert self._block is not None
        if name == "wildcards":
            self._block.wildcards = dict(pair.split("=", 1) for pair in value.split(", "))
        elif name == "log":
            self._block.log = value.partition(" (check")[0]
            if self._failing:
                yield from self._error(self._block)
        elif name == "jobid":
            if self._failing:
                known = self.jobs.get(value)
                if known is not None:
                    known.log = known.log or self._block.log
                    self._block.wildcards = known.wildcards
            else:
                self.jobs[value] = self._block

    def _error(self, job: Job) -> Iterator[str]:
        self.failed.append(job)
        log = self.study / job.log
        reason = error_in(log) or "its process was killed, perhaps for lack of memory or time"
        yield f"FAILED {job.what}: {reason}\n    log: {log}"

    def _finished(self, number: str) -> Iterator[str]:
        job = self.jobs.pop(number, None)
        self.done += 1
        if job is None or job.rule == "all":
            return
        self.left[job.rule] -= 1
        self._took.setdefault(job.rule, []).append(self._now() - job.started)
        yield f"{job.what} done ({self.done} of {self.total}{self._remaining()})"
        if job.rule in ("report_brain", "report"):
            name = job.wildcards.get("brain", "index")
            yield f"page ready: {self.study / 'results' / 'report' / f'{name}.html'}"

    def _remaining(self) -> str:
        """How long the rest takes, as far as jobs like these are known."""
        busy = sum(map(sum, self._took.values()))
        expected = sum(_SECONDS.get(rule, 0) * len(took) for rule, took in self._took.items())
        if busy < 5 or not expected:
            return ""
        at_once = max(1.0, busy / max(self._now() - self._start, 1e-6))
        slower = busy / expected
        rest, unknown = 0.0, False
        for rule, count in self.left.items():
            if count and rule != "all":
                if took := self._took.get(rule):
                    rest += count * sum(took) / len(took)
                elif rule in _SECONDS:
                    rest += count * _SECONDS[rule] * slower
                else:
                    unknown = True
        minutes = rest / at_once / 60
        text = "less than a minute" if minutes < 1 else f"about {minutes:.0f} min"
        return f", {text} left" + (" without networks" if unknown else "")


def run(arguments: list[str]) -> int:
    """Run what is missing or out of date in a study, and say what happens.

    Snakemake does the work; options that are not listed here are passed to it. Its own messages are
    in .snakemake/log, those of each job in logs/.
    """
    parser = study_parser("run", run)
    parser.add_argument("--until", choices=_UNTIL, help="the last stage; by default all")
    parser.add_argument(
        "--profile", default="local", help="local (by default), slurm, or a folder with a profile"
    )
    options, others = parser.parse_known_args(arguments)
    config_of(options.study)
    profile = options.profile
    if profile in ("local", "slurm"):
        profile = str(shipped(profile))
    require(Path(profile), "--profile is local, slurm, or a folder with a profile.yaml")
    for line in changes.since_last_run(options.study):
        print(f"since the last run: {line}")
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(shipped("Snakefile"))),
        *("--directory", str(options.study), "--profile", profile),
        *(word for word in others if word != "--"),
        *(("--until", _UNTIL[options.until]) if options.until else ()),
    ]
    return follow(command, Run(options.study))


def follow(command: list[str], progress: Run) -> int:
    """Start Snakemake and print what happens until it ends; return its exit status."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as snakemake:
        assert snakemake.stdout is not None
        said: list[str] = []

        def lines() -> Iterator[str]:
            assert snakemake.stdout is not None
            for line in snakemake.stdout:
                said.append(line)
                del said[:-40]
                yield line

        reading = lines()
        while True:
            try:
                for message in progress.read(reading):
                    print(f"{time.strftime('%H:%M')} {message}", flush=True)
                break
            except KeyboardInterrupt:
                # Snakemake has been told as well; it ends the jobs that run
                print("stopping; finished jobs are kept", flush=True)
                reading = lines()
    if snakemake.returncode and not progress.failed:
        print("".join(said), file=sys.stderr, end="")
    return snakemake.returncode
