"""Comparisons of tables, config and files with known answers."""

import gzip
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from empty_study import DEFAULTS, ROOT

from cytopipe.formats import volumes
from cytopipe.formats.images import write_pyramid
from cytopipe.study import config as study_config
from cytopipe.study.consistency import runs, scans, stacks, tasks, template
from cytopipe.study.consistency.stacks import BrainStack
from cytopipe.study.findings import ERROR, WARNING
from cytopipe.study.sections import Section

HUMAN = BrainStack("B01", tuple(range(15, 7401, 15)), 20.0)  # 148 mm
MOUSE = BrainStack("M01", tuple(range(1, 521)), 25.0)  # 13 mm, all sections


def levels(findings) -> list[str]:
    return [finding.level for finding in findings]


@pytest.mark.parametrize("stack", [HUMAN, MOUSE])
def test_brains_of_any_size_are_in_order(stack: BrainStack) -> None:
    wide_mm = 150.0 if stack is HUMAN else 11.0
    voxel_mm = 0.3 if stack is HUMAN else 0.05
    assert stacks.check_thickness(stack) == stacks.check_longest(stack) == []
    assert stacks.check_shape(stack, voxel_mm, wide_mm) == []
    assert stacks.compare_with_template(stack, 175.0 if stack is HUMAN else 14.0) == []
    assert stacks.check_gaps(stack, (), 2.0) == []


def test_a_wrong_thickness_of_a_mouse_shows_beside_its_scans() -> None:
    """130 mm are not too long for a brain, but for one whose sections are 11 mm wide."""
    tenfold = BrainStack("M01", MOUSE.numbers, 250.0)
    assert stacks.check_longest(tenfold) == []
    (finding,) = stacks.check_shape(tenfold, 0.05, 11.0)
    assert finding.level == ERROR and "12 times as long as a scan is wide" in finding.finding
    assert levels(stacks.compare_with_template(tenfold, 14.0)) == [WARNING]


@pytest.mark.parametrize(
    ("length", "level"), [(0.04, [ERROR]), (0.1, [WARNING]), (0.3, []), (4.9, []), (5.1, [ERROR])]
)
def test_the_length_beside_the_width_of_a_scan(length: float, level: list[str]) -> None:
    stack = BrainStack("B01", tuple(range(1000)), length * 100)  # mm: 1000 sections
    assert levels(stacks.check_shape(stack, None, 100.0)) == level


def test_a_gap_names_its_pieces_and_a_declared_one_is_none() -> None:
    numbers = tuple(n for n in HUMAN.numbers if not (1000 < n < 1300 or 4000 < n < 4400))
    stack = BrainStack("B01", numbers, 20.0)
    (finding,) = stacks.check_gaps(stack, (), 2.0)
    assert finding.level == ERROR
    assert "from 990 to 1305 (6.3 mm), 3990 to 4410 (8.4 mm): the brain is in 3 pieces" in (
        finding.finding
    )
    assert stacks.check_gaps(stack, (990, 3990), 2.0) == []
    assert "are 0.3 mm apart" in stacks.check_gaps(HUMAN, (), 0.2)[0].finding


@pytest.mark.parametrize(
    ("voxel_mm", "span", "subjects"),
    [(0.3, 480, []), (0.05, 480, ["spacing"]), (1.6, 480, ["spacing"]), (0.3, 30, ["chunks"])],
)
def test_voxels_and_chunks_beside_the_distance_of_sections(voxel_mm, span, subjects) -> None:
    config = {"reconstruction": {"voxel_mm": voxel_mm}, "study": {"chunk_span": span}}
    findings = stacks.check_spacing(HUMAN, config)
    assert [finding.subject for finding in findings] == subjects
    assert set(levels(findings)) <= {WARNING}


