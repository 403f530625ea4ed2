"""The workflow on a study of empty files: what would run, what is refused, what holds together."""

import inspect
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import empty_study
import pytest
import rule_text
import yaml
from empty_study import ATLAS, DEFAULTS, ROOT, count_jobs, dry_run
from rule_text import Rule
from snakemake.api import DAGSettings
from snakemake.exceptions import WorkflowError

from cytopipe import arguments
from cytopipe.__main__ import STAGES
from cytopipe.study import config as study_config

# 3 brains of 4 sections in 2 chunks; one scan of B02 is no pyramid
BRAINS = {"B01": "seen", "B02": "transfer", "B03": "unseen"}
NUMBERS = (0, 15, 480, 495)
# largest memory with ten brains of 510,000 points each: docs/performance.md
MEASURED_MB = {
    "patches": 4940,
    "evaluation_areas": 2440,
    "evaluation_cross_validation": 2320,
    "evaluation_embedding": 2230,
}


def write_study(
    study: Path, brains: Mapping[str, str] = BRAINS, changes: Mapping[str, Any] = ATLAS
) -> Path:
    return empty_study.write(study, brains, NUMBERS, changes, scans=[("B02", 15)])


def snakemake(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in the repository's root, as a person does."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    return subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = write_study(tmp_path_factory.mktemp("finished"))
    empty_study.finish(study)
    return study


@pytest.mark.slow
def test_a_study_without_networks_ends_with_points_and_pages(tmp_path: Path) -> None:
    study = write_study(tmp_path, {"B01": "unseen"})
    path = study / "config" / "config.yaml"
    config = study_config.read(path)
    config["pretraining"]["runs"] = {}
    path.write_text(yaml.safe_dump(config))
    jobs = count_jobs(study)
    assert jobs["report"] == jobs["coordinates"] == 1
    learning = ("patches", "pretraining", "features", "evaluation")
    assert not [rule for rule in jobs if rule.startswith(learning)]


@pytest.mark.slow
def test_a_new_study_runs_every_stage_for_every_brain(study: Path) -> None:
    jobs = count_jobs(study)
    runs = len(DEFAULTS["pretraining"]["runs"])
    for rule, count in {
        "pyramids": 1,
        "segmentation": 6,
        "alignment_pairs": 6,
        "alignment": 3,
        "alignment_audit": 0,  # study.audit is false
        "reconstruction_volume": 3,
        "reconstruction": 3,
        "midsurface": 3,
        "midline": 6,
        "coordinates": 3,
        "pretraining": runs,
        "features": 3 * runs,
        "pretraining_release": runs,
        "evaluation_areas": runs + 1,  # the profiles too
        "evaluation_cross_validation": runs,
        "evaluation_finetuning": runs,
        "evaluation_layers": 0,  # nothing is annotated
        "evaluation_structure": runs,
        "evaluation_coordinates": runs,
        "evaluation_parcellation": runs,
        "evaluation_embedding": runs,
        "evaluation_retrieval": runs,
        "evaluation_shortcuts": runs,
        "evaluation_attention": 0,  # no run has a transformer
        "evaluation": 1,
        "mapping_reference": 1,
        "mapping": 3,
        "mapping_scores": 1,
        "report": 1,
        "all": 1,
    }.items():
        assert jobs[rule] == count, (rule, jobs)


@pytest.mark.slow
def test_a_finished_study_has_nothing_to_do(finished: Path) -> None:
    assert count_jobs(finished) == Counter()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("brains", "changes"), [(BRAINS, {}), ({"B01": "transfer", "B02": "unseen"}, ATLAS)]
)
def test_areas_are_only_predicted_where_they_are_known(
    tmp_path: Path, brains: dict[str, str], changes: Mapping[str, Any]
) -> None:
    """Without an atlas, or a seen brain to learn from, the chain still ends in a report."""
    jobs = count_jobs(write_study(tmp_path, brains, changes))
    for task in ("areas", "cross_validation", "finetuning"):
        assert jobs[f"evaluation_{task}"] == 0
    assert not any(rule.startswith("mapping") for rule in jobs)
    assert jobs["evaluation_embedding"] == len(DEFAULTS["pretraining"]["runs"])
    assert jobs["report"] == 1


