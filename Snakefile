# From scanned sections to scores. `snakemake -n` shows what would run. --directory names a study
# other than this folder (the demo: snakemake --directory demo -n).

import gc

from snakemake.utils import min_version

from cytopipe.files import shipped, sweep
from cytopipe.study import changes

min_version("9.13")

# a plan of ten brains has a million objects that stay; looking for garbage after every 700 new ones,
# Python's default, takes a tenth of the time
gc.set_threshold(20_000)


configfile: "config/config.yaml"


# for all rules, with --software-deployment-method apptainer; envs/README.md says how to build it
container: str(shipped("envs/cytopipe.sif"))


include: "workflow/rules/common.smk"
include: "workflow/rules/datasets.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/tasks.smk"
include: "workflow/rules/job.smk"
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
include: "workflow/rules/mapping.smk"
include: "workflow/rules/truth.smk"
include: "workflow/rules/report.smk"


localrules:
    all,


# a second onstart block would replace this one
onstart:
    refuse_second_start()
    correct_slurm_plugin()
    changes.record(Path.cwd())
    # this run holds the lock, so unfinished files in results/ belong to processes that were killed
    for path in sweep("results"):
        logger.info(f"deleted an unfinished file of a killed process: {path}")


rule all:
    """What a person looks at or passes on: if deleted, it is made again."""
    default_target: True
    input:
        deliverables,
