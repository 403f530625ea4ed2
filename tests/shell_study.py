"""A study of one brain made of two spherical shells, whose every answer is a formula."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from table_rows import row

from cytopipe.formats import images, surfaces, tables, transforms, volumes
from cytopipe.numerics.geometry import (
    Rigid,
    mirror,
    pixels_to_section,
    ras_to_stack,
    stack_to_ras,
)
from cytopipe.truth.ground_truth import TruthBrain

PIAL_MM, WHITE_MM = 14.0, 11.0
MIDDLE_MM = (PIAL_MM + WHITE_MM) / 2
# Laplace between two spheres: depth = (1/r - 1/pial) / (1/white - 1/pial), 0.5 at this radius
HALF_MM = 2 * PIAL_MM * WHITE_MM / (PIAL_MM + WHITE_MM)
CENTRES = {"L": np.array([-16.0, 30.0, -20.0]), "R": np.array([16.0, 30.0, -20.0])}
SPACING_UM, FULL_UM, COARSE_UM = 256.0, 128.0, 1024.0
COLUMNS, ROWS = 300, 180
WIDTH_UM = COLUMNS * SPACING_UM - FULL_UM
SECTIONS = [int(n) for n in np.arange(820, 2300, 100)]
# what the template does to the stack: one linear map, so that its coordinates are a formula
TO_TEMPLATE = np.array([[1.1, 0.05, 0.0], [0.0, 0.95, 0.02], [0.0, 0.0, 1.05]])


def icosphere(levels: int) -> surfaces.Surface:
    """A closed mesh of nearly even triangles on the unit sphere."""
    golden = (1 + 5**0.5) / 2
    corners = [(0, a, b * golden) for a in (-1, 1) for b in (-1, 1)]
    vertices = np.array([np.roll(c, turn) for turn in range(3) for c in corners], float)
    distance = np.linalg.norm(vertices[:, None] - vertices[None], axis=2)
    near = np.isclose(distance, 2)
    faces = [
        (a, b, c)
        for a in range(12)
        for b in range(a + 1, 12)
        for c in range(b + 1, 12)
        if near[a, b] and near[b, c] and near[a, c]
    ]
    faces = np.array([f if np.linalg.det(vertices[list(f)]) > 0 else f[::-1] for f in faces])
    for _ in range(levels):
        corners3 = vertices[faces]
        middles = (corners3 + np.roll(corners3, -1, axis=1)) / 2
        a, b, c = corners3.transpose(1, 0, 2)
        ab, bc, ca = middles.transpose(1, 0, 2)
        split = np.concatenate(
            [np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
        )
        keys = np.round(split.reshape(-1, 3), 9)
        vertices, inverse = np.unique(keys, axis=0, return_inverse=True)
        faces = inverse.reshape(-1, 3)
    vertices = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    return surfaces.Surface(vertices, faces.astype(np.int32))


BALL = icosphere(4)


def ball(hemisphere: str, radius_mm: float) -> surfaces.Surface:
    return surfaces.Surface(CENTRES[hemisphere] + radius_mm * BALL.vertices, BALL.faces)


def template_of(stack_mm: np.ndarray) -> np.ndarray:
    return stack_mm @ TO_TEMPLATE + (1.0, -2.0, 3.0)


def shells(stack_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tissue label and Laplacian depth of points in the true stack."""
    radius = np.min([np.linalg.norm(stack_mm - c, axis=-1) for c in CENTRES.values()], axis=0)
    tissue = np.where(radius < WHITE_MM, 2, np.where(radius < PIAL_MM, 1, 0)).astype(np.uint8)
    depth = (1 / np.maximum(radius, 1e-9) - 1 / PIAL_MM) / (1 / WHITE_MM - 1 / PIAL_MM)
    return tissue, np.where(tissue == 1, depth, np.nan)


def grid_um(spacing_um: float) -> np.ndarray:
    shape = (int(ROWS * SPACING_UM / spacing_um), int(COLUMNS * SPACING_UM / spacing_um))
    rows, columns = np.indices(shape).astype(float)
    return pixels_to_section(np.stack([columns, rows], axis=-1), spacing_um, FULL_UM)