@pytest.mark.parametrize("name", ["demo", "head", "demo-real", "small", "bench-brain", None])
def test_the_presets_fit_their_studies(name: str | None) -> None:
    """The stacks that the presets were made for."""
    made = {"demo": (140, 59), "head": (28, 290), "small": (280, 30), "bench-brain": (15, 465)}
    stack = HUMAN
    change: dict[str, Any] = {}
    if name is not None:
        change = study_config.read(ROOT / "config" / "presets" / f"{name}.yaml")
        change.pop("phantom", None)
    if name in made:
        step, count = made[name]
        stack = BrainStack("B01", tuple(range(step, step * (count + 1), step)), 20.0)
    if name == "demo-real":
        stack = BrainStack("M01", tuple(range(5, 201, 5)), 49.8)
    config = study_config.merge(DEFAULTS, change)
    assert stacks.check_spacing(stack, config) == []
    assert stacks.check_shape(stack, config["reconstruction"]["voxel_mm"]) == []
    assert stacks.check_gaps(stack, (), config["reconstruction"]["max_gap_mm"]) == []


def section(brain: str, number: int, image: str, excluded: bool = False) -> Section:
    return Section(brain, number, image, 64.0, 20.0, excluded=excluded)


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    image = np.random.default_rng(seed).integers(80, 90, (60, 80)).astype(np.uint8)
    write_pyramid(image, path, 64.0, 128.0, tile=64)


def test_scans_that_two_rows_share(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / "a" / f"{number}.ome.tif", number)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "0.ome.tif").symlink_to(tmp_path / "a" / "0.ome.tif")
    os.link(tmp_path / "a" / "1.ome.tif", tmp_path / "b" / "1.ome.tif")
    (tmp_path / "b" / "2.ome.tif").write_bytes((tmp_path / "a" / "2.ome.tif").read_bytes())
    rows = [section(brain, n, f"{brain}/{n}.ome.tif") for brain in "ab" for n in range(3)]
    (finding,) = scans.check_same_scans(tmp_path, rows)
    assert (finding.level, finding.brain) == (ERROR, "b")
    assert "shares scans with a (3), such as b/0.ome.tif (section 0) and a/0" in finding.finding
    # another spelling of a path; a scan that is missing still has its name
    for image in ("a/../a/0.ome.tif", "missing.ome.tif"):
        first = "a/0.ome.tif" if image.startswith("a") else image
        pair = [section("a", 0, first), section("b", 0, image)]
        assert levels(scans.check_same_scans(tmp_path, pair)) == [ERROR]
    assert scans.check_same_scans(tmp_path, rows[:3]) == []
    left_out = [*rows[:3], *(section("b", n, f"b/{n}.ome.tif", excluded=True) for n in range(3))]
    assert scans.check_same_scans(tmp_path, left_out) == []


def test_a_copy_within_a_brain_warns_and_the_same_file_is_an_error(tmp_path: Path) -> None:
    picture(tmp_path / "0.ome.tif", 0)
    (tmp_path / "1.ome.tif").write_bytes((tmp_path / "0.ome.tif").read_bytes())
    rows = [section("a", n, f"{n}.ome.tif") for n in range(2)]
    assert levels(scans.check_same_scans(tmp_path, rows)) == [WARNING]
    rows.append(section("a", 2, "0.ome.tif"))
    assert sorted(levels(scans.check_same_scans(tmp_path, rows))) == [ERROR, WARNING]


def test_equal_sizes_and_placeholders_are_not_the_same_scan(tmp_path: Path) -> None:
    """Raw pixels have equal sizes; white images stand for sections that were lost."""
    content = bytearray(np.random.default_rng(1).bytes(300_000))
    (tmp_path / "0.raw").write_bytes(content)
    content[150_000:160_000] = bytes(10_000)
    (tmp_path / "1.raw").write_bytes(content)
    rows = [section(brain, 0, f"{n}.raw") for n, brain in enumerate("ab")]
    assert scans.check_same_scans(tmp_path, rows) == []
    for name in ("white", "lost"):
        image = np.full((60, 80), 255, np.uint8)
        write_pyramid(image, tmp_path / f"{name}.ome.tif", 64.0, 128.0, tile=64)
    rows = [section("a", 0, "white.ome.tif"), section("b", 0, "lost.ome.tif")]
    assert scans.check_same_scans(tmp_path, rows) == []
    (tmp_path / "empty").touch()
    (tmp_path / "nothing").touch()
    rows = [section("a", 0, "empty"), section("b", 0, "nothing")]
    assert scans.check_same_scans(tmp_path, rows) == []


