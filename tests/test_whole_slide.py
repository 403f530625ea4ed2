"""Files of slide scanners: what OpenSlide reads becomes the right gray values at the right size."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from foreign_images.scene import color_scene
from image_files import LUMA, refused
from slide_files import write_aperio, write_generic, write_leica

from cytopipe import pyramids
from cytopipe.files import InputError
from cytopipe.formats.images import examine, open_pyramid, whole_slide
from cytopipe.formats.images.pyramid import open_reader
from cytopipe.formats.images.reader import Region
from cytopipe.study import scans
from cytopipe.study.config import Pyramids
from cytopipe.study.sections import Section

COLOR = color_scene()
TRUTH = COLOR @ LUMA
JPEG_LOSS = 8  # of JPEG at quality 95, in gray values, as in test_images_foreign
LOSSLESS = {"compression": "deflate", "compressionargs": None}


def copied(tmp_path: Path, image: Path, spacing_um: float = 20.0, **section: str) -> np.ndarray:
    """Level 0 of the copy that the workflow makes."""
    params = Pyramids(exact_um=2 * spacing_um, coarsest_um=4 * spacing_um, tile=32)
    row = Section("B01", 420, str(image), spacing_um, 20.0, **section)
    path = tmp_path / "copy.ome.tif"
    pyramids.run(section=row, image=image, pyramid=path, params=params)
    assert examine(path).needs_copy == ""
    with open_pyramid(path, spacing_um) as pyramid:
        assert len(pyramid.levels) == 3
        return pyramid.read_level(0)


@pytest.mark.parametrize("name", ["a.svs", "a.SVS", "a.tif"])
def test_an_aperio_file_is_read_with_its_pixel_size(tmp_path: Path, name: str) -> None:
    path = write_aperio(tmp_path / name, COLOR)
    scan = examine(path)
    assert (scan.format, scan.channels, scan.dtype) == ("OpenSlide aperio", 3, np.uint8)
    assert [level.shape for level in scan.levels] == [(100, 130), (25, 32)]
    assert (scan.spacing_um, scan.spacing_from, scan.pixels_square) == (20, scan.format, True)
    assert scan.needs_copy and scan.background == "bright"
    assert np.abs(copied(tmp_path, path) - TRUTH).max() <= JPEG_LOSS


def test_jpeg_2000_of_aperio_is_read(tmp_path: Path) -> None:
    options = {"compression": "aperio_jp2000_rgb", "compressionargs": {"level": 0}}
    path = write_aperio(tmp_path / "a.svs", COLOR, **options)
    assert np.abs(copied(tmp_path, path) - TRUTH).max() <= 0.5 + 1e-9


def test_a_generic_tiff_in_openslide_is_read_exactly(tmp_path: Path) -> None:
    """By its name; one that is called .tif is read by our own reader, in place."""
    path = write_generic(tmp_path / "a.svs", COLOR, compression="deflate")
    assert examine(path).format == "OpenSlide generic TIFF"
    assert np.abs(copied(tmp_path, path) - TRUTH).max() <= 0.5 + 1e-9
    scan = examine(write_generic(tmp_path / "a.tif", COLOR, compression="deflate"))
    assert (scan.format, scan.needs_copy) == ("TIFF", "")


def test_resolution_tags_of_a_generic_tiff_are_shown_but_not_trusted(tmp_path: Path) -> None:
    tags = {"resolution": (500, 500), "resolutionunit": "CENTIMETER"}
    scan = examine(write_generic(tmp_path / "a.svs", COLOR, **tags))
    assert (scan.spacing_um, scan.spacing_from) == (20, "resolution tags")
    copied(tmp_path, scan.path, spacing_um=7.0)  # the table's is used


def test_another_pixel_size_than_the_scanner_states_is_refused(tmp_path: Path) -> None:
    path = write_aperio(tmp_path / "a.svs", COLOR, spacing_um=0.5)
    with pytest.raises(InputError, match=r"a.svs: its metadata state 0.5 um .*the sheet 1"):
        copied(tmp_path, path, spacing_um=1.0)


def test_a_file_without_a_pixel_size_takes_that_of_the_table(tmp_path: Path) -> None:
    path = write_aperio(tmp_path / "a.svs", COLOR, spacing_um=None)
    assert examine(path).spacing_um is None
    assert copied(tmp_path, path, spacing_um=3.0).shape == TRUTH.shape


def test_only_the_scanned_part_of_a_slide_is_read(tmp_path: Path) -> None:
    """The whole slide has 5000 x 5000 px, most of which no image covers."""
    path = write_leica(tmp_path / "a.scn", [COLOR], [(701, 333)], 20.0)
    scan = examine(path)
    assert scan.levels[0].shape == TRUTH.shape
    assert (scan.format, scan.spacing_um) == ("OpenSlide leica", 20)
    assert np.abs(copied(tmp_path, path) - TRUTH).max() <= JPEG_LOSS


def test_several_scanned_regions_are_refused(tmp_path: Path) -> None:
    corners = [(700, 330), (1700, 330)]
    path = write_leica(tmp_path / "a.scn", [COLOR, COLOR], corners, 20.0)
    refused(path, "holds 2 scanned regions; export the one with the section")


def without_tile(path: Path, page: int, tile: int) -> Path:
    """The file without the data of one tile; a second call leaves out another one."""
    with tifffile.TiffFile(path) as tif:
        pages = [page for page in tif.pages if page.is_tiled]
        tag = pages[page].tags["TileByteCounts"]
        size = {3: 2, 4: 4, 16: 8}[tag.dtype]
        place = tag.valueoffset + size * tile
    content = bytearray(path.read_bytes())
    content[place : place + size] = bytes(size)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("background", ["bright", "dark"])
def test_what_was_not_scanned_looks_like_an_empty_slide(
    tmp_path: Path, monkeypatch, background: str
) -> None:
    """In the copy, which always has a bright background; both levels lack the part.

    Scanners with a camera leave out parts. The file is one that takes few lines to write.
    """
    monkeypatch.setattr(whole_slide, "_FULL_GRID", ())
    path = write_generic(tmp_path / "a.svs", COLOR, tile=32, compression="deflate")
    for page, tiles in ((0, (0, 1, 5, 6)), (1, (0,))):
        for tile in tiles:
            without_tile(path, page, tile)
    image = copied(tmp_path, path, background=background)
    assert (image[:64, :64] == 255).all()
    truth = TRUTH if background == "bright" else 255 - TRUTH
    assert np.abs(image[64:] - truth[64:]).max() <= 0.5 + 1e-9


def test_a_lost_tile_is_noticed(tmp_path: Path) -> None:
    """The other level shows what it was."""
    path = write_generic(tmp_path / "a.svs", COLOR, tile=32, compression="deflate")
    without_tile(path, 0, 6)
    with pytest.raises(
        InputError, match=r"a\.svs: level 0 lacks the 32 x 32 px at row 32.*level 1"
    ):
        copied(tmp_path, path)


def test_a_damaged_tile_is_an_error_that_stays(tmp_path: Path) -> None:
    path = write_aperio(tmp_path / "a.svs", COLOR)
    with tifffile.TiffFile(path) as tif:
        start, size = tif.pages[0].dataoffsets[3], tif.pages[0].databytecounts[3]
    content = bytearray(path.read_bytes())
    content[start + size // 2 : start + size] = bytes(size - size // 2)
    path.write_bytes(content)
    with open_reader(path) as reader:
        assert reader.read(0, Region(0, 0, 30, 30))[0].shape == (30, 30, 3)
    with pytest.raises(InputError, match=r"a\.svs: level 0 is not readable .*copy it again"):
        copied(tmp_path, path)
    assert not list(tmp_path.glob("copy*"))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write_aperio(tmp_path / "a.svs", COLOR)
    path.write_bytes(path.read_bytes()[:5000])
    refused(path, "OpenSlide|damaged")


def test_an_orientation_tag_is_refused(tmp_path: Path) -> None:
    path = write_generic(tmp_path / "a.svs", COLOR, extratags=[(274, 3, 1, 3, True)])
    refused(path, r"Orientation tag \(3\)")


def test_a_huge_tile_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """OpenSlide ends the process if it cannot allocate a tile."""
    path = write_generic(tmp_path / "a.svs", COLOR)
    with tifffile.TiffFile(path) as tif:
        place = tif.pages[0].tags["TileWidth"].valueoffset
    content = bytearray(path.read_bytes())
    content[place : place + 4] = (2**24).to_bytes(4, "little")
    path.write_bytes(content)
    refused(path, "as one piece|OpenSlide|not readable")


@pytest.mark.parametrize("name", ["a.svs", "a.ndpi", "a.mrxs", "a.scn", "a.bif", "a.vms"])
def test_other_content_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing that OpenSlide reads")
    message = refused(tmp_path / name, "no format that OpenSlide reads")
    assert ("all files that belong to it" in message) == (name in ("a.mrxs", "a.vms"))


def test_the_parts_of_a_scan_of_several_files_are_no_scans(tmp_path: Path) -> None:
    """A Hamamatsu scan consists of JPEG files, which its index names."""
    for name in ("one.jpg", "one_macro.jpg", "other.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "one.vms").write_text("[Virtual Microscope Specimen]\nImageFile=one.jpg\n"
                                      "MacroImage=one_macro.jpg\nMapFile=\n")  # fmt: skip
    (tmp_path / "two.mrxs").touch()
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "Data0000.dat").touch()
    names = [path.name for path in scans.images_in(tmp_path)]
    assert names == ["one.vms", "other.jpg", "two.mrxs"]
