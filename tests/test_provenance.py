"""Every file records how it was made, readable by other libraries, and in the same bytes."""

import hashlib
import html.parser
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ants
import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import SimpleITK as sitk  # noqa: N813, its customary name
import tifffile
import torch
import yaml
from safetensors import safe_open

import cytopipe
from cytopipe import __main__ as command_line
from cytopipe import midline, patches, provenance
from cytopipe.commands.provenance import read
from cytopipe.evaluation import charts
from cytopipe.files import Output
from cytopipe.formats import images, surfaces, tables, transforms, truth_table, volumes
from cytopipe.learning import checkpoints, models, networks
from cytopipe.report import brain_page
from cytopipe.study import corrections
from cytopipe.study.config import GeodesicTable
from cytopipe.study.sections import Section

ROOT = Path(__file__).parents[1]
KEY = "cytopipe_provenance"
BALL = surfaces.Surface(np.eye(3), np.array([[0, 1, 2]], np.int32))
IMAGE = np.random.default_rng(0).integers(0, 255, (300, 200), dtype=np.uint8)
TRUTH = [tables.TruthRow("dice", "B01", 0.5, "mm", goal="", met="")]
TENSORS = {"a": torch.ones(3)}


@dataclass(frozen=True)
class Params:
    sigma_um: float
    radii: Sequence[int] = range(3)
    workers: int = 1


def of_midline(run: Callable[..., None]) -> Callable[..., None]:
    """Make the function look like one of the stage."""
    run.__module__ = "cytopipe.midline"
    return provenance.recorded(run)


@of_midline
def run_kind(
    *, kind: str, source: Path, made: Output, params: Params, threads: int = 1, run_name: str = "r"
) -> None:
    WRITERS[kind](made)


def write_table(path: Path) -> None:
    tables.write(tables.RepairRow, tables.frame_of(tables.RepairRow, []), path)


def write_transform(path: Path) -> None:
    shift = np.eye(4)
    shift[:3, 3] = 1, 2, 3
    transforms.write(transforms.affine_transform(shift, "stack", "template"), path)


def write_model(path: Path) -> None:
    plan = networks.Plan("small", 16, "projection", 4)
    model = models.Model(networks.build(plan, 0), 2.0, (), 1, {"epochs": 1})
    models.save_model(model, "a card", path.parent)


def write_chart(path: Path) -> None:
    panel = charts.bars("bars", "A caption.", "value", ["a"], {"b": ([1.0], [0.1])})
    charts.write("a page", [panel], path)


def write_report(path: Path) -> None:
    brain_page.write_page("base.html", {}, path)


WRITERS: dict[str, Callable[[Path], None]] = {
    "table.parquet": write_table,
    "volume.nii.gz": lambda path: volumes.write(
        volumes.Volume(np.ones((3, 4, 5), np.uint8), np.diag([2.0, 2, 2, 1])), path
    ),
    "volume.nii": lambda path: volumes.write(
        volumes.Volume(np.ones((3, 4, 5), np.float32), np.diag([2.0, 2, 2, 1])), path
    ),
    "hemi-L_mid.surf.gii": lambda path: surfaces.write(BALL, path, "L"),
    "hemi-L_thickness.shape.gii": lambda path: surfaces.write_map(np.ones(3), path, "L"),
    "labels.tif": lambda path: images.write_labels([IMAGE, IMAGE[:9, :9]], path),
    "pyramid.ome.tif": lambda path: images.write_pyramid(IMAGE, path, 2.0, 8.0, tile=64),
    "windows.ome.tif": lambda path: images.write_pyramid_by_windows(
        lambda row, column, rows, columns: IMAGE[row : row + rows, column : column + columns],
        (300, 200), path, 2.0, 8.0, tile=64,
    ),
    "to-template.h5": write_transform,
    "final.pt": lambda path: checkpoints.save({"weights": TENSORS}, path),
    "weights.safetensors": write_model,
    "config.yaml": write_model,
    "proposed-sections.tsv": lambda path: corrections.write_proposals(
        [corrections.Proposal(15, True, None, "look")], path, "B01"
    ),
    "truth.tsv": lambda path: truth_table.write(TRUTH, path),
    "figures.html": write_chart,
    "report.html": write_report,
}  # fmt: skip