def test_copies_of_ome_zarr_folders(tmp_path: Path) -> None:
    for name, value in (("a", 1), ("b", 1), ("c", 2)):
        level = tmp_path / f"{name}.ome.zarr" / "0" / "0"
        level.mkdir(parents=True)
        (level.parent.parent / ".zattrs").write_text("{}")
        (level / "0").write_bytes(np.random.default_rng(value).bytes(5000))
    rows = [section(name, 0, f"{name}.ome.zarr") for name in "abc"]
    (finding,) = scans.check_same_scans(tmp_path, rows)
    assert finding.brain == "b" and "a.ome.zarr" in finding.finding


def named(tissue: str, name: str) -> dict[str, Any]:
    files = {"tissue": tissue, "atlas": None, "areas": None, "exclusion": None}
    return {"template": {"name": name, **files}}


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_the_description_is_that_of_nibabel(tmp_path: Path, ending: str, kind: type) -> None:
    image = kind(np.zeros((3, 3, 3), np.uint8), np.eye(4))
    image.header["descrip"] = "cytopipe template colin27"
    path = tmp_path / f"tissue{ending}"
    image.to_filename(path)
    assert template.description_of(path) == "cytopipe template colin27"
    assert template.check_name(tmp_path, named(path.name, "colin27")) == []
    (finding,) = template.check_name(tmp_path, named(path.name, "icbm152_2009a"))
    assert finding.level == ERROR and "was made as colin27" in finding.finding


def test_what_is_written_is_read(tmp_path: Path) -> None:
    volume = volumes.Volume(np.ones((3, 3, 3), np.uint8), np.eye(4))
    volumes.write(volume, tmp_path / "t.nii.gz", f"{template.RECORD}colin27")
    assert template.description_of(tmp_path / "t.nii.gz") == "cytopipe template colin27"
    (tmp_path / "damaged.nii.gz").write_bytes(gzip.compress(b"x" * 500)[:40])
    assert template.description_of(tmp_path / "damaged.nii.gz") == ""
    assert template.description_of(tmp_path / "missing.nii.gz") == ""


@pytest.mark.parametrize(
    ("path", "name", "warned"),
    [
        ("template/tissue.nii.gz", "colin27", False),
        ("colin27/tissue.nii.gz", "colin27", False),
        ("tpl-MNIColin27_res-01_dseg.nii.gz", "icbm152_2009c", True),
        ("mni_icbm152_nlin_asym_09c/tissue.nii.gz", "icbm152_2009a", True),
        ("mni_icbm152_nlin_asym_09c/tissue.nii.gz", "icbm152_2009c", False),
        ("tpl-MNI152NLin2009cAsym/tissue.nii.gz", "colin27", True),
        ("ch2bet.nii.gz", "colin27", False),
        ("phantom/tissue.nii.gz", "our_template", False),
        ("mni/tissue.nii.gz", "colin27", False),
    ],
)
def test_a_path_that_names_another_space_warns(tmp_path, path, name, warned) -> None:
    assert levels(template.check_name(tmp_path, named(path, name))) == [WARNING] * warned


