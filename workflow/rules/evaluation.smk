# Downstream tasks; each task scores the networks of all runs and the profiles.

AREA_BRAINS = [
    b
    for b in BRAINS
    if ROLES[b]
    in config["patches"]["datasets"][config["evaluation"]["areas"]["dataset"]]["roles"]
]
# without an atlas there is nothing to predict, without a seen brain nothing to learn it from
AREAS_KNOWN = config["template"]["atlas"] and any(
    ROLES[b] == "seen" for b in AREA_BRAINS
)
AREA_SCORES = [
    f"results/evaluation/areas/{run}/scores.parquet"
    for run in [*RUNS, "profiles"]
    if AREAS_KNOWN
]


rule evaluation:
    """Predict brain areas from the features of one run by a linear probe."""
    input:
        patches=f"results/patches/{config['evaluation']['areas']['dataset']}.parquet",
        features=expand("results/features/{{run}}/{brain}.npy", brain=AREA_BRAINS),
        rows=expand("results/features/{{run}}/{brain}.parquet", brain=AREA_BRAINS),
    output:
        scores="results/evaluation/areas/{run}/scores.parquet",
    log:
        "logs/evaluation/areas/{run}.log",
    benchmark:
        "benchmarks/evaluation/areas/{run}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        brains=AREA_BRAINS,
        areas=config["evaluation"]["areas"],
        version=version("evaluation"),
    script:
        "../scripts/evaluation.py"
