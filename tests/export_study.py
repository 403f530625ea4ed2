"""The brain of `shell_study` as a finished study: config, tables and results in place."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from shell_study import (
    CENTRES,
    FULL_UM,
    MIDDLE_MM,
    PIAL_MM,
    SECTIONS,
    TO_TEMPLATE,
    WHITE_MM,
    ball,
    shells,
    write_results,
)

from cytopipe import __main__ as command_line
from cytopipe.formats import surfaces, tables, transforms, volumes
from cytopipe.numerics.geometry import ras_to_stack, stack_to_ras
from cytopipe.study import config as study_config
from cytopipe.truth.ground_truth import TruthBrain

ROOT = Path(__file__).parents[1]
TEMPLATE_VOXEL_MM, STACK_VOXEL_MM = 2.0, 1.5
# where the area `back` ends and `front` begins, A of the stack; `rim` is outside the atlas
BORDER_MM, RIM_MM = 31.0, 39.0
AREAS = ("front", "back")
FEATURES = 6


def area_of(stack_mm: np.ndarray) -> np.ndarray:
    along = np.asarray(stack_mm)[..., 1]
    return np.where(along > RIM_MM, "", np.where(along > BORDER_MM, "front", "back"))


def grid(low: tuple, high: tuple, voxel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Centres (i, j, k, 3) of the voxels of a box, and their affine."""
    axes = [np.arange(a, b, voxel_mm) for a, b in zip(low, high, strict=True)]
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return centres, volumes.regular_affine(voxel_mm, centres[0, 0, 0])


def to_template_affine() -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = TO_TEMPLATE.T, (1.0, -2.0, 3.0)
    return matrix


def stack_of_template(template_mm: np.ndarray) -> np.ndarray:
    """Stack coordinates of template coordinates; the inverse of `template_of`."""
    return (template_mm - (1.0, -2.0, 3.0)) @ np.linalg.inv(TO_TEMPLATE)


def points_table(flat: pd.DataFrame) -> pd.DataFrame:
    """The points of `shell_study` with normals, areas and some that are not usable."""
    points = flat.copy()
    stack_mm = stack_to_ras(points[["x_stack_um", "y_stack_um", "z_stack_um"]].to_numpy(float), "R")
    centres = np.array([CENTRES[h] for h in points["hemisphere"]])
    outwards = stack_mm - centres
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    points[["nx", "ny", "nz"]] = ras_to_stack(outwards, "R") / 1000
    points["area"] = area_of(stack_mm)
    points["area_probability"] = np.where(points["area"] == "", np.nan, 0.75)
    points["depth"] = shells(stack_mm)[1]
    points["thickness_mm"] = PIAL_MM - WHITE_MM
    points.loc[::17, "status"] = "low_tissue"
    # a point that the transform did not cover
    points.loc[3, ["x_mm", "y_mm", "z_mm", "area_probability"]] = np.nan
    points.loc[3, ["status", "area"]] = ["outside_template", ""]
    return tables.conform(tables.PointRow, points)