@pytest.mark.slow
def test_tasks_and_data_sets_follow_the_config(tmp_path: Path) -> None:
    """Annotations, a transformer, geodesic distances: what each needs is planned, and no more."""
    changes = {
        **ATLAS,
        "study": {"annotations": "annotations"},
        "patches": {"datasets": {"areas": {"source": "annotations"}}},
        "features": {"external": {"dinov2": "models/dinov2"}},
        "pretraining": {
            "runs": {"vit": {"architecture": "r50_vit", "distance": "geodesic", "epochs": 1}}
        },
        "evaluation": {
            "tasks": {"finetuning": ["vit"], "embedding": [], "cross_validation": ["vit"]}
        },
    }
    study = write_study(tmp_path, BRAINS, changes)
    for name in ("card.yaml", "weights.pt"):
        (study / "models" / "dinov2" / name).parent.mkdir(parents=True, exist_ok=True)
        (study / "models" / "dinov2" / name).touch()
    for name in ("areas/B01/00015.geojson", "layers/layers.tsv", "layers/a.tif"):
        (study / "annotations" / name).parent.mkdir(parents=True, exist_ok=True)
        (study / "annotations" / name).touch()
    jobs = count_jobs(study)
    runs = len(DEFAULTS["pretraining"]["runs"]) + 1
    assert jobs["patches_geodesic"] == 1
    assert jobs["midsurface"] == 4  # three brains and the template
    assert jobs["features_patches"] == runs
    # the external encoder too, but profiles have no features of annotated points
    assert jobs["evaluation_areas"] == runs + 1
    assert jobs["features_external_patches"] == 1 and jobs["features_external"] == 0
    assert jobs["patches"] == 2 + 2  # each of B01 and B02 in turn as the transfer brain
    assert jobs["patches_layers"] == 1 and jobs["evaluation_layers"] == runs
    assert jobs["evaluation_attention"] == jobs["evaluation_finetuning"] == 1
    assert jobs["evaluation_embedding"] == 0
    # the cross-validation draws other points than `areas`: they are embedded as well
    for run, sets in {"vit": {"", "-transfer-B01", "-transfer-B02"}, "spatialnce": {""}}.items():
        plan = dry_run(study, targets=[f"results/features/{run}/patches-areas.npy"])
        drawn = {job for job in plan.listed if job.startswith("patches areas")}
        assert drawn == {f"patches areas{name}" for name in sets}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation": {"tasks": {"areas": ["typo"]}}}, "evaluation.tasks.areas names the run"),
        ({"mapping": {"run": "typo"}}, "mapping.run is 'typo', evaluation.tasks.areas scores"),
        ({"evaluation": {"areas": {"dataset": "typo"}}}, "names the data set 'typo'"),
        (
            {"evaluation": {"finetuning": {"runs": {"typo": {}}}}},
            "evaluation.finetuning.runs names the run 'typo'",
        ),
        (
            {"evaluation": {"tasks": {"structure": ["profiles"]}}},
            "the task structure cannot score profiles, which have no network",
        ),
        (
            {"evaluation": {"tasks": {"attention": ["untrained"]}}},
            "cannot score untrained, which has no transformer",
        ),
    ],
)
def test_names_that_lead_nowhere_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(WorkflowError, match=re.escape(message)):
        count_jobs(write_study(tmp_path, changes={**ATLAS, **changes}))


