"""Training killed in mid-epoch, and continued by as many processes or by another number."""

import random
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
import yaml

from faults import runs, studies
from faults.runs import Run
from faults.table import Line

EPOCHS = 8
# what is killed, processes before and after
CASES = (
    ("all at once", 1, 1),
    ("one of them", 2, 2),
    ("all at once", 2, 2),
    ("one of them", 2, 1),
    ("all at once", 1, 2),
    ("one of them", 2, 4),
)
# other ranks sum in another order: float32, over 64 steps
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Outputs:
    """The files of one training."""

    folder: Path

    def named(self, name: str) -> Path:
        return self.folder / name

    def losses(self) -> list[float]:
        found: list[float] = pd.read_parquet(self.named("metrics.parquet"))["loss"].tolist()
        return found


def lines(finished: Path, folder: Path, seed: int) -> Iterator[Line]:
    study = studies.copy(finished, folder / "training")
    settings = yaml.safe_load((study / "config" / "config.yaml").read_text())
    settings["pretraining"]["common"]["epochs"] = EPOCHS
    (study / "longer.yaml").write_text(yaml.safe_dump(settings))
    undisturbed = {}
    for size in (1, 2):
        undisturbed[size] = Outputs(study / f"undisturbed-{size}")
        started = start(study, undisturbed[size], size)
        assert started.wait() == 0, started.text()
    choose = random.Random(seed)
    for number, (what, before, after) in enumerate(CASES):
        outputs = Outputs(study / f"killed-{number}")
        yield _case(study, outputs, undisturbed, what, before, after, choose)


def start(study: Path, outputs: Outputs, size: int) -> Run:
    """Start a training of `size` processes by torchrun, as a person would."""
    outputs.folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(size), "-m", "cytopipe", "pretraining"]
    command += ["--part", "runs.spatialnce", "--config", "longer.yaml", "--threads", "1"]
    command += ["--patches", "results/patches/pretrain.parquet"]
    for flag, name in (("final", "final.pt"), ("metrics", "metrics.parquet")):
        command += [f"--{flag}", str(outputs.named(name))]
    command += ["--record", str(outputs.named("params.yaml"))]
    return runs.start_command(command, study, folder=study)


def _case(
    study: Path,
    outputs: Outputs,
    undisturbed: dict[int, Outputs],
    what: str,
    before: int,
    after: int,
    choose: random.Random,
) -> Line:
    epoch, share = choose.randint(1, EPOCHS - 3), choose.random()
    started = start(study, outputs, before)
    spoken = re.compile(f"epoch {epoch} of {EPOCHS}: .*about (\\d+) s left")
    said = runs.until(lambda: spoken.search(started.text()))
    assert said is not None
    time.sleep(share * int(said[1]) / (EPOCHS - epoch))
    launcher = psutil.Process(started.process.pid)
    ranks = launcher.children(recursive=True)
    for process in [launcher, *ranks] if what == "all at once" else ranks[-1:]:
        runs.kill(process)
    status = started.wait()
    troubles = [] if status else ["it was not killed"]
    runs.until(lambda: not any(runs.alive(process) for process in ranks), 60)
    if outputs.named("final.pt").exists():
        troubles.append("final.pt of a training that was killed")
    again = start(study, outputs, after)
    if again.wait():
        troubles.append(f"the second start failed: {again.text()[-300:]}")
        return _line(what, before, after, epoch, share, troubles, "")
    found = re.search(r"continues at (epoch \d+, step \d+)", again.text())
    if not found:
        troubles.append("it began anew")
    if outputs.named("checkpoint.pt").exists():
        troubles.append("the checkpoint stays")
    if before == after:
        troubles += [
            f"{name}: other bytes"
            for name in ("final.pt", "metrics.parquet", "params.yaml")
            if outputs.named(name).read_bytes() != undisturbed[after].named(name).read_bytes()
        ]
        outcome = "final.pt, metrics and record byte-identical"
    else:
        pairs = zip(outputs.losses(), undisturbed[before].losses(), strict=True)
        largest = max(abs(a / b - 1) for a, b in pairs)
        outcome = f"losses of all epochs as undisturbed, largest difference {largest:.1e}"
        if largest > TOLERANCE:
            troubles.append(outcome)
    outcome = f"continues at {found[1] if found else '?'}; {outcome}"
    return _line(what, before, after, epoch, share, troubles, outcome)


def _line(
    what: str,
    before: int,
    after: int,
    epoch: int,
    share: float,
    troubles: list[str],
    outcome: str,
) -> Line:
    return Line(
        f"kill -9 of a training of {before} process{'es' if before > 1 else ''}, {what}; "
        f"continued by {after}",
        f"{share:.0%} into epoch {epoch} (of 0 to {EPOCHS - 1})",
        "; ".join(troubles) or outcome,
        not troubles,
    )