def write_study(truth: TruthBrain, study: Path) -> Path:
    """Write the study; brain B01 is finished, B02 has only its rows in the tables."""
    flat = study.parent / "flat"
    files = write_results(truth, flat)
    config = study_config.read(ROOT / "config" / "config.yaml")
    config["template"] = {
        "name": "shells",
        "tissue": "template/tissue.nii.gz",
        "atlas": "template/atlas.nii.gz",
        "areas": "template/areas.tsv",
    }
    config["study"]["chunk_span"] = 10_000
    results = study / "results"
    for folder in ("config", "template"):
        (study / folder).mkdir(parents=True)
    (study / "config" / "config.yaml").write_text(yaml.safe_dump(config))
    (study / "config" / "brains.tsv").write_text("brain\trole\nB01\tseen\nB02\tseen\n")
    rows = [
        f"{brain}\t{section}\timages/{section:05d}.ome.tif\t{FULL_UM:g}\t20\n"
        for brain, section in [*(("B01", s) for s in SECTIONS if s != 1620), ("B02", 15)]
    ]
    head = "brain\tsection\timage\tspacing_um\tthickness_um\n"
    (study / "config" / "sections.tsv").write_text(head + "".join(rows))
    (study / "template" / "areas.tsv").write_text(
        "label\tname\themisphere\n1\tfront\tL\n2\tback\tL\n3\tfront\tR\n4\tback\tR\n"
    )
    centres, affine = grid((-44, 0, -44), (46, 50, 6), TEMPLATE_VOXEL_MM)
    tissue = shells(stack_of_template(centres))[0]
    volumes.write(volumes.Volume(tissue, affine), study / "template" / "tissue.nii.gz")

    of = {name: results / name / "B01" for name in
          ("alignment", "segmentation", "reconstruction", "midsurface", "coordinates")}  # fmt: skip
    for target, name in (
        (of["alignment"] / "stack.parquet", "stack.parquet"),
        (of["segmentation"] / "00000.tif", "labels.tif"),
        (of["segmentation"] / "00000.parquet", "segmentation.parquet"),
    ):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files[name], target)
    centres, affine = grid((-33, 12, -37.5), (34, 49, -1), STACK_VOXEL_MM)
    tissue, depth = shells(centres)
    sides = np.where(tissue > 0, np.where(centres[..., 0] < 0, 1, 2), 0).astype(np.uint8)
    for path, data in (
        (of["reconstruction"] / "tissue.nii.gz", tissue),
        (of["midsurface"] / "depth.nii.gz", depth.astype(np.float32)),
        (of["midsurface"] / "hemispheres.nii.gz", sides),
    ):
        volumes.write(volumes.Volume(data, affine), path)
    for hemisphere in "LR":
        surface = ball(hemisphere, MIDDLE_MM)
        stem = of["midsurface"] / f"hemi-{hemisphere}"
        surfaces.write(surface, Path(f"{stem}_mid.surf.gii"), hemisphere)
        count = len(surface.vertices)
        maps = {"thickness": PIAL_MM - WHITE_MM, "curvature": 1 / MIDDLE_MM}
        for name, value in maps.items():
            path = Path(f"{stem}_{name}.shape.gii")
            surfaces.write_map(np.full(count, value), path, hemisphere)
    moves = transforms.affine_transform(to_template_affine(), "B01", "shells")
    for name in ("to-shells.h5", "affine-to-shells.h5"):
        transforms.write(moves, of["coordinates"] / name)
    points = points_table(tables.read(tables.PointRow, files["points.parquet"]))
    tables.write(tables.PointRow, points, of["coordinates"] / "points.parquet")
    _write_run(points, results)
    return study


def _write_run(points: pd.DataFrame, results: Path) -> None:
    """Features that differ between the areas along one axis, and a probe's predictions."""
    usable = (points["status"] == "ok").to_numpy()
    rng = np.random.default_rng(0)
    values = rng.normal(size=(len(points), FEATURES)).astype(np.float32) * 0.1
    values[:, 2] += np.where(points["area"] == "front", 5, -5)
    values[~usable] = np.nan
    folder = results / "features" / "plain"
    folder.mkdir(parents=True)
    np.save(folder / "B01.npy", values)
    status = np.where(usable, "ok", "no features")
    rows = pd.DataFrame({"point_id": points["point_id"], "status": status})
    tables.write(tables.FeatureRow, rows, folder / "B01.parquet")
    tested = points[usable & (points["area"] != "")]
    wrong = tested["hemisphere"] == "R"
    predictions = pd.DataFrame(
        {
            "point_id": tested["point_id"],
            "split": "seen",
            "area": tested["area"],
            # correct in the left hemisphere, the other area in the right one
            "predicted": np.where(
                wrong, np.where(tested["area"] == "front", "back", "front"), tested["area"]
            ),
            "probability": np.where(wrong, 0.6, 0.9),
            "hops": wrong.astype(float),
        }
    )
    path = results / "evaluation" / "areas" / "plain" / "predictions.parquet"
    tables.write(tables.PredictionRow, predictions, path)
    # the map has the areas exchanged; a tenth of the points is unlike the training data
    foreign = usable & (np.arange(len(points)) % 10 == 0)
    named = np.where(usable, np.where(points["area"] == "front", "back", "front"), "")
    area_map = pd.DataFrame(
        {
            "point_id": points["point_id"],
            "mapped": named,
            "predicted": np.where(named == "", "", "back"),
            "probability": np.where(usable, 0.7, np.nan),
            "second": "",
            "second_probability": np.nan,
            "third": "",
            "third_probability": np.nan,
            "margin": np.where(usable, 2.0, np.nan),
            "novelty": np.where(usable, np.where(foreign, 3.0, 0.5), np.nan),
            "status": np.where(foreign, "unlike_training", np.where(usable, "ok", "no features")),
        }
    )
    tables.write(tables.MapRow, area_map, results / "mapping" / "B01.parquet")
    # the parcellation: the front in cluster 2, the back in cluster 1
    clusters = tested[["point_id", "area"]].assign(
        split="atlas", cluster=np.where(tested["area"] == "front", 2, 1), matched=""
    )
    path = results / "evaluation" / "parcellation" / "plain" / "clusters.parquet"
    tables.write(tables.ClusterRow, clusters, path)


def export(study: Path, form: str, to: Path) -> Path:
    """Export the brain in one format by the command."""
    options = ["--study", str(study), "--brain", "B01", "--format", form, "--to", str(to)]
    assert command_line.main(["export", *options]) == 0
    return to
