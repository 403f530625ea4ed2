"""Writes the pages of the study of `shell_study`, for the tests that look at them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from shell_study import FULL_UM, write_results, write_truth

from cytopipe import report, truth
from cytopipe.formats import images, tables
from cytopipe.study import config as study_config
from cytopipe.study import corrections
from cytopipe.study.config import Report
from cytopipe.study.sections import Section
from cytopipe.truth.ground_truth import TruthBrain

PARAMS = Report(
    thumbnail_um=600,
    section_px=200,
    jpeg_quality=80,
    surface_faces=4000,
    compare_with="",
    baselines=("untrained",),
    goals=study_config.read(study_config.DEFAULTS)["report"]["goals"],
)


def write_brain_page(
    files: dict[str, Path],
    root: Path,
    earlier: Path | None = None,
    supplied: Sequence[Path] = (),
    mapped: bool = False,
) -> Path:
    """Write B01.html and the files beside it to `root`, from the results of `write_results`."""
    scanned = {int(p.name[:5]): p for p in sorted(files["labels.tif"].parent.glob("*.ome.tif"))}
    report.run_brain(
        brain="B01",
        sections=[Section("B01", n, "", FULL_UM, 20.0) for n in scanned],
        images=list(scanned.values()),
        labels=[files["labels.tif"]],
        segmentations=[files["segmentation.parquet"]],
        stack=files["stack.parquet"],
        pairs=files["pairs.parquet"],
        proposed=files["proposed-sections.tsv"],
        audit=files.get("audit-sections.tsv"),
        tissue=files["tissue.nii.gz"],
        repairs=files["repairs.parquet"],
        surfaces={h: files[f"mid-{h}.surf.gii"] for h in "LR"},
        thickness={h: files[f"thickness-{h}.shape.gii"] for h in "LR"},
        curvature={h: files[f"thickness-{h}.shape.gii"] for h in "LR"},
        table=files["surfaces.parquet"],
        midlines=[files["midline.parquet"]],
        points=files["points.parquet"],
        checks=files["checks.parquet"],
        template=files["tissue.nii.gz"],
        supplied_tissue=[],
        supplied_surfaces=list(supplied),
        earlier=earlier,
        mapped=mapped,
        max_rotation_deg=60,
        numbers=root / "B01.tsv",
        pictures=root / "B01",
        page=root / "B01.html",
        params=PARAMS,
    )
    return root / "B01.html"


def measure(files: dict[str, Path]) -> None:
    """Give sections and pairs different numbers: true areas, random residuals and inliers."""
    rng = np.random.default_rng(3)
    sections = []
    for row in tables.read_rows(tables.SegmentationRow, files["segmentation.parquet"]):
        labels = images.read_labels(files["labels.tif"], row.page)
        gray_mm2, white_mm2 = (
            np.count_nonzero(labels == kind) * (row.spacing_um / 1000) ** 2 for kind in (1, 2)
        )
        tissue_mm2 = gray_mm2 + white_mm2
        sections.append(replace(row, gray_mm2=gray_mm2, white_mm2=white_mm2, tissue_mm2=tissue_mm2))
    tables.write_rows(tables.SegmentationRow, sections, files["segmentation.parquet"])
    pairs = tables.read(tables.PairRow, files["pairs.parquet"])
    most = rng.integers(50, 90, len(pairs))
    few = rng.integers(0, 9, len(pairs))
    pairs["inliers_plain"] = np.where(pairs["mirrored"], few, most)
    pairs["inliers_mirrored"] = np.where(pairs["mirrored"], most, few)
    pairs = pairs.assign(residual_um=rng.uniform(100, 400, len(pairs)), overlap=0.9)
    tables.write(tables.PairRow, pairs, files["pairs.parquet"])


def write_pages(root: Path) -> dict[str, Path]:
    """Write pages and truth table of a study with correct results; return its files."""
    true_brain = TruthBrain(write_truth(root / "truth"), "B01")
    files = write_results(true_brain, root / "results")
    measure(files)
    files["proposed-sections.tsv"] = root / "results" / "proposed-sections.tsv"
    proposals = [
        corrections.Proposal(1120, mirrored=True, notes="with 1020 3 inliers"),
        corrections.Proposal(2120, excluded=True, notes="unaligned"),
    ]
    corrections.write_proposals(proposals, files["proposed-sections.tsv"], "B01")
    audit_proposals = [
        corrections.Proposal(1220, notes="audit: swapped with 1320, confidence 0.930"),
        corrections.Proposal(1120, mirrored=True, notes="audit: mirrored, confidence 0.991"),
    ]
    files["audit-sections.tsv"] = root / "results" / "audit-sections.tsv"
    corrections.write_proposals(audit_proposals, files["audit-sections.tsv"], "B01")
    remedy = "config/sections.tsv: exchange <them>"
    audit = [
        tables.AuditRow("B01", 1220, "swapped with 1320", 0.93, remedy),
        tables.AuditRow("B01", 1120, "mirrored", 0.991, "mirrored yes"),
    ]
    files["audit.parquet"] = root / "results" / "audit.parquet"
    tables.write_rows(tables.AuditRow, audit, files["audit.parquet"])
    write_brain_page(files, root)
    scores = [
        tables.ScoreRow(run, "areas", split, 0, "macro_f1", value)
        for split in ("seen", "transfer")
        for run, value in (("spatialnce", 0.8), ("untrained", 0.5))
    ]
    tables.write_rows(tables.ScoreRow, scores, root / "scores.parquet")
    epochs = [
        tables.MetricRow(0, 4, 3.0, 0.1, 2.0, 0.5, 12.0),
        tables.MetricRow(1, 8, 2.5, 0.1, 1.5, 0.6, 14.0),
    ]
    tables.write_rows(tables.MetricRow, epochs, root / "metrics.parquet")
    tables.write_rows(tables.MetricRow, [], root / "untrained.parquet")
    truth.run(
        folder=root / "truth",
        brains=["B01"],
        labels=[files["labels.tif"]],
        segmentations=[files["segmentation.parquet"]],
        pairs=[files["pairs.parquet"]],
        stacks=[files["stack.parquet"]],
        wholes=[files["tissue.nii.gz"]],
        exclusions=[],
        proposals=[],
        tissues=[files["tissue.nii.gz"]],
        surfaces_left=[files["mid-L.surf.gii"]],
        surfaces_right=[files["mid-R.surf.gii"]],
        midlines=[files["midline.parquet"]],
        points=[files["points.parquet"]],
        affines=[files["affine.h5"]],
        scores=[root / "scores.parquet"],
        areas={},
        area_names=None,
        table=root / "truth.tsv",
        roles={"B01": "seen"},
        masked=[],
        goals=PARAMS.goals,
        target="laplacian",
        spacing_mm=1.0,
        baselines=["untrained"],
    )
    report.run(
        roles={"B01": "seen"},
        pages=[root / "B01.html"],
        stacks=[files["stack.parquet"]],
        surfaces=[files["surfaces.parquet"]],
        points=[files["points.parquet"]],
        checks=[files["checks.parquet"]],
        audits=[files["audit.parquet"]],
        metrics={"spatialnce": root / "metrics.parquet", "untrained": root / "untrained.parquet"},
        scores=[root / "scores.parquet"],
        figures=[root / "evaluation" / "areas" / "spatialnce" / "figures.html"],
        table=root / "truth.tsv",
        page=root / "index.html",
    )
    return files | {
        name: root / name for name in ("B01.html", "B01.tsv", "index.html", "truth.tsv")
    }
