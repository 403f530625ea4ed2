from pathlib import Path

from cytopipe import logs, report
from cytopipe.formats.sections import Section
from cytopipe.study.config import Report

logs.to(snakemake.log[0])
files = snakemake.input
report.run_brain(
    brain=snakemake.wildcards.brain,
    sections=[Section(**row) for row in snakemake.params.sections],
    images=[Path(row["image"]) for row in snakemake.params.sections],
    **{
        name: [Path(path) for path in files[name]]
        for name in ("labels", "segmentations", "midlines")
    },
    **{name: Path(files[name]) for name in ("stack", "pairs", "proposed", "tissue", "repairs")},
    **{name: Path(files[name]) for name in ("table", "points", "checks", "template")},
    audit=Path(files.audit) if files.audit else None,
    surfaces={"L": Path(files.surface_left), "R": Path(files.surface_right)},
    thickness={"L": Path(files.thickness_left), "R": Path(files.thickness_right)},
    curvature={"L": Path(files.curvature_left), "R": Path(files.curvature_right)},
    given=[Path(path) for path in [*files.given_tissue, *files.given_surfaces]],
    earlier=Path(files.earlier) if files.earlier else None,
    max_rotation_deg=snakemake.params.max_rotation_deg,
    numbers=Path(snakemake.output.numbers),
    page=Path(snakemake.output.page),
    params=Report(**snakemake.params.report),
)
