"""The cheap part of `make faults`: each writer killed and out of room; a watcher that sees."""

import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from faults import kills, studies
from faults.studies import Job
from faults.watching import Watcher
from safetensors.torch import save_file

from cytopipe import files
from cytopipe.evaluation import charts
from cytopipe.features.arrays import new_array
from cytopipe.files import InputError, atomic_write, sweep
from cytopipe.formats import images, surfaces, tables, transforms, volumes
from cytopipe.formats.pyramid_writer import write_pyramid_by_windows
from cytopipe.learning import checkpoints

NOISE = np.random.default_rng(0).random((40, 40, 40))
PAGE = (255 * NOISE.reshape(200, 320)).astype(np.uint8)
ROOM_BYTES = 200  # less than any of the files needs


def _npy(path: Path) -> None:
    with atomic_write(path) as beside:
        array = new_array(beside, (100, 64))
        array[:] = 1
        array.flush()


def _npz(path: Path) -> None:
    with atomic_write(path) as beside:
        np.savez_compressed(beside, distances=NOISE)


def _safetensors(path: Path) -> None:
    with atomic_write(path) as beside:
        save_file({"weight": torch.zeros(1000)}, beside)


def _field(path: Path) -> None:
    displacements = NOISE[..., None].repeat(3, -1)
    transforms.write(transforms.field_transform(displacements, np.eye(4), "a", "b"), path)


def _windows(path: Path) -> None:
    def window(row: int, column: int, rows: int, columns: int) -> np.ndarray:
        return PAGE[row : row + rows, column : column + columns]

    write_pyramid_by_windows(window, PAGE.shape, path, 1.0, 4.0, tile=64)


# a way of writing for each file that the rules name
WRITERS: dict[str, Callable[[Path], None]] = {
    "features.npy": _npy,
    "geodesic.npz": _npz,
    "weights.safetensors": _safetensors,
    "to-template.h5": _field,
    "B01.ome.tif": lambda path: images.write_pyramid(PAGE, path, 1.0, 4.0, tile=64),
    "large.ome.tif": _windows,
    "00480.tif": lambda path: images.write_labels([PAGE % 3] * 9, path),
    "scores.parquet": lambda path: tables.write(
        tables.FeatureRow, pd.DataFrame({"point_id": NOISE[0, 0].astype(str), "status": ""}), path
    ),
    "tissue.nii.gz": lambda path: volumes.write(volumes.Volume(NOISE, np.eye(4)), path),
    "hemi-L_mid.surf.gii": lambda path: surfaces.write(
        surfaces.Surface(NOISE[0, :, :3], np.arange(39)[:, None].repeat(3, 1).astype(np.int32)),
        path,
        "L",
    ),
    "hemi-L_thickness.shape.gii": lambda path: surfaces.write_map(NOISE.ravel(), path, "L"),
    "final.pt": lambda path: checkpoints.save({"weight": torch.zeros(1000)}, path),
    "figures.html": lambda path: charts.write("Heading", [], path),
}


def _die_before_the_rename(path: Path) -> None:
    real = os.replace

    def die(source: Path, target: Path) -> None:
        if Path(target) == path:
            os.kill(os.getpid(), signal.SIGKILL)
        real(source, target)

    os.replace = die
    WRITERS[path.name](path)


def _write_without_room(path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, hard))
    try:
        WRITERS[path.name](path)
    except InputError as error:
        sys.exit(0 if "make room" in str(error) and str(path.parent) in str(error) else str(error))
    sys.exit("no error")


