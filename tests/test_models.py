import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from table_rows import row

import cytopipe
from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.learning import checkpoints, models, networks
from cytopipe.pretraining import run_release

FILES = {"weights.safetensors", "config.yaml", "README.md"}
PARAMS = {
    "architecture": "small_vit",
    "dataset": "near",
    "loss": "spatialnce",
    "epochs": 3,
    "batch_size": 8,
    "spacing_um": 128.0,
    "seed": 5,
    "optimiser": {"name": "lars", "exclude": ["bias"]},
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A final.pt with updated batch norm statistics, and its data set with test rows."""
    plan = networks.Plan("small_vit", 32, "projection", 16)
    encoder = networks.build(plan, seed=3)
    encoder(torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(0)))
    save_final(tmp_path, encoder)
    patches = [
        row(tables.PatchRow, point_id=point_id, brain=brain, split=split)
        for point_id, brain, split in (
            ("a", "B01", "pretrain"),
            ("a", "B01", "pretrain"),
            ("b", "B02", "pretrain"),
            ("c", "B02", "seen"),
            ("d", "B09", "unseen"),
        )
    ]
    tables.write_rows(tables.PatchRow, patches, tmp_path / "near.parquet")
    return tmp_path


def save_final(folder: Path, encoder: networks.Encoder, **changes: Any) -> None:
    content = {
        "params": PARAMS,
        "version": 7,
        "plan": vars(encoder.plan),
        "weights": encoder.state_dict(),
        "classes": [],
    }
    checkpoints.save({**content, **changes}, folder / "final.pt")


def release(study: Path, folder: Path, licence: str = "CC-BY-4.0") -> Path:
    run_release(
        trained=study / "final.pt",
        patches=study / "near.parquet",
        card=folder / models.CARD,
        settings=folder / models.CONFIG,
        weights=folder / models.WEIGHTS,
        roles={"B01": "seen", "B02": "transfer", "B09": "unseen"},
        template="colin27",
        licence=licence,
    )
    return folder


def windows(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 32, 32), dtype=np.uint8)


def test_a_released_model_equals_the_trained_encoder(study: Path) -> None:
    model = cytopipe.load_model(release(study, study / "model"))
    assert {path.name for path in (study / "model").glob("[!.]*")} == FILES
    assert (model.patch_px, model.spacing_um, model.version) == (32, 128.0, 7)
    assert model.params == PARAMS and model.classes == ()
    encoder, _ = checkpoints.load_encoder(study / "final.pt")
    assert not model.encoder.training
    trained = encoder.state_dict()
    assert list(trained) == list(model.encoder.state_dict())
    for name, tensor in model.encoder.state_dict().items():
        assert torch.equal(tensor, trained[name]) and tensor.dtype == trained[name].dtype
    images = windows(7)
    backbone, projected = model.embed(images, batch_size=7)
    assert backbone.dtype == projected.dtype == np.float32
    with torch.no_grad():
        expected = encoder(torch.from_numpy(images)[:, None].float() / 255)
    np.testing.assert_array_equal(backbone, expected[0].numpy())
    np.testing.assert_array_equal(projected, expected[1].numpy())


def test_the_batch_size_does_not_matter(study: Path) -> None:
    model = models.load_model(release(study, study / "model"))
    images = windows(7)
    images.setflags(write=False)
    whole, parts = (model.embed(images, batch_size) for batch_size in (7, 3))
    for left, right in zip(whole, parts, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)
    assert [part.shape for part in model.embed(windows(0), 3)] == [(0, 96), (0, 16)]


@pytest.mark.parametrize(
    ("images", "shape"),
    [
        (windows(2).astype(np.float32), r"float32 \(2, 32, 32\)"),
        (windows(2)[:, :31], r"uint8 \(2, 31, 32\)"),
        (windows(2)[0], r"uint8 \(32, 32\)"),
        (windows(2)[:, None], r"uint8 \(2, 1, 32, 32\)"),
    ],
)
def test_images_of_another_type_or_size_are_refused(
    study: Path, images: np.ndarray, shape: str
) -> None:
    model = models.load_model(release(study, study / "model"))
    with pytest.raises(InputError, match=shape + r".* takes uint8 \(n, 32, 32\) of 128 um"):
        model.embed(images, batch_size=2)


def test_the_same_run_gives_the_same_bytes(study: Path) -> None:
    one, two = release(study, study / "one"), release(study, study / "two")
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in FILES)


def test_the_card_says_what_the_model_was_trained_on(study: Path) -> None:
    card = (release(study, study / "model") / "README.md").read_text()
    assert "Loss: spatialnce, on positions in colin27" in card
    assert "near, 3 patches of 2 points" in card  # without test rows
    for line in ("| B01 | seen | 2 |", "| B02 | transfer | 1 |", "| B09 | unseen | 0 |"):
        assert line in card
    assert "32 x 32 px of 128 um, an edge of\n  4.096 mm" in card
    assert "Weights: CC-BY-4.0" in card
    undecided = (release(study, study / "other", licence="") / "README.md").read_text()
    assert "Weights: not stated" in undecided


def test_the_code_on_the_card_runs(study: Path) -> None:
    folder = release(study, study / "model")
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {"images": windows(3)}
    exec(code.replace("path/of/this/folder", str(folder)), names)
    assert names["features"].shape == (3, 96) and names["outputs"].shape == (3, 16)


def test_the_card_says_that_weights_are_random(study: Path) -> None:
    encoder = networks.build(networks.Plan("small", 32, "projection", 16), seed=3)
    save_final(study, encoder, params={**PARAMS, "epochs": 0})
    card = (release(study, study / "model") / "README.md").read_text()
    assert "Not trained: these are the random weights" in card and "| B01 | seen | 0 |" in card


def test_a_classifier_names_its_areas(study: Path) -> None:
    encoder = networks.build(networks.Plan("small", 32, "classifier", 2), seed=3)
    save_final(study, encoder, classes=["hOc1", "4a"])
    folder = release(study, study / "model")
    assert models.load_model(folder).classes == ("hOc1", "4a")
    assert "hOc1, 4a" in (folder / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("used", "unneeded"),
    [
        ("cytopipe", ["torch", "numpy"]),
        ("cytopipe.evaluation.run", ["torch", "sklearn", "matplotlib"]),
        ("cytopipe.evaluation.run_coordinates", ["torch"]),
        ("cytopipe.features.run", ["torch._dynamo", "sklearn"]),
        ("cytopipe.learning.objectives.SpatialNCE", ["pandas", "yaml", "pydantic", "tifffile"]),
    ],
)
def test_imports_are_limited_to_what_is_used(used: str, unneeded: list[str]) -> None:
    """A job of one second would wait ten for torch, its compiler and scikit-learn."""
    package = used.rpartition(".")[0] or used
    code = f"import sys, {package}; {used}; print([m for m in {unneeded} if m in sys.modules])"
    words = [sys.executable, "-c", code]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["weights.safetensors", "config.yaml"])
def test_a_missing_or_damaged_file_is_named(study: Path, name: str) -> None:
    folder = release(study, study / "model")
    (folder / name).write_text("[torn")
    with pytest.raises(InputError, match="model: damaged"):
        models.load_model(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name}: not found; a released model is a folder"):
        models.load_model(folder)


def test_weights_of_another_plan_are_refused(study: Path) -> None:
    encoder = networks.build(networks.Plan("small", 32, "projection", 16), seed=3)
    plan = {**vars(encoder.plan), "outputs": 17}
    save_final(study, encoder, plan=plan)
    with pytest.raises(InputError, match=r"final.pt: its weights do not fit the plan"):
        checkpoints.load_encoder(study / "final.pt")


def test_a_run_of_an_earlier_version_is_refused(study: Path) -> None:
    content = checkpoints.load(study / "final.pt")
    del content["classes"]
    checkpoints.save(content, study / "final.pt")
    with pytest.raises(
        InputError, match=r"final.pt: lacks classes; it was written by an earlier version"
    ):
        release(study, study / "model")


def test_an_interrupted_release_leaves_no_weights(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(tensors: Any, path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        release(study, study / "model")
    assert {path.name for path in (study / "model").iterdir()} == FILES - {"weights.safetensors"}
