"""Areas of an atlas at points, and the table of its labels."""

import numpy as np
import pytest

from cytopipe.coordinates.atlas_areas import area_at
from cytopipe.files import InputError
from cytopipe.formats import volumes
from cytopipe.formats.atlas import read_atlas, read_lobes
from cytopipe.formats.volumes import Volume, regular_affine


@pytest.fixture
def atlas_files(tmp_path):
    """Front and back on each side, and a midline area of both; 1 mm voxels."""
    index = np.moveaxis(np.indices((41, 41, 11)), 0, -1)
    points = index - [20, 20, 5]
    data = np.where(points[..., 0] < 0, 1, 2) + np.where(points[..., 1] < 0, 0, 10)
    data[np.abs(points[..., 0]) <= 1] = 7
    data[..., 10] = 0
    path, areas = tmp_path / "atlas.nii.gz", tmp_path / "areas.tsv"
    volumes.write(Volume(data.astype(np.int16), regular_affine(1.0, [-20.0, -20, -5])), path)
    areas.write_text(
        "label\tname\themisphere\n1\tback\tL\n2\tback\tR\n11\tfront\tL\n12\tfront\tR\n7\tmid\t\n"
    )
    return path, areas


def test_areas_of_the_points_own_hemisphere(atlas_files):
    atlas = read_atlas(*atlas_files)
    points = np.array(
        [
            [-10.0, -10, 0],  # deep in the left back
            [-10.0, 10, 0],
            [10.0, 10, 0],
            [4.0, 10, 0],  # declared left: only the midline area is within reach
            [10.0, 10, 30],  # beyond the atlas
            [np.nan] * 3,
            [10.0, -0.5, 0],  # on the border of two areas
        ]
    )
    sides = np.array(["L", "L", "R", "L", "R", "R", "R"])
    names, probability = area_at(atlas, points, sides, sigma_mm=1.0, reach_mm=4.0)
    assert names[:6].tolist() == ["back", "front", "front", "mid", "", ""]
    np.testing.assert_allclose(probability[:4], 1.0)
    assert np.isnan(probability[4:6]).all()
    assert probability[6] == pytest.approx(0.5)


def test_probability_is_the_gaussian_share(atlas_files):
    atlas = read_atlas(*atlas_files)
    point, sigma, reach = np.array([[10.3, 0.8, -0.4]]), 1.3, 3.0
    _, probability = area_at(atlas, point, np.array(["R"]), sigma, reach)
    grid = atlas.labels.to_mm(np.moveaxis(np.indices(atlas.labels.data.shape), 0, -1))
    square = ((grid - point) ** 2).sum(-1)
    weight = np.where(square <= reach**2, np.exp(-square / (2 * sigma**2)), 0)
    front, back = weight[atlas.labels.data == 12].sum(), weight[atlas.labels.data == 2].sum()
    assert probability[0] == pytest.approx(front / (front + back))


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("label\tname\n1\ta\n", "hemisphere"),
        ("label\tname\themisphere\nx\ta\tL\n", "line 2: label is 'x'"),
        ("label\tname\themisphere\n1\ta\tleft\n", "line 2: hemisphere is 'left'"),
        ("label\tname\themisphere\n1\ta\tL\n1\tb\tL\n", "line 3: label 1 is there twice"),
        ("label\tname\themisphere\n1\ta\tL\n", "label 2 is not in"),
    ],
)
def test_a_wrong_table_of_areas_is_named(atlas_files, table, complaint):
    path, areas = atlas_files
    areas.write_text(table)
    with pytest.raises(InputError, match=complaint):
        read_atlas(path, areas)


def test_lobes_are_read_in_the_order_of_the_table(atlas_files):
    path, areas = atlas_files
    assert read_lobes(areas) == {}
    header, *rows = areas.read_text().splitlines()
    lobes = ["occipital", "occipital", "frontal", "frontal", ""]
    table = [f"{row}\t{lobe}" for row, lobe in zip(rows, lobes, strict=True)]
    areas.write_text("\n".join([f"{header}\tlobe", *table]))
    assert list(read_lobes(areas).items()) == [("back", "occipital"), ("front", "frontal")]
    assert read_atlas(path, areas).names[1] == "back"  # one more column disturbs nobody
    areas.write_text("name\tlobe\nback\toccipital\nback\tfrontal\n")
    with pytest.raises(InputError, match=r"line 3: back is in the lobe 'frontal', above .*occip"):
        read_lobes(areas)