def status_of(task: Callable[[Path], None], path: Path) -> int | None:
    """Exit status of a process that does a task; this one's libraries are loaded once for all."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["test_faults"])
    process = context.Process(target=task, args=(path,))
    process.start()
    process.join(60)
    return process.exitcode


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_a_writer_killed_at_the_last_moment_leaves_the_old_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    with Watcher([tmp_path]) as watcher:
        assert status_of(_die_before_the_rename, path) == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert not [sight for sight in watcher.sightings if sight.path == path]
    left = [found for found in tmp_path.iterdir() if found.name.startswith(".")]
    assert left and set(sweep(tmp_path)) == set(left)
    assert path.read_bytes() == b"old"


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_a_writer_without_room_says_so(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    assert status_of(_write_without_room, path) == 0
    assert path.read_bytes() == b"old"
    assert {found.name for found in tmp_path.iterdir()} <= {name}


def test_a_mapped_array_has_its_blocks_before_it_is_written(tmp_path: Path) -> None:
    """Without them a full disk ends the process by SIGBUS."""
    (tmp_path / "sparse.npy").touch()
    os.truncate(tmp_path / "sparse.npy", 1 << 20)
    assert (tmp_path / "sparse.npy").stat().st_blocks * 512 < 1 << 20
    files.reserve(tmp_path / "sparse.npy")
    assert (tmp_path / "sparse.npy").stat().st_blocks * 512 >= 1 << 20


# what writes a file: the path, or the file's place in memory, that it may be given
_WRITES = re.compile(
    r"(\w+)\.write_(?:text|bytes)\(|"
    r"\.to_(?:csv|parquet)\((\w+)|savefig\((\w+)|savez\w*\(\s*(\w+)|save_file\(\w+, (\w+)|"
    r"(?:TiffWriter|imwrite)\((\w+)|h5py\.File\((\w+), \"w|torch\.save\(\w+, (\w+)|"
    r"\bopen\((\w+), \"[wax]|(\w+)\.open\(\"[wax]"
)


# inside of a folder that is renamed as a whole; a temporary folder; text in memory; a log
_OTHERWISE = {
    ("bundle.py", "path"),
    ("itk_transforms.py", "folder"),
    ("truth_table.py", "sep"),
    ("downsampling.py", "file"),
    ("launching.py", "log"),
}


def test_nothing_is_written_under_its_final_name() -> None:
    """A new writer has to go through `atomic_write`, whose path is called `beside` everywhere."""
    package = Path(files.__file__).parent
    found = {
        (path.name, next(filter(None, match.groups())))
        for path in package.rglob("*.py")
        for match in _WRITES.finditer(path.read_text())
    }
    direct = {
        (file, name)
        for file, name in found
        if not name.startswith("beside") and name not in ("content", "buffer", "text")
    }
    assert len(found) > 15 and direct <= _OTHERWISE


def test_the_watcher_sees_a_file_that_grows_under_its_final_name(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    good, bad = tmp_path / "good.bin", tmp_path / "sub" / "bad.bin"
    bad.parent.mkdir()
    with Watcher([tmp_path]) as watcher:
        with atomic_write(good) as beside:
            beside.write_bytes(content[:1000])
            time.sleep(0.05)
            beside.write_bytes(content)
        with bad.open("wb") as file:
            file.write(content[:1000])
            file.flush()
            time.sleep(0.3)
            file.write(content[1000:])
    expected = dict.fromkeys((good, bad), studies.digest(good))
    assert good.read_bytes() == bad.read_bytes() and watcher.polls > 5
    assert {sight.path for sight in watcher.sightings} == {good, bad}
    unfinished = watcher.unfinished(expected)
    assert unfinished and all(str(bad) in line for line in unfinished)


def test_differences_between_studies_are_seen(tmp_path: Path) -> None:
    for study in ("a", "b"):
        for name, text in {"same": "1", "other": study, study: "2"}.items():
            path = tmp_path / study / "results" / "stage" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    assert studies.differences(tmp_path / "a", tmp_path / "b") == [
        "results/stage/a: left over",
        "results/stage/b: missing",
        "results/stage/other: other bytes",
    ]


def test_kills_are_spread_over_all_rules() -> None:
    jobs = [Job(f"rule{n % 18}", (), (), f"{n}", 5.0) for n in range(42)]
    planned = list(kills.plan(jobs, 50, seed=1))
    assert planned == list(kills.plan(jobs, 50, seed=1)) != list(kills.plan(jobs, 50, seed=2))
    counts = Counter(job.rule for job, _, _ in planned)
    assert len(counts) == 18 and set(counts.values()) == {2, 3}
    moments = [after_s for _, _, after_s in planned]
    assert min(moments) < 0.5 and max(moments) > 4.5
    assert 15 < sum(whole_host for _, whole_host, _ in planned) < 35


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("InputError('B01: no such section; correct it')", "error: B01: no such section"),
        ("ZeroDivisionError", "stopped by an error"),
    ],
)
def test_what_ends_a_job_stands_in_its_log(tmp_path: Path, error: str, expected: str) -> None:
    log = tmp_path / "stage.log"
    code = "from cytopipe import logs; from cytopipe.files import InputError\n"
    code += f"logs.configure({str(log)!r})\nraise {error}"
    run = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert run.returncode == 1
    assert expected in log.read_text() and expected in run.stderr
    assert ("Traceback" in log.read_text()) == (error == "ZeroDivisionError")
