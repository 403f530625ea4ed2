"""The presets of the papers: every run and task of the merged configs against the papers' values.

The tables are written from the papers, not from the presets. `rate` is the learning rate of a step:
the config has that of a batch of 256.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import empty_study
import pytest
from empty_study import DEFAULTS, ROOT, count_jobs

from cytopipe.study import config as study_config

PRESETS = ROOT / "config" / "presets"
PAPER = study_config.read(PRESETS / "paper.yaml")
ISBI = study_config.read(PRESETS / "isbi.yaml")
CONFIGS = {
    "paper": study_config.merge(DEFAULTS, PAPER),
    "isbi": study_config.merge(DEFAULTS, ISBI),
    "both": study_config.merge(study_config.merge(DEFAULTS, PAPER), ISBI),
}

AUGMENTATION = {  # CytoNet 3.4 and ISBI, "Data augmentation"; the gamma is misprinted in both
    "angle_rad": pytest.approx(3.14159265),
    "shift_mm": 0.2,
    "mirror": 0.5,
    "alpha": [0.9, 1.0],
    "beta": [-0.1, 0.1],
    "gamma_z": 0.05,
    "blur": 0.25,
    "sharpen": 0.25,
    "sigma_px": [0.125, 1.0],
    "delta": [0.5, 1.5],
}

CYTONET = {  # CytoNet 3.4
    "patch_px": 2048,
    "spacing_um": 2,
    "batch_size": 2048,
    "rate": pytest.approx(0.08),
    "optimiser.name": "lars",
    "optimiser.schedule": "constant",
    "optimiser.momentum": 0.9,
    "optimiser.trust": 0.02,
    "optimiser.weight_decay": 0.0001,
    "temperature": 0.07,
    "epochs": 150,
    "projection": 256,
    "sigma_mm": 10,
    "distance": "euclidean",
    "augmentation": AUGMENTATION,
}
SCRATCH = {  # 3.5
    "loss": "supervised",
    "dataset": "areas",
    "epochs": 180,
    "optimiser.name": "sgd",
}
R50, VIT = {"architecture": "r50"}, {"architecture": "r50_vit", "checkpointing": True}  # 3.3, 3.9
SUPCON, SIMCLR = {"loss": "supcon", "dataset": "areas"}, {"loss": "simclr"}  # 3.5
SPATIAL = {"loss": "spatialnce"}  # 3.4
SMALL, LARGE = {"dataset": "pretrain"}, {"dataset": "pretrain-1m"}  # 3.4: 200k and 1M
PRETRAINED = {  # Table 5
    "spatialnce": R50 | SPATIAL | SMALL,
    "spatialnce-1m": R50 | SPATIAL | LARGE,
    "spatialnce-vit": VIT | SPATIAL | SMALL,
    "spatialnce-vit-1m": VIT | SPATIAL | LARGE,
    "simclr": R50 | SIMCLR | SMALL,
    "simclr-1m": R50 | SIMCLR | LARGE,
    "simclr-vit": VIT | SIMCLR | SMALL,
    "simclr-vit-1m": VIT | SIMCLR | LARGE,
    "supcon": R50 | SUPCON,
    # 3.5: AdamW, 0.001
    "supcon-vit": VIT | SUPCON | {"optimiser.name": "adamw", "rate": pytest.approx(0.001)},
}
REDUCED = {"rate": pytest.approx(0.008)}  # 3.5
RUNS = (
    PRETRAINED
    | {f"scratch{n}": R50 | SCRATCH for n in ("", "-2", "-3")}
    | {f"scratch-vit{n}": VIT | SCRATCH | REDUCED for n in ("", "-2", "-3")}
)

CLASSIFIER = {  # 3.5: linear probing and fine-tuning
    "epochs": 30,
    "batch_size": 2048,
    "rate": pytest.approx(0.08),
    "optimiser.name": "sgd",
    "optimiser.schedule": "constant",
    "optimiser.momentum": 0.9,
    "optimiser.weight_decay": 0.0001,
    "dataset": "areas",
}
CLASSIFIERS = dict.fromkeys(PRETRAINED, CLASSIFIER) | {
    "spatialnce-vit": CLASSIFIER | REDUCED,
    "supcon-vit": CLASSIFIER | {"optimiser.name": "adamw", "rate": pytest.approx(0.001)},
}

ISBI_TRAINING = {  # ISBI 2 and 3; the trust coefficient and the decay are not given
    "architecture": "unet_encoder",
    "patch_px": 1129,
    "spacing_um": 2,
    "batch_size": 4096,
    "rate": pytest.approx(0.01 * 4096 / 128),
    "optimiser.name": "lars",
    "optimiser.schedule": "constant",
    "augmentation": AUGMENTATION,
}
ISBI_RUNS = {
    "contrastive": ISBI_TRAINING
    | {"loss": "supcon", "dataset": "areas", "epochs": 150, "temperature": 0.07, "projection": 128},
    "scratch-unet": ISBI_TRAINING | {"loss": "supervised", "dataset": "areas", "epochs": 180},
    "distance": ISBI_TRAINING | {"loss": "distance"},
}
ISBI_CLASSIFIER = {
    "batch_size": 4096,
    "rate": pytest.approx(0.01 * 4096 / 128),
    "optimiser.name": "lars",
    "dataset": "areas",
}

AREAS = {  # CytoNet Table 2; it prints PFFt for what Table 3 calls PFt
    "occipital": "hOc1 hOc2 hOc3v hOc4v hOc3d hOc4d hOc4la hOc4lp hOc5 hOc6",
    "parietal": "Ip1 Ip2 Ip3 Ip4 1 2 3a 3b 5L 5M 5Ci 7PC 7A hIP3 PF PFcm PFm PFop PFt PGa PGp hIP1 "
    "hIP2 hIP4 hIP5 hIP6 hIP7 hIP8 hPO1",
    "temporal": "FG1 FG2 FG3 FG4 Te_1.0 Te_1.1 Te_1.2 Te_2.1 Te_2.2 Te_3 STS1 STS2 TeI TI",
    "insula": "Ig1 Ig2 Id1 Ig3 Id2 Id3 Id4 Id5 Id6 Ia7 Ia1",
    "frontal": "4a 4p 6d1 6d2 6d3 6v1 6v2 6r1 6mp 6ma 11a 11p 13 Fo4 Fo5 Fo6 Fo7 IFJ1 IFJ2 IFS1 "
    "IFS2 IFS3 IFS4 8a 8b 8c 8d SFS1 SFS2 FMS1 MFG1 44 45 Op5 Op6 Op7 Op8 Op9",
    "limbic": "25a 25p s24a s24b s32 p24a p24b pv24c pd24cd pd24cv p32",
}
REST = {  # path in the config: section or table of CytoNet, value
    "patches.datasets.pretrain.count": ("3.4", 200_000),
    "patches.datasets.pretrain-1m.count": ("3.4", 1_000_000),
    "patches.datasets.pretrain.per_area": ("3.4: not balanced", None),
    "patches.datasets.pretrain-1m.per_area": ("3.4: not balanced", None),
    "patches.datasets.pretrain.roles": ("Table 1", ["seen", "transfer"]),
    "patches.datasets.pretrain-1m.roles": ("Table 1", ["seen", "transfer"]),
    "patches.datasets.areas.roles": ("Table 1", ["seen", "transfer", "unseen"]),
    "patches.datasets.areas.source": ("3.5", "annotations"),
    "patches.datasets.areas.point_spacing_mm": ("3.5", 1.0),
    "patches.datasets.areas.test_every": ("3.5", 5),
    "patches.datasets.areas.per_area": ("3.5", 1200),
    "patches.datasets.areas.min_brains": ("7.1", 4),
    "patches.layers.test_share": ("3.6", 0.2),
    "features.views.count": ("3.5: augmented during probing, a view per epoch", 30),
    "features.profiles.samples": ("3.7", 200),
    "features.profiles.width_mm": ("3.7: a line of one pixel", 0),
    "features.profiles.spacing_um": ("1.3: the 20 micrometer model", 20),
    "evaluation.tasks.cross_validation": ("Table 6", ["spatialnce-vit-1m"]),
    "evaluation.layers.spacing_um": ("3.6", 2),
    "evaluation.layers.patch_px": ("3.6: 32 cells of 128 um", 2048),
    "evaluation.layers.fractions": ("3.6", [0.01, 0.05, 0.1, 0.2, 1.0]),
    "evaluation.layers.optimiser.name": ("3.6", "adamw"),
    "evaluation.layers.optimiser.learning_rate": ("3.6", 0.001),
    "evaluation.layers.optimiser.weight_decay": ("3.6", 0.01),
    "evaluation.structure.components": ("3.7", [1, 16, 32, 64, 128, 256]),
    "evaluation.structure.pca": ("3.7: once, on all points", "all"),
    "evaluation.structure.folds": ("3.7", 5),
    "evaluation.structure.attributed": ("3.7", 16),
    "evaluation.structure.bandwidth_um": ("3.7", 100),
    "evaluation.structure.points": ("3.7: no sampling", None),
    "evaluation.coordinates.folds": ("7.3", 5),
    "evaluation.coordinates.points": ("7.3: no sampling", None),
    "evaluation.parcellation.areas": ("3.8", ["Fp1", "Fp2"]),
    "evaluation.parcellation.annotated": ("3.8", "areas"),
    "evaluation.parcellation.probability": ("3.8", 0.5),
    "evaluation.parcellation.clusters": ("3.8", 6),
    "evaluation.attention.areas": ("Figure 3", ["hOc1", "4a", "3b"]),
    "evaluation.attention.gamma": ("Figure 3", 0.5),
    "evaluation.embedding.clusters": ("ISBI Table 2", 10),
}


def value_at(config: Mapping[str, Any], path: str) -> Any:
    value: Any = config
    for step in path.split("."):
        value = value[step]
    return value


def of_run(config: Mapping[str, Any], run: str) -> dict[str, Any]:
    """The settings of a run, as the rules merge them, with its rate."""
    settings = study_config.merge(
        config["pretraining"]["common"], config["pretraining"]["runs"][run]
    )
    return with_rate(settings)


def of_task(config: Mapping[str, Any], task: str, run: str) -> dict[str, Any]:
    settings = dict(config["evaluation"][task])
    return with_rate(study_config.merge(settings, settings.pop("runs").get(run, {})))


def with_rate(settings: dict[str, Any]) -> dict[str, Any]:
    rate = settings["optimiser"]["learning_rate"] * settings["batch_size"] / 256
    return settings | {"rate": rate}


def compare(settings: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert {key: value_at(settings, key) for key in expected} == expected


@pytest.mark.parametrize("name", CONFIGS)
def test_the_merged_configs_are_valid(name: str) -> None:
    study_config.check(CONFIGS[name])


@pytest.mark.parametrize("name", ["paper", "both"])
@pytest.mark.parametrize("run", RUNS)
def test_a_run_of_cytonet(name: str, run: str) -> None:
    compare(of_run(CONFIGS[name], run), CYTONET | RUNS[run])


@pytest.mark.parametrize("name", ["isbi", "both"])
@pytest.mark.parametrize("run", ISBI_RUNS)
def test_a_run_of_isbi(name: str, run: str) -> None:
    compare(of_run(CONFIGS[name], run), ISBI_RUNS[run])


def test_networks_from_scratch_differ_in_their_seed_alone() -> None:
    """Table 5: three training runs with different random initialization."""
    runs = CONFIGS["both"]["pretraining"]["runs"]
    for first in ("scratch", "scratch-vit"):
        others = [runs[f"{first}{n}"] for n in ("", "-2", "-3")]
        assert [run["seed"] for run in others] == [1, 2, 3]
        assert all(run | {"seed": 1} == runs[first] for run in others)


@pytest.mark.parametrize("name", ["paper", "both"])
@pytest.mark.parametrize("run", CLASSIFIERS)
def test_a_classifier_of_cytonet(name: str, run: str) -> None:
    config = CONFIGS[name]
    probe, tuned = of_task(config, "areas", run), of_task(config, "finetuning", run)
    compare(probe, CLASSIFIERS[run] | {"standardise": False})
    # Table 5: fine-tuning with the projection layer (P) is of CytoNet-ViT (1M) alone
    compare(tuned, CLASSIFIERS[run] | {"projected": run == "spatialnce-vit-1m"})
    assert len(probe["seeds"]) == len(tuned["seeds"]) == 3  # Table 5


@pytest.mark.parametrize("name", ["isbi", "both"])
def test_the_classifiers_of_isbi(name: str) -> None:
    compare(
        of_task(CONFIGS[name], "areas", "contrastive"),
        ISBI_CLASSIFIER | {"epochs": 30, "standardise": False},
    )
    compare(of_task(CONFIGS[name], "finetuning", "distance"), ISBI_CLASSIFIER | {"epochs": 180})
    assert CONFIGS[name]["features"]["views"]["count"] == 30  # the same training parameters


def test_what_is_fine_tuned() -> None:
    for name, runs in {
        "paper": {*PRETRAINED},  # Table 5; training from scratch is not followed by fine-tuning
        "isbi": {"distance"},  # Table 1
        "both": {*PRETRAINED, "distance"},
    }.items():
        evaluation = CONFIGS[name]["evaluation"]
        assert evaluation["tasks"]["finetuning"] == "named"
        assert set(evaluation["finetuning"]["runs"]) == runs


def test_every_run_is_in_a_table() -> None:
    untrained = {"untrained", "untrained-vit"}
    assert set(CONFIGS["paper"]["pretraining"]["runs"]) == {*RUNS, *untrained}
    assert set(CONFIGS["both"]["pretraining"]["runs"]) == {*RUNS, *ISBI_RUNS, *untrained}


def test_merging_leaves_the_runs_of_the_other_paper() -> None:
    for name, runs in {"paper": RUNS, "isbi": ISBI_RUNS}.items():
        for run in runs:
            assert of_run(CONFIGS["both"], run) == of_run(CONFIGS[name], run), run


@pytest.mark.parametrize("name", ["paper", "both"])
@pytest.mark.parametrize("path", REST)
def test_another_value_of_cytonet(name: str, path: str) -> None:
    source, value = REST[path]
    assert value_at(CONFIGS[name], path) == value, source


def test_the_areas_are_those_of_table_2() -> None:
    names = [area.replace("_", " ") for line in AREAS.values() for area in line.split()]
    assert len(names) == 113
    assert CONFIGS["both"]["patches"]["datasets"]["areas"]["areas"] == names


def test_parcellation_is_repeated_30_times() -> None:
    assert len(CONFIGS["paper"]["evaluation"]["parcellation"]["seeds"]) == 30  # 3.8


def test_layers_are_segmented_by_the_networks_of_table_7() -> None:
    config = CONFIGS["both"]
    tested = config["evaluation"]["tasks"]["layers"]
    of_table = ["simclr", "simclr-vit-1m", "spatialnce", "spatialnce-vit-1m"]
    assert tested == ["untrained", "untrained-vit", *of_table]
    # scratch and scratch-ViT have random weights before they learn layers
    for run, network in {"untrained": R50, "untrained-vit": VIT}.items():
        compare(of_run(config, run), network | {"epochs": 0})


@pytest.mark.slow
def test_both_presets_can_be_planned_together(tmp_path: Path) -> None:
    changes = study_config.merge(
        study_config.merge(PAPER, ISBI),
        {**empty_study.ATLAS, "study": {"annotations": "annotations"}},
    )
    study = empty_study.write(
        tmp_path, {"B01": "seen", "B02": "transfer", "B03": "unseen"}, (0, 15), changes
    )
    for name in ("areas/B01/00015.geojson", "layers/layers.tsv", "layers/a.tif"):
        empty_study.lay_down(study / "annotations" / name)
    jobs = count_jobs(study)
    runs = CONFIGS["both"]["pretraining"]["runs"]
    assert jobs["pretraining"] == jobs["evaluation_areas"] == len(runs)
    assert jobs["features_views"] == len(runs)  # augmented training patches
    assert jobs["evaluation_finetuning"] == len(PRETRAINED) + 1
    assert jobs["evaluation_layers"] == 6 and jobs["evaluation_cross_validation"] == 1
    assert jobs["evaluation_attention"] == sum("vit" in run for run in runs)
