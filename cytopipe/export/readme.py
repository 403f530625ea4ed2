"""README.md of an exported folder: content, brains, frames and units."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from cytopipe.export import FORMATS
from cytopipe.files import atomic_write
from cytopipe.study.results import BrainResults


def write(name: str, brains: Sequence[BrainResults], folder: Path) -> None:
    """Write README.md: the page of format `name`, then frames and brains."""
    about, frames = (Path(__file__).with_name(f"{page}.md") for page in (name, "frames"))
    rows = [
        f"| {brain.name} | {len(brain.stack)} | {len(brain.points)} | {int(brain.usable.sum())} "
        f"| {brain.image_right} |\n"
        for brain in brains
    ]
    title = FORMATS[name][0].upper() + FORMATS[name][1:]
    text = (
        f"# Export of cytopipe {version('cytopipe')}: {name}\n\n{title}.\n\n"
        f"{about.read_text().strip()}\n\n"
        f"{frames.read_text().format(template=brains[0].template)}{''.join(rows)}"
    )
    with atomic_write(folder / "README.md") as beside:
        beside.write_text(text)
