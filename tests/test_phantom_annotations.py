"""The annotations of the phantom agree with its truth."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from ball_phantom import MIDDLE_MM, PIAL_MM, WHITE_MM, finer

from cytopipe import patches
from cytopipe.formats import surfaces, tables
from cytopipe.patches.contours import masks_of, rasterised
from cytopipe.phantom.annotating import areas_at, contours_of, layer_thickness, outlines
from cytopipe.phantom.brain import Brain, Template, dissect, make_brain
from cytopipe.phantom.cytoarchitecture import LAYERS
from cytopipe.phantom.handling import ScannedSection
from cytopipe.phantom.rendering import cell_positions, render
from cytopipe.phantom.study import scan_sections
from cytopipe.study.annotations import read_cells, read_gray
from cytopipe.study.config import LayerSplit, Phantom


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_contours_enclose_the_areas_of_the_truth(study: Path, params: Phantom) -> None:
    rows = tables.read(tables.TruthSectionRow, study / "truth" / "B01" / "sections.parquet")
    files = sorted((study / "annotations" / "areas" / "B01").glob("*.geojson"))
    good = rows.section[rows.condition == "good"].tolist()
    assert [int(path.stem) for path in files] == good[:: params.annotated_every]
    names = [f"P{number:02d}" for number in range(1, params.areas + 1)]
    together = {name: [np.zeros(0, bool), np.zeros(0, bool)] for name in names}
    for path in files:
        image = tifffile.imread(study / "images" / "B01" / f"B01_{path.stem}.ome.tif")
        truth = tifffile.imread(study / "truth" / "B01" / f"{path.stem}.tif", key=1)
        masks = masks_of(path, image.shape, params.spacing_um, params.truth_spacing_um)
        for number, name in enumerate(names, start=1):
            mine = masks.get(name, np.zeros(truth.shape, bool))
            true = np.isin(truth, (number, number + params.areas))
            assert mine.shape == true.shape
            for kind, mask in enumerate((mine, true)):
                together[name][kind] = np.append(together[name][kind], mask.ravel())
    for name, (mine, true) in together.items():
        assert dice(mine, true) > 0.98, name


def around_cortex(
    brain: Brain, template: Template, section: ScannedSection, rows: int, columns: int
) -> tuple[int, int]:
    """First row and column of a window of the scan in whose middle cortex stands upright."""
    coarse = section.scanned_at(256.0)
    layer = dissect(brain, template, coarse.whole(256.0), coarse).layer
    row = np.flatnonzero((layer > 0).any(1)).mean()
    column = np.flatnonzero(layer[int(row)] == 4)[0]
    factor = 256.0 / section.spacing_um
    return int(row * factor - rows / 2), int(column * factor - columns / 2)


def mirrored_section(brain: Brain) -> ScannedSection:
    return next(section for section in scan_sections(brain) if section.mirrored)


def test_contours_lie_on_a_mirrored_scan_as_the_file_shows_it(
    brain: Brain, template: Template, params: Phantom
) -> None:
    section = mirrored_section(brain)
    area = dissect(brain, template, section.whole(params.spacing_um), section).area
    masks = rasterised(contours_of(brain, template, section), area.shape, 1.0)
    assert set(masks) == {f"P{n:02d}" for n in np.unique((area[area > 0] - 1) % 3) + 1}
    for name, mask in masks.items():
        number = int(name[1:])
        assert dice(mask, np.isin(area, (number, number + params.areas))) > 0.98


def test_outlines_are_in_pixels_of_level_0_from_the_first_ones_corner() -> None:
    mask = np.zeros((60, 80), bool)
    mask[10:40, 30:70] = True
    mask[20:32, 40:55] = False  # drawn around
    mask[14:16, 60:62] = False  # drawn over
    mask[50:52, 5:7] = True  # a crumb
    (rings,) = outlines(mask, smallest_px=10, factor=4)
    assert len(rings) == 2
    boxes = (([120, 40], [280, 160]), ([160, 80], [220, 128]))
    for ring, (low, high) in zip(rings, boxes, strict=True):
        np.testing.assert_array_equal(ring[0], ring[-1])
        np.testing.assert_allclose(ring.min(0), low)
        np.testing.assert_allclose(ring.max(0), high)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_finer_scan_shows_the_same_layers_in_the_same_place(
    brain: Brain, template: Template, mirrored: bool
) -> None:
    section = mirrored_section(brain) if mirrored else finer(brain, 256.0)[1]
    coarse = dissect(brain, template, section.whole(256.0), section)
    whole = section.scanned_at(32.0)
    row, column = around_cortex(brain, template, section, 30, 40)
    window = whole.window(32.0, 8 * row, 8 * column, 8 * 30, 8 * 40)
    fine = dissect(brain, template, window, whole).layer
    expected = coarse.layer[row : row + 30, column : column + 40]
    assert set(np.unique(expected)) == set(range(LAYERS + 1))
    # the middle of a coarse pixel lies between the fourth and the fifth fine one
    assert (fine[4::8, 4::8] == expected).mean() > 0.95
    shifted = np.roll(fine, 8, axis=1)[4::8, 4::8]
    assert (shifted == expected).mean() < (fine[4::8, 4::8] == expected).mean() - 0.03


def test_counted_cells_lie_where_the_image_is_dark(brain: Brain, template: Template) -> None:
    section = finer(brain, 32.0)[1]
    window = (*around_cortex(brain, template, section, 160, 240), 160, 240)
    cells = cell_positions(brain, template, section, *window)
    place = np.rint(cells / 32).astype(int)
    count = np.zeros((160, 240))
    np.add.at(count, (place[:, 1], place[:, 0]), 1)
    tissue = dissect(brain, template, section.window(32.0, *window), section)
    # discs with diameters of 0.6 to 1.4 of the mean cover 1 - exp(-n a), section 'rendering'
    gray = (tissue.tissue == 1) & (tissue.white == 0)
    area_um2 = np.pi / 4 * tissue.diameter_um.astype(float) ** 2 * (1.4**3 - 0.6**3) / 2.4
    expected = -np.log(1 - tissue.cover.astype(float)) * 32**2 / area_um2
    for layer in range(1, LAYERS + 1):
        of_layer = gray & (tissue.layer == layer)
        total = expected[of_layer].sum()
        assert of_layer.sum() > 200
        assert abs(count[of_layer].sum() - total) < 4 * np.sqrt(total)
    assert count[tissue.tissue == 0].sum() == 0
    # the counts are those of the image: what is above expectation in one is so in the other
    image = render(brain, template, section, *window).astype(float)
    for layer in range(2, LAYERS + 1):
        of_layer = gray & (tissue.layer == layer)
        more = (count - expected)[of_layer]
        darker = -image[of_layer]
        assert np.corrcoef(more, darker)[0, 1] > 0.6


def test_drawn_cells_are_the_dark_discs(brain: Brain, template: Template) -> None:
    brain, section = finer(brain, 4.0, cells_below_um=4)
    window = (*around_cortex(brain, template, section, 300, 400), 300, 400)
    cells = cell_positions(brain, template, section, *window)
    place = np.rint(cells / 4).astype(int)
    image = render(brain, template, section, *window).astype(float)
    assert len(cells) > 500
    at_cells = image[place[:, 1], place[:, 0]]
    assert np.median(at_cells) < image.mean() - 40
    assert np.percentile(at_cells, 90) < np.percentile(image, 60)


def test_layer_patches_are_what_the_stage_takes(study: Path, params: Phantom) -> None:
    folder = study / "annotations" / "layers"
    patches.run_layers(
        table=folder / "layers.tsv",
        patches=study.parent / "layers.parquet",
        params=LayerSplit(test_share=0.34, seed=1),
    )
    table = tables.read(tables.LayerPatchRow, study.parent / "layers.parquet")
    assert len(table) == params.layer_patches
    edge = round(params.layer_patch_um / params.layer_spacing_um)
    full = (table.width_px == edge) & (table.height_px == edge)
    assert full.sum() == 4
    assert (table.loc[~full, ["width_px", "height_px"]] >= edge // 2).all(axis=None)
    for row in table.itertuples():
        image, mask = read_gray(Path(row.image)), read_gray(Path(row.mask))
        # the middle lies in mid-cortex
        assert 2 <= mask[mask.shape[0] // 2, mask.shape[1] // 2] <= 5
        # a cell takes from the light: more cells, less light
        cells = np.rint(read_cells(Path(row.cells)) / params.layer_spacing_um).astype(int)
        cells = np.minimum(cells, np.array(image.shape[::-1]) - 1)  # written to 0.1 um
        count = np.zeros(image.shape)
        np.add.at(count, (cells[:, 1], cells[:, 0]), 1)
        gray = mask > 0
        assert np.corrcoef(count[gray], image[gray])[0, 1] < -0.5


def test_thickness_of_layers_in_a_shell_is_the_formula(template: Template, params: Phantom) -> None:
    still = params.model_copy(update={"bend_mm": 0.0, "bend_scale": 0.0, "depth_voxel_mm": 0.5})
    brain = make_brain("B01", template, still)
    left = brain.hemispheres[0]
    thickness_mm = layer_thickness(brain, template, left)
    np.testing.assert_allclose(thickness_mm.sum(1), PIAL_MM - WHITE_MM, atol=1e-5)
    # depth = (1/r - 1/pial) / (1/white - 1/pial)
    border = template.areas.border[areas_at(brain, template, left.mid)].astype(float)
    radius_mm = 1 / (1 / PIAL_MM + border * (1 / WHITE_MM - 1 / PIAL_MM))
    error_mm = thickness_mm + np.diff(radius_mm, axis=1)
    assert np.abs(np.median(error_mm, axis=0)).max() < 0.05
    assert np.percentile(np.abs(error_mm), 90) < 0.15
    # nothing where there is no cortex
    flat = dataclasses.replace(
        left, pial=np.where(np.arange(len(left.pial))[:, None] < 9, left.white, left.pial)
    )
    assert np.isnan(layer_thickness(brain, template, flat)[:9]).all()
    assert np.isfinite(layer_thickness(brain, template, flat)[9:]).all()


def test_thickness_is_written_on_the_mid_surface_in_the_template(study: Path) -> None:
    folder = study / "annotations" / "thickness" / "B01"
    for side, share, sign in (("L", 1.0, -1), ("R", 0.7, 1)):
        mid = surfaces.read(folder / f"hemi-{side}_mid.surf.gii")
        radius = np.linalg.norm(mid.vertices - [sign * MIDDLE_MM, 0, 0], axis=1)
        # bent there and back: the middle of two bent points is not quite that of the two
        np.testing.assert_allclose(radius, share * (PIAL_MM + WHITE_MM) / 2, atol=0.05)
        layers = [
            surfaces.read_map(folder / f"hemi-{side}_layer-{layer}_thickness.shape.gii")
            for layer in range(1, LAYERS + 1)
        ]
        bent = [
            surfaces.read(study / "truth" / "B01" / f"hemi-{side}_{kind}.surf.gii").vertices
            for kind in ("pial", "white")
        ]
        expected = np.linalg.norm(bent[0] - bent[1], axis=1)
        np.testing.assert_allclose(np.sum(layers, axis=0), expected, atol=1e-3)


def test_layers_tsv_names_files_beside_it(study: Path) -> None:
    folder = study / "annotations" / "layers"
    table = pd.read_csv(folder / "layers.tsv", sep="\t")
    assert list(table) == ["patch", "brain", "image", "mask", "spacing_um", "cells"]
    named = {*table.image, *table["mask"], *table.cells, "layers.tsv"}
    assert named == {path.name for path in folder.iterdir()}
