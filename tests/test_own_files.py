"""Damaged results: each reader names the file and the stage that makes it again."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from cytopipe.files import InputError, rerun_of
from cytopipe.formats import surfaces, transforms, volumes
from cytopipe.formats.feature_arrays import read_features
from cytopipe.formats.images import open_pyramid, write_pyramid
from cytopipe.learning import checkpoints
from cytopipe.learning.distances import read_geodesic

RANDOM = np.random.default_rng(7)
CONTENT = {"params": {"a": 1}, "version": 1, "plan": {}, "classes": [], "weights": torch.zeros(999)}


def result(root: Path, name: str) -> Path:
    path = root / "study" / "results" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def flipped(content: bytes, place: int) -> bytes:
    damaged = bytearray(content)
    damaged[place] ^= 16
    return bytes(damaged)


def test_the_stage_of_a_result_is_its_folder() -> None:
    assert "the stage midline writes it" in rerun_of(Path("results/midline/B01/00000.parquet"))
    assert "the stage features writes it" in rerun_of(Path("/a/results/features/run/B01.npy"))
    for other in ("config/a.tsv", "results.tif", "results/a.tif", "scans/results"):
        assert rerun_of(Path(other)) == ""


@pytest.mark.parametrize(
    ("name", "content", "read"),
    [
        ("reconstruction/B01/tissue.nii.gz", b"\x1f\x8b no", volumes.read_tissue),
        ("midsurface/B01/hemi-L_mid.surf.gii", b"<GIFTI", surfaces.read),
        ("midsurface/B01/hemi-L_thickness.shape.gii", b"", surfaces.read_map),
        ("features/run/B01.npy", b"\x93NUMPY", lambda path: read_features(path, 5)),
        ("pretraining/run/final.pt", b"PK\x03\x04 no", checkpoints.load_encoder),
        ("patches/geodesic.npz", b"PK\x03\x04 no",
         lambda path: read_geodesic(path, np.zeros((1, 3)), np.zeros(1, bool))),
        ("coordinates/B01/to-mni.h5", b"\x89HDF no",
         lambda path: transforms.read(path, "a", "b", "points")),
    ],
)  # fmt: skip
def test_a_damaged_result_names_its_stage(tmp_path: Path, name: str, content: bytes, read) -> None:
    path = result(tmp_path, name)
    path.write_bytes(content)
    stage = name.partition("/")[0]
    with pytest.raises(InputError, match=rf"{path.name}: not a readable .*the stage {stage} wri"):
        read(path)


def test_a_damaged_pyramid_is_to_be_deleted_not_scanned(tmp_path: Path) -> None:
    path = result(tmp_path, "pyramids/B01/00015.ome.tif")
    write_pyramid(np.full((90, 90), 200, np.uint8), path, 20.0, 40.0, tile=32)
    path.write_bytes(path.read_bytes()[:1200])
    with (
        pytest.raises(InputError, match=r"delete it and .*the stage pyramids writes it") as error,
        open_pyramid(path, 20.0) as pyramid,
    ):
        pyramid.read_level(0)
    assert "scan or copy" not in str(error.value)


def test_a_wrong_bit_in_weights_is_noticed(tmp_path: Path) -> None:
    """PyTorch passes over the checksums of its own archive."""
    path = result(tmp_path, "pretraining/run/final.pt")
    checkpoints.save(CONTENT, path)
    intact = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        [data] = [it for it in archive.infolist() if it.filename.endswith("data/0")]
    assert checkpoints.load_trained(path)["version"] == 1
    path.write_bytes(flipped(intact, data.header_offset + 2000))
    with pytest.raises(InputError, match=r"final\.pt: .*Bad CRC|checksum of .* is wrong"):
        checkpoints.load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [([1, 2], "it holds a list"), ({**CONTENT, "plan": np.float64}, "not a readable PyTorch file")],
)
def test_another_file_of_pytorch_is_refused(tmp_path: Path, content, message: str) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputError, match=rf"a\.pt: .*{message}"):
        checkpoints.load_trained(tmp_path / "a.pt")


def test_weights_of_an_earlier_version_are_named(tmp_path: Path) -> None:
    checkpoints.save({"weights": {}}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"lacks params, plan; .* earlier"):
        checkpoints.load_encoder(tmp_path / "a.pt")


def test_features_belong_to_their_points(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, RANDOM.normal(size=(5, 3)).astype(np.float32))
    assert read_features(path, 5).shape == (5, 3)
    for rows, array in ((6, None), (5, np.zeros(5, np.float32)), (5, np.array([["a"]] * 5))):
        if array is not None:
            np.save(path, array)
        with pytest.raises(InputError, match=r"a\.npy: not a readable array of features"):
            read_features(path, rows)
    np.save(path, np.array([{"a": 1}] * 5, object), allow_pickle=True)
    with pytest.raises(InputError, match=r"a\.npy: not a readable array"):
        read_features(path, 5)
