"""`open_study`: it reads what the rules write, and names what is missing with its remedy."""

import re
from pathlib import Path

import pandas as pd
import pytest
from empty_study import ROOT

import cytopipe
from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.study.results import RESULTS


def test_results_are_where_the_rules_write_them() -> None:
    """Each path is among the outputs of a rule of the stage that the error message names."""
    for pattern in RESULTS.values():
        stage = pattern.partition("/")[0]
        text = (ROOT / "workflow" / "rules" / f"{stage}.smk").read_text()
        outputs = "".join(re.findall(r"^    output:\n((?:        .*\n)+)", text, re.MULTILINE))
        outputs = outputs.replace("{{", "{").replace("}}", "}")
        if stage == "evaluation":
            outputs = outputs.replace("{task}", pattern.split("/")[1])
        outputs = outputs.replace("{config['template']['name']}", "{template}")
        assert f'"results/{pattern}"' in outputs, pattern


def test_each_missing_result_is_named_with_the_stage_that_writes_it(
    shell_study_folder: Path,
) -> None:
    brain = cytopipe.open_study(shell_study_folder).brain("B02")
    for name, stage in {
        "segmentation": "segmentation",
        "stack": "alignment",
        "pairs": "alignment",
        "tissue": "reconstruction",
        "repairs": "reconstruction",
        "depth": "midsurface",
        "surface_table": "midsurface",
        "midline": "midline",
        "points": "coordinates",
        "checks": "coordinates",
        "to_template": "coordinates",
    }.items():
        with pytest.raises(InputError, match=rf"no .* of B02 .*snakemake --until {stage}\b"):
            getattr(brain, name)
    for read in (brain.surface, brain.thickness, brain.curvature):
        with pytest.raises(InputError, match=r"no .* of B02 .*hemi-L_.*--until midsurface\b"):
            read("L")
    with pytest.raises(InputError, match=r"no features of B02 .*plain/B02\.npy.*until features\b"):
        brain.features("plain")


def test_an_unknown_brain_is_refused(shell_study_folder: Path) -> None:
    with pytest.raises(InputError, match=r"brains.tsv: has no brain 'B03'; use one of B01, B02"):
        cytopipe.open_study(shell_study_folder).brain("B03")


def test_features_of_other_points_are_refused(shell_study_folder: Path, tmp_path: Path) -> None:
    brain = cytopipe.open_study(shell_study_folder).brain("B01")
    path = brain.files["points"]
    tables.write(tables.PointRow, tables.read(tables.PointRow, path)[1:], tmp_path / path.name)
    brain.files["points"] = tmp_path / path.name
    with pytest.raises(InputError, match=r"belongs to other points than .*--until features"):
        brain.features("plain")


def test_a_manual_correction_is_in_the_sections(shell_study_folder: Path, tmp_path: Path) -> None:
    for name in ("config", "template"):
        (tmp_path / name).symlink_to(shell_study_folder / name)
    manual = tmp_path / "manual" / "B01"
    manual.mkdir(parents=True)
    table = pd.DataFrame({"section": [1120], "mirrored": ["yes"]})
    table.to_csv(manual / "sections.tsv", sep="\t", index=False)
    sections = cytopipe.open_study(tmp_path).brain("B01").sections
    assert [section.section for section in sections if section.mirrored] == [1120]
