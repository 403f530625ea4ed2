"""Damage after the fact: inputs that change while a job runs, and results that change later."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from table_rows import row
from test_provenance import WRITERS

from cytopipe import __main__ as command_line
from cytopipe import digests, provenance, watching
from cytopipe.files import InputError, Output, atomic_folder, atomic_write
from cytopipe.formats import tables
from cytopipe.learning import networks
from cytopipe.learning.distributed import World
from cytopipe.learning.resuming import Checkpoint, State
from cytopipe.study.sections import Section

SCAN = Path("elsewhere/a.ome.tif")
ZARR = Path("elsewhere/b.ome.zarr")
MASK = Path("layers/mask.png")
TABLES = Path("tables")


def meanwhile() -> None:
    """What somebody does while a job runs; each test replaces it."""


def run_all(
    *,
    images: list[Path],
    sections: list[Section],
    patches: Path,
    layers: Mapping[str, Path],
    table: Path | None,
    pairs: Output,
    folder: Output,
) -> None:
    tables.write_rows(tables.RepairRow, [], pairs)
    with atomic_folder(folder, replace=True) as beside:
        (beside / "a.jpg").write_text("a picture")
        (beside / "of-all.js").write_text("data")
    meanwhile()


run_all.__module__ = "cytopipe.alignment"
run_job = provenance.recorded(run_all)
RESULT, FOLDER = Path("results/alignment/B01/pairs.parquet"), Path("results/report/B01")


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("study: {}\n")
    head = "brain\tsection\timage\tspacing_um\tthickness_um\n"
    (tmp_path / "config" / "sections.tsv").write_text(head)
    for path in (SCAN, MASK, Path("layers/image.png"), Path("drawn/mask.png"), Path("patch.tif")):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"content" * 10)
    for name in (".zattrs", "0/.zarray", "0/0/0", "0/0/1", "0/1/0"):
        (ZARR / name).parent.mkdir(parents=True, exist_ok=True)
        (ZARR / name).write_text("content")
    patch = row(tables.PatchRow, image="patch.tif")
    tables.write_rows(tables.PatchRow, [patch], TABLES / "a.parquet")
    layer = row(tables.LayerPatchRow, image="layers/image.png", mask=str(MASK))
    tables.write_rows(tables.LayerPatchRow, [layer], TABLES / "layers.parquet")
    Path("drawn/layers.tsv").write_text("patch\tmask\na\tmask.png\n")
    return tmp_path


def job() -> None:
    run_job(
        images=[SCAN],
        sections=[Section("B01", 15, str(ZARR.absolute()), 1.0, 20.0)],
        patches=TABLES / "a.parquet",
        layers={"B01": TABLES / "layers.parquet"},
        table=Path("drawn/layers.tsv"),
        pairs=RESULT,
        folder=FOLDER,
    )


def keep_time(path: Path, change: Callable[[], object]) -> None:
    before = path.stat()
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    """Put another file of the same size and time in its place, as `cp -p` and `mv` do."""
    other = path.with_name("other")
    shutil.copy2(path, other)
    keep_time(other, lambda: other.write_bytes(b"CONTENT" * 10))
    other.rename(path)


CHANGES: dict[str, tuple[Path, Callable[[], object]]] = {
    "a scan is overwritten": (SCAN, lambda: SCAN.write_bytes(b"another" * 10)),
    "a scan grows": (SCAN, lambda: keep_time(SCAN, lambda: os.truncate(SCAN, 99))),
    "a scan is truncated": (SCAN, lambda: os.truncate(SCAN, 5)),
    "a scan is replaced": (SCAN, lambda: replace(SCAN)),
    "a scan is deleted": (SCAN, SCAN.unlink),
    "a chunk is deleted": (ZARR, (ZARR / "0/0/1").unlink),
    "a chunk is added": (ZARR, (ZARR / "0/1/1").touch),
    "a chunk is replaced": (ZARR, lambda: replace(ZARR / "0/0/1")),
    "metadata are edited": (ZARR, lambda: (ZARR / "0/.zarray").write_text("another")),
    "a folder is deleted": (ZARR, lambda: shutil.rmtree(ZARR)),
    "an image of a patch": (Path("patch.tif"), lambda: os.truncate("patch.tif", 5)),
    "a mask of layers": (MASK, lambda: replace(MASK)),
    "a drawn mask": (Path("drawn/mask.png"), Path("drawn/mask.png").unlink),
    "a table": (TABLES / "a.parquet", lambda: os.truncate(TABLES / "a.parquet", 50)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("fails", [False, True])
def test_an_input_that_changes_fails_the_job_and_leaves_no_output(
    study: Path, monkeypatch: pytest.MonkeyPatch, change: str, fails: bool
) -> None:
    path, act = CHANGES[change]

    def act_and_end() -> None:
        act()
        if fails:
            raise KeyError("what a library says about half a file")

    monkeypatch.setattr(f"{__name__}.meanwhile", act_and_end)
    with pytest.raises(InputError, match=rf"{path.name}: changed while the job was reading it"):
        job()
    assert not RESULT.exists() and not FOLDER.exists()
    assert not list(digests.outputs_under(Path("results")))


def test_what_is_no_change_of_an_input_disturbs_nobody(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a file, a new link to it, new rights, and network disks that number files anew."""

    def harmless() -> None:
        SCAN.read_bytes()
        os.link(SCAN, "backup.tif")
        SCAN.chmod(0o640)
        (ZARR / "0/0/0").read_bytes()

    monkeypatch.setattr(f"{__name__}.meanwhile", harmless)
    job()
    assert RESULT.exists()
    size, time, number, changed = watching.state(SCAN) or ()
    assert not watching.has_changed((size, time, number, changed), (size, time, 7, changed))
    assert watching.has_changed((size, time, number, changed), (size, time, 7, 7))


