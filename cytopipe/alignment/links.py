"""The usable pairs of a brain, as links between unmirrored sections."""

from dataclasses import dataclass, replace

import numpy as np

from cytopipe.formats.tables import ACCEPTED, UNCERTAIN, PairRow
from cytopipe.numerics.geometry import Rigid, unmirror

# method of a pair whose transform a person gave
PERSON = "person"


@dataclass(frozen=True)
class Link:
    """A usable pair: `rigid` moves the unmirrored moving section to the unmirrored fixed one.

    `gap_um` is the distance of the sections along z, `sigma_um` the standard deviation of the
    shift, x or y.
    """

    fixed: int
    moving: int
    rigid: Rigid
    distance: int
    certain: bool
    manual: bool
    gap_um: float
    sigma_um: float

    @property
    def sections(self) -> tuple[int, int]:
        """The two sections, the lower number first."""
        return min(self.fixed, self.moving), max(self.fixed, self.moving)

    def to(self, section: int) -> Rigid:
        """The transform that leads to one of the two sections from the other."""
        return self.rigid if section == self.fixed else self.rigid.inverse()


def links_of(
    pairs: list[PairRow],
    mirrored: dict[int, bool],
    sizes_um: dict[int, tuple[float, float]],
    thickness_um: float,
    anatomy_ratio: float,
) -> list[Link]:
    """The usable pairs.

    A pair that the parts of the tissue do not confirm follows the anatomy, which moves by
    `anatomy_ratio` of the distance between the sections.
    """
    links = []
    for pair in pairs:
        rigid = pair.rigid
        if rigid is None or pair.status not in (ACCEPTED, UNCERTAIN):
            continue
        rigid = replace(rigid, source=str(pair.moving), target=str(pair.fixed))
        if mirrored[pair.fixed]:
            # the transform leads to the fixed section as scanned, which is seen from behind
            rigid = unmirror(rigid, sizes_um[pair.moving][0], sizes_um[pair.fixed][0])
        gap_um = abs(pair.moving - pair.fixed) * thickness_um
        sigma_um = pair.sigma_um if np.isfinite(pair.sigma_um) else anatomy_ratio * gap_um
        certain, manual = pair.status == ACCEPTED, pair.method == PERSON
        links.append(
            Link(pair.fixed, pair.moving, rigid, pair.distance, certain, manual, gap_um, sigma_um)
        )
    return links


def fragments_of(sections: list[int], links: list[Link]) -> list[list[int]]:
    """The sections that certain pairs connect, the largest fragment first, each in order."""
    root = {section: section for section in sections}

    def top(section: int) -> int:
        while root[section] != section:
            section = root[section]
        return section

    for link in links:
        if link.certain:
            one, other = sorted((top(link.fixed), top(link.moving)))
            root[other] = one
    fragments: dict[int, list[int]] = {}
    for section in sections:
        fragments.setdefault(top(section), []).append(section)
    return sorted(fragments.values(), key=lambda fragment: (-len(fragment), fragment[0]))
