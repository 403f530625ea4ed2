"""The section `report`."""

from typing import Annotated

from cytopipe.study.config.base import ConfigSection, Names, field, text


class Goals(ConfigSection):
    """The goals of the truth table that depend on the phantom; null: the value is only reported.

    The goals in mm are those of a head of 0.5 mm voxels; the share of points near the middle was
    chosen for the target laplacian.
    """

    dice_gray: float = field(
        "The smallest median Dice coefficient of gray matter in good sections.", gt=0, le=1
    )
    dice_white: float = field("The same for white matter.", gt=0, le=1)
    surface_median_mm: float | None = field(
        "The largest median distance of the mid-surface from the true one.", unit="mm", gt=0
    )
    surface_95_mm: float | None = field("The same for 95 % of its vertices.", unit="mm", gt=0)
    cortex_1_5_mm_share: float | None = field(
        "The smallest share of the true cortex within 1.5 mm of the mid-surface.", gt=0, le=1
    )
    surface_median_voxels: float | None = field(
        "The largest median distance of the mid-surface from the true one.", unit="voxels", gt=0
    )
    surface_95_voxels: float | None = field(
        "The same for 95 % of its vertices.", unit="voxels", gt=0
    )
    cortex_95_voxels: float | None = field(
        "The largest distance of 95 % of the true cortex from the mid-surface.",
        unit="voxels",
        gt=0,
    )
    cortex_1_5_voxels_share: float | None = field(
        "The smallest share of the true cortex within 1.5 voxels of the mid-surface.", gt=0, le=1
    )
    middle_points: float = field(
        "The smallest share of refined points within 0.1 of depth 0.5.", gt=0, le=1
    )


class Report(ConfigSection):
    """The pages that a person looks at."""

    thumbnail_um: float = field(
        "The pixel size of the sections on the contact sheet.", unit="um", ge=50
    )
    section_px: int = field(
        "The number of columns in the picture of one section.", unit="px", ge=200, le=8000
    )
    jpeg_quality: int = field(
        "The JPEG quality of thumbnails and pictures; with 80 they take about 8 kB and 120 kB per "
        "section.",
        ge=1,
        le=100,
    )
    surface_faces: int = field(
        "The largest number of triangles of the interactive surface, both hemispheres together.",
        ge=1000,
        le=1_000_000,
    )
    # what this run writes cannot be what it is compared with
    compare_with: Annotated[
        str, text("a folder outside results", r"(?!(\./)?results(/|$))[^\n]*")
    ] = field(
        "The folder, outside results/, with a copy of results/report/{brain}.tsv of an earlier "
        "run: the page says what has changed since. Empty for none."
    )
    baselines: Names = field(
        "The runs of the evaluation that pretrained networks are compared with."
    )
    goals: Goals = field("The goals of the truth table of a phantom study.")
