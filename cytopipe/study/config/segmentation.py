"""The section `segmentation`."""

from typing import Literal

from cytopipe.study.config.base import ConfigSection, field

_PAPER = "CytoNet 3.2"


class Segmentation(ConfigSection):
    """Filters as in CytoNet, section 3.2.

    The paper gives their sizes in pixels of 64 um. Here they are lengths, so they scale with
    spacing_um. Where the paper is silent, values were chosen on the phantom.
    """

    spacing_um: float = field(
        "The working resolution and the pixel size of the labels.", unit="um", source=_PAPER, gt=0
    )
    filter_um: float = field(
        "The size of the minimum, maximum and mean filters, 5 px in the paper, rounded to an odd "
        "number of px; 0 for none.",
        unit="um",
        source=_PAPER,
        ge=0,
    )
    clahe_um: float = field(
        "The edge of a tile of CLAHE, 250 px in the paper.", unit="um", source=_PAPER, gt=0
    )
    clahe_clip: float = field(
        "The largest share of a tile's pixels in one of 256 bins of its histogram.",
        source="scikit-image's default",
        gt=0,
        le=1,
    )
    sigma_um: float = field(
        "The standard deviation of the Gaussian after CLAHE, 1 px in the paper.",
        unit="um",
        source=_PAPER,
        ge=0,
    )
    max_valley: float = field(
        "The largest height of a minimum of the histogram, as a share of the lower one of its two "
        "peaks.",
        gt=0,
        le=1,
    )
    minimum: Literal["slide", "otsu"] = field(
        "Which of several minima of the histogram separates tissue from slide: slide (separates "
        "dark from slide best) or otsu (nearest to Otsu's threshold, as in the paper)."
    )
    min_contrast: float = field(
        "The smallest difference between tissue and slide, as a share of the gray range.",
        ge=0,
        le=1,
    )
    min_tissue_mm2: float = field("A section with less tissue is blank.", unit="mm2", ge=0)
    min_white: float = field(
        "The smallest contrast of white to gray matter, as a share of the contrast of slide to "
        "gray matter.",
        ge=0,
        le=1,
    )
    iterations: int = field("The number of steps of the Chan-Vese contour, 1 px each.", ge=0)
    smoothing: int = field("The number of smoothing steps after each step of the contour.", ge=0)
    min_object_mm2: float = field("Tissue up to this area is dirt.", unit="mm2", ge=0)
    max_hole_mm2: float = field(
        "Holes up to this area are vessels and are filled; a larger one may be a cleft and stays.",
        unit="mm2",
        ge=0,
    )
    max_contact: float = field(
        "A piece of white matter may touch background along at most this share of its outline.",
        ge=0,
        le=1,
    )
    min_white_mm2: float = field(
        "White matter up to this area becomes gray matter.", unit="mm2", ge=0
    )
    max_island_mm2: float = field(
        "Gray matter up to this area inside white matter becomes white matter.", unit="mm2", ge=0
    )
    rim_um: float = field(
        "Light tissue at most this far from the background is layer I, so gray matter; keep it "
        "below the thickness of any cortex.",
        unit="um",
        ge=0,
    )
    sulcus_um: float = field(
        "Clefts up to twice this wide count as sulci when their boundary is measured; the radius "
        "of a closing.",
        unit="um",
        ge=0,
    )
    max_failed: float = field(
        "A chunk fails if a larger share of its sections is unreadable.", ge=0, le=1
    )
