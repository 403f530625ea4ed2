"""Tables of a whole brain or study: repairs, surfaces, checks, and the truth table."""

from dataclasses import dataclass
from typing import Annotated

from cytopipe.formats.tables.parquet import Row

# statuses of a check
OK, FAILED, UNCLEAR = "ok", "failed", "cannot tell"
# status of a hemisphere that a brain lacks
ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class RepairRow(Row):
    """A change to the reconstructed volume: reconstruction/{brain}/repairs.parquet."""

    brain: Annotated[str, "brain"]
    kind: Annotated[str, "defect (median's value taken), fragment (dropped), excluded (mask)"]
    volume_mm3: Annotated[float, "mm3", "size"]
    r_mm: Annotated[float, "mm", "centre of mass, stack RAS"]
    a_mm: Annotated[float, "mm", "centre of mass, stack RAS"]
    s_mm: Annotated[float, "mm", "centre of mass, stack RAS"]


@dataclass(frozen=True, slots=True)
class SurfaceRow(Row):
    """The mesh of a hemisphere: midsurface/{brain}/surfaces.parquet."""

    brain: Annotated[str, "brain"]
    hemisphere: Annotated[str, "L or R"]
    components: Annotated[int, "connected components of the final mesh"]
    euler: Annotated[int, "Euler number of the final mesh (2: a sphere)"]
    manifold: Annotated[bool, "every edge has two faces"]
    euler_before: Annotated[int, "Euler number of the isosurface without topology correction"]
    voxels_removed: Annotated[int, "voxels taken from the solid to correct its topology"]
    voxels_added: Annotated[int, "voxels added to the solid to correct its topology"]
    voxels_opened: Annotated[int, "voxels of the sheets between fused banks (open_sulci)"]
    vertices: Annotated[int, "vertices of the final mesh"]
    edge_median_mm: Annotated[float, "mm", "median edge length"]
    edge_in_range: Annotated[float, "share of edges within 0.8 to 1.33 of the target"]
    area_mm2: Annotated[float, "mm2", "area of the surface"]
    gray_mm3: Annotated[float, "mm3", "gray matter of the hemisphere"]
    volume_ratio: Annotated[float, "gray_mm3 over area over median thickness; more: lost folds"]
    lost_share: Annotated[float, "gray matter farther than lost_mm from the surface"]
    buried_share: Annotated[float, "the part of lost_share inside the surface: sulci passed over"]
    missed_share: Annotated[
        float, "gray matter at half depth farther than lost_mm from the surface"
    ]
    unassigned_mm3: Annotated[float, "mm3", "tissue of the brain that is in no hemisphere"]
    lost_places: Annotated[str, "largest clusters of lost gray matter, stack RAS mm, worst first"]
    status: Annotated[str, "ok, doubtful: the reasons, or what is wrong"]

    @classmethod
    def absent(cls, brain: str, hemisphere: str) -> "SurfaceRow":
        """The row of a hemisphere that the brain lacks."""
        return cls(
            brain=brain,
            hemisphere=hemisphere,
            components=0,
            euler=0,
            manifold=False,
            euler_before=0,
            voxels_removed=0,
            voxels_added=0,
            voxels_opened=0,
            vertices=0,
            edge_median_mm=0.0,
            edge_in_range=0.0,
            area_mm2=0.0,
            gray_mm3=0.0,
            volume_ratio=0.0,
            lost_share=0.0,
            buried_share=0.0,
            missed_share=0.0,
            unassigned_mm3=0.0,
            lost_places="",
            status=ABSENT,
        )

    @property
    def is_absent(self) -> bool:
        """The brain lacks the hemisphere, as config/brains.tsv declares."""
        return self.status == ABSENT

    @property
    def is_ok(self) -> bool:
        """Nothing speaks against the surface."""
        return self.status.startswith(OK) or self.is_absent

    @property
    def places(self) -> list[str]:
        """The entries of `lost_places`."""
        return self.lost_places.split("; ") if self.lost_places else []

    @property
    def alarm(self) -> str:
        """What is wrong and where to look; "" if nothing is."""
        if self.is_ok:
            return ""
        look = f"; look at {self.lost_places}" if self.lost_places else ""
        return f"SURFACE {self.hemisphere}: {self.status}{look}"


@dataclass(frozen=True, slots=True)
class CheckRow(Row):
    """A check of the way from the sections to the template: coordinates/{brain}/checks.parquet."""

    brain: Annotated[str, "brain"]
    check: Annotated[str, "what is checked"]
    value: Annotated[float, "measured value; NaN if there was nothing to measure"]
    unit: Annotated[str, "unit of value and limit"]
    limit: Annotated[str, "e.g. at most 0.01; empty if the value is only reported"]
    status: Annotated[str, "ok, failed, cannot tell, or empty if the value is only reported"]
    remedy: Annotated[str, "where to look and what to do if the check is not passed"]

    @property
    def has_failed(self) -> bool:
        """The value is beyond its limit."""
        return self.status == FAILED

    @property
    def needs_a_look(self) -> bool:
        """The check is not passed."""
        return self.status in (FAILED, UNCLEAR)

    @property
    def alarm(self) -> str:
        """What is wrong and what to do; "" if the check is passed."""
        if not self.needs_a_look:
            return ""
        measured = f"{self.value:.3g} {self.unit}".strip()
        return (
            f"CHECK {'FAILED' if self.has_failed else 'CANNOT TELL'}: "
            f"{self.check}: {measured}, {self.limit}; {self.remedy}"
        )


@dataclass(frozen=True, slots=True)
class TruthRow(Row):
    """A result compared with the truth of a phantom: report/truth.tsv."""

    metric: Annotated[str, "what is scored"]
    brain: Annotated[str, "brain, or all"]
    value: Annotated[float, "measured value"]
    unit: Annotated[str, "unit of value and goal"]
    goal: Annotated[str, "e.g. at least 0.92; empty if the value is only reported"]
    met: Annotated[str, "yes, no, or empty if the value is only reported"]

    @property
    def is_missed(self) -> bool:
        """The value has a goal and misses it."""
        return self.met == "no"
