"""Whether supplied transforms put a brain into the template, before there is a stack."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cytopipe.commands.check.scans import Scanned
from cytopipe.coordinates.chains import SuppliedTransforms
from cytopipe.coordinates.direction import MOST_OUTSIDE, outside, tissue_points_mm
from cytopipe.files import InputError
from cytopipe.formats import volumes
from cytopipe.formats.volumes import Volume
from cytopipe.numerics.geometry import Floats, ImageRight, stack_to_ras

# points along each edge of the box of a stack, or of a section
_ALONG = 9


class BrainPlace:
    """Where a brain lies in its stack: by its volume, or by the box of its scans.

    The frame of the stack is that of a section in the middle, so that the box of the scans holds
    the brain but for small shifts (`alignment.placing`). A share of the box is slide.
    """

    def __init__(
        self, study: Path, brain: str, scanned: Sequence[Scanned], image_right: ImageRight
    ) -> None:
        made = study / "results" / "reconstruction" / brain / "tissue.nii.gz"
        own = study / "manual" / brain / "tissue.nii.gz"
        existing = [path for path in (own, made) if path.exists()]
        self.is_volume = bool(existing)
        self.points_mm = (
            tissue_points_mm(volumes.read_tissue(existing[0]))
            if existing
            else _box_mm([scan for scan in scanned if scan.section.brain == brain], image_right)
        )

    def check(self, transform: Callable[[Floats], Floats], template: Volume, what: str) -> None:
        """Raise InputError if a transform puts the brain outside the template.

        The box of the scans tells only if all of it lies outside.
        """
        if len(self.points_mm):
            mapped = transform(self.points_mm)
            _refuse(mapped, template, MOST_OUTSIDE if self.is_volume else 1.0, what)


def check_sections(
    supplied: SuppliedTransforms, place: BrainPlace, template: Volume, table: Path
) -> None:
    """Raise InputError if a section's own transform puts all of it outside the template."""
    for number, transform in supplied.sections.items():
        place.check(transform, template, f"{table}: section {number}")
    edge = np.linspace(0, 1, _ALONG)
    shares = np.stack(np.meshgrid(edge, edge), axis=-1).reshape(-1, 2)
    for number, anchored in supplied.anchored.items():
        mapped = anchored.target.to_mm(anchored.anchoring.to_voxels(shares))
        if anchored.after is not None:
            mapped = anchored.after(mapped)
        _refuse(mapped, template, 1.0, f"{table}: section {number}, {anchored.where}")


def _refuse(mapped: Floats, template: Volume, most: float, what: str) -> None:
    known = mapped[np.isfinite(mapped).all(axis=1)]
    if not len(known):
        return
    share = float(outside(known, template).mean())
    if share == 1.0 or share > most:
        middle = ", ".join(f"{value:.0f}" for value in np.median(known, axis=0))
        raise InputError(
            f"{what}: puts {100 * share:.0f} % of the brain outside the template, its middle at "
            f"{middle} mm; look at the spaces between which it moves, their unit and `moves`"
        )


def _box_mm(scanned: Sequence[Scanned], image_right: ImageRight) -> Floats:
    """RAS mm of points in the box of a stack, (n, 3); none if no scan can be read."""
    sizes_um = [
        (level.width * scan.section.spacing_um, level.height * scan.section.spacing_um)
        for scan in scanned
        if scan.examination is not None
        for level in scan.examination.levels[:1]
    ]
    if not sizes_um:
        return np.zeros((0, 3))
    z_um = [scan.section.section * scan.section.thickness_um for scan in scanned]
    width_um, height_um = np.max(sizes_um, axis=0)
    edges = [(0.0, width_um), (0.0, height_um), (min(z_um), max(z_um))]
    axes = [np.linspace(low, high, _ALONG) for low, high in edges]
    return stack_to_ras(np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3), image_right)
