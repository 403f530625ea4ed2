"""Results of a study in the formats of other tools: a module a format, which only reads.

`write(brains, folder, params)` of each module fills an empty folder. Frames, units and the way to
open it are said in the README.md of every exported folder and in docs/export.md.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Params:
    """What a person may choose about an export.

    Attributes
    ----------
    run : pretraining run whose features and predicted areas are shown on surfaces; None for none.
    components : principal components of the features.
    clusters : k-means clusters of the features.
    seed : of the clusters.
    reach_mm : how far a point stands for its surroundings; None for half the distance of sections
        and 2 mm.
    """

    run: str | None
    components: int
    clusters: int
    seed: int
    reach_mm: float | None


# name of a format to what it is for; a module of the same name writes it
FORMATS = {
    "csv": "points and sections as CSV, with units in a JSON file beside each",
    "nifti": "tissue, depth and areas as NIfTI volumes, in the stack and in the template",
    "gifti": "surfaces and per-vertex maps for nilearn, FreeView and Connectome Workbench",
    "geojson": "midlines, points and tissue outlines of each section for QuPath",
    "bids": "a BIDS derivatives data set",
    "openminds": "points as openMINDS SANDS JSON-LD, for the EBRAINS knowledge graph",
    "neuroglancer": "points and tissue as Neuroglancer precomputed layers",
}
