"""The section `segmentation`."""

from typing import Literal

from cytopipe.study.config.base import ConfigSection, field

_PAPER = "CytoNet 3.2"


class Segmentation(ConfigSection):
    """Separation of tissue from the slide, and of gray from white matter.

    The default measures both on the image, without filters. `method: paper` is the chain of filters
    of CytoNet, section 3.2. Lengths are in um, so they scale with spacing_um. Where no source is
    stated, values were chosen on phantom sections of one person's folded surfaces at 128 um, with
    white matter at 0.25 to 0.6 of the contrast, and on five real sections of other species.
    """

    method: Literal["half_level", "paper"] = field(
        "How sections are segmented: half_level (border at half the contrast beside it, white "
        "matter by its own peak) or paper (the chain of filters of CytoNet 3.2)."
    )
    spacing_um: float = field(
        "The working resolution and the pixel size of the labels.", unit="um", source=_PAPER, gt=0
    )
    block_um: float = field(
        "The edge of the blocks on which the slide is found and its shading is fitted.",
        unit="um",
        gt=0,
    )
    min_contrast: float = field(
        "The smallest difference between tissue and slide, as a share of the gray range.",
        ge=0,
        le=1,
    )
    min_noise: float = field(
        "The smallest difference between tissue and slide, in standard deviations of the slide "
        "(half_level).",
        ge=0,
    )
    max_noise: float = field(
        "A slide with a larger standard deviation, in gray values, is remarked as doubtful; real "
        "slides have 0.5 to 1.6 (half_level).",
        ge=0,
    )
    faint: float = field(
        "Tissue with a smaller median difference from the slide, as a share of the gray range, is "
        "remarked as faint (half_level).",
        ge=0,
        le=1,
    )
    max_halo: float = field(
        "The largest stain just outside faint tissue, as a share of the tissue's: a smear on the "
        "slide fades (0.5 to 0.6 in phantoms), tissue ends (at most 0.02) (half_level).",
        ge=0,
    )
    max_stain: float = field(
        "A piece of tissue that absorbs a larger share of the light is ink; densely stained real "
        "sections have 0.4 (half_level).",
        gt=0,
        le=1,
    )
    ink_ratio: float = field(
        "A piece of tissue is ink if it absorbs, on average, this many times as much as the "
        "densest twentieth of the rest; a cerebellum beside a cerebrum has 0.9 (half_level).",
        ge=1,
    )
    max_cut_mm: float = field(
        "Tissue with a longer outline on the edge of the scan is remarked as cut off (half_level).",
        unit="mm",
        ge=0,
    )
    line_um: float = field(
        "The largest width of a bright line in tissue that can be a closed sulcus (half_level).",
        unit="um",
        gt=0,
    )
    line_contrast: float = field(
        "The smallest contrast of such a line, as a share of the stain beside it (half_level).",
        gt=0,
        le=1,
    )
    line_noise: float = field(
        "The smallest contrast of such a line, in standard deviations of the grain of the tissue "
        "(half_level).",
        ge=0,
    )
    min_line_mm: float = field("The smallest length of such a line (half_level).", unit="mm", ge=0)
    matter_um: float = field(
        "The standard deviation of the Gaussian before gray and white matter are separated "
        "(half_level).",
        unit="um",
        gt=0,
    )
    max_dip: float = field(
        "The largest density between the peaks of gray and white matter, as a share of that of the "
        "lower peak, for a section to show white matter by itself (half_level).",
        gt=0,
        le=1,
    )
    min_body: float = field(
        "The smallest contrast of a piece of white matter, as a share of that of all white matter "
        "(half_level).",
        ge=0,
        le=1,
    )
    filter_um: float = field(
        "The size of the minimum, maximum and mean filters, 5 px in the paper, rounded to an odd "
        "number of px; 0 for none (paper).",
        unit="um",
        source=_PAPER,
        ge=0,
    )
    clahe_um: float = field(
        "The edge of a tile of CLAHE, 250 px in the paper (paper).",
        unit="um",
        source=_PAPER,
        gt=0,
    )
    clahe_clip: float = field(
        "The largest share of a tile's pixels in one of 256 bins of its histogram (paper).",
        source="scikit-image's default",
        gt=0,
        le=1,
    )
    sigma_um: float = field(
        "The standard deviation of the Gaussian after CLAHE, 1 px in the paper (paper).",
        unit="um",
        source=_PAPER,
        ge=0,
    )
    max_valley: float = field(
        "The largest height of a minimum of the histogram, as a share of the lower one of its two "
        "peaks (paper).",
        gt=0,
        le=1,
    )
    minimum: Literal["slide", "otsu"] = field(
        "Which of several minima of the histogram separates tissue from slide: slide (separates "
        "dark from slide best) or otsu (nearest to Otsu's threshold, as in the paper) (paper)."
    )
    min_tissue_mm2: float = field("A section with less tissue is blank.", unit="mm2", ge=0)
    min_white: float = field(
        "The smallest contrast of white to gray matter, as a share of the contrast of slide to "
        "gray matter. Real stains have 0.25 to 0.6, the layers of gray matter alone 0.1 to 0.17.",
        ge=0,
        le=1,
    )
    iterations: int = field("The number of steps of the Chan-Vese contour, 1 px each.", ge=0)
    smoothing: int = field("The number of smoothing steps after each step of the contour.", ge=0)
    min_object_mm2: float = field("Tissue up to this area is dirt.", unit="mm2", ge=0)
    min_thickness_um: float = field(
        "A piece that is nowhere thicker is a hair, a scratch or the edge of a cover slip "
        "(half_level).",
        unit="um",
        ge=0,
    )
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
    max_closed: float = field(
        "A section that loses a larger share of the sulcal boundary seen in the image is remarked "
        "as closed.",
        ge=0,
        le=1,
    )
    thickest_um: float = field(
        "No cortex is thicker: tissue deeper below the surface is white matter or a nucleus.",
        unit="um",
        gt=0,
    )
    max_deep: float = field(
        "A section without white matter in which a larger share of the tissue lies that deep has "
        "the status no_white.",
        ge=0,
        le=1,
    )
    min_expected: float = field(
        "A section without white matter has the status no_white if its neighbours have at least "
        "this share of white matter.",
        ge=0,
        le=1,
    )
    max_failed: float = field(
        "A chunk fails if a larger share of its sections is unreadable.", ge=0, le=1
    )