def volume_grid_mm(voxel_mm: float) -> np.ndarray:
    """RAS mm of the voxels of a volume around both shells."""
    axes = [np.arange(low, high, voxel_mm) for low, high in ((-33, 33), (12, 48), (-38, -2))]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def as_scanned(
    section: tables.TruthSectionRow | tables.StackRow, points_um: np.ndarray
) -> np.ndarray:
    """True stack RAS mm of points of a section as scanned, spelled out."""
    points = mirror(points_um, WIDTH_UM) if section.mirrored else points_um
    moved = Rigid(section.angle_rad, section.x_um, section.y_um, "s", "t")(points)
    z = np.full((*moved.shape[:-1], 1), section.z_um)
    return stack_to_ras(np.concatenate([moved, z], axis=-1), "R")


def write_truth(path: Path) -> Path:
    """truth/ of a study with one brain, B01: two mirrored sections, one blank, one missing."""
    (path / "B01").mkdir(parents=True)
    (path / "truth.yaml").write_text(
        f"truth_spacing_um: {SPACING_UM}\ncoordinates_spacing_um: {COARSE_UM}\n"
    )
    rng = np.random.default_rng(0)
    centre = np.array([WIDTH_UM / 2, ROWS * SPACING_UM / 2])
    rows = []
    for section in SECTIONS:
        angle = rng.uniform(-0.2, 0.2)
        turn = Rigid(angle, 0, 0, "", "")
        shift = np.array([0.0, 20_000.0]) + rng.uniform(-2000, 2000, 2) - turn(centre)
        rows.append(
            tables.TruthSectionRow(
                brain="B01",
                section=section,
                condition={1220: "blank", 1620: "missing"}.get(section, "good"),
                mirrored=section in (1120, 1920),
                z_um=section * 20.0,
                angle_rad=angle,
                x_um=shift[0],
                y_um=shift[1],
                width_um=WIDTH_UM,
                height_um=ROWS * SPACING_UM - FULL_UM,
                full_spacing_um=FULL_UM,
                image_right="R",
            )
        )
    tables.write_rows(tables.TruthSectionRow, rows, path / "B01" / "sections.parquet")
    for section in rows:
        if section.condition != "good":
            continue
        tissue, depth = shells(as_scanned(section, grid_um(SPACING_UM)))
        with tifffile.TiffWriter(path / "B01" / f"{section.section:05d}.tif") as tif:
            for page in (tissue, tissue * 0, tissue * 0, depth.astype(np.float16)):
                tif.write(page, photometric="minisblack")
        coordinates = template_of(as_scanned(section, grid_um(COARSE_UM)))
        with tifffile.TiffWriter(path / "B01" / f"coordinates-{section.section:05d}.tif") as tif:
            for axis in range(3):
                tif.write(coordinates[..., axis].astype(np.float32), photometric="minisblack")
    tissue, depth = shells(volume_grid_mm(0.5))
    affine = volumes.regular_affine(0.5, volume_grid_mm(0.5)[0, 0, 0])
    for name, data in (("tissue", tissue), ("depth", depth.astype(np.float32))):
        volumes.write(volumes.Volume(data, affine), path / "B01" / f"{name}.nii.gz")
    for hemisphere in "LR":
        for name, radius in (("pial", PIAL_MM), ("white", WHITE_MM)):
            surface = ball(hemisphere, radius)
            surfaces.write(surface, path / "B01" / f"hemi-{hemisphere}_{name}.surf.gii")
    return path


def stack_of(truth: TruthBrain) -> dict[int, tables.StackRow]:
    """Where each section lies, without an error."""
    places = {}
    for section in truth.sections:
        known = asdict(section)
        if known.pop("condition") != "good":
            known |= tables.rigid_columns(None)
        places[section.section] = row(tables.StackRow, **known, status="ok")
    return places