@pytest.mark.slow
def test_a_task_is_planned_for_the_runs_that_it_can_score(tmp_path: Path) -> None:
    changes = {
        **ATLAS,
        "study": {"annotations": "annotations"},
        "pretraining": {"runs": {"unet": {"architecture": "unet_encoder"}}},
        "evaluation": {
            # profiles are features of points, which is all that these two need
            "tasks": {
                "coordinates": ["profiles"],
                "cross_validation": ["profiles"],
                "finetuning": "named",
            },
            "finetuning": {"runs": {"unet": {"epochs": 180}}},
        },
    }
    study = write_study(tmp_path, BRAINS, changes)
    for name in ("layers.tsv", "a.tif"):
        (study / "annotations" / "layers" / name).parent.mkdir(parents=True, exist_ok=True)
        (study / "annotations" / "layers" / name).touch()
    jobs = count_jobs(study)
    runs = len(DEFAULTS["pretraining"]["runs"])
    assert jobs["pretraining"] == runs + 1
    assert jobs["evaluation_layers"] == runs  # the map of the U-Net does not cover a patch
    assert jobs["evaluation_coordinates"] == jobs["evaluation_cross_validation"] == 1
    assert jobs["features_profiles"] == 3
    assert jobs["evaluation_finetuning"] == 1


@pytest.mark.slow
def test_a_run_that_continues_waits_for_the_network(tmp_path: Path) -> None:
    runs = {"warm": {"start": "spatialnce"}, "warmer": {"start": "warm", "loss": "simclr"}}
    study = write_study(tmp_path, changes={**ATLAS, "pretraining": {"runs": runs}})
    for run, expected in {"spatialnce": 1, "warm": 2, "warmer": 3}.items():
        jobs = count_jobs(study, targets=[f"results/pretraining/{run}/final.pt"])
        assert jobs["pretraining"] == expected


@pytest.mark.slow
def test_until_stops_after_the_stage(study: Path) -> None:
    assert count_jobs(study, until=["midsurface"]) == Counter(
        pyramids=1,
        segmentation=6,
        alignment_pairs=6,
        alignment=3,
        reconstruction_volume=3,
        reconstruction=3,
        midsurface=3,
    )


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["alignment", "evaluation"])
def test_a_stage_can_be_named_in_until_and_forcerun(finished: Path, stage: str) -> None:
    """--forcerun runs the stage and what depends on it, and nothing before it."""
    jobs = count_jobs(finished, forcerun=[stage], until=[stage])
    assert jobs[stage] >= 1
    assert set(jobs) == {stage}


@pytest.mark.slow
def test_forcerun_takes_along_what_depends_on_it(finished: Path) -> None:
    jobs = count_jobs(finished, forcerun=["midline"])
    assert jobs["midline"] == 6 and jobs["coordinates"] == 3 and jobs["report"] == 1
    before = ("pyramids", "segmentation", "alignment_pairs", "alignment", "midsurface")
    assert not any(jobs[rule] for rule in before)


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["slurm", "local", "demo", "head"])
def test_profiles_are_found_by_name(study: Path, profile: str) -> None:
    run = snakemake(
        "--directory", str(study), "-n", "--profile", profile, "--until", "segmentation"
    )
    assert run.returncode == 0, run.stdout
    assert re.search("^segmentation +6$", run.stdout, re.MULTILINE)


