"""The section `audit`."""

from typing import Self

from pydantic import model_validator

from cytopipe.study.config.base import ConfigSection, field


class Audit(ConfigSection):
    """The search for mirrored, swapped and misplaced sections (study.audit).

    The shares are those of a lab that asks for an audit: one section in ten lies face down, one in
    fifty is misplaced.
    """

    hand_reach: int = field(
        "Sections up to this many places away are evidence of a section's handedness; at least "
        "order_reach.",
        ge=1,
    )
    order_reach: int = field(
        "Sections up to this many places away are evidence of the order.",
        ge=1,
    )
    mirrored_share: float = field(
        "The expected share of mirrored sections (the prior).", gt=0, lt=1
    )
    max_searched: int = field(
        "At most this many sections that look odd are compared with the whole stack; four cost as "
        "much time as the comparisons of all neighbours.",
        ge=0,
    )
    misplaced_share: float = field(
        "The expected share of misplaced sections (the prior).", gt=0, lt=1
    )
    min_confidence: float = field("A finding with a lower confidence is left out.", ge=0.5, le=1)

    @model_validator(mode="after")
    def _reaches(self) -> Self:
        if self.order_reach > self.hand_reach:
            raise ValueError(
                f"audit.order_reach is {self.order_reach} and audit.hand_reach is "
                f"{self.hand_reach}; give an order_reach that is not larger"
            )
        return self
