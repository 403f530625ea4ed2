"""What the sections of the config share: a field declares type, range, unit, source and text."""

from collections.abc import Callable, Sequence
from copy import copy
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model, field_validator


class ConfigSection(BaseModel):
    """A mapping of the config. It has no defaults: every value stands in config.yaml."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        regex_engine="python-re",  # the default engine has no look-ahead
    )

    @field_validator("*", mode="wrap")
    @classmethod
    def _keep_as_written(cls, value: Any, check: Callable[[Any], Any]) -> Any:
        """Check without converting: 64 stays 64 in every record, although the type is float."""
        checked = check(value)
        return value if checked == value else checked


def field(text: str, *, unit: str = "", source: str = "", **limits: Any) -> Any:
    """Declare a value of the config.

    Parameters
    ----------
    text : what the value means, for config.yaml, the help, the reference and error messages.
    unit : of the value; empty for a number without a unit.
    source : where the value or the method comes from, if it was not chosen here.
    limits : as in `pydantic.Field`, e.g. `gt=0`.
    """
    told = {name: word for name, word in (("unit", unit), ("source", source)) if word}
    return Field(description=text, json_schema_extra={**told}, **limits)


def changes_of(section: type[ConfigSection], without: Sequence[str] = ()) -> Any:
    """A model with the keys and limits of `section` but those in `without`; no key is required."""
    fields: dict[str, Any] = {}
    for name, info in section.model_fields.items():
        kind: Any = info.annotation
        if isinstance(kind, type) and issubclass(kind, ConfigSection):
            kind = changes_of(kind)
        if name not in without:
            fields[name] = (Annotated[kind, copy(info)], None)
    return create_model(f"Changed{section.__name__}", __base__=ConfigSection, **fields)


def _unique(values: Sequence[Any]) -> Sequence[Any]:
    if len(set(values)) < len(values):
        raise ValueError("a value is repeated")
    return values


Unique = (AfterValidator(_unique), Field(json_schema_extra={"uniqueItems": True}))

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Seeds = Annotated[Sequence[Seed], Field(min_length=1), *Unique]
Names = Annotated[Sequence[str], *Unique]
Range = Annotated[Sequence[float], Field(min_length=2, max_length=2)]


def text(words: str, pattern: str) -> Any:
    """Text that matches a pattern as a whole; the words tell people what it allows."""
    # $ alone would allow a line break at the end
    return Field(pattern=f"^({pattern})$(?!\\n)", json_schema_extra={"inWords": words})


Name = Annotated[str, text("letters, digits, _ and -", "[A-Za-z0-9_-]+")]
# Snakemake takes what stands in braces for a wildcard
FilePath = Annotated[str, text("a path without braces", r"[^{}\n]+")]
Role = Literal["seen", "transfer", "unseen"]
Moves = Literal["points", "image"]
Precision = Literal["float32", "bfloat16"]
