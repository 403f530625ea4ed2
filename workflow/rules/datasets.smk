# The data sets of config["patches"]["datasets"] and the runs of config["pretraining"]["runs"], for all
# rules that use them: look-ups, as in common.smk.

from cytopipe.study.consistency import runs


@cache
def dataset_settings(dataset):
    """The settings of a data set; {dataset}-transfer-{brain} uses that brain for transfer."""
    datasets = config["patches"]["datasets"]
    if dataset in datasets:
        return datasets[dataset]
    base, _, brain = dataset.rpartition("-transfer-")
    if base in datasets and ROLES.get(brain, "unseen") != "unseen":
        return {**datasets[base], "transfer": brain}
    raise WorkflowError(
        f"config/config.yaml: there is no data set {dataset!r}; patches.datasets has {', '.join(datasets)}"
    )


def settings_of_dataset(w):
    return dataset_settings(w.dataset)


def annotations_under(folder):
    """Files under a folder of the lab's annotations, if it has any."""
    base = config["study"]["annotations"]
    return sorted(present(f"{base}/{folder}")) if base else []


def contours_of_dataset(w):
    """Annotated areas in the sections of a data set, if it is drawn from annotations."""
    if dataset_settings(w.dataset)["source"] != "annotations":
        return []
    return [
        path
        for brain in brains_of_dataset(w)
        for path in annotations_under(f"areas/{brain}")
        if path.endswith((".geojson", ".tif"))
    ]


def area_names_of_dataset(w):
    """The table of the labels in annotated label images, if there is one."""
    if dataset_settings(w.dataset)["source"] != "annotations":
        return []
    return [path for path in annotations_under("areas") if path.endswith("areas.tsv")]


def warp_of_dataset(w):
    return dataset_settings(w.dataset)["warp"] or []


def start_of_run(w):
    """The trained network that a run continues from, if it names one."""
    start = settings_of_run(w)["start"]
    return f"results/pretraining/{start}/final.pt" if start else []


def geodesic_of_run(w):
    wanted = settings_of_run(w)["distance"] == "geodesic"
    return "results/patches/geodesic.npz" if wanted else []


def brains_of_dataset(w):
    """Brains of the data set's roles; if it is drawn from annotations, those that have any."""
    settings = dataset_settings(w.dataset)
    brains = [b for b in BRAINS if ROLES[b] in settings["roles"]]
    if settings["purpose"] == "areas" and settings["source"] == "annotations":
        return [b for b in brains if annotations_under(f"areas/{b}")] or brains
    return brains


def points_of_dataset(w):
    return [
        f"results/coordinates/{brain}/points.parquet" for brain in brains_of_dataset(w)
    ]


def roles_of_dataset(w):
    """Brain to role. Pretraining treats all alike, so a changed role does not train again."""
    settings = dataset_settings(w.dataset)
    roles = {brain: ROLES[brain] for brain in brains_of_dataset(w)}
    if settings["purpose"] == "pretraining":
        return dict.fromkeys(roles, settings["roles"][0])
    return roles


def readable_rows_of_dataset(w):
    return readable_rows(brains_of_dataset(w))


def run_settings(run):
    """The settings of a run: config["pretraining"]["common"] with the changes of the run."""
    return runs.run_settings(config, run)


def settings_of_run(w):
    return run_settings(w.run)


def setting_of_run(name):
    """Param function: one value of the settings of a run."""

    def of_run(w):
        return settings_of_run(w)[name]

    return of_run


def roles_of_run(w):
    """Roles of the brains in a run's data set; the model card names no others."""
    wanted = dataset_settings(settings_of_run(w)["dataset"])["roles"]
    return {brain: role for brain, role in ROLES.items() if role in wanted}


def patches_of_run(w):
    return f"results/patches/{settings_of_run(w)['dataset']}.parquet"
