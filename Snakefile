# From scanned sections to scores. `snakemake -n` says what would run; a study other than this
# folder is named with --directory (the demo: snakemake --directory demo -n).

from snakemake.utils import min_version

from cytopipe.files import sweep

min_version("9.13")


configfile: "config/config.yaml"


# for every rule, with --software-deployment-method apptainer; how it is built, and conda: envs/README.md
container: f"{workflow.basedir}/envs/cytopipe.sif"


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/tasks.smk"
include: "workflow/rules/pyramids.smk"
include: "workflow/rules/segmentation.smk"
include: "workflow/rules/alignment.smk"
include: "workflow/rules/reconstruction.smk"
include: "workflow/rules/midsurface.smk"
include: "workflow/rules/midline.smk"
include: "workflow/rules/coordinates.smk"
include: "workflow/rules/patches.smk"
include: "workflow/rules/pretraining.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/truth.smk"
include: "workflow/rules/report.smk"


localrules:
    all,


# one block: Snakemake keeps the last
onstart:
    refuse_second_start()
    correct_slurm_plugin()
    # the lock is held: what is unfinished under results/ now belongs to a process that was killed
    for path in sweep("results"):
        logger.info(f"deleted what a killed process left: {path}")


rule all:
    """The report, and with it everything that it shows; the scores in one table."""
    default_target: True
    input:
        "results/report/index.html",
        "results/evaluation/scores.parquet",
