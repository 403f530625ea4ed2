"""What a lab declares about a brain in brains.tsv, because the images do not show it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from cytopipe.files import InputError
from cytopipe.formats.text import read_table, whole
from cytopipe.study.sections import BRAIN_COLUMNS

Hemispheres = Literal["", "both", "left", "right"]


@dataclass(frozen=True)
class Declarations:
    """Optional columns of brains.tsv.

    Attributes
    ----------
    hemispheres : `left` or `right` if the brain has only this one, `both` if it has two although it
        does not look like it, "" if it has two.
    cuts : sections after which tissue is truly missing, so that the gap is not bridged.
    """

    hemispheres: Hemispheres = ""
    cuts: tuple[int, ...] = ()


def read_declarations(path: Path) -> dict[str, Declarations]:
    """The declarations of each brain of brains.tsv.

    Raises
    ------
    InputError
        For an unknown word in `hemispheres`, or a cut that is not a section number.
    """
    declared = {}
    for line, row in read_table(path, *BRAIN_COLUMNS):
        word = next((known for known in get_args(Hemispheres) if known == row["hemispheres"]), None)
        if word is None:
            raise InputError(
                f"{path} line {line}: hemispheres is {row['hemispheres']!r}; use left, right, both "
                "or leave it empty"
            )
        try:
            cuts = [whole(n, "a number") for n in row["cuts"].replace(",", " ").split()]
        except InputError:
            raise InputError(
                f"{path} line {line}: cuts is {row['cuts']!r}; list the numbers of the sections "
                "before each gap, separated by spaces"
            ) from None
        declared[row["brain"]] = Declarations(word, tuple(cuts))
    return declared
