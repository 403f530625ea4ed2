"""Cytoarchitectonic features of whole human brains, from scanned sections to scores."""

__version__ = "0.1.0"