def config_with(change: dict[str, Any]) -> dict[str, Any]:
    return study_config.merge(deepcopy(DEFAULTS), change)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"evaluation": {"structure": {"brain": "B9"}}}, "evaluation.structure.brain"),
        ({"pretraining": {"common": {"dataset": "typo"}}}, "pretraining.common.dataset"),
        (
            {"pretraining": {"runs": {"more": {"dataset": "typo"}}}},
            "pretraining.runs.more.dataset",
        ),
        ({"patches": {"datasets": {"areas": {"transfer": "B9"}}}}, "patches.datasets.areas.tran"),
        ({"evaluation": {"parcellation": {"annotated": "typo"}}}, "evaluation.parcellation.annot"),
    ],
)
def test_names_of_nothing_are_named(change: dict[str, Any], key: str) -> None:
    findings = runs.check_names(config_with(change), {"B01": "seen"})
    assert levels(findings) == [ERROR] and key in findings[0].finding


ANNOTATED = {"areas/B01/00015.geojson"}


@pytest.mark.parametrize(
    ("settings", "roles", "files", "complaint"),
    [
        ({}, {"B01": "seen"}, (), ""),
        ({}, {"B01": "transfer"}, (), ""),
        ({}, {"B01": "unseen"}, (), "no brain to train on.*seen or transfer"),
        ({"dataset": "areas", "loss": "supcon"}, {"B01": "seen"}, (), "template.atlas is null"),
        ({"loss": "supervised"}, {"B01": "seen"}, (), "pretrain, which has none"),
        ({"dataset": "drawn", "loss": "supcon"}, {"B01": "seen"}, ANNOTATED, ""),
        ({"dataset": "drawn", "loss": "supcon"}, {"B02": "seen"}, ANNOTATED, "no brain to train"),
        ({"dataset": "drawn", "loss": "supcon"}, {"B01": "unseen"}, ANNOTATED, "no brain to train"),
    ],
)
def test_what_networks_need(settings, roles, files, complaint) -> None:
    drawn = {**DEFAULTS["patches"]["datasets"]["areas"], "source": "annotations"}
    config = config_with(
        {"study": {"annotations": "annotations"}, "patches": {"datasets": {"drawn": drawn}}}
    )
    config["pretraining"]["runs"] = {"net": settings}
    findings = runs.check_networks(config, roles, files)
    assert levels(findings) == [ERROR] * bool(complaint)
    for finding in findings:
        assert np.char.count(finding.finding, complaint.split(".*")[-1]) == 1, finding


def test_tasks_say_why_they_are_left_out() -> None:
    roles = {"B01": "seen"}
    without = tasks.left_out(DEFAULTS, roles, ())
    assert without["areas"] == "template.atlas is null"
    assert set(without) == {
        "areas", "cross_validation", "finetuning", "attention", "layers", "coordinates",
        "parcellation",
    }  # fmt: skip
    atlas = config_with({"template": {"atlas": "a.nii.gz", "areas": "areas.tsv"}})
    more = tasks.left_out(atlas, {"B01": "seen", "B02": "transfer"}, {"layers/layers.tsv"})
    assert more == {}
    asked = config_with({"evaluation": {"tasks": {"layers": ["spatialnce"]}}})
    (warning,) = (f for f in tasks.describe_tasks(asked, roles, ()) if f.level == WARNING)
    assert "evaluation.tasks.layers is left out: study.annotations has no" in warning.finding
    assert tasks.runs_of_task(asked, roles, (), "layers") == []
    assert tasks.runs_of_task(atlas, roles, (), "areas") == ["spatialnce", "untrained", "profiles"]


def test_annotations_of_no_brain_warn(tmp_path: Path) -> None:
    config = config_with({"study": {"annotations": "annotations"}})
    assert levels(runs.check_annotations(tmp_path, config, {"B01": "seen"}, ())) == [ERROR]
    (tmp_path / "annotations" / "areas" / "B1").mkdir(parents=True)
    (tmp_path / "annotations" / "areas" / "B1" / "00015.geojson").touch()
    files = runs.annotation_files(tmp_path, config)
    (finding,) = runs.check_annotations(tmp_path, config, {"B01": "seen"}, files)
    assert finding.level == WARNING and "annotations/areas/B1: there is no" in finding.finding
