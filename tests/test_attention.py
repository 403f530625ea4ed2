import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from two_areas import TRAINED, write_study

from cytopipe import evaluation
from cytopipe.evaluation.tasks.attention import chosen_patches, entropy, overlay, share_inside
from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.learning import checkpoints, networks
from cytopipe.study.config import AttentionTask

PARAMS = AttentionTask(
    dataset="areas",
    areas=["Q", "P"],
    patches=6,
    shown=2,
    gamma=0.5,
    tissue_below=0.5,
    batch_size=4,
    seed=1,
)


def test_entropy_by_hand() -> None:
    maps = np.zeros((4, 2, 2))
    maps[0, 0, 1] = 0.3  # a single cell
    maps[1] = 0.1  # uniform, not normalised
    maps[2, 0] = 0.5  # two of four cells: log 2 / log 4
    maps[3] = [[0.1, 0.2], [0.3, 0.4]]
    p = np.array([0.1, 0.2, 0.3, 0.4])
    assert np.allclose(entropy(maps), [0, 1, 0.5, -(p * np.log(p)).sum() / np.log(4)])


def test_share_inside_by_hand() -> None:
    maps = np.array([[[[0.1, 0.2], [0.1, 0.1]], [[1.0, 0], [0, 0]]]])
    inside = np.array([[[True, False], [False, True]]])
    assert np.allclose(share_inside(maps, inside), [[0.2 / 0.5, 1]])


def test_the_strongest_cell_is_red_and_one_without_attention_stays_gray() -> None:
    image = np.full((8, 8), 200, np.uint8)
    shown = overlay(image, np.array([[0.4, 0.0], [0.0, 0.0]]), 0.5)
    assert shown[0, 0].tolist() == [255, 0, 0] and shown[-1, -1].tolist() == [200, 200, 200]
    # gamma 0.5: a quarter of the maximum is half red
    quarter = overlay(image, np.array([[0.4], [0.1]]), 0.5)
    assert quarter[-1, 0].tolist() == [228, 100, 100]  # (255 + 200) / 2 and 200 / 2


def test_patches_are_drawn_by_seed_and_area() -> None:
    table = pd.DataFrame({"point_id": [f"p{n % 30}" for n in range(60)]})
    table["area"] = [("", "P", "Q")[n % 3] for n in range(60)]
    some = chosen_patches(table, PARAMS)
    assert some.area.tolist() == ["Q"] * 6 + ["P"] * 6 and some.point_id.is_unique
    assert some.equals(chosen_patches(table.sample(frac=1, random_state=1), PARAMS))
    drawn = chosen_patches(table, AttentionTask(**vars(PARAMS) | {"areas": 1}))
    assert drawn.area.nunique() == 1 and len(drawn) == 6
    for areas, message in ((3, "3 areas are to be drawn, but areas has 2"), (["R"], "no area 'R'")):
        with pytest.raises(InputError, match=message):
            chosen_patches(table, AttentionTask(**vars(PARAMS) | {"areas": areas}))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path)


def run(folder: Path, architecture: str, **changed: Any) -> pd.DataFrame:
    plan = networks.Plan(architecture, 16, "projection", 8)
    weights = networks.build(plan, seed=3).state_dict()
    content = {"params": TRAINED, "plan": vars(plan), "weights": weights}
    checkpoints.save({**content, "version": 1, "classes": []}, folder / "final.pt")
    evaluation.run_attention(
        patches=folder / "patches.parquet",
        weights=folder / "final.pt",
        scores=folder / "scores.parquet",
        html=folder / "attention.html",
        run="x",
        threads=1,
        params=AttentionTask(**vars(PARAMS) | changed),
    )
    return tables.read(tables.ScoreRow, folder / "scores.parquet")


def test_every_head_has_its_scores(study: Path) -> None:
    table = run(study, "small_vit")
    heads = table[table.metric == "entropy"]
    assert heads.split.tolist() == [f"head {n}" for n in range(1, 13)]
    # fresh weights hardly prefer any token
    assert heads.value.between(0.95, 1).all()
    shares = table[table.metric == "tissue_share"].set_index("split").value
    assert np.allclose(shares, shares["uniform"], atol=0.1)
    page = (study / "attention.html").read_text()
    assert "<h2>P</h2>" in page and "<h2>Q</h2>" in page


def test_the_same_seed_gives_the_same_pictures(study: Path) -> None:
    pictures = []
    for batch_size in (4, 100):
        run(study, "small_vit", areas=1, batch_size=batch_size)
        page = (study / "attention.html").read_text()
        pictures.append(re.findall('"source":"(data:image[^"]+)"', page))
    assert len(pictures[0]) > 10 and pictures[0] == pictures[1]


def test_a_network_without_attention_is_refused(study: Path) -> None:
    with pytest.raises(InputError, match="architecture is r50_vit or small_vit"):
        run(study, "small")
