# Functions of the evaluation rules: which tasks can run, on which runs, with which files.

DATASETS = config["patches"]["datasets"]
ANNOTATIONS = config["study"]["annotations"]
TASKS = config["evaluation"]["tasks"]
AREAS = config["evaluation"]["areas"]["dataset"]
FINETUNED = config["evaluation"]["finetuning"]["dataset"]
ATTENDED = config["evaluation"]["attention"]["dataset"]
STRUCTURE_BRAIN = config["evaluation"]["structure"]["brain"] or BRAINS[0]
COORDINATES_BRAIN = config["evaluation"]["coordinates"]["brain"] or BRAINS[0]
PARCELLATION_BRAIN = config["evaluation"]["parcellation"]["brain"] or BRAINS[0]
PARCELLATION_SET = config["evaluation"]["parcellation"]["annotated"]
# CytoNet Table 6: each brain whose images took part in pretraining may be the transfer brain
TRANSFER_CHOICES = [b for b in BRAINS if ROLES[b] != "unseen"]
TRANSFORMERS = ("r50_vit", "small_vit")


def has_labels(dataset):
    """Whether areas are known (to be predicted) and a brain is seen (to be trained on)."""
    settings = dataset_settings(dataset)
    known = {
        "atlas": config["template"]["atlas"],
        "annotations": annotations_under("areas"),
    }
    return known[settings["source"]] and any(
        ROLES[b] == "seen" for b in BRAINS if ROLES[b] in settings["roles"]
    )


POSSIBLE = {
    "areas": has_labels(AREAS),
    "cross_validation": has_labels(AREAS) and len(TRANSFER_CHOICES) > 1,
    "finetuning": has_labels(FINETUNED),
    "layers": f"{ANNOTATIONS}/layers/layers.tsv" in annotations_under("layers"),
    "structure": True,
    "coordinates": len(BRAINS) > 1,
    "parcellation": bool(config["template"]["atlas"]),
    "embedding": True,
    "retrieval": True,
    "shortcuts": True,
    "attention": has_labels(ATTENDED),
}


def runs_of_task(task):
    """The runs that a task scores; the task `areas` also scores the profiles. None without networks."""
    if not RUNS or not POSSIBLE[task]:
        return []
    if TASKS[task] != "all":
        for run in TASKS[task]:
            if run not in [*RUNS, "profiles"]:
                raise WorkflowError(
                    f"config/config.yaml: evaluation.tasks.{task} names the run {run!r}; there are {', '.join(RUNS)}"
                )
        return TASKS[task]
    if task == "attention":
        return [
            run for run in RUNS if run_settings(run)["architecture"] in TRANSFORMERS
        ]
    if task == "areas" and DATASETS[AREAS]["source"] == "atlas":
        return [*RUNS, "profiles"]
    return RUNS


def every_task(name):
    """The file `name` of each task and run."""
    return [
        f"results/evaluation/{task}/{run}/{name}"
        for task in TASKS
        for run in runs_of_task(task)
    ]


def labelled_features(dataset, ending):
    """Input function: feature files that contain the points of a labelled data set.

    Points with atlas labels are points of the brains; annotated points have their own features.
    """

    def of_run(w):
        if w.run == "profiles" and ending.startswith("-projected"):
            return []
        if DATASETS[dataset]["source"] == "annotations":
            return [f"results/features/{w.run}/patches-{dataset}{ending}"]
        brains = [b for b in BRAINS if ROLES[b] in DATASETS[dataset]["roles"]]
        return [f"results/features/{w.run}/{brain}{ending}" for brain in brains]

    return of_run


def weights_of_run(w):
    """The weights of a run; the profiles have none."""
    return [] if w.run == "profiles" else [f"results/pretraining/{w.run}/final.pt"]


def atlas_if_any(w):
    """The atlas and its table, if the study has an atlas."""
    atlas = config["template"]["atlas"]
    return [atlas, config["template"]["areas"]] if atlas else []


def settings_with_brain(task, brain):
    """A task's section of the config, with its brain filled in."""
    return {**config["evaluation"][task], "brain": brain}


def layer_maps(names):
    """The annotated maps of each hemisphere of the brain of `structure`, left first; [] without."""
    paths = [
        f"{ANNOTATIONS}/thickness/{STRUCTURE_BRAIN}/hemi-{side}_{name}"
        for side in "LR"
        for name in names
    ]
    annotated = annotations_under(f"thickness/{STRUCTURE_BRAIN}")
    return paths if set(paths) <= set(annotated) else []


def annotated_features(ending):
    """Input function: features of the annotated points to cluster, if the config names any."""

    def of_run(w):
        if not PARCELLATION_SET or not has_labels(PARCELLATION_SET):
            return []
        return f"results/features/{w.run}/patches-{PARCELLATION_SET}{ending}"

    return of_run
