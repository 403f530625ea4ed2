"""What makes a phantom difficult: blocks of the section `phantom`, each value off by default.

These are the only values of a config that have defaults. A preset names what it disturbs; the
phantoms of presets that name nothing keep their bytes.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from cytopipe.study.config.base import ConfigSection, Count, Range, field

Mean = Annotated[float, Field(ge=0)]


def _mean(text: str) -> Any:
    """A mean number per section, drawn from a Poisson distribution."""
    return field(f"The mean number of {text} per section.", ge=0, default=0.0)


def _share(text: str, most: float = 1.0) -> Any:
    return field(text, ge=0, le=most, default=0.0)


class Staining(ConfigSection):
    """How the stain differs from that of the demo."""

    white_contrast: float | None = field(
        "How far white matter lies from gray matter on the way to the slide; null for the demo's "
        "0.5. Real cell-body stains have 0.25 to 0.5.",
        ge=0.05,
        le=0.9,
        default=None,
    )
    pale_layer: float = _share(
        "The share by which layer I is paler than the neuropil of the other layers."
    )
    arachnoid: float = _share(
        "The light that the arachnoid absorbs, in units of stain; it spans the mouths of the sulci."
    )
    gradient: float = _share(
        "The largest change of the stain from one side of a scan to the other."
    )
    batches: float = _share(
        "The share by which the stain differs between runs of neighbouring sections.", 0.5
    )
    density: float = _share(
        "The standard deviation between areas of the logarithm of how much the cell bodies cover."
    )


class DamageOptions(ConfigSection):
    """What happens to the tissue of a section; the truth shows what is left."""

    cracks: float = _mean("cracks along the border of the white matter")
    holes: float = _mean("holes")
    blocks: float = _mean("blocks cut out at the rim")
    flaps: float = _mean("parts of the rim folded over onto the section")
    pleats: float = _mean("pleats, which draw the tissue on both sides together")
    detached: float = _mean("lobes that came off and lie beside their place")
    knife_marks: float = _mean("scratches of the knife, which return in the following sections")
    bubbles: float = _mean("bubbles under the cover glass")


class SlideOptions(ConfigSection):
    """What the scan shows apart from tissue, and how it is digitised."""

    ink: float = _mean("pen marks on the glass")
    scratches: float = _mean("scratches of the glass")
    labels: float = _mean("paper labels")
    padding_mm: float = field(
        "The largest width of white padding around the scanned ground.",
        unit="mm",
        ge=0,
        default=0.0,
    )
    frame_mm: float = field("The width of the scanner's black frame.", unit="mm", ge=0, default=0.0)
    touching: float = _share("The share of sections whose tissue is cut by the edge of the scan.")
    touching_mm: float = field(
        "How far the edge of such a scan reaches into the tissue.", unit="mm", ge=0, default=2.0
    )
    vignetting: float = _share("The share of light that is missing in the corners.", 0.9)
    bits: Literal[8, 12, 16] = field(
        "The bits of a gray value; 12 and 16 are stored in 16.", default=8
    )


class HandlingOptions(ConfigSection):
    """How the sections are laid, numbered and listed."""

    turned_deg: float = field(
        "The rotation of all slides; 180 for a brain upside down.",
        unit="deg",
        ge=-180,
        le=180,
        default=0.0,
    )
    face_down: bool = field("Whether all sections are scanned face down.", default=False)
    backwards: bool = field(
        "Whether the sections are numbered from anterior to posterior.", default=False
    )
    gaps: Sequence[Count] = field(
        "The lengths of gaps, in sections that are not in sections.tsv.", default=()
    )
    excluded: int = field(
        "The number of sections that sections.tsv excludes, before excluded_before.",
        ge=0,
        default=0,
    )
    excluded_before: int = field(
        "The section number that the excluded sections precede; 0 for the end of the stack.",
        ge=0,
        default=0,
    )
    slab_mm: Range | None = field(
        "The first and last place along the stack of the sections on slides; null for all.",
        unit="mm",
        default=None,
    )
