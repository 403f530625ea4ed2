"""Rows for the folders of a lab: section numbers, pixel sizes and typical mistakes."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from czi_files import fields_of, write_czi
from hypothesis import given
from hypothesis import strategies as st
from slide_files import write_aperio

from cytopipe import __main__ as command_line
from cytopipe.commands.check import estimate
from cytopipe.formats import units
from cytopipe.formats.images import examine, write_pyramid
from cytopipe.study import scans
from cytopipe.study.sections import needs_pyramid, read_brains, read_sections

SPACING_UM = 64.0
ROWS, COLUMNS = 60, 80
PICTURE = (np.add.outer(np.arange(ROWS), np.arange(COLUMNS)) + 60).astype(np.uint8)


def scan(path: Path, spacing_um: float = SPACING_UM, brighter: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_pyramid(PICTURE + np.uint8(brighter), path, spacing_um, 2 * spacing_um, tile=64)
    return path


def plain(path: Path) -> Path:
    """A scan without a pixel size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, PICTURE)
    return path


def add(study: Path, *words: object, brain: str = "B21") -> int:
    return command_line.main(["add-brain", brain, "--study", str(study), *map(str, words)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (15, 30, 45, 75, 80):
        scan(tmp_path / "scans" / f"B21_{number:05d}_1um.ome.tif")
    return tmp_path / "scans"


def test_a_plain_folder(tmp_path: Path, folder: Path, capsys) -> None:
    assert add(tmp_path, "--images", folder, "--thickness-um", 20, "--role", "transfer") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "B21: 5 scans" in said and "15 to 80, mostly in steps of 15" in said
    assert "missing 1: 60" in said and "off step 1: 80" in said
    assert "64 um per pixel, from OME metadata" in said and "unreadable 0" in said
    rows = read_sections(tmp_path / "config" / "sections.tsv", brains=["B21"])
    assert [row.section for row in rows] == [15, 30, 45, 75, 80]
    assert {row.spacing_um for row in rows} == {SPACING_UM}
    assert rows[0].image == "scans/B21_00015_1um.ome.tif"
    assert read_brains(tmp_path / "config" / "brains.tsv") == {"B21": "transfer"}


def test_files_of_scanners_are_added_with_what_their_copies_cost(tmp_path: Path, capsys) -> None:
    """Their pixel size is the file's; an estimate follows from the number of pixels."""
    folder, color = tmp_path / "slides", np.stack([PICTURE] * 3, axis=-1)
    folder.mkdir()
    for number in (15, 30):
        write_aperio(folder / f"B21_{number:05d}.svs", color, SPACING_UM)
    write_czi(folder / "B21_00045.czi", fields_of(color, 40), SPACING_UM)
    assert add(tmp_path, "--images", folder, "--thickness-um", 20) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "64 um per pixel, from OpenSlide aperio metadata (2), CZI metadata (1)" in said
    assert re.search(
        r"copies 3 of 3 scans, 0 s on one core, 0.0 GB of disk \([0-9.]+ GB are free\): "
        "a scanner's own format",
        said,
    )
    rows = read_sections(tmp_path / "config" / "sections.tsv")
    assert [(row.section, row.spacing_um, row.levels) for row in rows] == [
        (15, SPACING_UM, None), (30, SPACING_UM, None), (45, SPACING_UM, None)
    ]  # fmt: skip
    assert all(needs_pyramid(row.image) for row in rows)
    scans_read = [examine(tmp_path / row.image) for row in rows]
    cost = estimate.copies(scans_read)
    assert cost.seconds == pytest.approx(3 * PICTURE.size / 1e6 * estimate._CONVERT_S)
    assert cost.disk_mb == pytest.approx(3 * PICTURE.size / 1e6 * 0.8 * 4 / 3)


def test_scans_with_levels_are_not_copied(tmp_path: Path, folder: Path, capsys) -> None:
    assert add(tmp_path, "--images", folder, "--thickness-um", 20, "--dry-run") == 0
    assert "copies      none, all scans are read in place" in capsys.readouterr().out
    words = ["--images", folder, "--thickness-um", 20, "--dry-run", "--background", "dark"]
    assert add(tmp_path, *words) == 0
    assert "5 of 5 scans" in (said := capsys.readouterr().out) and "a dark background" in said


def test_a_dry_run_writes_nothing_and_twice_is_refused(
    tmp_path: Path, folder: Path, capsys
) -> None:
    given = ["--images", folder, "--thickness-um", 20]
    assert add(tmp_path, *given, "--dry-run") == 0
    assert not (tmp_path / "config").exists()
    assert add(tmp_path, *given) == 0
    before = {p: p.read_bytes() for p in (tmp_path / "config").iterdir()}
    assert add(tmp_path, *given) == 1
    assert "brain B21 has 5 rows already; remove them to add it again" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in (tmp_path / "config").iterdir()} == before


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_other_brains_keep_their_bytes(tmp_path: Path, folder: Path, end: str, last: bool) -> None:
    """Columns in another order, comments, and a column that only the new brain needs."""
    lines = [
        "# our scans",
        "section\tbrain\tthickness_um\timage\tspacing_um\tnotes",
        '15\tB01\t20\ta.tif\t1\t"odd"  note',
        "0030\tB01\t20\tb.tif\t1.0",
    ]
    sheet = tmp_path / "config" / "sections.tsv"
    sheet.parent.mkdir()
    sheet.write_bytes((end.join(lines) + end * last).encode())
    sheet.with_name("brains.tsv").write_bytes(f"brain\trole{end}B01\tseen{end}".encode())
    table = tmp_path / "lab.csv"
    table.write_text(
        "Image;Section;stain;mirrored\n"
        + "".join(f"B21_{n:05d}_1um.ome.tif;{n + 1};nissl;yes\n" for n in (15, 30, 45, 75, 80))
    )
    assert add(tmp_path, "--images", folder, "--thickness-um", 20, "--table", table) == 0
    written = sheet.read_bytes()
    wanted = [lines[0], lines[1] + "\tmirrored", *lines[2:]]
    assert written.startswith((end.join(wanted) + end).encode())
    assert written.count(end.encode()) == len(lines) + 5 and written.endswith(end.encode())
    rows = read_sections(sheet, brains=["B01", "B21"])
    assert [(r.brain, r.section, r.mirrored) for r in rows][1:4] == [
        ("B01", 30, None),
        ("B21", 16, True),
        ("B21", 31, True),
    ]
    assert read_brains(sheet.with_name("brains.tsv")) == {"B01": "seen", "B21": "unseen"}


def test_a_brain_of_the_study_is_refused_under_another_name(
    tmp_path: Path, folder: Path, capsys
) -> None:
    """The same files, and copies of them. The stack's length is told, and that it is short."""
    words = ["--thickness-um", 20]
    assert add(tmp_path, "--images", folder, *words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "length 1.6 mm" in said and "warning sections 15 to 80 of 20 um are 1.6 mm" in said
    shutil.copytree(folder, tmp_path / "copies")
    for scans_again in (folder, tmp_path / "copies"):
        assert add(tmp_path, "--images", scans_again, *words, brain="B22") == 1
        assert "shares scans with B21 (5), such as" in capsys.readouterr().err


def test_a_stack_longer_than_any_brain_is_refused(tmp_path: Path, folder: Path, capsys) -> None:
    for number in range(90, 3000, 300):
        scan(folder / f"B21_{number:05d}_1um.ome.tif")
    assert add(tmp_path, "--images", folder, "--thickness-um", 200) == 1
    assert "no brain is longer than 400 mm; a section lies at number x" in capsys.readouterr().err


def test_a_bids_data_set(tmp_path: Path, capsys) -> None:
    """Two subjects; one sidecar has the pixel size of all sections, another that of one section."""
    data = tmp_path / "bids"
    for subject in ("sub-01", "sub-02"):
        for number in (140, 280):
            name = f"{subject}_sample-B2s{number:04d}_stain-nissl_BF"
            scan(data / subject / "micr" / f"{name}.ome.tif", brighter=int(subject[-1]))
    plain(data / "sub-01" / "micr" / "sub-01_sample-B2s0420_BF.tif")
    (data / "sub-01" / "micr" / "sub-01_sample-B2s0420_stain-nissl_PLI.tif").touch()
    fields = {"PixelSize": [0.064, 0.064], "PixelSizeUnits": "mm", "SliceThickness": 20}
    (data / "sub-01" / "sub-01_BF.json").write_text(json.dumps(fields))
    own = {"PixelSize": [32, 32], "PixelSizeUnits": "um", "SliceThickness": 20}
    sidecar = data / "sub-01" / "micr" / "sub-01_sample-B2s0420_BF.json"
    sidecar.write_text(json.dumps(own))
    assert add(tmp_path / "study", "--bids", data) == 1
    assert "2 subjects (sub-01, sub-02) and none is sub-B21; give" in capsys.readouterr().err
    assert add(tmp_path / "study", "--bids", data / "sub-01") == 0
    rows = read_sections(tmp_path / "study" / "config" / "sections.tsv")
    assert [(r.section, r.spacing_um, r.thickness_um) for r in rows] == [
        (140, 64.0, 20.0),
        (280, 64.0, 20.0),
        (420, 32.0, 20.0),
    ]
    assert Path(rows[0].image).is_absolute()
    assert add(tmp_path / "study", "--bids", data, "--thickness-um", 20, brain="02") == 0


@pytest.mark.parametrize(("unit", "size"), [("mm", 0.064), ("um", 64), ("nm", 64_000)])
def test_bids_states_thickness_in_um_whatever_the_unit(tmp_path: Path, unit, size) -> None:
    plain(tmp_path / "sub-01" / "micr" / "sub-01_sample-0015_BF.tif")
    fields = {"PixelSize": [size, size], "PixelSizeUnits": unit, "SliceThickness": 20}
    (tmp_path / "sub-01" / "sub-01_BF.json").write_text(json.dumps(fields))
    assert add(tmp_path / "study", "--bids", tmp_path) == 0
    (row,) = read_sections(tmp_path / "study" / "config" / "sections.tsv")
    assert (row.spacing_um, row.thickness_um) == (64.0, 20.0)


@pytest.mark.parametrize(
    ("fields", "given", "message"),
    [
        ({"PixelSize": [64, 64], "PixelSizeUnits": "mm"}, [], "a factor of 1/1000: mm vs um"),
        ({"PixelSize": 0.64, "PixelSizeUnits": "mm"}, [], "a factor of 1/10: cm vs mm"),
        (
            {"PixelSize": [15.625] * 2, "PixelSizeUnits": "um"},
            [],
            "64 may be pixels per mm, that is 15.",
        ),
        ({"PixelSize": [64, 64]}, [], "64 without PixelSizeUnits .*give positive numbers, and Pix"),
        ({"PixelSize": [64, "x"], "PixelSizeUnits": "um"}, [], "PixelSize is 'x' um in"),
        ({"PixelSize": [64, 32], "PixelSizeUnits": "um"}, [], "pixels must be square"),
        (
            {"PixelSize": [64], "PixelSizeUnits": "um", "SliceThickness": 0.02},
            [],
            "20 um given in m",
        ),
        ({}, [], "nothing says how thick sections are; give --thickness-um"),
        (
            {},
            ["--thickness-um", 20, "--spacing-um", 1],
            "OME metadata says 64 um per pixel, --spac",
        ),
    ],
)
def test_a_sidecar_that_cannot_be_true(
    tmp_path: Path, capsys, fields: dict[str, object], given: list[object], message: str
) -> None:
    folder = tmp_path / "sub-01" / "micr"
    for number in (1, 2):
        scan(folder / f"sub-01_sample-{number}_BF.ome.tif")
    (tmp_path / "sub-01_BF.json").write_text(json.dumps(fields))
    assert add(tmp_path, "--bids", tmp_path, *given) == 1
    said = capsys.readouterr().err
    assert "sub-01_sample-1_BF" in said
    assert re.search(message, said), said
    assert not (tmp_path / "config").exists()


def test_a_pixel_size_in_the_wrong_unit_shows_in_the_sections_extent(
    tmp_path: Path, capsys
) -> None:
    for number in (1, 2):
        plain(tmp_path / "scans" / f"{number}.tif")
    words = ["--images", tmp_path / "scans", "--thickness-um", 20, "--spacing-um"]
    assert add(tmp_path, *words, 0.3) == 1
    said = capsys.readouterr().err
    assert "80 px of 0.3 um are 0.024 mm, too small for a section; a pixel size of 300 um" in said
    assert "(a factor of 1000: mm vs um" in said
    assert add(tmp_path, "--images", tmp_path / "scans", "--thickness-um", 20) == 1
    assert "nothing says its pixel size; give --spacing-um" in capsys.readouterr().err
    assert add(tmp_path, *words, 300) == 0


def names(*found: str) -> list[Path]:
    return [Path("scans") / name for name in found]


@pytest.mark.parametrize(
    ("found", "numbers"),
    [
        (("B21_00015.ome.tif", "B21_00030.ome.tif"), [15, 30]),
        (("21-9 (20x).png", "21-10 (20x).png", "21-11 (20x).png"), [9, 10, 11]),
        (("2023_s15_1um.tif", "2023_s30_1um.tif"), [15, 30]),
        (("007.tif",), [7]),
        (("B2_0045_8bit.ome.btf",), [8]),  # nothing differs: the last run; a pattern says better
    ],
)
def test_the_run_of_digits_that_differs_is_the_number(
    found: tuple[str, ...], numbers: list[int]
) -> None:
    got, left_out = scans.numbered(names(*found), None)
    assert [scan.section for scan in got] == numbers and not left_out


@pytest.mark.parametrize(
    ("found", "pattern", "message"),
    [
        (
            ("a1_2.tif", "a2_4.tif"),
            None,
            r"2 numbers .*--pattern 'a\{section\}_\*\*' or 'a\*_\{sec",
        ),
        (("a.tif", "b.tif"), None, "named differently from 1 of 2"),
        (
            ("a1.tif", "a2.tif", "a3_redo.tif"),
            None,
            "a3_redo.tif: is named differently from 2 of 3",
        ),
        (("a.tif",), None, "no number in its name; give --table"),
        (("a1.tif",), "a*.tif", "write {section} once, in place of the number"),
        (("a1.tif",), "b{section}.tif", "fits none of 1 files, such as a1.tif"),
    ],
)
def test_names_that_do_not_tell_the_number_are_refused(
    found: tuple[str, ...], pattern: str | None, message: str
) -> None:
    with pytest.raises(scans.InputError, match=message):
        scans.numbered(names(*found), pattern)


def test_a_pattern_says_which_number_and_leaves_the_others_out() -> None:
    got, left_out = scans.numbered(
        names("s1_n0015.tif", "s2_n0030.tif", "label.tif"), "s*_n{section}.tif"
    )
    assert [scan.section for scan in got] == [15, 30] and [p.name for p in left_out] == [
        "label.tif"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("section,file\n15,a15\n", "'image' is missing, its columns are section, file; add it"),
        ("section,image\nxv,a15\n", "line 2: section is 'xv'; give a whole number"),
        ("section,image\n15,a16\n", "line 2: image is 'a16', which names 0 files"),
        ("section,image\n15,a15\n15,a30\n", "1 sections are there twice: a15.ome.tif .section 15"),
        ("section,image\n15,a15\n30,a15\n", "1 files are there twice"),
        ("section,image,mirrored\n15,a15,left\n", "mirrored is 'left'; use yes or no"),
        ("section,image,spacing_um\n15,a15,-1\n", "spacing_um is '-1'; give a positive number"),
        ("section,image,spacing_um\n15,a15,0.064\n", "a factor of 1000: mm vs um"),
        ("\n", "is empty; it needs a header"),
    ],
)
def test_a_table_that_does_not_fit(tmp_path: Path, capsys, text: str, message: str) -> None:
    for number in (15, 30):
        scan(tmp_path / "scans" / f"a{number}.ome.tif")
    (tmp_path / "lab.csv").write_text(text)
    words = ["--images", tmp_path / "scans", "--thickness-um", 20, "--table", tmp_path / "lab.csv"]
    assert add(tmp_path, *words) == 1
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert not (tmp_path / "config").exists()


def test_a_name_that_snakemake_would_fill_in_is_refused(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "B21_{x}_15.tif").write_bytes(b"")
    assert add(tmp_path, "--images", folder, "--thickness-um", 20) == 1
    assert "its name is 'B21_{x}_15.tif'; rename the file" in capsys.readouterr().err


def test_doubled_and_unreadable_files(tmp_path: Path, capsys) -> None:
    for number in (15, 30, 45):
        scan(tmp_path / "scans" / f"{number}.ome.tif")
    broken = tmp_path / "scans" / "60.ome.tif"
    broken.write_bytes(scan(broken).read_bytes()[:700])
    words = ["--images", tmp_path / "scans", "--thickness-um", 20]
    assert add(tmp_path, *words) == 0  # the file may come again; its row stands there
    assert "unreadable  1\n" in capsys.readouterr().out
    assert len(read_sections(tmp_path / "config" / "sections.tsv")) == 4
    scan(tmp_path / "scans" / "015.ome.tif")
    assert add(tmp_path, *words, brain="B22") == 1
    assert "1 sections are there twice: 015.ome.tif (section 15), 15." in capsys.readouterr().err


@given(st.lists(st.integers(0, 400), min_size=2, unique=True), st.integers(1, 20))
def test_missing_numbers_fill_the_steps(kept: list[int], step: int) -> None:
    """The numbers left out of a regular series are missing."""
    full = set(range(0, 500 * step, step))
    gone = {number * step for number in kept if 0 < number < 499 and number % 3 == 0}
    found = scans.missing(sorted(full - gone))
    assert set(found) == gone


@given(st.floats(0.05, 100), st.sampled_from([2.54, 10, 25.4, 1000, 10_000, 25_400]))
def test_factors_are_named_both_ways(spacing_um: float, factor: float) -> None:
    assert f"a factor of {factor:g}: " in units.explain_mismatch(spacing_um * factor, spacing_um)
    assert f"a factor of 1/{factor:g}: " in units.explain_mismatch(spacing_um / factor, spacing_um)


@given(st.floats(0.05, 100), st.sampled_from([(1000, "mm"), (10_000, "cm"), (25_400, "inch")]))
def test_pixels_a_unit_are_named(spacing_um: float, unit: tuple[float, str]) -> None:
    pixels_a_unit = unit[0] / spacing_um
    if not units.agree(pixels_a_unit, spacing_um):
        assert f"may be pixels per {unit[1]}, that is" in units.explain_mismatch(
            pixels_a_unit, spacing_um
        )


def test_a_dark_ground_is_noticed(tmp_path: Path, capsys) -> None:
    rows, columns = np.mgrid[:600, :800]
    tissue = ((rows - 300) / 200) ** 2 + ((columns - 400) / 250) ** 2 < 1
    noise = np.random.default_rng(2).integers(0, 9, tissue.shape)
    for number in (1, 2):
        picture = (np.where(tissue, 150, 12) + noise).astype(np.uint8)
        path = tmp_path / "scans" / f"{number}.ome.tif"
        path.parent.mkdir(exist_ok=True)
        write_pyramid(picture, path, SPACING_UM, 512, tile=64)
    words = ["--images", tmp_path / "scans", "--thickness-um", 20]
    assert add(tmp_path, *words, "--dry-run") == 0
    assert "bright, but 2 look dark: 1, 2; give --background dark" in capsys.readouterr().out
    assert add(tmp_path, *words, "--background", "dark") == 0
    assert "but 2 look" not in capsys.readouterr().out
    sections = read_sections(tmp_path / "config" / "sections.tsv")
    assert [section.background for section in sections] == ["dark", "dark"]
