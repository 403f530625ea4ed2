"""The section `study`: what holds for all stages."""

from typing import Literal

from cytopipe.study.config.base import ConfigSection, FilePath, field


class Study(ConfigSection):
    """What holds for all stages."""

    chunk_span: int = field(
        "A chunk holds the sections of this many section numbers: 480 are 32 sections if every "
        "15th is on a slide.",
        ge=1,
    )
    image_right: Literal["R", "L"] = field(
        "The side of the brain that is on the right of an unmirrored image."
    )
    truth: FilePath | None = field(
        "The folder with the truth of a phantom study, e.g. truth; null for a real study."
    )
    annotations: FilePath | None = field(
        "The folder with the annotations of a lab (docs/annotations.md), e.g. annotations, or null."
    )
    missing_exclusion: Literal["stop", "go_on", "truth"] = field(
        "What to do if a brain has no exclusion mask (docs/new-brain.md): stop, "
        "go_on without, or take a phantom's truth."
    )
    audit: bool = field(
        "Whether to look for mirrored, swapped and misplaced sections and to propose corrections: "
        "one job per brain, about 4 s per section, more if many sections look odd."
    )
