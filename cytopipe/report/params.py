"""The report's parameters."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Params:
    """Section `report` of the config.

    Attributes
    ----------
    thumbnail_um : pixel size of the sections on the contact sheet.
    section_px : columns of the picture of one section.
    jpeg_quality : of both, 1 to 100.
    surface_faces : most triangles of the surface that turns under the mouse, both hemispheres.
    compare_with : folder with the tables of an earlier report, {brain}.tsv; "" for none.
    baselines : runs of the evaluation without pretraining, which the others are held against.
    """

    thumbnail_um: float
    section_px: int
    jpeg_quality: int
    surface_faces: int
    compare_with: str
    baselines: tuple[str, ...]
