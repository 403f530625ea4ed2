"""The whole config as one model."""

from typing import Self, cast

from pydantic import model_validator

from cytopipe.study.config.alignment import Alignment
from cytopipe.study.config.audit import Audit
from cytopipe.study.config.base import ConfigSection
from cytopipe.study.config.coordinates import Coordinates
from cytopipe.study.config.evaluation import Evaluation
from cytopipe.study.config.features import Features
from cytopipe.study.config.mapping import Mapping
from cytopipe.study.config.midline import Midline
from cytopipe.study.config.midsurface import Midsurface
from cytopipe.study.config.patches import PatchSets
from cytopipe.study.config.phantom import Phantom
from cytopipe.study.config.pretraining import Pretraining
from cytopipe.study.config.pyramids import Pyramids
from cytopipe.study.config.reconstruction import Reconstruction
from cytopipe.study.config.report import Report
from cytopipe.study.config.segmentation import Segmentation
from cytopipe.study.config.study import Study
from cytopipe.study.config.template import Template


class Config(ConfigSection):
    """Every value of the workflow, one section per stage. No value has a hidden default.

    The values are for a real human brain: sections of 20 um at 1 um/px, every 15th on a slide.
    """

    study: Study
    template: Template
    pyramids: Pyramids
    segmentation: Segmentation
    alignment: Alignment
    audit: Audit
    reconstruction: Reconstruction
    midsurface: Midsurface
    midline: Midline
    coordinates: Coordinates
    patches: PatchSets
    pretraining: Pretraining
    features: Features
    evaluation: Evaluation
    mapping: Mapping
    report: Report

    @model_validator(mode="after")
    def _networks_need_coordinates(self) -> Self:
        if self.template.tissue is None and self.pretraining.runs:
            raise ValueError(
                "template.tissue is null and pretraining.runs has networks, which learn from "
                "coordinates in a template; name its tissue, or write runs: {}"
            )
        return self


# read by `cytopipe phantom`, never part of a study's config
NOT_IN_A_STUDY = "phantom"


def section_of(model: type) -> str:
    """The section whose model this is; empty for a part of a section."""
    sections = ((name, info.annotation) for name, info in Config.model_fields.items())
    return next((name for name, annotation in sections if annotation is model), "")


def section_model(section: str) -> type[ConfigSection]:
    """The model of a section by its name."""
    if section == NOT_IN_A_STUDY:
        return Phantom
    return cast(type[ConfigSection], Config.model_fields[section].annotation)
