"""Call the function that the rule is named after: `alignment_pairs` is `alignment.run_pairs`.

The named inputs, outputs and params of the rule are the arguments of that function, and so are its
wildcards and threads where the function takes them. Unnamed inputs are waited for and not read.
Two params are not arguments: `version`, so that a raised VERSION reruns the rule, and `keyed_by`,
the keys of the inputs and outputs that the function takes as a mapping.
"""

import importlib

from cytopipe import arguments, logs
from cytopipe.cluster import launching

# processes that a stage starts import this file as well
if __name__ == "__main__":
    stage, _, part = snakemake.rule.partition("_")
    files = {**snakemake.input, **snakemake.output}
    if hasattr(snakemake.resources, "tasks_per_node"):
        launching.run(
            stage=stage,
            files=files,
            params=snakemake.params.params,
            threads=snakemake.threads,
            nodes=snakemake.resources.nodes,
            processes_per_node=snakemake.resources.tasks_per_node,
            launcher=snakemake.resources.mpi,
            log=snakemake.log[0],
        )
    else:
        logs.to(snakemake.log[0])
        run = getattr(importlib.import_module(f"cytopipe.{stage}"), f"run_{part}".rstrip("_"))
        values = {**files, **snakemake.params}
        of_job = {**snakemake.wildcards, "threads": snakemake.threads}
        run(**arguments.of_rule(run, values, of_job))