def test_every_rule_that_runs_a_network_requests_a_gpu() -> None:
    resources = yaml.safe_load((ROOT / "slurm" / "profile.yaml").read_text())["set-resources"]
    # the linear probe reads no more than the plan of the network
    networks = {name for name, rule in rule_text.ALL.items() if "weights" in rule.names("input")}
    networks = (networks | {"pretraining"}) - {"evaluation_areas"}
    assert {"evaluation_shortcuts", "evaluation_structure", "features"} <= networks
    assert networks == {name for name, each in resources.items() if each["gres"].startswith("gpu")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segmentation": {"spacing": 64}}, "segmentation.spacing is unknown (its value: 64)"),
        ({"study": {"chunk_span": 0}}, "study.chunk_span is 0; give a whole number of at least 1"),
        ({"typo": {}}, "unknown section 'typo'"),
    ],
)
def test_a_wrong_config_is_refused_before_anything_runs(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(WorkflowError, match=re.escape(message)):
        count_jobs(write_study(tmp_path, changes=changes))


@pytest.mark.slow
def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    with (study / "config" / "config.yaml").open("a") as config:
        config.write("report: {}\n")
    run = snakemake("--directory", str(study), "-n")
    assert run.returncode == 1
    assert "the key 'report' stands twice" in run.stdout
    assert "Traceback" not in run.stdout


@pytest.mark.slow
def test_the_root_without_a_study_says_what_is_missing() -> None:
    run = snakemake("-n")
    assert run.returncode == 1
    assert "config/brains.tsv: not found" in run.stdout
    assert "--directory STUDY, e.g. demo after `make demo`" in run.stdout


@pytest.mark.slow
def test_lint_is_clean(study: Path) -> None:
    run = snakemake("--directory", str(study), "--lint")
    assert run.returncode == 0, run.stdout


@pytest.mark.slow
def test_memory_of_the_evaluation_follows_the_size_of_the_study(tmp_path: Path) -> None:
    def memory_mb(brains: int) -> dict[str, int]:
        roles = {f"B{n:02d}": "seen" if n < 8 else "unseen" for n in range(brains)}
        study = tmp_path / str(brains)
        study.mkdir()
        empty_study.write(study, roles, range(0, 465 * 15, 15))
        with empty_study.planned(study, ROOT, {}, DAGSettings()) as workflow:
            jobs = [job for job in workflow.dag.jobs if job.rule.name in MEASURED_MB]
            return {job.rule.name: job.resources["mem_mb"] for job in jobs}

    two, ten = memory_mb(2), memory_mb(10)
    for rule, measured in MEASURED_MB.items():
        assert two[rule] < ten[rule] and 1.3 * measured < ten[rule]


@pytest.mark.parametrize("rule", rule_text.ALL.values(), ids=lambda rule: rule.name)
def test_rules_read_like_sentences_of_a_protocol(rule: Rule) -> None:
    assert re.fullmatch(r'"""[^"]+\."""', rule.docstring.splitlines()[0])
    for directive in ("input", "output", "log", "benchmark", "params", "resources", "threads"):
        assert directive in rule.directives, f"no {directive}"
    assert {"mem_mb", "runtime"} <= rule.names("resources")
    stage = rule.name.partition("_")[0]
    assert f'version=version("{stage}")' in rule.directives["params"]
    # a retry inside the job as well as of the job: the profiles alone say retries
    assert "retries" not in rule.directives
    assert '"../scripts/run_stage.py"' in rule.directives["script"]


@pytest.mark.parametrize("rule", rule_text.ALL.values(), ids=lambda rule: rule.name)
def test_a_rule_names_the_arguments_of_its_function(rule: Rule) -> None:
    function = rule.function()
    expected = inspect.signature(function).parameters
    outputs = rule.names("output")
    assert outputs == arguments.outputs_of(function)
    named = rule.names("input") | outputs | rule.names("params") - {"version", "keyed_by"}
    assert named <= set(expected)
    wildcards = set(re.findall(r"\{(\w+)\}", rule.directives["output"]))
    from_job = wildcards | {"threads", "workers"}
    optional = {name for name, each in expected.items() if each.default is not each.empty}
    assert set(expected) - named <= from_job | optional


@pytest.mark.parametrize("path", rule_text.RULE_FILES, ids=lambda path: path.stem)
def test_rules_have_no_lambda(path: Path) -> None:
    assert "lambda" not in path.read_text()


@pytest.mark.parametrize("stage", STAGES)
def test_one_stage_one_name(stage: str) -> None:
    package = ROOT / "cytopipe" / stage / "__init__.py"
    source = package if package.exists() else ROOT / "cytopipe" / f"{stage}.py"
    assert re.search(r"^VERSION = \d+$", source.read_text(), re.MULTILINE)
    assert f"use rule job as {stage} with:" in (rule_text.RULES / f"{stage}.smk").read_text()
    assert study_config.section_model(stage).__module__ == f"cytopipe.study.config.{stage}"
    assert (ROOT / "tests" / f"test_{stage}.py").exists()
    assert stage in DEFAULTS
    assert f"results/{stage}/" in rule_text.ALL[stage].directives["output"]


def test_every_task_of_the_config_has_its_rule() -> None:
    tasks = list(DEFAULTS["evaluation"]["tasks"])
    rules = [name for name in rule_text.ALL if name.startswith("evaluation")]
    assert sorted(rules) == sorted(["evaluation", *(f"evaluation_{task}" for task in tasks)])
