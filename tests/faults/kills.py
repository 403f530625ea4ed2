"""kill -9 of a job at random moments, and at the worst ones."""

import random
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil

from faults import runs, studies
from faults.studies import Job
from faults.table import Line
from faults.watching import Watcher


@dataclass(frozen=True)
class Kill:
    """One kill and what came of it.

    Attributes
    ----------
    moment : CPU seconds of the job, or what was waited for.
    landed : whether the job was still there.
    troubles : what should not have been.
    """

    job: Job
    whole_host: bool
    moment: str
    landed: bool
    sightings: int
    troubles: tuple[str, ...]


def kill_once(
    finished: Path, study: Path, job: Job, whole_host: bool, cpu_s: float | None, worst: str
) -> Kill:
    """Start one job of a copy of the finished study, kill it, look, start again, compare.

    Parameters
    ----------
    whole_host : kill Snakemake in the same moment; otherwise the job's process alone.
    cpu_s : when, in CPU time of the job's process; None for the `worst` moment.
    worst : `writing`: an unfinished file is there; `between`: one output is there, not yet all.
    """
    studies.without(studies.copy(finished, study), job)
    final = [study / output for output in job.outputs]
    expected = {study / p: sha for p, sha in studies.artifacts(finished).items()}
    with Watcher(path.parent for path in final) as watcher:
        started = runs.start(study, *job.outputs)
        process = started.wait_for_job()
        if cpu_s is None:
            _wait_for(worst, final, process)
        else:
            _wait_until(cpu_s, process)
        moment = worst or f"{cpu_s:.1f} of {job.cpu_s:.1f} s"
        landed = runs.alive(process)
        if whole_host:
            started.kill_all()
        else:
            family = [process, *process.children(recursive=True)] if landed else []
            for member in family:
                runs.kill(member)
            landed = started.wait() != 0 and landed
    troubles = [*watcher.unfinished(expected), *studies.wrong(study, finished, job)]
    with Watcher(path.parent for path in final) as again:
        runs.rerun(study, *job.outputs)
    troubles += [*again.unfinished(expected), *studies.differences(study, finished)]
    seen = len(watcher.sightings) + len(again.sightings)
    return Kill(job, whole_host, moment, landed, seen, tuple(troubles))


def _wait_until(cpu_s: float, process: psutil.Process) -> None:
    try:
        while runs.alive(process) and sum(process.cpu_times()[:2]) < cpu_s:
            time.sleep(0.002)
    except psutil.Error:  # it has just ended
        return


def _wait_for(worst: str, final: list[Path], process: psutil.Process) -> None:
    folders = {path.parent for path in final}
    names = {path.name for path in final}

    def there() -> bool:
        if worst == "between":
            return any(path.exists() for path in final)
        return any(
            found.name.partition("-")[2] in names
            for folder in folders
            for found in folder.glob(".*-*")
        )

    while runs.alive(process) and not there():
        time.sleep(0.0005)


def plan(jobs: list[Job], count: int, seed: int) -> Iterator[tuple[Job, bool, float]]:
    """`count` kills spread evenly over the rules: job, whether the host dies, CPU seconds."""
    choose = random.Random(seed)
    by_rule: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        by_rule[job.rule].append(job)
    rules = sorted(by_rule)
    choose.shuffle(rules)
    for number in range(count):
        job = choose.choice(by_rule[rules[number % len(rules)]])
        yield job, choose.random() < 0.5, choose.random() * job.cpu_s


def lines(finished: Path, folder: Path, count: int, seed: int, workers: int) -> Iterator[Line]:
    """`count` kills at random moments, `workers` of them side by side; a line a rule."""
    tries = [
        (job, whole_host, cpu_s, "")
        for job, whole_host, cpu_s in plan(studies.jobs_of(finished), count, seed)
    ]
    done: dict[str, list[Kill]] = defaultdict(list)
    for kill in _all(finished, folder / "killed", tries, workers):
        done[kill.job.rule].append(kill)
    for rule, kills in sorted(done.items()):
        yield _line(f"kill -9, `{rule}`", kills)


def worst_lines(finished: Path, folder: Path, workers: int) -> Iterator[Line]:
    """A kill of each rule while it writes and, if it has several outputs, between two of them."""
    jobs = studies.first_of_each_rule(finished).values()
    for moment, words in (
        ("writing", "kill -9 of job and master while a file is being written"),
        ("between", "the same when one of several outputs is there"),
    ):
        tries = [
            (job, True, None, moment) for job in jobs if moment == "writing" or len(job.outputs) > 1
        ]
        yield _line(words, _all(finished, folder / "worst", tries, workers))


def _all(
    finished: Path,
    folder: Path,
    tries: list[tuple[Job, bool, float | None, str]],
    workers: int,
) -> list[Kill]:
    def one(number: int) -> Kill:
        study = folder / str(number)
        kill = kill_once(finished, study, *tries[number])
        _say(kill)
        if not kill.troubles:
            shutil.rmtree(study)
        return kill

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, range(len(tries))))


def _say(kill: Kill) -> None:
    who = "job and master" if kill.whole_host else "job"
    state = "killed" if kill.landed else "was over"
    print(
        f"{kill.job.rule}: {who} {state} at {kill.moment}", *kill.troubles, sep="\n    ", flush=True
    )


def _line(fault: str, kills: list[Kill]) -> Line:
    landed = [kill for kill in kills if kill.landed]
    troubles = sorted({trouble for kill in kills for trouble in kill.troubles})
    if kills[0].moment[0].isdigit():
        moments = "; ".join(
            kill.moment + (" (+ master)" if kill.whole_host else "") for kill in kills
        )
        tried = f"{len(landed)} of {len(kills)} landed: {moments}"
    else:
        tried = f"each rule once, {len(landed)} of {len(kills)} landed"
    seen = sum(kill.sightings for kill in kills)
    good = f"{seen} files seen as they appeared, all finished; byte-identical after the rerun"
    return Line(fault, tried, "; ".join(troubles) or good, not troubles and bool(landed))
