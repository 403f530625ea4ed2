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
TRUTH = "results/report/truth.tsv" if config["study"]["truth"] else []
TRANSFORMERS = ("r50_vit", "small_vit")


def is_annotated(dataset):
    return dataset_settings(dataset)["source"] == "annotations"


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


def obstacle(task, run):
    """Why a task cannot score a run; empty if it can."""
    if run == "profiles":
        if task not in ("areas", "cross_validation", "coordinates", "parcellation"):
            return "which have no network"
        annotated = {
            "coordinates": False,
            "parcellation": PARCELLATION_SET and has_labels(PARCELLATION_SET),
        }
        if annotated.get(task, is_annotated(AREAS)):
            return "which are not computed at annotated points"
        return ""
    architecture = run_settings(run)["architecture"]
    if task == "attention" and architecture not in TRANSFORMERS:
        return "which has no transformer"
    if task == "layers" and architecture == "unet_encoder":
        return "whose feature map does not cover a patch"
    return ""


def runs_of_task(task):
    """The runs that a task scores; the task `areas` also scores the profiles. None without networks."""
    if not RUNS:
        return []
    chosen, own = TASKS[task], list(config["evaluation"].get(task, {}).get("runs", ()))
    if chosen == "all":
        every = [*RUNS, "profiles"] if task == "areas" else RUNS
        named = []
    else:
        every, named = [], own if chosen == "named" else chosen
    for key, names in {f"{task}.runs": own, f"tasks.{task}": named}.items():
        for run in names:
            if run not in [*RUNS, "profiles"]:
                raise WorkflowError(
                    f"config/config.yaml: evaluation.{key} names the run {run!r}; there are {', '.join(RUNS)}"
                )
    if not POSSIBLE[task]:
        return []
    for run in named:
        if obstacle(task, run):
            raise WorkflowError(
                f"config/config.yaml: the task {task} cannot score {run}, {obstacle(task, run)}; remove it from evaluation.tasks.{task}"
            )
    return [*named, *(run for run in every if not obstacle(task, run))]


def cross_validation_sets():
    """The data sets of the cross-validation: each draws its own training points."""
    return [
        f"results/patches/{AREAS}-transfer-{brain}.parquet"
        for brain in TRANSFER_CHOICES
    ]


def embedded_sets(w):
    """Data sets whose points are embedded together: also those that cross-validate the run."""
    own = [f"results/patches/{w.dataset}.parquet"]
    if w.dataset == AREAS and w.run in runs_of_task("cross_validation"):
        return [*own, *cross_validation_sets()]
    return own


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
        return features_of_labels(w.run, dataset, ending)

    return of_run


def features_of_labels(run, dataset, ending):
    """The feature files of a run that contain the points of a labelled data set."""
    if run == "profiles" and ending.startswith("-projected"):
        return []
    if is_annotated(dataset):
        return [f"results/features/{run}/patches-{dataset}{ending}"]
    brains = [b for b in BRAINS if ROLES[b] in DATASETS[dataset]["roles"]]
    return [f"results/features/{run}/{brain}{ending}" for brain in brains]


def weights_of_run(w):
    """The weights of a run; the profiles have none."""
    return [] if w.run == "profiles" else [f"results/pretraining/{w.run}/final.pt"]


def atlas_if_any(w):
    """The atlas and its table, if the study has an atlas."""
    atlas = config["template"]["atlas"]
    return [atlas, config["template"]["areas"]] if atlas else []


def settings_of_task(task):
    """Param function: a task's section of the config, with the changes of the run."""

    def of_run(w):
        settings = dict(config["evaluation"][task])
        changes = settings.pop("runs").get(w.run, {})
        return study_config.merge(settings, changes)

    return of_run


def name_of_run(w):
    return w.run


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


def mapped_run():
    """The run that makes the map; none if the task `areas` has no classifier to make it with."""
    run, scored = config["mapping"]["run"], runs_of_task("areas")
    if run == "" or not scored:
        return None
    if run is not None and run not in scored:
        raise WorkflowError(
            f"config/config.yaml: mapping.run is {run!r}, evaluation.tasks.areas scores {', '.join(scored)}; name one of these, or null for the first"
        )
    return run or scored[0]


MAPPED = mapped_run()
MAP_SCORES = ["results/mapping/scores.parquet"] if MAPPED else []


def role_of_brain(w):
    return ROLES[w.brain]


def maps_of(pattern):
    """`pattern` for every brain, if there is a map."""
    return brains_of(pattern) if MAPPED else []


def deliverables():
    """What the study ends with: pages, networks and scores; without a template, the points."""
    if not config["template"]["tissue"]:
        return chunks_of_brains("results/midline/{brain}/{chunk}.parquet")
    pages = ["", ".html", ".tsv"]  # the folder, the page that loads it, and its numbers
    model = ["README.md", "config.yaml", "weights.safetensors"]
    tables = ["results/evaluation/scores.parquet"] if RUNS else []
    return [
        "results/report/index.html",
        *([TRUTH] if TRUTH else []),
        *expand("results/report/{brain}{page}", brain=BRAINS, page=pages),
        *expand("results/pretraining/{run}/model/{name}", run=RUNS, name=model),
        *every_task("scores.parquet"),
        *every_task("figures.html"),
        *expand(
            "results/evaluation/areas/{run}/{name}",
            run=runs_of_task("areas"),
            name=["predictions.parquet", "classifier.npz"],
        ),
        *expand(
            "results/evaluation/finetuning/{run}/network.pt",
            run=runs_of_task("finetuning"),
        ),
        *maps_of("results/mapping/{brain}.parquet"),
        *maps_of("results/report/{brain}-map.js"),
        *MAP_SCORES,
        *tables,
    ]