def pairs_of(truth: TruthBrain) -> dict[int, tables.PairRow]:
    """Pairs without an error, by the number of the moving section."""
    pairs = {}
    points = np.array([[0.0, 0.0], [30_000.0, 0.0], [0.0, 20_000.0]])
    for fixed, moving in zip(truth.with_tissue, truth.with_tissue[1:], strict=False):
        a, b = truth.placements[fixed], truth.placements[moving]
        flipped = a.mirrored != b.mirrored
        source = mirror(points, WIDTH_UM) if flipped else points
        targets = a.back(b(points))
        turn = (targets[1] - targets[0]) / 30_000, (source[1] - source[0]) / 30_000
        angle = np.arctan2(turn[0][1], turn[0][0]) - np.arctan2(turn[1][1], turn[1][0])
        shift = targets[0] - Rigid(angle, 0, 0, "", "")(source[0])
        pairs[moving] = row(
            tables.PairRow, brain="B01", fixed=fixed, moving=moving, distance=1,
            mirrored=flipped, angle_rad=float(angle), x_um=float(shift[0]), y_um=float(shift[1]),
            method="features", status="accepted",
        )  # fmt: skip
    return pairs


def points_of(truth: TruthBrain, radius_mm: float = HALF_MM) -> pd.DataFrame:
    """Points every 1 mm on the circles where sections cut spheres, with their coordinates."""
    rows = []
    for section in truth.with_tissue:
        for hemisphere, centre in CENTRES.items():
            off_mm = truth.z_um[section] / 1000 - centre[1]
            if abs(off_mm) >= radius_mm - 0.01:
                continue
            circle_mm = np.sqrt(radius_mm**2 - off_mm**2)
            angle = np.arange(0, 2 * np.pi, 1 / circle_mm)
            ring = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], axis=1) * circle_mm
            stack_mm = centre + (0, off_mm, 0) + ring
            stack_um = ras_to_stack(stack_mm, "R")
            at = truth.placements[section].back(stack_um[:, :2])
            template = template_of(stack_mm)
            rows.append(
                pd.DataFrame(
                    {
                        "section": section, "hemisphere": hemisphere, "status": "ok",
                        "x_um": at[:, 0], "y_um": at[:, 1],
                        "x_cut_um": at[:, 0], "y_cut_um": at[:, 1],
                        "x_stack_um": stack_um[:, 0], "y_stack_um": stack_um[:, 1],
                        "z_stack_um": stack_um[:, 2],
                        "x_mm": template[:, 0], "y_mm": template[:, 1], "z_mm": template[:, 2],
                    }
                )
            )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def drifting(truth: TruthBrain) -> list[tables.StackRow]:
    """A stack with an error of some millimetres, another one for each section."""
    stack = []
    rng = np.random.default_rng(1)
    centre = np.array([0.0, 20_000.0])
    for place in stack_of(truth).values():
        if place.placement is None:
            stack.append(place)
            continue
        turn = Rigid(rng.uniform(-0.05, 0.05), 0, 0, "t", "e")
        shift = centre - turn(centre) + rng.uniform(-2000, 2000, 2)
        error = replace(turn, source="stack", x_um=shift[0], y_um=shift[1])
        stack.append(replace(place, **tables.rigid_columns(place.placement.rigid.then(error))))
    return stack


VOXEL_MM = float(
    np.median(
        np.linalg.norm(
            ball("L", MIDDLE_MM).vertices[BALL.faces[:, 0]]
            - ball("L", MIDDLE_MM).vertices[BALL.faces[:, 1]],
            axis=1,
        )
    )
)


