"""Functions that break a small study on purpose, and functions that make such functions."""

import json
from collections.abc import Callable

import numpy as np
import tifffile
from small_study import HEAD, PICTURE, SmallStudy

from cytopipe.formats import images, transforms
from cytopipe.study.corrections import COLUMNS

Spoil = Callable[[SmallStudy], None]


def rows(*lines: str, head: str = HEAD) -> Spoil:
    return lambda study: study.sheet.write_text(head + "".join(f"{x}\n" for x in lines)) and None


def decided(*lines: str) -> Spoil:
    text = "\t".join(COLUMNS) + "\n" + "".join(f"{line}\n" for line in lines)
    return lambda study: (study.manual / "sections.tsv").write_text(text) and None


def written(name: str, content: bytes) -> Spoil:
    def spoil(study: SmallStudy) -> None:
        path = study.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return spoil


def tiff(name: str, picture: np.ndarray) -> Spoil:
    def spoil(study: SmallStudy) -> None:
        path = study.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, picture)

    return spoil


def truncated(study: SmallStudy) -> None:
    content = study.image(30).read_bytes()
    study.image(30).write_bytes(content[: len(content) // 2])


def a_broken_tile(study: SmallStudy) -> None:
    with tifffile.TiffFile(study.image(30)) as tif:
        offset = tif.pages[0].dataoffsets[0]
    content = bytearray(study.image(30).read_bytes())
    content[offset : offset + 40] = bytes(40)
    study.image(30).write_bytes(content)


def an_unknown_codec(study: SmallStudy) -> None:
    """The tag names a compression that is not assigned."""
    with tifffile.TiffFile(study.image(30)) as tif:
        at = [page.tags["Compression"].valueoffset for page in [tif.pages[0]]]
    content = bytearray(study.image(30).read_bytes())
    content[at[0] : at[0] + 2] = (64999).to_bytes(2, "little")
    study.image(30).write_bytes(content)


def supplied_matrix(matrix: np.ndarray) -> Spoil:
    def spoil(study: SmallStudy) -> None:
        affine = np.eye(4)
        affine[:3, :3] = matrix
        transform = transforms.affine_transform(affine, "B01", "colin27")
        transforms.write(transform, study.manual / "to-colin27.h5")

    return spoil


def mask(data: np.ndarray, at: float = 0.0) -> Spoil:
    return lambda study: study.volume("manual/B01/exclusion.nii.gz", data, 1.0, at)


def ready_tissue(data: np.ndarray) -> Spoil:
    return lambda study: study.volume("manual/B01/tissue.nii.gz", data)


def template(name: str, data: np.ndarray) -> Spoil:
    return lambda study: study.volume(f"template/{name}.nii.gz", data)


def setting(section: str, key: str, value: object) -> Spoil:
    def spoil(study: SmallStudy) -> None:
        study.config[section][key] = value
        study.write_config()

    return spoil


def nothing(study: SmallStudy) -> None:
    pass


def bids(fields: object) -> Spoil:
    def spoil(study: SmallStudy) -> None:
        folder = study.folder / "bids" / "sub-01" / "micr"
        folder.mkdir(parents=True)
        images.write_pyramid(PICTURE, folder / "sub-01_sample-15_BF.ome.tif", 64, 256, tile=64)
        text = fields if isinstance(fields, str) else json.dumps(fields)
        (folder / "sub-01_sample-15_BF.json").write_text(text)

    return spoil
