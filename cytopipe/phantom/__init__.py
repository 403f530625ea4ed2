"""Brains whose truth is known, written as a study like any lab's.

Closed pial and white surfaces (nilearn's fsaverage5 by default) are bent per brain by a known
smooth map, filled with six layers and with areas that differ in their cells, cut into coronal
sections, stained, displaced, mirrored, torn and soiled. The truth is written beside the images and
read by the scores alone; some of it is also written as a lab's own input, `annotations/`: contours
of areas, patches with layers and cells, layer thicknesses (see `annotating`). Modelling choices:
see `structure` (what runs through the sections), `cytoarchitecture` (areas), `rendering` (cells and
stain).

The truth's surfaces, tissue volume and depth are the undamaged anatomy; the corpus callosum, which
joins the hemispheres, is white matter in the tissue but no part of the surfaces. The truth's pages
of a section are what its image shows: with bridges and tunnels, without the torn-off part. Vessels
are not marked in them.
"""

from cytopipe.phantom.study import run

__all__ = ["VERSION", "run"]

VERSION = 3
