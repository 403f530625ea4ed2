"""The report's parameters."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Params:
    """Section `report` of the config.

    Attributes
    ----------
    thumbnail_um : pixel size of the sections on the contact sheet.
    jpeg_quality : of the contact sheet, 1 to 100.
    baselines : runs of the evaluation without pretraining, which the others are held against.
    """

    thumbnail_um: float
    jpeg_quality: int
    baselines: tuple[str, ...]
