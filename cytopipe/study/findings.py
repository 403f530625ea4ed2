"""Findings about a study before a run: the rows of the table of `cytopipe check`."""

from collections.abc import Callable
from dataclasses import dataclass

from cytopipe.files import InputError

ERROR, WARNING, NOTE, OK = "error", "warning", "note", "ok"
# what may go wrong with one file; the check goes on with the next one
ABOUT_A_FILE = (InputError, OSError, MemoryError)
COLUMNS = ("level", "brain", "section", "subject", "finding", "remedy")


@dataclass(frozen=True)
class Finding:
    """One finding before a run.

    Attributes
    ----------
    level : error (a run would fail or be wrong), warning (look at it), note, or ok.
    subject : scan, numbers, spacing, manual, template, disk, ...
    brain, section : "" for findings about the study or a whole brain.
    """

    level: str
    subject: str
    finding: str
    remedy: str = ""
    brain: str = ""
    section: int | str = ""

    def cells(self) -> list[str]:
        """The cells in the order of COLUMNS, without line breaks and tabs."""
        return [" ".join(str(getattr(self, name)).split()) for name in COLUMNS]

    def __str__(self) -> str:
        where = " ".join(str(word) for word in (self.brain, self.section) if word != "")
        text = f"{self.subject}{f' of {where}' if where else ''}: {self.finding}"
        return f"{text}; {self.remedy}" if self.remedy else text


def of_error(error: Exception, subject: str, brain: str = "", section: int | str = "") -> Finding:
    """The finding for an error; the message of an InputError names the remedy after a semicolon."""
    if not isinstance(error, InputError):
        reason = str(error) or type(error).__name__
        return Finding(ERROR, subject, reason, "check the disk and the memory", brain, section)
    finding, _, remedy = str(error).partition("; ")
    return Finding(ERROR, subject, finding, remedy, brain, section)


def of_check(
    check: Callable[[], str], subject: str, brain: str, section: int | str = ""
) -> Finding:
    """An OK finding with the text that `check` returns, or the error that it raises."""
    try:
        return Finding(OK, subject, check(), "", brain, section)
    except ABOUT_A_FILE as error:
        return of_error(error, subject, brain, section)


def some(items: list[int] | list[str]) -> str:
    """The first twelve of a list, and how many more there are."""
    shown = ", ".join(map(str, items[:12]))
    return shown + (f" and {len(items) - 12} more" if len(items) > 12 else "")