class Head(html.parser.HTMLParser):
    """The `content` of a page's meta elements by their names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.contents: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if tag == "meta" and "name" in found:
            self.contents[found["name"] or ""] = found["content"] or ""


def foreign(path: Path) -> str:
    """The JSON in a file, read without cytopipe."""
    kind = path.name.rpartition(".")[2]
    if path.name.endswith((".nii", ".nii.gz")):
        (extension,) = nib.load(path).header.extensions
        assert extension.get_code() == 6
        return extension.text.removeprefix(f"{KEY}: ")
    if kind == "html":
        return Head(path.read_text()).contents[KEY]
    if kind == "safetensors":
        with safe_open(path, "np") as file:
            return file.metadata()[KEY]
    if kind == "h5":
        with h5py.File(path) as file:
            return file[KEY][0].decode("ascii")
    if kind == "tif":
        with tifffile.TiffFile(path) as tif:
            return tif.pages[0].tags["Software"].value.removeprefix(f"{KEY}: ")
    return {
        "parquet": lambda: pq.read_metadata(path).metadata[KEY.encode()].decode(),
        "gii": lambda: nib.load(path).meta[KEY],
        "pt": lambda: torch.load(path, weights_only=True)[KEY],
        "yaml": lambda: path.read_text().splitlines()[0].removeprefix(f"# {KEY}: "),
        "tsv": lambda: path.read_text().splitlines()[-1].removeprefix(f"# {KEY}: "),
    }[kind]()


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("source.parquet").write_bytes(b"content")
    return tmp_path


def make(kind: str, folder: str, sigma_um: float = 1.5, **more: Any) -> Path:
    made = Path(folder) / kind
    source = more.pop("source", Path("source.parquet"))
    run_kind(kind=kind, source=source, made=made, params=Params(sigma_um), **more)
    return made


@pytest.mark.parametrize("kind", WRITERS)
def test_readers_that_are_not_ours_find_what_made_a_file(study: Path, kind: str) -> None:
    made = make(kind, "a")
    assert json.loads(foreign(made)) == {
        "cytopipe": cytopipe.__version__,
        "stage": "midline",
        "version": midline.VERSION,
        "command": "midline-kind",
        "params": {"sigma_um": 1.5, "radii": [0, 1, 2]},
        "arguments": {"kind": kind, "run_name": "r"},
        "inputs": {
            "source": {
                "path": "source.parquet",
                "sha256": hashlib.sha256(b"content").hexdigest(),
            }
        },
    }
    assert read(made) == json.loads(foreign(made))


@pytest.mark.parametrize("kind", WRITERS)
def test_bytes_follow_the_work_alone(study: Path, kind: str) -> None:
    """The record has no process, time, number of threads or folder of the study."""
    content = make(kind, "a").read_bytes()
    assert make(kind, "b", threads=7).read_bytes() == content
    assert make(kind, "c", source=study / "source.parquet").read_bytes() == content
    assert make(kind, "d", sigma_um=2.5).read_bytes() != content
    Path("source.parquet").write_bytes(b"other")
    assert make(kind, "e").read_bytes() != content
    assert str(study).encode() not in content


@pytest.mark.parametrize("kind", WRITERS)
def test_a_brain_of_thousands_of_chunks_fits_in(study: Path, kind: str) -> None:
    """HDF5 attributes, for example, are limited to 64 kB."""
    chunks = [Path(f"results/segmentation/B01/{n:05d}.parquet") for n in range(2000)]
    made = make(kind, "a", source=chunks)
    assert len(foreign(made)) > 2**16
    inputs = json.loads(foreign(made))["inputs"]["source"]
    assert [found["path"] for found in inputs] == [str(chunk) for chunk in chunks]
    if kind == "to-template.h5":
        assert sitk.ReadTransform(made).TransformPoint((0.0, 0.0, 0.0)) == pytest.approx(
            (-1, -2, 3)
        )


@pytest.mark.parametrize("kind", WRITERS)
def test_without_a_stage_there_is_none(study: Path, kind: str, capsys) -> None:
    Path("plain").mkdir()
    WRITERS[kind](Path("plain") / kind)
    assert KEY.encode() not in (Path("plain") / kind).read_bytes()
    assert command_line.main(["provenance", f"plain/{kind}"]) == 1
    assert "has no provenance; it was not made by a stage" in capsys.readouterr().err


def test_content_is_read_as_before(study: Path) -> None:
    """ITK, ANTs, nibabel, pandas, OME and torch readers see the same with and without it."""
    for kind, write in WRITERS.items():
        make(kind, "a")
        Path("plain").mkdir(exist_ok=True)
        write(Path("plain") / kind)
    kinds: dict[str, Callable[[str], Any]] = {
        "volume.nii.gz": lambda path: ants.image_read(path).numpy(),
        "volume.nii": lambda path: sitk.GetArrayFromImage(sitk.ReadImage(path)),
        "hemi-L_mid.surf.gii": lambda path: nib.load(path).agg_data("pointset"),
        "hemi-L_thickness.shape.gii": lambda path: nib.load(path).agg_data(),
        "labels.tif": lambda path: tifffile.imread(path, key=1),
        "to-template.h5": lambda path: sitk.ReadTransform(path).TransformPoint((1.0, 2.0, 3.0)),
        "final.pt": lambda path: torch.load(path, weights_only=True)["weights"]["a"].numpy(),
    }
    for kind, reader in kinds.items():
        np.testing.assert_array_equal(reader(f"a/{kind}"), reader(f"plain/{kind}"), kind)
    pd.testing.assert_frame_equal(
        pd.read_parquet("a/table.parquet"), pd.read_parquet("plain/table.parquet")
    )
    assert yaml.safe_load(Path("a/config.yaml").read_text()) == yaml.safe_load(
        Path("plain/config.yaml").read_text()
    )
    assert truth_table.read(Path("a/truth.tsv")) == TRUTH
    Path("manual/B01").mkdir(parents=True)
    Path("a/proposed-sections.tsv").rename("manual/B01/sections.tsv")
    (section,) = corrections.corrected([Section("B01", 15, "a.tif", 1.0, 20.0)], Path("manual"))
    assert section.mirrored is True
    assert models.load_model("a").spacing_um == 2.0
    with (
        tifffile.TiffFile("a/pyramid.ome.tif") as ours,
        tifffile.TiffFile("plain/pyramid.ome.tif") as plain,
    ):
        assert ours.is_ome and ours.ome_metadata == plain.ome_metadata
        for one, other in zip(ours.series[0].levels, plain.series[0].levels, strict=True):
            np.testing.assert_array_equal(one.asarray(), other.asarray())


def test_scans_are_not_read_and_rows_of_the_sheet_are_counted(study: Path) -> None:
    """Scans of 8 GB are recorded by size, and 465 rows by number and digest."""
    records: list[dict[str, Any]] = []

    @of_midline
    def run_chunk(
        *,
        sections: Sequence[Section],
        images: Sequence[Path],
        points: Mapping[str, Path],
        manual: Sequence[Path],
        given: Path | None,
        folder: Path,
        out: Output,
        params: Params,
    ) -> None:
        records.append(json.loads(provenance.entry()[KEY]))

    with open("scan.tif", "wb") as scan:
        os.truncate(scan.fileno(), 8 * 10**9)
    rows = [Section("B01", np.int64(n), f"/mnt/scans/{n}.tif", 1.0, 20.0) for n in range(465)]
    for sections in (rows, rows[::-1]):
        run_chunk(
            sections=sections,
            images=[Path("scan.tif"), Path("/nowhere/else.tif")],
            points={"B01": Path("source.parquet")},
            manual=[],
            given=None,
            folder=Path("results/../truth"),
            out=Path("out"),
            params=Params(1.0),
        )
    first, other = (record["arguments"]["sections"] for record in records)
    assert first["rows"] == 465 and first["sha256"] != other["sha256"]
    assert list(records[0]["arguments"]) == ["sections"]
    inputs = records[0]["inputs"]
    assert inputs["images"] == [{"path": "scan.tif", "bytes": 8 * 10**9}, {"path": "else.tif"}]
    assert inputs["points"]["B01"]["path"] == "source.parquet"
    assert inputs["folder"] == {"path": "truth"}
    assert "manual" not in inputs and "given" not in inputs


def test_a_stage_that_fails_leaves_nothing_behind(study: Path) -> None:
    with pytest.raises(KeyError):
        make("no such kind", "a")
    assert provenance.entry() == {} and provenance.line() == provenance.meta() == ""


def test_the_command_prints_it(study: Path, capsys) -> None:
    made = make("table.parquet", "a")
    assert command_line.main(["provenance", str(made)]) == 0
    said = capsys.readouterr().out
    digest = hashlib.sha256(b"content").hexdigest()
    for text in (
        f"midline, version {midline.VERSION}",
        f"cytopipe  {cytopipe.__version__}",
        "sigma_um: 1.5",
        "run_name: r",
        f"source: source.parquet  sha256 {digest}",
    ):
        assert text in said
    assert command_line.main(["provenance", "--json", str(made)]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(foreign(made))


@pytest.mark.parametrize(
    ("name", "holder"),
    [
        ("B01.npy", "B01.parquet"),
        ("B01-projected.npy", "B01.parquet"),
        ("README.md", "weights.safetensors"),
    ],
)
def test_a_format_without_a_place_names_the_file_that_has_it(
    study: Path, name: str, holder: str, capsys
) -> None:
    Path(name).touch()
    assert command_line.main(["provenance", name]) == 1
    assert f"{holder}: not found" in capsys.readouterr().err
    kind = "table.parquet" if holder.endswith("parquet") else holder
    make(kind, ".").rename(holder)
    assert command_line.main(["provenance", "--json", name]) == 0
    said = capsys.readouterr()
    assert f"{name}: read from {holder}" in said.err
    assert json.loads(said.out)["stage"] == "midline"


def test_a_file_that_is_not_ours_says_so(study: Path, capsys) -> None:
    for name, message in {
        "scan.jpg": "has no provenance; cytopipe writes it into .gii",
        "sections.tsv": "was not made by a stage of cytopipe",
        "broken.parquet": "not a readable .parquet file",
        "broken.pt": "not a readable PyTorch file",
    }.items():
        Path(name).write_bytes(b"other")
        assert command_line.main(["provenance", name]) == 1
        assert message in capsys.readouterr().err
    assert command_line.main(["provenance", "gone.tif"]) == 1
    assert "gone.tif: not found" in capsys.readouterr().err
    tifffile.imwrite("scan.tif", IMAGE, software="a scanner")
    assert command_line.main(["provenance", "scan.tif"]) == 1
    assert "was not made by a stage of cytopipe" in capsys.readouterr().err


def test_distances_along_the_cortex_tell_it_as_an_array(study: Path) -> None:
    corners = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    faces = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]], np.int32)
    for side in "LR":
        surfaces.write(surfaces.Surface(corners, faces), Path(f"{side}.surf.gii"), side)
    patches.run_geodesic(
        surfaces={side: Path(f"{side}.surf.gii") for side in "LR"},
        table=Path("geodesic.npz"),
        params=GeodesicTable(nodes=6),
    )
    with np.load("geodesic.npz", allow_pickle=False) as arrays:
        record = json.loads(str(arrays[KEY]))
        assert arrays["nodes_mm"].shape == (6, 3)
    assert record["command"] == "patches-geodesic" and record["version"] == patches.VERSION
    assert record["params"] == {"nodes": 6}
    assert record["inputs"]["surfaces"]["R"]["path"] == "R.surf.gii"
    assert read(Path("geodesic.npz")) == record
