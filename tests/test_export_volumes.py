"""Formats `nifti` and `bids`, compared with formulas, SimpleITK and the schema of BIDS."""

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813, its customary name
from bidsschematools import rules, schema
from export_study import BORDER_MM, RIM_MM, STACK_VOXEL_MM, area_of, export, stack_of_template
from shell_study import CENTRES, MIDDLE_MM, PIAL_MM, WHITE_MM, shells, template_of

from cytopipe.export import bids


@pytest.fixture(scope="module")
def exported(shell_study_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(shell_study_folder, "nifti", tmp_path_factory.mktemp("nifti") / "out")


@pytest.fixture(scope="module")
def data_set(shell_study_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(shell_study_folder, "bids", tmp_path_factory.mktemp("bids") / "out")


def places_of(image: nib.Nifti1Image) -> np.ndarray:
    index = np.moveaxis(np.indices(image.shape), 0, -1)
    return nib.affines.apply_affine(image.affine, index)


def off_borders_mm(stack_mm: np.ndarray) -> np.ndarray:
    """Distance to the nearest of the spheres' surfaces."""
    radius = np.stack([np.linalg.norm(stack_mm - c, axis=-1) for c in CENTRES.values()])
    return np.minimum(np.abs(radius - PIAL_MM), np.abs(radius - WHITE_MM)).min(axis=0)


@pytest.mark.parametrize("space", ["stack", "shells"])
def test_tissue_and_depth_agree_with_the_formulas(exported: Path, space: str) -> None:
    tissue = nib.load(exported / "B01" / f"B01_space-{space}_tissue.nii.gz")
    depth = nib.load(exported / "B01" / f"B01_space-{space}_depth.nii.gz")
    assert nib.aff2axcodes(tissue.affine) == ("R", "A", "S")
    assert int(tissue.header["sform_code"]) == int(tissue.header["qform_code"]) == 2
    assert tissue.header.get_xyzt_units()[0] == "mm"
    places = places_of(tissue)
    stack_mm = places if space == "stack" else stack_of_template(places)
    expected, expected_depth = shells(stack_mm)
    # the nearest voxel of the stack is at most half a diagonal away
    off_mm = 0.0 if space == "stack" else STACK_VOXEL_MM * np.sqrt(3) / 2
    clear = off_borders_mm(stack_mm) >= off_mm
    labels = np.asarray(tissue.dataobj)
    np.testing.assert_array_equal(labels[clear], expected[clear])
    assert {*np.unique(labels[clear]).tolist()} == {0, 1, 2}
    values = np.asarray(depth.dataobj)
    np.testing.assert_array_equal(np.isnan(values), labels != 1)
    gray = clear & (expected == 1)
    # depth falls by at most pial^2 / (r^2 * (pial - white)) ... a mm: 0.55 at the white border
    np.testing.assert_allclose(values[gray], expected_depth[gray], atol=1e-3 + 0.55 * off_mm)


def test_itk_reads_the_same_tissue_at_the_same_position(exported: Path) -> None:
    image = sitk.ReadImage(str(exported / "B01" / "B01_space-shells_tissue.nii.gz"))
    for hemisphere, centre in CENTRES.items():
        for radius, label in ((5.0, 2), (MIDDLE_MM, 1)):
            for direction in np.eye(3):
                r, a, s = template_of(centre + radius * direction)
                # ITK's points are LPS
                index = image.TransformPhysicalPointToIndex((-r, -a, s))
                assert image[index] == label, (hemisphere, radius, direction)
    # no tissue left of the left ball and above both
    r, a, s = template_of(CENTRES["L"] + (-16.0, 0, 0))
    assert image[image.TransformPhysicalPointToIndex((-r, -a, s))] == 0


@pytest.mark.parametrize("space", ["stack", "shells"])
def test_gray_voxels_have_the_area_of_the_points_around_them(exported: Path, space: str) -> None:
    areas = nib.load(exported / "B01" / f"B01_space-{space}_areas.nii.gz")
    tissue = nib.load(exported / "B01" / f"B01_space-{space}_tissue.nii.gz")
    places = places_of(areas)
    stack_mm = places if space == "stack" else stack_of_template(places)
    labels = np.asarray(areas.dataobj)
    gray = np.asarray(tissue.dataobj) == 1
    assert (labels[~gray] == 0).all()
    names = pd.read_csv(exported / "areas.tsv", sep="\t").set_index("index")["name"]
    assert names.tolist() == ["no area", "front", "back"]
    along = stack_mm[..., 1]
    clear = gray & (np.abs(along - BORDER_MM) > 4.5) & (np.abs(along - RIM_MM) > 4.5)
    # sections end before the balls do
    clear &= (along > 17) & (along < 43)
    expected = area_of(stack_mm)
    keys = {"front": 1, "back": 2, "": 0}
    expected_keys = np.vectorize(keys.get)(expected)
    # near the missing section, voxels have no point within reach
    known = clear & (labels > 0)
    assert known.sum() > 0.8 * (clear & (expected != "")).sum()
    np.testing.assert_array_equal(labels[known], expected_keys[known])


def test_names_are_those_of_bids(data_set: Path) -> None:
    known = schema.load_schema()
    patterns = [
        re.compile(rule["regex"])
        for rule in rules.regexify_filename_rules(known.rules.files.deriv.imaging, known, level=1)
        + rules.regexify_filename_rules(known.rules.files.common.core, known, level=1)
        + rules.regexify_filename_rules(known.rules.files.common.tables, known, level=1)
    ]
    paths = [
        path.relative_to(data_set).as_posix() for path in data_set.rglob("*") if path.is_file()
    ]
    assert len(paths) > 35
    ignored = (data_set / ".bidsignore").read_text().splitlines()[1:]
    assert ignored == ["sub-*/micr/"]

    def valid(path: str) -> bool:
        return any(pattern.fullmatch(path) for pattern in patterns)

    beyond = [path for path in paths if not valid(path) and path != ".bidsignore"]
    assert beyond and all(Path(path).match("sub-*/micr/*") for path in beyond)
    # BIDS knows segmentations of anatomical images, which differ only in the data type
    segmentations = [path for path in paths if "_dseg." in path]
    assert len(segmentations) == 4 + 4 + 2 + 2
    for path in segmentations:
        assert not valid(path) and valid(path.replace("/micr/", "/anat/")), path
    entities = {entity.name: entity for entity in known.objects.entities.values()}
    order = [known.objects.entities[key].name for key in known.rules.entities]
    label = re.compile(known.objects.formats.label.pattern)
    for path in beyond:
        parts = [part.split("-") for part in Path(path).name.split(".")[0].split("_")[:-1]]
        assert parts[0] == ["sub", "B01"] and all(label.fullmatch(value) for _, value in parts)
        # from-, to- and mode- are those of the proposal for transforms
        names = [name for name, _ in parts if name not in ("from", "to", "mode")]
        assert set(names) <= set(entities)
        assert names == sorted(names, key=order.index), path


def test_the_data_set_describes_itself(data_set: Path) -> None:
    about = json.loads((data_set / "dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative" and about["GeneratedBy"][0]["Name"] == "cytopipe"
    micr = data_set / "sub-B01" / "micr"
    for path in micr.glob("*.tsv"):
        if "_dseg" in path.name:
            continue
        described = json.loads(path.with_suffix(".json").read_text())
        frame = pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)
        assert list(frame) == list(described)
    points = pd.read_csv(
        micr / "sub-B01_desc-midline_points.tsv", sep="\t", na_values="n/a", keep_default_na=False
    )
    lost = points[points["status"] == "outside_template"]
    assert len(lost) == 1 and lost["x_mm"].isna().all()


def test_volumes_and_transform_of_the_data_set_are_the_same(
    data_set: Path, exported: Path, shell_study_folder: Path
) -> None:
    micr = data_set / "sub-B01" / "micr"
    for space, resolution in (("stack", "1p5mm"), ("shells", "2mm")):
        for kind, suffix in (("tissue", "dseg"), ("areas", "dseg"), ("depth", "depth")):
            name = f"sub-B01_space-{space}_res-{resolution}_desc-{kind}_{suffix}.nii.gz"
            plain = exported / "B01" / f"B01_space-{space}_{kind}.nii.gz"
            assert (micr / name).read_bytes() == plain.read_bytes()
    itk = sitk.ReadTransform(str(micr / "sub-B01_from-stack_to-shells_mode-points_xfm.h5"))
    r, a, s = CENTRES["L"]
    left, back, up = itk.TransformPoint((-r, -a, s))
    np.testing.assert_allclose((-left, -back, up), template_of(CENTRES["L"]), atol=1e-6)


def test_bids_labels_contain_only_letters_and_digits() -> None:
    assert bids.label("icbm152_2009c") == "icbm1522009c"
    assert bids.resolution_label(0.3) == "0p3mm"
    assert bids.resolution_label(1.0) == "1mm"
