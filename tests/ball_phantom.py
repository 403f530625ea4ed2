"""A phantom of two balls, whose truth is a formula."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cytopipe.formats import surfaces
from cytopipe.phantom.brain import Brain
from cytopipe.phantom.handling import ScannedSection
from cytopipe.phantom.study import scan_sections
from cytopipe.study.config import Phantom

PRESET = Path(__file__).parents[1] / "config" / "presets" / "demo.yaml"
PIAL_MM, WHITE_MM, MIDDLE_MM = 18.0, 13.0, 20.0


def ball(radius: float, middle: Any, rings: int = 40) -> surfaces.Surface:
    """A closed sphere of meridians and parallels, normals outwards."""
    around = 2 * rings
    theta = np.linspace(0, np.pi, rings + 1)[1:-1]
    phi = np.arange(around) * 2 * np.pi / around
    grid = np.stack(
        [
            np.outer(np.sin(theta), np.cos(phi)),
            np.outer(np.sin(theta), np.sin(phi)),
            np.outer(np.cos(theta), np.ones(around)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    points = np.concatenate([grid, [[0, 0, 1], [0, 0, -1]]]) * radius + middle
    faces = []
    top, bottom = len(grid), len(grid) + 1
    for k in range(around):
        n = (k + 1) % around
        faces.append((top, k, n))
        last = (rings - 2) * around
        faces.append((bottom, last + n, last + k))
        for ring in range(rings - 2):
            a, b = ring * around + k, ring * around + n
            faces += [(a, a + around, b), (b, a + around, b + around)]
    return surfaces.Surface(points, np.array(faces, np.int32))


def preset(**changes: Any) -> Phantom:
    given = yaml.safe_load(PRESET.read_text())["phantom"]
    return Phantom(**{**given, **changes})


def finer(brain: Brain, spacing_um: float, **changes: Any) -> tuple[Brain, ScannedSection]:
    """A good section of a brain as if scanned at another resolution."""
    whole = next(s for s in scan_sections(brain)[4:] if s.condition == "good" and not s.mirrored)
    changed = dataclasses.replace(brain, params=brain.params.model_copy(update=changes))
    return changed, whole.scanned_at(spacing_um)
