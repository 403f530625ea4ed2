"""What the parts of the check find: a row of its table each."""

from dataclasses import dataclass

ERROR, WARNING, NOTE, OK = "error", "warning", "note", "ok"
COLUMNS = ("level", "brain", "section", "subject", "finding", "remedy")


@dataclass(frozen=True)
class Finding:
    """One thing that is known before a run.

    Attributes
    ----------
    level : error (a run would fail or be wrong), warning (look at it), note, or ok.
    subject : what it is about: scan, numbers, spacing, manual, template, disk, time, ...
    finding, remedy : what was found, and what to do about it.
    brain, section : of what, "" for the study or a whole brain.
    """

    level: str
    subject: str
    finding: str
    remedy: str = ""
    brain: str = ""
    section: int | str = ""

    def cells(self) -> list[str]:
        """In the order of COLUMNS, without what would break a table."""
        return [" ".join(str(getattr(self, name)).split()) for name in COLUMNS]


def of_error(error: Exception, subject: str, brain: str = "", section: int | str = "") -> Finding:
    """The finding that an InputError makes; its message names the remedy after a semicolon."""
    said, _, remedy = str(error).partition("; ")
    return Finding(ERROR, subject, said, remedy, brain, section)
