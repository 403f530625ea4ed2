"""The section `report`."""

from cytopipe.study.config.base import ConfigSection, Names, field


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
    compare_with: str = field(
        "The folder, outside results/, with a copy of results/report/{brain}.tsv of an earlier "
        "run: the page says what has changed since. Empty for none.",
        pattern=r"^(?!(\./)?results(/|$))",
    )
    baselines: Names = field(
        "The runs of the evaluation that pretrained networks are compared with."
    )
