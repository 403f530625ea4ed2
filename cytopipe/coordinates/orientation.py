"""The coarse fit of a brain to the template: where a registration starts, and how the brain lies.

Not in the papers. Sections that are numbered backwards, lie upside down or show the wrong side make
a volume that is flipped along an axis. A registration bends a flipped brain until it looks right,
so that nobody notices. Therefore all flips are tried here, on coarse images, and compared. So are
the other ways to cut a brain, and the parts of the template that the brain may lack.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cytopipe.coordinates.coarse_fit import FLIPS, OTHER_AXES, Fit, Search
from cytopipe.coordinates.direction import middle_mm
from cytopipe.coordinates.gaps import fit_without_gaps
from cytopipe.formats.tables.brain_rows import FAILED, OK, UNCLEAR, CheckRow
from cytopipe.formats.volumes import Volume
from cytopipe.numerics.geometry import Floats
from cytopipe.study import masks
from cytopipe.study.config import Coordinates
from cytopipe.study.declarations import Hemispheres

# starts that are optimised for the expected orientation, and evaluations of each; chosen
_FOLLOWED, _EVALUATIONS = 2, 800
# evaluations for each other orientation, which only has to be compared; chosen
_FEWER_EVALUATIONS = 300
# other planes of cutting that are optimised, the best of 40; chosen
_OTHER_PLANES = 2


WHOLE = "whole"
# the checks that a wrong orientation fails, before what depends on the brain
TURNED = (
    "correlation with the template, plain or mirrored, minus that of the best other orientation"
)
MIRRORED = "correlation with the template, minus that of the mirrored brain"


@dataclass(frozen=True)
class Orientation:
    """The fits of a brain in all orientations to the part of the template that is most like it.

    Attributes
    ----------
    part : name of the part of the template.
    template, start : this part without the tissue that the brain lacks, and the fit to it, (4, 4)
        from the stack to the template.
    is_undeclared : whether the whole template was tried as well: the lab declared no hemisphere.
    expected : fit of the brain as it is.
    others : all other orientations that were tried, by their directions.
    """

    part: str
    template: Volume
    start: Floats
    is_undeclared: bool
    expected: Fit
    others: dict[str, Fit]


def parts_of(
    template: Volume, exclusion: Path | None, hemispheres: Hemispheres
) -> dict[str, Volume]:
    """The template and the parts of it that a brain may consist of, by name; the likeliest first.

    Parameters
    ----------
    exclusion : mask of what is not cortex, template RAS mm (`study.masks`), or None.
    hemispheres : those that the lab declares; if it does not say, each one alone is a part as well.
    """
    parts = {WHOLE: template}
    if exclusion is not None:
        indices = np.argwhere(template.data > 0)
        points_mm = template.to_mm(indices)
        held = np.any([segment.holds(points_mm) for segment in masks.read_mask(exclusion)], axis=0)
        cortex = template.data.copy()
        cortex[tuple(indices[held].T)] = 0
        parts["cortex"] = Volume(cortex, template.affine)
    r_mm = template.affine[0, 3] + template.affine[0, 0] * np.arange(template.data.shape[0])
    is_left = (r_mm < middle_mm(template))[:, None, None]
    sides = {"": ("left", "right"), "both": ()}.get(hemispheres, (hemispheres,))
    halves = {
        f"{side} half" if name == WHOLE else f"{side} half of the {name}": Volume(
            np.where(is_left == (side == "left"), part.data, 0).astype(np.uint8), part.affine
        )
        for name, part in parts.items()
        for side in sides
    }
    return {**parts, **halves} if hemispheres in ("", "both") else halves


def find_orientation(
    tissue: Volume, parts: Mapping[str, Volume], params: Coordinates
) -> Orientation:
    """Fit a brain to the template in every orientation.

    Centres of mass and radii of gyration give shift and scale. Turns about each of the three axes
    are compared by the correlation of coarse images, and the best of them are optimised.

    Parameters
    ----------
    tissue : stack RAS mm.
    parts : the template and parts of it on the same grid, by name; see `_likeliest_part`.
    """
    whole = next(iter(parts.values()))
    searches = {name: Search(tissue, part, whole, params) for name, part in parts.items()}
    part = next(iter(searches))
    if len(searches) > 1:
        part = _likeliest_part(searches, params.min_orientation_margin)
    search = searches[part]
    others = [search.starts([axes], 1)[0] for axes in FLIPS[1:]]
    others += search.starts(OTHER_AXES, _OTHER_PLANES)
    fits = [search.optimised([start], _FEWER_EVALUATIONS) for _, *start in others]
    expected = [start for _, *start in search.starts(FLIPS[:1], _FOLLOWED)]
    own = search.optimised(expected, _EVALUATIONS)
    rest, template = fit_without_gaps(tissue, parts[part], own, params)
    return Orientation(
        part,
        template,
        rest.matrix,
        WHOLE in parts,
        own,
        {fit.directions: fit for fit in fits},
    )


def orientation_rows(brain: str, lies: Orientation, margin: float) -> list[CheckRow]:
    """Checks of how a brain lies, for a person (see `checks`).

    The coarse fit of a whole brain does not show whether left and right are exchanged
    (`left_right` does); that of half a brain shows it.

    Parameters
    ----------
    margin : two correlations that differ by less tell nothing.
    """
    own = lies.expected.similarity
    mirrored = lies.others["LAS"]
    others = {name: fit for name, fit in lies.others.items() if name != "LAS"}
    best = max(others, key=lambda name: others[name].similarity)
    undeclared = ""
    if "half" in lies.part and lies.is_undeclared:
        undeclared = (
            f"the brain looks like the {lies.part} of the template: declare it in the column "
            "hemispheres of config/brains.tsv"
        )

    def judged(check: str, gain: float, other: str, otherwise: str) -> CheckRow:
        status = OK if gain >= margin else FAILED if gain <= -margin else otherwise
        limit = f"at least {margin:g}" if status else ""
        remedy = remedy_of(other) if status in (FAILED, UNCLEAR) else ""
        return CheckRow(brain, check, gain, "", limit, status, remedy)

    return [
        CheckRow(
            brain,
            f"correlation with the template ({lies.part})",
            own,
            unit="",
            limit="",
            status=FAILED if undeclared else "",
            remedy=undeclared,
        ),
        judged(TURNED, max(own, mirrored.similarity) - others[best].similarity, best, UNCLEAR),
        judged(MIRRORED, own - mirrored.similarity, "LAS", ""),
    ]


def remedy_of(directions: str) -> str:
    """What to change if the stack's R, A and S point to these directions of the brain."""
    if directions == "LAS":
        return (
            "left and right are exchanged: set study.image_right in config/config.yaml to the "
            "other side, or the column hemispheres in config/brains.tsv"
        )
    if directions[1] not in "AP":
        plane = "sagittal" if directions[1] in "RL" else "horizontal"
        return (
            f"the brain seems to be cut in {plane} sections, and cytopipe needs coronal ones; if "
            "they are coronal, look at the alignment"
        )
    place = "place the brain's centre section with onto=stack, angle_rad={} and x_um, y_um in "
    place += "manual/{{brain}}/sections.tsv (docs/new-brain.md)"
    steps = []
    if directions[1] == "P":
        steps.append(
            "the sections are numbered from front to back: reverse the numbers in the column "
            "section of config/sections.tsv, so that they grow from back to front"
        )
    if directions[0] in "SI":
        steps.append(f"the sections lie on their side: {place.format('1.5708 or -1.5708')}")
    elif directions[2] == "I":
        steps.append(f"the sections lie upside down: {place.format('3.1416')}")
    return "; ".join([*steps, "then check which side of the brain study.image_right names"])


def _likeliest_part(searches: Mapping[str, Search], margin: float) -> str:
    """The part of the template that a brain is most like.

    Of parts that fit equally well, within the margin, one that fits the brain as it lies is
    preferred to one that fits its mirror image, and then the first of all.
    """
    starts = []
    for name, search in searches.items():
        (_, *best), (_, *own) = search.starts(FLIPS, 1)[0], search.starts(FLIPS[:1], 1)[0]
        starts += [(name, True, own)] + [(name, False, best)] * (best[0] is not own[0])
    fits = [
        (name, lies_so, searches[name].optimised([start], _FEWER_EVALUATIONS))
        for name, lies_so, start in starts
    ]
    highest = max(fit.similarity for _, _, fit in fits)
    good = [each for each in fits if each[2].similarity > highest - margin]
    first = next(iter(searches))
    return max(good, key=lambda each: (each[1], each[0] == first, each[2].similarity))[0]
