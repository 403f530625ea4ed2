"""Results of a study in the formats of other tools, with one module per format.

`write(brains, folder, params)` of each module fills an empty folder. The README.md of every
exported folder and docs/export.md describe frames and units, and how to open the files.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Params:
    """The options of an export.

    Attributes
    ----------
    run : pretraining run whose features and predicted areas are shown on surfaces, or None.
    components : number of principal components of the features.
    clusters, seed : number of k-means clusters of the features, and their seed.
    reach_mm : largest distance from a point at which its values are used; None for half the section
        spacing plus 2 mm.
    """

    run: str | None
    components: int
    clusters: int
    seed: int
    reach_mm: float | None


# name of a format, which is also the module that writes it, to its description
FORMATS = {
    "csv": "points and sections as CSV, with units in a JSON file beside each",
    "nifti": "tissue, depth and areas as NIfTI volumes, in the stack and in the template",
    "gifti": "surfaces and per-vertex maps for nilearn, FreeView and Connectome Workbench",
    "geojson": "midlines, points and tissue outlines of each section for QuPath",
    "bids": "a BIDS derivatives data set",
    "openminds": "points as openMINDS SANDS JSON-LD, for the EBRAINS knowledge graph",
    "neuroglancer": "points and tissue as Neuroglancer precomputed layers",
}
