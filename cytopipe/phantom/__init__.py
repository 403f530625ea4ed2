"""Brains whose truth is known, written as a study like that of a lab.

Closed pial and white surfaces (nilearn's fsaverage5 by default) are bent by a known smooth map,
filled with six layers and with areas that differ in their cells, cut into coronal sections,
stained, displaced, mirrored, torn and soiled. The truth is written beside the images, for the
scores only. Part of it is also written as a lab's input, `annotations/` (see `annotating`). The
modelling choices are described in `structure`, `cytoarchitecture` and `rendering`.

The surfaces, tissue volume and depth of the truth are those of the undamaged anatomy. The corpus
callosum is white matter in the tissue, but not part of the surfaces. The pages of a section show
what its image shows: with bridges and tunnels, without the torn-off part. They do not mark vessels.

A preset can make the sections difficult (`staining`, `damage`, `slide`, `handling`). Their pages
then lack what is cracked, cut out or lost, and show displaced pieces where they lie, with the
template coordinates of where they grew. Where tissue lies on tissue, they show the upper piece:
the one that lies where it grew. Ink, labels, scratches and bubbles change images alone.
"""

from cytopipe.phantom.study import run

__all__ = ["VERSION", "run"]

VERSION = 3
