"""Images that shrink, clocks that jump."""

import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from faults import runs, studies
from faults.studies import Job
from faults.table import Line

AHEAD_S = 3 * 86400
# rules that read section images
READERS = ("segmentation", "alignment_pairs", "features", "profiles", "pretraining", "report_brain")


def lines(finished: Path, folder: Path, seed: int) -> Iterator[Line]:
    first = studies.first_of_each_rule(finished)
    choose = random.Random(seed)
    for rule in READERS:
        cuts = [choose.uniform(0.02, 0.5), choose.uniform(0.5, 0.98)]
        cuts = [0.0, *cuts, 0.999] if rule == "segmentation" else cuts
        yield _truncated(finished, folder / "truncated", first[rule], cuts)
    yield _truncated_meanwhile(finished, folder / "truncated", first["segmentation"])
    yield _future_inputs(finished, folder / "clock", first["midline"])
    for name, ahead_s in (("three days ahead", AHEAD_S), ("three days back", -AHEAD_S)):
        yield _jumping_clock(finished, folder / "clock", first["midline"], name, ahead_s)


def _own_image(study: Path, finished: Path, job: Job) -> Path:
    """An image that the job reads, as a file of the copy alone."""
    images = [name for name in job.inputs if name.startswith("images/")]
    if not images:  # a data set names them; otherwise those of the brain's sections are read
        table = next(name for name in job.inputs if name.endswith(".parquet"))
        rows = pd.read_parquet(finished / table)
        if "image" in rows:
            images = sorted(set(rows["image"]))
        else:
            folder = finished / "images" / str(rows["brain"].iloc[0])
            images = sorted(str(path.relative_to(finished)) for path in folder.iterdir())
    name = images[len(images) // 2]
    (study / name).unlink()
    shutil.copy2(finished / name, study / name)
    return study / name


def _truncated(finished: Path, study: Path, job: Job, cuts: list[float]) -> Line:
    """An image cut off at several lengths before the job reads it, its time of change kept."""
    outcomes, troubles = [], []
    for cut in cuts:
        studies.without(studies.copy(finished, study), job)
        image = _own_image(study, finished, job)
        before = image.stat()
        os.truncate(image, int(cut * before.st_size))
        os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
        status, _ = runs.run(study, *job.outputs)
        log = (study / job.log).read_text() if (study / job.log).exists() else ""
        outcome = _judge(study, finished, job, image, status, log)
        outcomes.append(f"at {cut:.1%}: {outcome}")
        if "WRONG" in outcome:
            troubles.append(outcomes[-1])
    return Line(
        f"a section image is truncated, `{job.rule}`",
        "; ".join(f"{cut:.1%} of its bytes" for cut in cuts),
        "; ".join(troubles or outcomes),
        not troubles,
    )


def _judge(study: Path, finished: Path, job: Job, image: Path, status: int, log: str) -> str:
    brain, number = image.name.split(".")[0].split("_")
    end = log[log.rfind("error") :] if "error" in log else log[-500:]
    named = image.name in end or f"{brain} section {int(number)}" in end
    if status:
        return "the job stops and names the image" if named else f"WRONG: unnamed: {log[-200:]!r}"
    if all(_same_values(study / name, finished / name) for name in job.outputs):
        return "what was cut off is not read: the same result"
    page = next((study / name for name in job.outputs if name.endswith(".html")), None)
    if page is not None and "not readable" in page.read_text():
        return "the page says that it is not readable"
    rows = _status_of_section(study, job, image)
    return f"its row says {rows}" if rows not in ("ok", "") else "WRONG: another result, no word"


def _same_values(one: Path, other: Path) -> bool:
    """Whether results hold the same; what they tell of their making has the image's size in it."""
    if one.is_dir():
        names = [
            sorted(path.relative_to(each) for path in each.rglob("*")) for each in (one, other)
        ]
        files = [name for name in names[0] if (one / name).is_file()]
        return names[0] == names[1] and all(
            studies.digest(one / name) == studies.digest(other / name) for name in files
        )
    if one.suffix == ".parquet":
        return pd.read_parquet(one).equals(pd.read_parquet(other))
    if one.suffix == ".tif":
        with tifffile.TiffFile(one) as ours, tifffile.TiffFile(other) as theirs:
            pages = zip(ours.pages, theirs.pages, strict=True)
            return all(np.array_equal(a.asarray(), b.asarray()) for a, b in pages)
    return studies.digest(one) == studies.digest(other)


def _status_of_section(study: Path, job: Job, image: Path) -> str:
    table = next((name for name in job.outputs if name.endswith(".parquet")), None)
    if table is None:
        return ""
    frame = pd.read_parquet(study / table)
    number = int(image.name.split("_")[1].split(".")[0])
    found = frame[frame["section"] == number] if "section" in frame else frame[:0]
    return "" if found.empty else str(found["status"].iloc[0])


def _truncated_meanwhile(finished: Path, study: Path, job: Job) -> Line:
    """The image that is read last loses its second half while the job runs."""
    studies.without(studies.copy(finished, study), job)
    name = [name for name in job.inputs if name.startswith("images/")][-1]
    image = study / name
    image.unlink()
    shutil.copy2(finished / name, image)
    started = runs.start(study, *job.outputs)
    process = started.wait_for_job()
    log = study / job.log
    # once imports are over and the first images are read
    runs.until(lambda: (log.exists() and log.read_text()) or not runs.alive(process))
    os.truncate(image, image.stat().st_size // 2)
    status = started.wait()
    outcome = _judge(study, finished, job, image, status, (study / job.log).read_text())
    _, said = runs.run(study, "-n", *job.outputs)
    stale = "pdated input files" in said
    troubles = [outcome] if "WRONG" in outcome else []
    if outcome.startswith("what was") and not stale:
        troubles.append("the next start does not see the changed image")
    image.unlink()
    shutil.copyfile(finished / name, image)  # with the time of now, or nothing would rerun
    runs.rerun(study, *job.outputs)
    troubles += studies.differences(study, finished)
    return Line(
        f"a section image is truncated while `{job.rule}` runs",
        "to half, after the job's first message",
        "; ".join(troubles) or f"{outcome}; byte-identical with the whole image",
        not troubles,
    )


def _future_inputs(finished: Path, study: Path, job: Job) -> Line:
    """Inputs whose time of change lies ahead, as after a clock was set back."""
    studies.without(studies.copy(finished, study), job)
    ahead = time.time() + AHEAD_S
    for name in job.inputs:
        path = study / name
        path.unlink()  # the file is shared with the finished study
        shutil.copyfile(finished / name, path)
        os.utime(path, (ahead, ahead))
    outcome, troubles = _skewed(study, job, {})
    for name in job.inputs:
        os.utime(study / name)
    runs.rerun(study, *job.outputs)
    troubles += studies.differences(study, finished)
    return Line(
        "input files dated three days ahead",
        f"`{job.rule}`, then their times corrected",
        "; ".join(troubles) or f"{outcome}; byte-identical afterwards",
        not troubles,
    )


def _jumping_clock(finished: Path, study: Path, job: Job, name: str, ahead_s: int) -> Line:
    """Snakemake and its job see a clock that is off."""
    fault = f"a clock that is {name} for Snakemake and the job"
    library = next(Path("/usr/lib").rglob("libfaketimeMT.so.1"), None)
    if library is None:
        return Line(fault, "libfaketime", "not installed (apt-get install libfaketime)", None)
    studies.without(studies.copy(finished, study), job)
    env = {"LD_PRELOAD": str(library), "FAKETIME": f"{ahead_s:+d}s", "DONT_FAKE_MONOTONIC": "1"}
    outcome, troubles = _skewed(study, job, env)
    runs.rerun(study, *job.outputs)
    troubles += studies.differences(study, finished)
    return Line(
        fault,
        f"`{job.rule}`, then the true clock",
        "; ".join(troubles) or f"{outcome}; byte-identical afterwards",
        not troubles,
    )


def _skewed(study: Path, job: Job, env: dict[str, str]) -> tuple[str, list[str]]:
    """Run the job under a doubtful clock: what came of it, and what should not have."""
    status, said = runs.run(study, *job.outputs, env=env)
    if status == 0:
        return "the run ends well", []
    # an output older than its input would rerun for ever
    if "older modification time" in said and "clock skew" in said:
        return "Snakemake refuses the output, names it and its input and says clock skew", []
    return "", [f"exit status {status}: {said[-300:]}"]
