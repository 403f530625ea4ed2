# all rules inherit from this one; it is never run itself
rule job:
    """Call the function of the rule's name: `alignment_pairs` is cytopipe.alignment.run_pairs."""
    log:
        "logs/job.log",
    threads: 1
    resources:
        mem_mb=sized(1000),
        runtime=sized(10),
    script:
        "../scripts/run_stage.py"
