"""Which runs each task of the evaluation scores, and what a task lacks in this study."""

from collections.abc import Collection, Mapping
from typing import Any

from cytopipe.study.consistency.runs import PROFILES, lacks_labels, run_settings
from cytopipe.study.findings import ERROR, NOTE, WARNING, Finding

Config = Mapping[str, Any]
Roles = Mapping[str, str]

# tasks that score areas, by a data set of their own
OF_AREAS = ("areas", "finetuning", "attention")
# tasks that score profiles, too
_OF_PROFILES = ("areas", "cross_validation", "coordinates", "parcellation")
_LAYERS = "layers/layers.tsv"
_TRANSFORMERS = ("r50_vit", "small_vit")


def left_out(config: Config, roles: Roles, files: Collection[str]) -> dict[str, str]:
    """The tasks that this study cannot run, and why.

    Parameters
    ----------
    roles : of the brains.
    files : as `runs.annotation_files` returns them.
    """
    tasks = config["evaluation"]
    reasons = {
        task: lacks_labels(config, tasks[task]["dataset"], roles, files) for task in OF_AREAS
    }
    reasons["cross_validation"] = reasons["areas"]
    # CytoNet Table 6: each brain whose images took part in pretraining may be the transfer brain
    if not reasons["areas"] and sum(role != "unseen" for role in roles.values()) < 2:
        reasons["cross_validation"] = "fewer than two brains have the role seen or transfer"
    if _LAYERS not in files:
        reasons["layers"] = f"study.annotations has no {_LAYERS}"
    if len(roles) < 2:
        reasons["coordinates"] = "it needs two brains"
    if not config["template"]["atlas"]:
        reasons["parcellation"] = "template.atlas is null"
    return {task: reason for task, reason in reasons.items() if reason}


def obstacle(config: Config, roles: Roles, files: Collection[str], task: str, run: str) -> str:
    """Why a task cannot score a run; "" if it can."""
    if run in config["features"]["external"]:
        known = task in _OF_PROFILES
        return "" if known else "which is an external encoder, of which only features are known"
    if run == PROFILES:
        if task not in _OF_PROFILES:
            return "which have no network"
        areas = config["patches"]["datasets"].get(config["evaluation"]["areas"]["dataset"], {})
        annotated = {"coordinates": False, "parcellation": clusters_annotated(config, roles, files)}
        if annotated.get(task, areas.get("source") == "annotations"):
            return "which are not computed at annotated points"
        return ""
    architecture = run_settings(config, run)["architecture"]
    if task == "attention" and architecture not in _TRANSFORMERS:
        return "which has no transformer"
    if task == "layers" and architecture == "unet_encoder":
        return "whose feature map does not cover a patch"
    return ""


def clusters_annotated(config: Config, roles: Roles, files: Collection[str]) -> bool:
    """Whether the parcellation has annotated points to cluster."""
    name = config["evaluation"]["parcellation"]["annotated"]
    return bool(name) and not lacks_labels(config, name, roles, files)


def runs_of_task(config: Config, roles: Roles, files: Collection[str], task: str) -> list[str]:
    """The runs that a task scores; the task `areas` also scores external encoders and the profiles.

    There are none without networks, or if the task is left out. `check_tasks` refuses named runs
    that do not exist or cannot be scored.
    """
    runs = list(config["pretraining"]["runs"])
    if not runs or task in left_out(config, roles, files):
        return []
    if config["evaluation"]["tasks"][task] != "all":
        return list(_named(config, task))
    others = [*config["features"]["external"], PROFILES]
    every = [*runs, *others] if task == "areas" else runs
    return [run for run in every if not obstacle(config, roles, files, task, run)]


def _named(config: Config, task: str) -> list[str]:
    """The runs that the config names for a task; none if it says all."""
    chosen = config["evaluation"]["tasks"][task]
    if chosen == "named":
        return list(config["evaluation"][task]["runs"])
    return [] if chosen == "all" else list(chosen)


def check_tasks(config: Config, roles: Roles, files: Collection[str]) -> list[Finding]:
    """Errors for runs that do not exist, or that the task cannot score."""
    if not config["pretraining"]["runs"]:
        return []
    external = config["features"]["external"]
    runs = [*config["pretraining"]["runs"], *external, PROFILES]
    findings = []
    for name in sorted(set(external) & set(config["pretraining"]["runs"])):
        text = f"config/config.yaml: features.external.{name} has the name of a run"
        findings.append(Finding(ERROR, "names", text, "choose another"))
    for task in config["evaluation"]["tasks"]:
        own = list(config["evaluation"].get(task, {}).get("runs", ()))
        for key, named in {f"{task}.runs": own, f"tasks.{task}": _named(config, task)}.items():
            where = f"config/config.yaml: evaluation.{key}"
            for run in named:
                if run not in runs:
                    text = f"{where} names the run {run!r}; there are {', '.join(runs)}"
                    findings.append(Finding(ERROR, "names", text, "correct the name"))
                elif (
                    key.startswith("tasks.")
                    and task not in left_out(config, roles, files)
                    and (reason := obstacle(config, roles, files, task, run))
                ):
                    text = f"{where}: the task {task} cannot score {run}, {reason}"
                    findings.append(Finding(ERROR, "tasks", text, "remove it there"))
    return findings


def describe_tasks(config: Config, roles: Roles, files: Collection[str]) -> list[Finding]:
    """What becomes of the tasks of the evaluation.

    A note on the tasks that are left out, and on those without a brain to test on; a warning if the
    config asks for a task by more than the default, and it is left out.
    """
    if not config["pretraining"]["runs"]:
        return []
    findings = []
    without = left_out(config, roles, files)
    notes: dict[str, list[str]] = {}
    for task, runs in config["evaluation"]["tasks"].items():
        if not runs:
            continue
        name = config["evaluation"].get(task, {}).get("dataset", "")
        dataset = config["patches"]["datasets"].get(name, {})
        if task in without:
            notes.setdefault(f"left out, since {without[task]}", []).append(task)
            if runs != "all" or dataset.get("source") == "annotations":
                text = f"evaluation.tasks.{task} is left out: {without[task]}"
                remedy = "supply what it needs, or set it to []"
                findings.append(Finding(WARNING, "tasks", text, remedy))
        elif task in OF_AREAS and not any(
            role != "seen" and role in dataset["roles"] for role in roles.values()
        ):
            text = "only on brains that were trained on, since config/brains.tsv has no others"
            notes.setdefault(text, []).append(task)
    return findings + [
        Finding(NOTE, "tasks", f"{text}: {', '.join(tasks)}") for text, tasks in notes.items()
    ]
