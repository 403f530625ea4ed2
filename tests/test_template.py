"""`cytopipe template`: tissue and areas from known maps and from those of nilearn."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn import datasets

from cytopipe import __main__ as command_line
from cytopipe.commands.template import tissue_of_maps
from cytopipe.formats import volumes
from cytopipe.formats.atlas import read_atlas

SHAPE = (60, 50, 40)
# 2.5 mm, stored with its first axis to the left: a reader that ignores the affine mirrors it
AFFINE = np.array([[-2.5, 0, 0, 74], [0, 2.5, 0, -60], [0, 0, 2.5, -50], [0, 0, 0, 1.0]])
POINTS = np.moveaxis(np.indices(SHAPE), 0, -1) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
RADIUS = np.linalg.norm(POINTS, axis=-1)


def save(path, data):
    nib.save(nib.Nifti1Image(data, AFFINE), path)
    return str(path)


@pytest.fixture
def study(tmp_path):
    """A ball of white matter of 45 mm in a shell of gray matter of 55 mm, in percent."""
    (tmp_path / "study").mkdir()
    white = np.where(RADIUS < 45, 80, np.where(RADIUS < 55, 30, 0))
    gray = np.where(RADIUS < 45, 20, np.where(RADIUS < 55, 60, np.where(RADIUS < 57, 40, 0)))
    white[RADIUS < 10] = 100
    gray[RADIUS < 10] = 0
    gray[(RADIUS > 53) & (RADIUS < 55)] = 95
    white[(RADIUS > 53) & (RADIUS < 55)] = 0
    save(tmp_path / "gray.nii.gz", gray.astype(np.uint8))
    save(tmp_path / "white.nii.gz", white.astype(np.uint8))
    return tmp_path


def run(study, name, *words):
    return command_line.main(["template", name, "--study", str(study / "study"), *map(str, words)])


def maps(study):
    return "--gray", study / "gray.nii.gz", "--white", study / "white.nii.gz"


def test_tissue_is_the_most_probable(study, capsys):
    assert run(study, "icbm152_2009c", *maps(study)) == 0
    assert "name: icbm152_2009c" in capsys.readouterr().out
    image = nib.load(study / "study" / "template" / "tissue.nii.gz")
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    truth = np.where(RADIUS < 45, 2, np.where(RADIUS < 55, 1, 0))
    np.testing.assert_array_equal(np.asarray(image.dataobj), truth[::-1])
    # the corner of the file is the corner in space
    np.testing.assert_allclose(image.affine[:3, 3], POINTS[-1, 0, 0])


def test_all_else_wins_where_gray_and_white_are_less_than_half(study):
    gray, white = (
        volumes.Volume(np.full((1, 1, 1), value, np.float32), np.eye(4)) for value in (0.35, 0.25)
    )
    assert tissue_of_maps(gray, white).data.item() == 0


def test_nilearns_maps_need_no_file(study):
    assert run(study, "icbm152_2009a") == 0
    tissue = volumes.read_tissue(study / "study" / "template" / "tissue.nii.gz")
    gray = datasets.load_mni152_gm_template(resolution=1)
    white = datasets.load_mni152_wm_template(resolution=1)
    # nilearn stretches its maps to 1 and cuts them: certain voxels are certain in both
    for label, image in ((1, gray), (2, white)):
        sure = np.argwhere(np.asarray(image.dataobj) > 0.7)
        found = volumes.labels_at(tissue, nib.affines.apply_affine(image.affine, sure))
        assert (found == label).mean() > 0.999


def test_a_t1_without_skull(study):
    t1 = np.where(RADIUS < 45, 200, np.where(RADIUS < 55, 120, np.where(RADIUS < 58, 40, 0)))
    noise = np.random.default_rng(1).normal(0, 8, SHAPE)
    path = save(study / "t1.nii.gz", np.where(t1 > 0, t1 + noise, 0).astype(np.float32))
    assert run(study, "colin27", "--t1", path) == 0
    tissue = volumes.read_tissue(study / "study" / "template" / "tissue.nii.gz")
    truth = np.where(RADIUS < 45, 2, np.where(RADIUS < 55, 1, 0))[::-1]
    assert (tissue.data != truth).mean() < 0.001


def test_what_is_no_map_is_refused(study, capsys):
    mask = save(study / "mask.nii.gz", (RADIUS < 70).astype(np.int16))
    # 4 l, as air and skin are not 0 in a scan of a head
    head = np.random.default_rng(0).integers(1, 99, (256, 256, 61)).astype(np.int16)
    nib.save(nib.Nifti1Image(head, np.eye(4)), study / "head.nii.gz")
    head = study / "head.nii.gz"
    third = save(study / "third.nii.gz", np.full(SHAPE, 0.3, np.float32))
    small = nib.Nifti1Image(np.ones((4, 4, 4), np.float32), AFFINE)
    nib.save(small, study / "small.nii.gz")
    gray = study / "gray.nii.gz"
    for words, complaint in (
        (("colin27",), "--gray and --white"),
        (("colin27", "--t1", head), "3998 ml are above 0; give a brain without skull"),
        (("colin27", "--t1", mask), "like a mask"),
        (("colin27", "--t1", head, "--gray", gray), "--t1 replaces"),
        (("icbm152_2009c", "--gray", gray, "--white", third), "0.3 to 0.3"),
        (("icbm152_2009c", "--gray", gray, "--white", study / "small.nii.gz"), "grids differ"),
        (("icbm152_2009a", "--labels", gray), "--names"),
    ):
        assert run(study, *words) == 1
        assert complaint in capsys.readouterr().err
    assert not (study / "study" / "template").exists()
    assert run(study, "icbm152_2009c", *maps(study)) == 0
    assert run(study, "icbm152_2009c", *maps(study)) == 1
    assert "delete it" in capsys.readouterr().err


def atlas_of(study):
    folder = study / "study" / "template"
    return read_atlas(folder / "atlas.nii.gz", folder / "areas.tsv")


def quarters():
    """1 and 2: left, back and front; 3 and 4: right; 5: both sides, on top; in the gray shell."""
    x, y, z = np.moveaxis(POINTS, -1, 0)
    data = np.where(x < 0, 1, 3) + (y > 0)
    data[z > 30] = 5
    data[(RADIUS < 45) | (RADIUS > 55)] = 0
    return data


def test_labels_with_sides_in_their_names_or_in_their_place(study):
    assert run(study, "icbm152_2009c", *maps(study)) == 0
    labels = save(study / "labels.nii.gz", quarters().astype(np.float32))
    table = study / "names.csv"
    table.write_text(
        "label,name\n1,Area V1 (occ)_L\n2,front\n3,Area V1 (occ) right\n5,top\n9,none\n"
    )
    assert run(study, "icbm152_2009c", "--labels", labels, "--names", table) == 0
    atlas = atlas_of(study)
    assert atlas.names == {1: "Area V1 (occ)", 2: "front", 3: "Area V1 (occ)", 5: "top"}
    assert atlas.hemispheres == {1: "L", 2: "L", 3: "R", 5: ""}
    truth = np.where(quarters() == 4, 0, quarters())[::-1]
    np.testing.assert_array_equal(atlas.labels.data, truth)


def test_a_volume_and_an_xml_of_each_hemisphere(study):
    data = quarters()
    parts = {
        "lh": np.where(data < 3, data, 0),
        "rh": np.where((data == 3) | (data == 4), data - 2, 0),
    }
    for side, part in parts.items():
        save(study / f"{side}.nii.gz", part.astype(np.uint16))
        (study / f"{side}.xml").write_text(
            '<Atlas><Structures><Structure id="8" grayvalue="1">back</Structure>'
            '<Structure id="4" grayvalue="2">front</Structure></Structures></Atlas>'
        )
    volumes_of = [study / f"{side}.nii.gz" for side in parts]
    tables_of = [study / f"{side}.xml" for side in parts]
    words = ("--labels", *volumes_of, "--names", *tables_of)
    assert run(study, "icbm152_2009c", *maps(study), *words) == 0
    atlas = atlas_of(study)
    assert atlas.names == {1: "back", 2: "front", 3: "back", 4: "front"}
    assert atlas.hemispheres == {1: "L", 2: "L", 3: "R", 4: "R"}
    np.testing.assert_array_equal(atlas.labels.data, np.where(data == 5, 0, data)[::-1])


def test_probabilities_by_brute_force(study):
    random = np.random.default_rng(2)
    values = random.integers(0, 101, (*SHAPE, 4)).astype(np.uint8)
    values[RADIUS > 55] = 0
    values[..., 3] = 100  # a fibre tract, which has no row
    path = save(study / "maps.nii.gz", values)
    table = study / "names.tsv"
    pd.DataFrame({"index": [0, 1, 2], "name": ["a", "b", "c"]}).to_csv(table, sep="\t", index=False)
    words = ("--probabilities", path, "--names", table, "--min-probability", "0.595")
    assert run(study, "icbm152_2009c", *maps(study), *words) == 0
    atlas = atlas_of(study)
    for place in random.integers(0, SHAPE, (3000, 3)):
        three = values[tuple(place)][:3].tolist()
        wanted = three.index(max(three)) + 1 if max(three) >= 60 else 0
        i, j, k = place
        assert atlas.labels.data[SHAPE[0] - 1 - i, j, k] == wanted
    assert atlas.names == {1: "a", 2: "b", 3: "c"}
    assert set(atlas.hemispheres.values()) == {""}


def test_an_atlas_that_does_not_fit_is_refused(study, capsys):
    labels = save(study / "labels.nii.gz", quarters().astype(np.int16))
    outside = save(study / "outside.nii.gz", (RADIUS > 60).astype(np.int16))
    values = save(study / "maps.nii.gz", np.full((*SHAPE, 1), 0.95, np.float32))
    table = study / "names.tsv"
    base = ("icbm152_2009c", *maps(study))
    assert run(study, *base) == 0
    capsys.readouterr()
    for rows, words, complaint in (
        ("label\tname\n1\tV1 right\n", ("--labels", labels), "mirrored"),
        ("label\tname\n1\tV1\n1\tV2\n", ("--labels", labels), "'1'"),
        ("number\tname\n1\tV1\n", ("--labels", labels), "columns label or index"),
        ("label\tname\n9\tV1\n", ("--labels", labels), "none of its areas"),
        ("label\tname\n1\tV1\n", ("--labels", labels, labels), "give one each"),
        ("label\tname\n1\tV1\n", ("--labels", outside), "0 % of the atlas"),
        ("label\tname\n1\tV1\n", ("--labels", values), "nearest voxel"),
        ("index\tname\n1\tV1\n", ("--probabilities", values), "holds 1"),
        ("index\tname\n0\tV1\n", ("--probabilities", labels), "4D"),
    ):
        table.write_text(rows)
        assert run(study, "icbm152_2009c", *words, "--names", table) == 1
        assert complaint in capsys.readouterr().err
    assert not (study / "study" / "template" / "areas.tsv").exists()
