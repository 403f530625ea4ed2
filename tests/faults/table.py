"""The table of faults: a line for each thing that was tried."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One fault.

    Attributes
    ----------
    fault : what was done.
    tried : when, where, how often.
    outcome : what came of it.
    held : whether that is what should come of it; None if it could not be tried here.
    """

    fault: str
    tried: str
    outcome: str
    held: bool | None

    def markdown(self) -> str:
        mark = {True: "yes", False: "**NO**", None: "not tried"}[self.held]
        cells = (self.fault, self.tried, self.outcome, mark)
        return "| " + " | ".join(" ".join(c.replace("|", "/").split()) for c in cells) + " |"


HEAD = "| fault | tried | what came of it | held |\n|---|---|---|---|"


def markdown(lines: Iterable[Line]) -> str:
    return "\n".join([HEAD, *(line.markdown() for line in lines)])
