"""What is disturbed: the rows of the table of trust, before brain and seed are chosen.

A disturbance overrides the `phantom` section of a preset, and perhaps values of the config. Its
kind says how much of a brain is needed to see the harm, and how far the stages run.
"""

from dataclasses import dataclass, field
from typing import Any

Values = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A part of a brain that is enough for some disturbances.

    Attributes
    ----------
    text : for the table's page.
    phantom, config : overrides of the phantom and of the config.
    until : the last stage.
    """

    text: str
    phantom: Values
    config: Values
    until: str


_WHOLE = {"mirrored": 0, "torn": 0, "blank": 0, "missing": 0, "dirty": 0, "layer_patches": 0}
_WHOLE |= {"annotated_every": 1000, "coordinates_spacing_um": 4096, "workers": 1}
_WHOLE |= {"depth_voxel_mm": 1.0}  # one anatomy for all kinds

KINDS = {
    "sections": Kind(
        "8 sections 20 mm apart at 128 um, segmented",
        {**_WHOLE, "section_step": 1000, "spacing_um": 128, "truth_spacing_um": 128},
        {"segmentation": {"spacing_um": 128}},
        "segmentation",
    ),
    "chunk": Kind(
        "16 sections 1 mm apart at 256 um, segmented and aligned",
        {
            **_WHOLE,
            "section_step": 50,
            "spacing_um": 256,
            "truth_spacing_um": 256,
            "handling": {"slab_mm": [70.0, 85.5]},
        },
        {
            "segmentation": {"spacing_um": 256},
            "alignment": {"spacing_um": 256, "inlier_um": 400},
        },
        "alignment",
    ),
    "brain": Kind(
        "a whole brain, sections 4.2 mm apart at 256 um, up to coordinates",
        {
            **_WHOLE,
            "section_step": 210,
            "spacing_um": 256,
            "truth_spacing_um": 512,
            "coordinates_spacing_um": 2048,
        },
        {
            "segmentation": {"spacing_um": 256},
            "alignment": {"spacing_um": 256, "inlier_um": 900, "max_features": 1500},
            "reconstruction": {
                "voxel_mm": 2.1,
                "max_gap_mm": 13,
                "defect_radius_mm": 2,
                "defect_min_mm3": 100,
            },
            "midsurface": {"poisson_depth": 7, "edge_mm": 2.1},
            "midline": {"spacing_mm": 2.0},
            "coordinates": {"registration_mm": 3.0},
        },
        "coordinates",
    ),
    "folds": Kind(
        "the true tissue as a volume, up to the mid-surface",
        {**_WHOLE, "section_step": 5000, "spacing_um": 512, "truth_spacing_um": 512},
        {"midsurface": {"poisson_depth": 8}},
        "midsurface",
    ),
}


@dataclass(frozen=True)
class Disturbance:
    """One disturbance.

    Attributes
    ----------
    name : also of its brain in the study: letters, digits and -.
    text : what is disturbed.
    kind : of `KINDS`.
    phantom, config : overrides.
    """

    name: str
    text: str
    kind: str
    phantom: Values = field(default_factory=dict)
    config: Values = field(default_factory=dict)


def _of(kind: str, *rows: tuple[Any, ...]) -> list[Disturbance]:
    return [Disturbance(name, text, kind, *more) for name, text, *more in rows]


# as measured on a real human section: gray matter 128, slide 252 (248 is the phantom's brightest)
_FAINT = {"background": 248, "stain": 185}

DISTURBANCES = [
    *_of(
        "sections",
        ("nothing", "nothing"),
        (
            "faint-white",
            "white matter 0.26 of the way from gray matter to the slide",
            {**_FAINT, "staining": {"white_contrast": 0.26}},
        ),
        (
            "as-measured",
            "white matter at 0.3, pale layer I, arachnoid, gradient, unequal areas",
            {
                **_FAINT,
                "staining": {
                    "white_contrast": 0.3,
                    "pale_layer": 0.5,
                    "arachnoid": 0.1,
                    "gradient": 0.2,
                    "density": 0.15,
                },
            },
        ),
        (
            "pale-rim",
            "pale layer I, and arachnoid that spans the sulci",
            {"staining": {"pale_layer": 0.7, "arachnoid": 0.15}},
        ),
        (
            "gradient",
            "the stain changes by 60 % across the section",
            {"staining": {"gradient": 0.6}},
        ),
        (
            "batches",
            "the stain differs by up to 40 % between batches and 30 % between sections",
            {"staining": {"batches": 0.4}, "stain_variation": 0.3},
        ),
        ("density", "areas of dense and of sparse cells", {"staining": {"density": 0.35}}),
        ("faint-stain", "a quarter of the stain", {"stain": 40}),
        ("cracks", "8 cracks along the white matter per section", {"damage": {"cracks": 8.0}}),
        ("flaps", "a part of the rim folded over, in every section", {"damage": {"flaps": 1.0}}),
        ("pleats", "a pleat in every section", {"damage": {"pleats": 1.0}}),
        ("bubbles", "5 bubbles per section", {"damage": {"bubbles": 5.0}}),
        ("knife-marks", "15 knife marks per section", {"damage": {"knife_marks": 15.0}}),
        ("blocks", "2 blocks cut out per section", {"damage": {"blocks": 2.0}}),
        ("holes", "6 holes per section", {"damage": {"holes": 6.0}}),
        ("detached", "a detached lobe in every section", {"damage": {"detached": 1.0}}),
        ("ink", "8 pen marks per section", {"slide": {"ink": 8.0}}),
        ("labels", "paper labels", {"slide": {"labels": 1.5}}),
        ("scratches", "10 scratches of the glass per section", {"slide": {"scratches": 10.0}}),
        (
            "padding",
            "white padding around a tinted ground",
            {"background": 215, "slide": {"padding_mm": 12.0}},
        ),
        ("frame", "a black scanner frame", {"slide": {"frame_mm": 4.0}}),
        (
            "frame-padding",
            "a black frame inside white padding",
            {"background": 225, "slide": {"frame_mm": 3.0, "padding_mm": 8.0}},
        ),
        ("touching", "tissue cut by the edge of the scan", {"slide": {"touching": 1.0}}),
        (
            "touching-frame",
            "tissue that runs into a black frame",
            {"slide": {"touching": 1.0, "touching_mm": 6.0, "frame_mm": 4.0}},
        ),
        ("bits-16", "16 bits", {"slide": {"bits": 16}}),
        (
            "blank-16",
            "blank 16-bit slides among others",
            {"slide": {"bits": 16}, "blank": 2},
        ),
        ("blank-8", "blank slides among others", {"blank": 2}),
        ("vignetting", "corners 40 % darker", {"slide": {"vignetting": 0.4}}),
        (
            "everything",
            "the stain as measured with cracks, holes, knife marks, bubbles, ink and a gradient",
            {
                **_FAINT,
                "staining": {
                    "white_contrast": 0.35,
                    "pale_layer": 0.4,
                    "arachnoid": 0.08,
                    "gradient": 0.2,
                },
                "damage": {"cracks": 3.0, "holes": 1.0, "knife_marks": 5.0, "bubbles": 1.0},
                "slide": {"ink": 2.0, "scratches": 2.0, "vignetting": 0.15},
            },
        ),
    ),
    *_of(
        "chunk",
        ("chunk-nothing", "nothing"),
        (
            "no-texture",
            "no texture shared between sections",
            {"texture_length_mm": 0.01, "vessels_per_cm2": 0},
        ),
        (
            "no-texture-mirrored",
            "no shared texture, 3 sections mirrored",
            {"texture_length_mm": 0.01, "vessels_per_cm2": 0, "mirrored": 3},
        ),
        ("mirrored", "3 sections mirrored", {"mirrored": 3}),
        ("turned", "slides laid in any way, rotations up to 180 degrees", {"rotation_deg": 180}),
        (
            "turned-declared",
            "the same, with alignment.max_rotation_deg 180",
            {"rotation_deg": 180},
            {"alignment": {"max_rotation_deg": 180}},
        ),
        (
            "damaged",
            "cracks, holes, pleats, detached lobes, missing blocks and knife marks",
            {
                "damage": {
                    "cracks": 4.0,
                    "holes": 2.0,
                    "blocks": 0.3,
                    "pleats": 0.3,
                    "detached": 0.2,
                    "knife_marks": 8.0,
                }
            },
        ),
        (
            "fragments",
            "two gaps of 5 sections that no texture spans, the smallest fragment in the middle",
            {
                "texture_length_mm": 4.0,
                "vessels_per_cm2": 0,
                "handling": {"slab_mm": [70.0, 93.5], "gaps": [5, 5]},
            },
        ),
        (
            "excluded-end",
            "sections 0.3 mm apart, the last ten of a chunk of 32 excluded",
            {
                "section_step": 15,
                "handling": {
                    "slab_mm": [71.3, 79.0],
                    "excluded": 10,
                    "excluded_before": 3840,
                },
            },
            {"study": {"chunk_span": 480}},
        ),
        (
            "symmetric",
            "left and right nearly alike, 3 sections mirrored, no shared texture",
            {
                "geometry": {"symmetric": True},
                "texture_length_mm": 0.01,
                "vessels_per_cm2": 0,
                "mirrored": 3,
            },
        ),
    ),
    *_of(
        "brain",
        ("brain-nothing", "nothing"),
        ("upside-down", "all slides upside down", {"handling": {"turned_deg": 180.0}}),
        ("backwards", "numbered from front to back", {"handling": {"backwards": True}}),
        ("face-down", "all slides face down", {"handling": {"face_down": True}}),
        ("gap-6", "a gap of 6 sections", {"handling": {"gaps": [6]}}),
        (
            "brain-no-texture",
            "no texture shared between sections",
            {"texture_length_mm": 0.01, "vessels_per_cm2": 0},
        ),
        ("one-hemisphere", "the left hemisphere alone", {"geometry": {"hemispheres": "L"}}),
        (
            "missing-lobe",
            "without the right temporal pole",
            {"geometry": {"missing_block": [0.0, 0.7, -0.7, 25.0]}},
        ),
        ("sagittal", "sagittal sections", {"geometry": {"cut": "sagittal"}}),
    ),
    *_of(
        "folds",
        (
            "folds-1mm",
            "voxels of 1 mm",
            {},
            {"reconstruction": {"voxel_mm": 1.0}, "midsurface": {"edge_mm": 1.0}},
        ),
        (
            "folds-05mm",
            "voxels of 0.5 mm",
            {"depth_voxel_mm": 0.5},
            {"reconstruction": {"voxel_mm": 0.5}, "midsurface": {"edge_mm": 0.7}},
        ),
    ),
]