def test_a_long_job_notices_a_change_before_it_saves(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint never holds an epoch that saw two states of an image."""
    checkpoint = Checkpoint(study / "checkpoint.pt", "", World(0, 1, torch.device("cpu")), [])
    encoder = networks.build(networks.Plan("small", 16, "projection", 4), 0)
    optimiser = torch.optim.SGD(encoder.parameters(), 0.1)
    epochs = State(0, 0, torch.zeros(()), torch.zeros(()), 0.0, [])

    def train() -> None:
        checkpoint.save(encoder, optimiser, epochs)
        assert checkpoint.path.stat().st_size
        checkpoint.path.unlink()
        os.truncate("patch.tif", 5)
        checkpoint.save(encoder, optimiser, epochs)

    monkeypatch.setattr(f"{__name__}.meanwhile", train)
    with pytest.raises(InputError, match=r"patch\.tif: changed while"):
        job()
    assert not checkpoint.path.exists() and not RESULT.exists()


def test_an_error_of_the_job_itself_is_not_covered(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise KeyError("own fault")

    monkeypatch.setattr(f"{__name__}.meanwhile", fail)
    with pytest.raises(KeyError, match="own fault"):
        job()


def test_digests_are_those_of_sha256sum(study: Path) -> None:
    job()
    text = (RESULT.parent / ".digests" / "pairs.parquet.sha256").read_text()
    assert text == f"{digests.of_file(RESULT)}  ../pairs.parquet\n"
    assert set(digests.read(FOLDER)) == {FOLDER / "a.jpg", FOLDER / "of-all.js"}


def verified(capsys: pytest.CaptureFixture[str], *names: str) -> tuple[int, list[str]]:
    """The exit status, and what is printed: differences, and the sums last."""
    status = command_line.main(["provenance", "--verify", *names])
    return status, capsys.readouterr().out.splitlines()


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


# a stage that writes every format, and one that reads what it wrote
SOURCES = {
    **{name: Path("results/alignment/B01", name) for name in WRITERS},
    "B01.npy": Path("results/features/run/B01.npy"),
}


def run_writers(*, seed: int, made: Output) -> None:
    if made.suffix == ".npy":
        with atomic_write(made) as beside:
            np.save(beside, np.arange(seed, 99.0))
    else:
        made.parent.mkdir(parents=True, exist_ok=True)
        WRITERS[made.name](made)


def run_reader(*, images: list[Path], source: Path, made: Output) -> None:
    tables.write_rows(tables.RepairRow, [], made)


for each in (run_writers, run_reader):
    each.__module__ = "cytopipe.alignment"
write, read = provenance.recorded(run_writers), provenance.recorded(run_reader)
READ = Path("results/midline/B02/00000.parquet")


@pytest.mark.parametrize("name", SOURCES)
def test_a_damaged_result_is_named_and_no_job_uses_it(
    study: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = SOURCES[name]
    write(seed=1, made=path)
    read(images=[SCAN, ZARR], source=path, made=READ)
    content = path.read_bytes()
    for place in np.linspace(0, len(content) - 1, 5).astype(int):
        assert verified(capsys)[0] == 0
        flip(path, place)
        status, lines = verified(capsys)
        assert status == 1 and lines[-1].endswith(", differences: 1")
        assert lines[0].startswith(f"{path}: differs from what its job wrote; delete it and start")
        with pytest.raises(InputError, match=rf"{path.name}: differs from what its job wrote"):
            read(images=[], source=path, made=Path("results/midline/B02/other.parquet"))
        assert not Path("results/midline/B02/other.parquet").exists()
        path.write_bytes(content)


def test_an_input_that_is_another_one_now_is_named_with_what_was_made_of_it(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = SOURCES["B01.npy"]
    write(seed=1, made=path)
    read(images=[SCAN, ZARR.absolute()], source=path, made=READ)
    write(seed=2, made=path)
    line = f"{path}: is not what these were made from: {READ}; see snakemake -n"
    assert verified(capsys) == (1, [line, "files: 2, differences: 1"])
    os.truncate(SCAN, 20)
    os.truncate(ZARR / "0/0/1", 2)
    status, lines = verified(capsys)
    assert status == 1 and lines[-1] == "files: 2, differences: 3"
    assert any(line.startswith(f"{SCAN}: is not what these were made from") for line in lines)
    assert any(line.startswith(f"{ZARR}: is not what these were made from") for line in lines)


def test_scans_outside_the_study_are_found_by_its_tables(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree("config", "inner/config")
    with (study / "inner/config/sections.tsv").open("a") as file:
        file.write(f"B01\t15\t{SCAN.absolute()}\t1\t20\n")
    scan, source = SCAN.absolute(), SCAN.with_name("kept.npy").absolute()
    shutil.copy(scan, source)
    monkeypatch.chdir(study / "inner")
    read(images=[scan], source=source, made=READ)
    assert verified(capsys)[0] == 0
    os.truncate(scan, 20)
    status, lines = verified(capsys)
    assert status == 1
    assert lines[0] == f"a.ome.tif: is not what these were made from: {READ}; see snakemake -n"


def test_what_was_deleted_on_purpose_is_no_difference_but_a_hole_in_a_folder_is(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job()
    assert verified(capsys) == (0, ["files: 3, differences: 0"])
    RESULT.unlink()
    assert verified(capsys) == (0, ["files: 2, differences: 0"])
    (FOLDER / "a.jpg").unlink()
    status, lines = verified(capsys, "B01")
    assert status == 1
    assert lines == [
        f"{FOLDER / 'a.jpg'}: is missing; delete its folder and start snakemake again",
        "files: 2, differences: 1",
    ]
    shutil.rmtree(FOLDER)
    assert verified(capsys)[0] == 0


def test_brains_files_and_folders_are_chosen(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job()
    for name in ("B01.npy", "table.parquet"):
        write(seed=1, made=SOURCES[name])
    read(images=[SCAN], source=SOURCES["B01.npy"], made=READ)
    for names, count in {
        ("B01",): 5,
        ("B02",): 1,
        ("B01", "B02"): 6,
        (str(FOLDER),): 2,
        (str(FOLDER / "a.jpg"), str(READ)): 2,
        ("results/features",): 1,
    }.items():
        assert verified(capsys, *names) == (0, [f"files: {count}, differences: 0"])
    flip(SOURCES["B01.npy"], -1)
    assert verified(capsys, "B01")[0] == 1
    status, lines = verified(capsys, "B02")
    assert status == 1 and lines[0].startswith("results/features/run/B01.npy: is not what these")
    assert command_line.main(["provenance", "--verify", "B03"]) == 1
    assert "B03: neither a file or folder, nor a brain with results" in capsys.readouterr().err


def test_files_without_a_kept_digest_are_counted_or_hold_their_own(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("table.parquet", "to-template.h5", "labels.tif"):
        (study / name).parent.mkdir(exist_ok=True)
        WRITERS[name](study / name)
    names = [str(study / name) for name in ("table.parquet", "to-template.h5", "labels.tif")]
    status, lines = verified(capsys, *names)
    assert status == 0
    assert lines == [
        f"without a digest, as no job of this version wrote them: {names[2]}",
        "files: 3, differences: 0",
    ]
    flip(Path(names[0]), 50)
    flip(Path(names[1]), 50)
    status, lines = verified(capsys, *names)
    assert status == 1 and lines[-1] == "files: 3, differences: 2"
    assert all("has changed since it was written" in line for line in lines[:2])