def write_results(truth: TruthBrain, study: Path) -> dict[str, Path]:
    """Images and results that are right, as files of a study; paths by name."""
    study.mkdir(exist_ok=True)
    files = {
        name: study / name
        for name in (
            "labels.tif", "segmentation.parquet", "stack.parquet", "pairs.parquet",
            "tissue.nii.gz", "repairs.parquet", "surfaces.parquet", "midline.parquet",
            "points.parquet", "checks.parquet", "affine.h5", "mid-L.surf.gii", "mid-R.surf.gii",
            "thickness-L.shape.gii", "thickness-R.shape.gii",
        )
    }  # fmt: skip
    shown = truth.with_tissue
    images.write_labels([truth.page(s, "tissue") for s in shown], files["labels.tif"])
    rows = [
        row(
            tables.SegmentationRow, brain="B01", section=section, page=page, spacing_um=SPACING_UM,
            full_spacing_um=FULL_UM, background="bright", status="ok",
        )
        for page, section in enumerate(shown)
    ]  # fmt: skip
    tables.write_rows(tables.SegmentationRow, rows, files["segmentation.parquet"])
    for section in shown:
        gray = np.array([230, 60, 120], np.uint8)[truth.page(section, "tissue")]
        full = np.repeat(np.repeat(gray, 2, axis=0), 2, axis=1)
        images.write_pyramid(full, study / f"{section:05d}.ome.tif", FULL_UM, 512, tile=64)
    blank = np.full((ROWS * 2, COLUMNS * 2), 230, np.uint8)
    images.write_pyramid(blank, study / "01220.ome.tif", FULL_UM, 512, tile=64)
    stack = stack_of(truth)
    stack[1220] = replace(stack[1220], status="blank")
    del stack[1620]
    tables.write_rows(tables.StackRow, list(stack.values()), files["stack.parquet"])
    tables.write_rows(tables.PairRow, list(pairs_of(truth).values()), files["pairs.parquet"])
    grid = volume_grid_mm(VOXEL_MM)
    affine = volumes.regular_affine(VOXEL_MM, grid[0, 0, 0])
    volumes.write(volumes.Volume(shells(grid)[0], affine), files["tissue.nii.gz"])
    repairs = [tables.RepairRow(brain="B01", kind="defect", volume_mm3=20.0, **_AT)]
    tables.write_rows(tables.RepairRow, repairs, files["repairs.parquet"])
    meshes = []
    for hemisphere in "LR":
        surface = ball(hemisphere, MIDDLE_MM)
        surfaces.write(surface, files[f"mid-{hemisphere}.surf.gii"], hemisphere)
        thickness = np.full(len(surface.vertices), PIAL_MM - WHITE_MM)
        surfaces.write_map(thickness, files[f"thickness-{hemisphere}.shape.gii"], hemisphere)
        meshes.append(
            row(
                tables.SurfaceRow, brain="B01", hemisphere=hemisphere, components=1, euler=2,
                manifold=True, status="ok",
            )
        )  # fmt: skip
    tables.write_rows(tables.SurfaceRow, meshes, files["surfaces.parquet"])
    points = points_of(truth).assign(brain="B01", template="shells", area="A")
    points["point_id"] = [f"B01-{n}" for n in range(len(points))]
    rest = dict.fromkeys(
        set(tables.names(tables.MidlineRow) + tables.names(tables.PointRow)) - set(points), 0.0
    )
    points = points.assign(**rest)
    # a cut beside the middle, so that the refinement has gained something
    points["x_cut_um"] += 500
    tables.write(
        tables.MidlineRow, points[tables.names(tables.MidlineRow)], files["midline.parquet"]
    )
    tables.write(tables.PointRow, points[tables.names(tables.PointRow)], files["points.parquet"])
    check = tables.CheckRow("B01", "folded tissue", 0.0, "share", "at most 0.001", "ok", remedy="")
    tables.write_rows(tables.CheckRow, [check], files["checks.parquet"])
    matrix = np.eye(4)
    matrix[:3, :3] = TO_TEMPLATE.T
    matrix[:3, 3] = (4, -2, 3)  # 3 mm off
    off = transforms.affine_transform(matrix, "B01", "shells")
    transforms.write(off, files["affine.h5"])
    return files


_AT = {"r_mm": CENTRES["R"][0], "a_mm": CENTRES["R"][1], "s_mm": CENTRES["R"][2] + 12}
