"""Do the work of a rule. A change here reruns every job: edit `cytopipe.rule_job` instead."""

from cytopipe import rule_job

# processes that a stage starts import this file as well
if __name__ == "__main__":
    rule_job.run(
        rule=snakemake.rule,
        files={**snakemake.input, **snakemake.output},
        params={**snakemake.params},
        wildcards={**snakemake.wildcards},
        threads=snakemake.threads,
        resources={**snakemake.resources},
        log=snakemake.log[0],
    )
