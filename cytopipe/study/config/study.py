"""The section `study`: what holds for all stages."""

from typing import Literal

from cytopipe.study.config.base import ConfigSection, field


class Study(ConfigSection):
    """What holds for all stages."""

    chunk_span: int = field(
        "The number of section numbers in a chunk. With every 15th section on a slide, 480 are 32 "
        "sections.",
        ge=1,
    )
    image_right: Literal["R", "L"] = field(
        "The side of the brain that is on the right of an unmirrored image."
    )
    truth: str | None = field(
        "The folder with the truth of a phantom study, e.g. truth; null for a real study."
    )
    annotations: str | None = field(
        "The folder with the annotations of a lab (docs/annotations.md), e.g. annotations, or null."
    )
    missing_exclusion: Literal["stop", "go_on"] = field(
        "What to do with a brain that has no manual/{brain}/exclusion.nii.gz or .seg.nrrd "
        "(docs/new-brain.md)."
    )
    audit: bool = field(
        "Whether to look for mirrored, swapped and misplaced sections and to propose corrections: "
        "one job per brain, about 4 s per section, more where many sections look odd."
    )
