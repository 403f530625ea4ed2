"""What networks need of a study: brains to train on, data sets, annotations."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cytopipe.study.config import merge
from cytopipe.study.findings import ERROR, WARNING, Finding, some

# the baseline without a network, which tasks may name beside the runs
PROFILES = "profiles"
# losses that learn from the labels of areas
LABELLED = ("supcon", "supervised")
_OF_A_DATA_SET = ("areas", "finetuning", "attention")
_OF_ONE_BRAIN = ("structure", "coordinates", "parcellation")
_BRAINS = "config/brains.tsv"

Config = Mapping[str, Any]
Roles = Mapping[str, str]


def annotation_files(study: Path, config: Config) -> frozenset[str]:
    """The files under study.annotations, relative to it; none if the study has no such folder."""
    folder = config["study"]["annotations"]
    if not folder:
        return frozenset()
    base = study / folder
    return frozenset(
        path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file()
    )


def run_settings(config: Config, run: str) -> dict[str, Any]:
    """The settings of a run: pretraining.common with the changes of the run."""
    runs = config["pretraining"]
    return merge(runs["common"], runs["runs"][run])


def trained_brains(dataset: Config, roles: Roles, files: Collection[str]) -> list[str]:
    """The brains of which a data set takes points for training."""
    brains = [brain for brain, role in roles.items() if role in dataset["roles"]]
    if dataset["purpose"] == "pretraining":
        return brains
    # only seen brains have a part for training (`patches.split_areas`), or all but the one that
    # takes the place of the transfer brains (`patches.roles_in`)
    transfer = dataset["transfer"]
    seen = [b for b in brains if (roles[b] == "seen" if transfer is None else b != transfer)]
    if dataset["source"] == "atlas":
        return seen
    return [b for b in seen if any(file.startswith(f"areas/{b}/") for file in files)]


def lacks_labels(config: Config, dataset: str, roles: Roles, files: Collection[str]) -> str:
    """Why the areas of a data set cannot be learnt; "" if they can."""
    settings = config["patches"]["datasets"].get(dataset)
    if settings is None:
        return f"there is no data set {dataset}"
    if settings["source"] == "atlas":
        if not config["template"]["atlas"]:
            return "template.atlas is null"
    elif not config["study"]["annotations"]:
        return f"the data set {dataset} needs annotations, and study.annotations is null"
    elif not any(file.startswith("areas/") for file in files):
        return f"{config['study']['annotations']}/areas has no outlines"
    if not any(role == "seen" and role in settings["roles"] for role in roles.values()):
        return f"the data set {dataset} has no brain of role seen in {_BRAINS}"
    return ""


def check_names(config: Config, roles: Roles) -> list[Finding]:
    """An error for each name in the config of a data set or a brain that does not exist."""
    datasets = config["patches"]["datasets"]
    tasks = config["evaluation"]
    named_sets = {
        "pretraining.common.dataset": config["pretraining"]["common"]["dataset"],
        **{
            f"pretraining.runs.{run}.dataset": changes["dataset"]
            for run, changes in config["pretraining"]["runs"].items()
            if "dataset" in changes
        },
        **{f"evaluation.{task}.dataset": tasks[task]["dataset"] for task in _OF_A_DATA_SET},
        "evaluation.parcellation.annotated": tasks["parcellation"]["annotated"],
    }
    unknown = [
        _unknown(key, "data set", name, list(datasets)) for key, name in named_sets.items() if name
    ]
    named_brains = {
        **{f"evaluation.{task}.brain": tasks[task]["brain"] for task in _OF_ONE_BRAIN},
        **{f"patches.datasets.{name}.transfer": d["transfer"] for name, d in datasets.items()},
    }
    unknown += [
        _unknown(key, "brain", name, list(roles)) for key, name in named_brains.items() if name
    ]
    return [finding for finding in unknown if finding is not None]


def _unknown(key: str, kind: str, name: str, known: Sequence[str]) -> Finding | None:
    if name in known:
        return None
    text = f"config/config.yaml: {key} names the {kind} {name!r}; there are {', '.join(known)}"
    return Finding(ERROR, "names", text, "correct the name")


def check_networks(config: Config, roles: Roles, files: Collection[str]) -> list[Finding]:
    """An error for each run that has no brain to train on, or no areas that its loss needs."""
    findings = []
    datasets = config["patches"]["datasets"]
    for run in config["pretraining"]["runs"]:
        settings = run_settings(config, run)
        name = settings["dataset"]
        if name not in datasets:  # `check_names` says so
            continue
        dataset = datasets[name]
        where = f"the network {run} (pretraining.runs)"
        if settings["loss"] in LABELLED and dataset["purpose"] != "areas":
            text = f"{where} learns areas (loss: {settings['loss']}) from {name}, which has none"
            remedy = "name a data set of patches.datasets whose purpose is areas"
        elif not trained_brains(dataset, roles, files):
            text = (
                f"{where} has no brain to train on: its data set {name} takes brains of role "
                f"{' or '.join(dataset['roles'])}; {_BRAINS} says {_listed(roles)}"
            )
            remedy = f"write seen as the role of a brain in {_BRAINS}, or run only stages before "
            remedy += "the networks (snakemake --until coordinates)"
        elif dataset["purpose"] == "areas" and (reason := lacks_labels(config, name, roles, files)):
            text, remedy = f"{where} learns areas: {reason}", "supply them, or remove the run"
        else:
            continue
        findings.append(Finding(ERROR, "networks", text, remedy))
    return findings


def check_annotations(
    study: Path, config: Config, roles: Roles, files: Collection[str]
) -> list[Finding]:
    """An error if the folder of the annotations is missing; a warning for those of no brain."""
    folder = config["study"]["annotations"]
    if not folder:
        return []
    if not (study / folder).is_dir():
        text = f"{folder}: not found"
        remedy = "correct study.annotations in config/config.yaml, or set it to null"
        return [Finding(ERROR, "annotations", text, remedy)]
    strangers = {
        "/".join(parts[:2])
        for parts in (file.split("/") for file in files)
        if len(parts) > 2 and parts[0] in ("areas", "thickness") and parts[1] not in roles
    }
    remedy = f"name the folder as the brain is named in {_BRAINS} ({some(list(roles))})"
    return [
        Finding(WARNING, "annotations", f"{folder}/{name}: there is no such brain", remedy)
        for name in sorted(strangers)
    ]


def _listed(roles: Roles) -> str:
    return some([f"{brain} {role}" for brain, role in roles.items()])
