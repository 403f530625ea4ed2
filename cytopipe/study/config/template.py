"""The section `template`: the reference space."""

from typing import Self

from pydantic import model_validator

from cytopipe.study.config.base import ConfigSection, FilePath, Name, field


class Template(ConfigSection):
    """The reference space. `cytopipe template` makes one."""

    name: Name = field("The name of the reference space: letters, digits, _ and -.")
    tissue: FilePath | None = field(
        "The label volume of the template: 0 background, 1 gray matter, 2 white matter, in RAS mm; "
        "null for a study without a template, which ends with points in each brain's own space."
    )
    atlas: FilePath | None = field("The label volume of areas in the same space, or null.")
    areas: FilePath | None = field(
        "The table of the atlas's labels with the columns label, name, hemisphere and optionally "
        "lobe, separated by tabs, or null."
    )
    exclusion: FilePath | None = field(
        "The mask of subcortex, cerebellum and brain stem in the same space, proposed for every "
        "brain, or null."
    )

    @model_validator(mode="after")
    def _atlas_with_table(self) -> Self:
        if (self.atlas is None) != (self.areas is None):
            raise ValueError(
                f"template.atlas is {self.atlas!r} and template.areas is {self.areas!r}; "
                "an atlas needs the table of its labels: give both or neither"
            )
        return self
