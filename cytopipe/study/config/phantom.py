"""The section `phantom` of a preset, which `cytopipe phantom` reads; a study's config has none."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from cytopipe.study.config.base import ConfigSection, Name, Positive, Range, Role, field
from cytopipe.study.config.phantom_disturbances import (
    DamageOptions,
    HandlingOptions,
    SlideOptions,
    Staining,
)
from cytopipe.study.config.phantom_geometry import Geometry

PositiveRange = Annotated[Sequence[Positive], Field(min_length=2, max_length=2)]


class Phantom(ConfigSection):
    """The study that `cytopipe phantom` makes."""

    seed: int = field("The seed of every random number; the same seed gives the same bytes.", ge=0)
    surfaces: str = field(
        "fsaverage5, as shipped by nilearn; pycortex, one person's cortex with true folds, fetched "
        "from the package index; or a folder with pial_left.gii.gz, white_left.gii.gz, "
        "pial_right.gii.gz and white_right.gii.gz.",
        min_length=1,
    )
    brains: Annotated[dict[Name, Role], Field(min_length=1)] = field(
        "The name of each brain (letters, digits, _ and -) and its role."
    )
    workers: int = field(
        "The number of processes, one brain each; the result does not depend on it.", ge=1
    )
    image_right: Literal["R", "L"] = field(
        "The side of the brain that is on the right of an unmirrored image; as study.image_right."
    )
    spacing_um: float = field("The pixel size of level 0.", unit="um", gt=0)
    coarsest_um: float = field("The pixel size of the coarsest level.", unit="um", gt=0)
    thickness_um: float = field("The thickness of a section.", unit="um", gt=0)
    section_step: int = field(
        "The step from the number of one section on a slide to the next.", ge=1
    )
    margin_mm: float = field("The empty rim of a scan.", unit="mm", ge=0)
    truth_spacing_um: float = field("The pixel size of the truth's pages.", unit="um", gt=0)
    coordinates_spacing_um: float = field(
        "The pixel size of the truth's coordinates.", unit="um", gt=0
    )
    template_voxel_mm: float = field("The voxel size of template and atlas.", unit="mm", gt=0)
    depth_voxel_mm: float = field(
        "The voxel size of the true tissue and depth; 0.5 keeps the depth in mid-cortex correct "
        "to 0.013.",
        unit="mm",
        gt=0,
    )
    bend_mm: float = field(
        "The root mean square displacement that gives a brain its own shape.", unit="mm", ge=0
    )
    bend_wavelengths_mm: PositiveRange = field(
        "The shortest and the longest wave of the bend.", unit="mm"
    )
    bend_scale: float = field(
        "The largest share by which an axis is stretched or shrunk.", ge=0, le=0.3
    )
    callosum_mm: Sequence[Range] = field(
        "The line (A, S) of the corpus callosum in the template's midline; empty for none.",
        unit="mm",
    )
    callosum_radius_mm: float = field("Half the height of the corpus callosum.", unit="mm", ge=0)
    areas: int = field("The number of areas of a hemisphere.", ge=1, le=120)
    area_contrast: float = field(
        "The contrast between areas: 0 makes all alike, 1 keeps the tabulated differences.",
        ge=0,
        le=1.5,
    )
    individuality: float = field(
        "The share by which thickness, coverage and cells of an area's layers differ between "
        "brains.",
        ge=0,
        le=0.5,
    )
    background: float = field("The gray value of empty glass.", ge=1, le=249)
    stain: float = field(
        "The number of gray values by which a cell body darkens a pixel.", ge=0, le=249
    )
    stain_variation: float = field(
        "The largest share by which the stain of a section differs.", ge=0, le=0.5
    )
    cells_below_um: float = field(
        "Up to this pixel size, every cell is drawn; above it, the area that they cover.",
        unit="um",
        ge=0,
    )
    texture: float = field(
        "The standard deviation of the stain's grain, in units of stain.", ge=0, le=0.5
    )
    texture_length_mm: float = field(
        "The distance across the sections at which the grain's correlation is 1/e.",
        unit="mm",
        gt=0,
    )
    vessels_per_cm2: float = field(
        "The density of vessels that a section meets.", unit="1/cm2", ge=0
    )
    vessel_radius_mm: PositiveRange = field(
        "The smallest and the largest radius of a vessel.", unit="mm"
    )
    bridges: int = field(
        "The number of tissue bridges between the banks of sulci, per brain.", ge=0
    )
    tunnels: int = field("The number of holes across gyri, per brain.", ge=0)
    damage_radius_mm: PositiveRange = field(
        "The smallest and the largest radius of bridges and tunnels.", unit="mm"
    )
    rotation_deg: float = field("The largest rotation of a section.", unit="deg", ge=0, le=180)
    shift_mm: float = field("The largest shift of a section along x and y.", unit="mm", ge=0)
    mirrored: int = field("The number of sections per brain that are scanned face down.", ge=0)
    torn: int = field("The number of sections per brain with a part torn off.", ge=0)
    torn_share: float = field("The share of the pial contour that is torn off.", ge=0, le=1)
    blank: int = field("The number of sections per brain without tissue.", ge=0)
    missing: int = field("The number of sections per brain that are not in sections.tsv.", ge=0)
    dirty: int = field("The number of sections per brain with dust, blobs and a bubble.", ge=0)
    annotated_every: int = field(
        "Of the good sections of a brain, every n-th has contours of its areas.", ge=1
    )
    layer_patches: int = field(
        "The number of patches with masks of the layers, of all brains together.", ge=0
    )
    layer_patch_um: float = field(
        "The edge of such a patch; a third of the patches are smaller.", unit="um", gt=0
    )
    layer_spacing_um: float = field("The pixel size of such a patch.", unit="um", gt=0)
    staining: Staining = field("The stain, where it differs from the demo's.", default=Staining())
    damage: DamageOptions = field("Damage of the tissue.", default=DamageOptions())
    slide: SlideOptions = field("Slide and scanner.", default=SlideOptions())
    handling: HandlingOptions = field("Order and place of sections.", default=HandlingOptions())
    geometry: Geometry = field("Changes of the surfaces, and deep structures.", default=Geometry())

    def content(self) -> dict[str, Any]:
        """What decides the study's bytes: everything but the number of workers.

        Changes that are off are left out, so that older phantoms stay complete.
        """
        return self.model_dump(exclude={"workers"}, exclude_defaults=True)
