# Functions of the evaluation rules: which tasks can run, on which runs, with which files; and what a
# study ends with.

from cytopipe.study.consistency import runs, tasks

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


ANNOTATED = runs.annotation_files(Path(), config)


@cache
def runs_of_task(task):
    """The runs that a task scores; none if the study lacks what it needs."""
    return tasks.runs_of_task(config, ROLES, ANNOTATED, task)


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
    if run not in RUNS and ending.startswith("-projected"):
        return []
    if dataset_settings(dataset)["source"] == "annotations":
        return [f"results/features/{run}/patches-{dataset}{ending}"]
    brains = [b for b in BRAINS if ROLES[b] in DATASETS[dataset]["roles"]]
    return [f"results/features/{run}/{brain}{ending}" for brain in brains]


def views_of_run(w):
    """Features of augmented training patches, on which probes are trained, if the config asks for any."""
    if w.run == "profiles" or not config["features"]["views"]["count"]:
        return []
    return [
        f"results/features/{w.run}/views-{AREAS}{ending}"
        for ending in (".npy", "-projected.npy", ".parquet")
    ]


def weights_of_run(w):
    """The weights of a run; external encoders and profiles have none."""
    return [] if w.run not in RUNS else [f"results/pretraining/{w.run}/final.pt"]


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
        if not tasks.clusters_annotated(config, ROLES, ANNOTATED):
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


def parcellation_of_brain(w):
    """The clusters of the mapped run, if the task `parcellation` makes them of this brain."""
    wanted = w.brain == PARCELLATION_BRAIN and MAPPED in runs_of_task("parcellation")
    return (
        f"results/evaluation/parcellation/{MAPPED}/clusters.parquet" if wanted else []
    )


def maps_of(pattern):
    """`pattern` for every brain, if there is a map."""
    return brains_of(pattern) if MAPPED else []


def deliverables(w):
    """What the study ends with: pages, networks and scores; without a template, the points."""
    if workflow.is_main_process:
        refuse_unfinished()
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
        *expand(
            "results/evaluation/parcellation/{run}/clusters.parquet",
            run=runs_of_task("parcellation"),
        ),
        *maps_of("results/mapping/{brain}.parquet"),
        *maps_of("results/report/{brain}-map.js"),
        *MAP_SCORES,
        *tables,
    ]


def external_file(name):
    """Input function: a file of the folder of an external encoder."""

    def of_run(w):
        return f"{EXTERNAL[w.run]}/{name}"

    return of_run
