"""The scores against the ground truth, on a brain for which all values have a formula."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shell_study import (
    BALL,
    CENTRES,
    FULL_UM,
    HALF_MM,
    MIDDLE_MM,
    PIAL_MM,
    SECTIONS,
    SPACING_UM,
    VOXEL_MM,
    WHITE_MM,
    ball,
    drifting,
    grid_um,
    pairs_of,
    shells,
    stack_of,
)
from table_rows import row

from cytopipe.files import InputError
from cytopipe.formats import images, surfaces, volumes
from cytopipe.formats.tables import SegmentationRow, StackRow, rigid_columns, write_rows
from cytopipe.numerics.geometry import (
    Rigid,
    ras_to_stack,
    resample_labels,
)
from cytopipe.truth.exclusion_errors import dice_of_columns, exclusion_samples, run_exclusion
from cytopipe.truth.ground_truth import TruthBrain, placements
from cytopipe.truth.section_errors import (
    dice,
    drift,
    label_samples,
    mirror_samples,
    pair_samples,
)
from cytopipe.truth.surface_errors import (
    carry,
    is_sphere,
    sample_evenly,
    surface_samples,
)
from cytopipe.truth.true_surface import true_mids


def score_labels(truth: TruthBrain, path: Path, change) -> dict[str, np.ndarray]:
    pages = [change(truth.page(section, "tissue")) for section in truth.good()]
    images.write_labels(pages, path)
    rows = [
        row(
            SegmentationRow,
            section=section,
            page=page,
            spacing_um=SPACING_UM,
            full_spacing_um=FULL_UM,
            status="ok",
        )
        for page, section in enumerate(truth.good())
    ]
    return label_samples(truth, [(section, path) for section in rows])


# --- sections


def test_true_labels_have_dice_1_and_blank_and_missing_sections_do_not_count(
    truth: TruthBrain, tmp_path: Path
) -> None:
    samples = score_labels(truth, tmp_path / "a.tif", lambda labels: labels)
    assert len(samples["dice_gray"]) == len(truth.with_tissue) < len(SECTIONS)
    assert (samples["dice_gray"] == 1).all() and (samples["dice_white"] == 1).all()


def test_white_matter_labelled_gray_lowers_dice_as_the_formula_says(
    truth: TruthBrain, tmp_path: Path
) -> None:
    samples = score_labels(truth, tmp_path / "a.tif", lambda labels: np.minimum(labels, 1))
    section = truth.good()[len(truth.good()) // 2]
    true = truth.page(section, "tissue")
    gray, white = (true == 1).sum(), (true == 2).sum()
    gray_dice = samples["dice_gray"][len(truth.good()) // 2]
    assert gray_dice == pytest.approx(2 * gray / (gray + gray + white))
    assert samples["dice_white"][len(truth.good()) // 2] == 0


def test_a_section_without_labels_counts_as_zero(truth: TruthBrain) -> None:
    assert (label_samples(truth, [])["dice_gray"] == 0).all()


def test_labels_of_another_spacing_are_resampled_to_the_grid_of_the_truth() -> None:
    fine, _ = shells(np.insert(grid_um(128.0) / 1000 - (20, 20), 1, 30.0, axis=-1) - (0, 0, 20))
    coarse, _ = shells(np.insert(grid_um(256.0) / 1000 - (20, 20), 1, 30.0, axis=-1) - (0, 0, 20))
    resampled = resample_labels(fine, 128.0, coarse.shape, 256.0, FULL_UM)
    assert dice(resampled, coarse, 1) > 0.98
    # pixel centres of the coarse grid fall between the fine ones: half a fine pixel is the limit
    assert dice(np.roll(resampled, 1, axis=1), coarse, 1) < dice(resampled, coarse, 1)


def test_flips_are_detected_missed_and_invented(truth: TruthBrain) -> None:
    stack = stack_of(truth)
    correct = mirror_samples(truth, placements(stack.values()))
    assert correct["mirrored_found"].tolist() == [1, 1]
    assert not correct["mirrored_invented"].any()
    stack[1120] = replace(stack[1120], mirrored=False)
    stack[1020] = replace(stack[1020], mirrored=True)
    stack[1920] = replace(stack[1920], angle_rad=np.nan)
    wrong = mirror_samples(truth, placements(stack.values()))
    assert wrong["mirrored_found"].tolist() == [0, 0]  # 1920 has no transform
    assert wrong["mirrored_invented"].sum() == 1
    assert len(wrong["unplaced"]) == 1


def test_true_pairs_have_no_error(truth: TruthBrain) -> None:
    samples = pair_samples(truth, pairs_of(truth).values())
    assert samples["pair_error"].max() < 1e-6
    assert samples["pair_accepted"].all()
    assert samples["pole_pair_wrong"].sum() == 0
    # pole pairs have errors, too, but need not be accepted
    assert len(samples["pair_accepted"]) < len(samples["pair_error"])


@pytest.mark.parametrize("moving", [1320, 1920, 2020])  # plain, itself mirrored, after a mirrored
def test_a_pair_shifted_by_one_pixel_has_an_error_of_one_pixel(
    truth: TruthBrain, moving: int
) -> None:
    pairs = pairs_of(truth)
    pair = pairs[moving]
    pairs[moving] = replace(pair, x_um=pair.x_um + 0.6 * 256, y_um=pair.y_um + 0.8 * 256)
    errors = pair_samples(truth, pairs.values())["pair_error"]
    assert errors.max() == pytest.approx(1, abs=1e-9)
    assert np.median(errors) < 1e-6


def test_a_pair_with_the_wrong_handedness_is_far_off(truth: TruthBrain) -> None:
    pairs = pairs_of(truth)
    pairs[1120] = replace(pairs[1120], mirrored=not pairs[1120].mirrored)
    assert pair_samples(truth, pairs.values())["pair_error"].max() > 10


def test_rejected_pairs_are_missed_and_wrong_pole_pairs_are_counted(truth: TruthBrain) -> None:
    pairs = pairs_of(truth)
    pairs[1520] = replace(pairs[1520], status="uncertain", x_um=1e6)
    pole = truth.with_tissue[1]
    pairs[pole] = replace(pairs[pole], x_um=pairs[pole].x_um + 4 * 256)
    samples = pair_samples(truth, pairs.values())
    assert (samples["pair_accepted"] == 0).sum() == 1
    assert samples["pole_pair_wrong"].sum() == 1
    assert samples["pair_error"].max() == pytest.approx(4)  # the uncertain one does not count
    assert (pair_samples(truth, [])["pair_accepted"] == 0).all()


def test_drift_ignores_the_position_of_the_whole_stack(truth: TruthBrain) -> None:
    stack = stack_of(truth)
    whole = Rigid(0.7, 5000.0, -9000.0, "stack", "elsewhere")
    moved = [
        replace(place, **rigid_columns(place.placement.rigid.then(whole)))
        for place in stack.values()
        if place.is_placed
    ]
    assert drift(truth, placements(moved)).distance_mm.max() < 1e-9


def test_drift_of_half_the_stack_by_2_mm_is_1_mm_after_the_fit(truth: TruthBrain) -> None:
    placed = [place for place in stack_of(truth).values() if place.is_placed]
    half = len(placed) // 2
    moved = [replace(place, y_um=place.y_um + 2000) for place in placed[:half]]
    distance_mm = drift(truth, placements(moved + placed[half:])).distance_mm
    assert np.median(distance_mm) == pytest.approx(1, abs=0.15)


# --- surfaces


@pytest.mark.parametrize("off_mm", [0.0, 0.3])
def test_the_score_of_a_surface_is_its_distance(truth: TruthBrain, off_mm: float) -> None:
    estimated = {h: ball(h, HALF_MM + off_mm) for h in "LR"}
    placed = placements(stack_of(truth).values())
    samples = surface_samples(truth, estimated, true_mids(truth), placed, VOXEL_MM)
    assert samples["surface_mm"] == pytest.approx(off_mm, abs=0.01)
    assert samples["surface_voxel"] == pytest.approx(samples["surface_mm"] / VOXEL_MM)
    assert samples["cortex_voxel"] == pytest.approx(off_mm / VOXEL_MM, abs=0.02)
    assert samples["sphere"].tolist() == [1, 1]
    assert samples["edges"].min() > 0.9


def test_the_true_surface_is_carried_into_a_stack_that_drifted(truth: TruthBrain) -> None:
    placed = placements(drifting(truth))
    mid = ball("L", HALF_MM)
    # in the plane of a section: true section -> estimated stack
    section = truth.with_tissue[5]
    flat = mid.vertices.copy()
    flat[:, 1] = truth.z_um[section] / 1000
    carried = carry(flat, truth, placed)
    at = truth.placements[section].back(ras_to_stack(flat, "R")[:, :2])
    assert ras_to_stack(carried, "R")[:, :2] == pytest.approx(placed[section](at))
    # half-way between two sections: the mean of both
    before, after = truth.with_tissue[5:7]
    between = flat.copy()
    between[:, 1] = (truth.z_um[before] + truth.z_um[after]) / 2000
    neighbours = []
    for s in (before, after):
        flat[:, 1] = truth.z_um[s] / 1000
        neighbours.append(carry(flat, truth, placed)[:, [0, 2]])
    carried = carry(between, truth, placed)
    assert carried[:, [0, 2]] == pytest.approx((neighbours[0] + neighbours[1]) / 2)
    assert carried[:, 1] == pytest.approx(between[:, 1])


def test_drift_does_not_count_as_an_error_of_the_surface(truth: TruthBrain) -> None:
    placed = placements(drifting(truth))
    estimated = {}
    for h in "LR":
        mid = ball(h, HALF_MM)
        moved = carry(mid.vertices, truth, placed)
        estimated[h] = surfaces.Surface(moved, mid.faces)
    samples = surface_samples(truth, estimated, true_mids(truth), placed, VOXEL_MM)
    assert np.percentile(samples["surface_mm"], 95) < 0.1
    straight = placements(stack_of(truth).values())
    uncorrected = surface_samples(truth, estimated, true_mids(truth), straight, VOXEL_MM)
    assert np.median(uncorrected["surface_mm"]) > 0.3


def test_the_true_mid_surface_is_where_the_depth_is_one_half(truth: TruthBrain) -> None:
    for hemisphere, mid in true_mids(truth).items():
        radius = np.linalg.norm(mid.vertices - CENTRES[hemisphere], axis=1)
        assert radius == pytest.approx(HALF_MM, abs=0.06)  # voxels of 0.5 mm
        assert mid.cortex.all()
        # the mean of pial and white lies elsewhere
        assert abs(MIDDLE_MM - HALF_MM) > 0.15


def changed_truth(truth: TruthBrain, folder: Path, change) -> TruthBrain:
    """A copy of the truth; `change` gets tissue, depth and the voxels' places, and edits them."""
    shutil.copytree(truth.folder.parent, folder)
    tissue, depth = truth.volume("tissue"), truth.volume("depth")
    at_mm = tissue.to_mm(np.moveaxis(np.indices(tissue.data.shape), 0, -1))
    change(tissue.data, depth.data, at_mm)
    for name, volume in (("tissue", tissue), ("depth", depth)):
        volumes.write(volume, folder / "B01" / f"{name}.nii.gz")
    return TruthBrain(folder, "B01")


def test_the_medial_wall_is_skipped(truth: TruthBrain, tmp_path: Path) -> None:
    wall_r = CENTRES["L"][0] + 8

    def bare(tissue, depth, at_mm) -> None:
        # no cortex on the medial side of the left hemisphere
        medial = (at_mm[..., 0] > wall_r) & (at_mm[..., 0] < 0) & (tissue == 1)
        tissue[medial], depth[medial] = 0, np.nan

    walled = changed_truth(truth, tmp_path / "truth", bare)
    pial, white = ball("L", PIAL_MM), ball("L", WHITE_MM)
    outside = np.where(pial.vertices[:, :1] > wall_r, white.vertices, pial.vertices)
    path = tmp_path / "truth" / "B01" / "hemi-L_pial.surf.gii"
    surfaces.write(surfaces.Surface(outside, pial.faces), path)
    mids = true_mids(walled)
    assert 0 < mids["L"].cortex.mean() < 1 and mids["R"].cortex.all()
    # an estimate that is correct on the cortex and wrong on the medial wall
    estimated = {h: ball(h, HALF_MM) for h in "LR"}
    placed = placements(stack_of(truth).values())
    samples = surface_samples(walled, estimated, mids, placed, VOXEL_MM)
    assert np.median(samples["surface_mm"]) < 0.05
    assert len(samples["surface_mm"]) < 2 * len(BALL.vertices)
    assert np.percentile(samples["cortex_mm"], 99) < 0.3


def test_deep_nuclei_have_no_mid_surface(truth: TruthBrain, tmp_path: Path) -> None:
    def nucleus(tissue, depth, at_mm) -> None:
        tissue[np.linalg.norm(at_mm - CENTRES["L"], axis=-1) < 4] = 1  # its depth stays NaN

    mid = true_mids(changed_truth(truth, tmp_path / "truth", nucleus))["L"]
    radius = np.linalg.norm(mid.vertices - CENTRES["L"], axis=1)
    assert radius.min() > WHITE_MM


def test_an_exclusion_mask_is_compared_in_the_true_stack(truth: TruthBrain, tmp_path: Path) -> None:
    placed = placements(drifting(truth))
    excluded_r = CENTRES["L"][0]

    def half(tissue, depth, at_mm) -> None:
        mask = (at_mm[..., 0] < excluded_r).astype(np.uint8)
        volume = volumes.Volume(mask, truth.volume("tissue").affine)
        volumes.write(volume, tmp_path / "truth" / "B01" / "exclusion.nii.gz")

    masked = changed_truth(truth, tmp_path / "truth", half)
    # the tissue and the mask as they lie in the drifted stack
    grid = truth.volume("tissue")
    at_mm = grid.to_mm(np.moveaxis(np.indices(grid.data.shape), 0, -1).reshape(-1, 3))
    true_mm = carry(at_mm, truth, placed, to="truth")
    assert carry(true_mm, truth, placed) == pytest.approx(at_mm, abs=0.1)
    whole = volumes.Volume(shells(true_mm)[0].reshape(grid.data.shape), grid.affine)
    mask = (true_mm[:, 0] < excluded_r).reshape(grid.data.shape).astype(np.uint8)
    volumes.write(volumes.Volume(mask, grid.affine), tmp_path / "own.nii.gz")
    volumes.write(volumes.Volume(1 - mask, grid.affine), tmp_path / "wrong.nii.gz")
    paths = {"own": tmp_path / "own.nii.gz", "wrong": tmp_path / "wrong.nii.gz"}
    samples = exclusion_samples(masked, placed, whole, paths)
    assert dice_of_columns(samples["own"]) > 0.98  # voxels of 0.5 mm
    assert dice_of_columns(samples["wrong"]) == 0
    straight = placements(stack_of(truth).values())
    not_carried = exclusion_samples(masked, straight, whole, paths)["own"]
    assert dice_of_columns(not_carried) < dice_of_columns(samples["own"]) - 0.02
    assert exclusion_samples(truth, placed, whole, paths) == {}  # the truth has no mask


def test_the_true_mask_is_marked_in_the_estimated_stack_and_spares_the_cortex(
    truth: TruthBrain, tmp_path: Path
) -> None:
    rows = drifting(truth)
    placed = placements(rows)
    nucleus_mm = 4.0

    def nucleus(tissue, depth, at_mm) -> None:
        radius = np.linalg.norm(at_mm - CENTRES["L"], axis=-1)
        mask = (radius < nucleus_mm).astype(np.uint8)
        volume = volumes.Volume(mask, truth.volume("tissue").affine)
        volumes.write(volume, tmp_path / "truth" / "B01" / "exclusion.nii.gz")

    changed_truth(truth, tmp_path / "truth", nucleus)
    grid = truth.volume("tissue")
    at_mm = grid.to_mm(np.moveaxis(np.indices(grid.data.shape), 0, -1).reshape(-1, 3))
    true_mm = carry(at_mm, truth, placed, to="truth")
    labels = shells(true_mm)[0].reshape(grid.data.shape)
    volumes.write(volumes.Volume(labels, grid.affine), tmp_path / "whole.nii.gz")
    write_rows(StackRow, rows, tmp_path / "stack.parquet")
    paths = {"stack": tmp_path / "stack.parquet", "volume": tmp_path / "whole.nii.gz"}
    run_exclusion(brain="B01", folder=tmp_path / "truth", mask=tmp_path / "mask.nii.gz", **paths)
    mask = volumes.read(tmp_path / "mask.nii.gz").data > 0
    radius = np.linalg.norm(true_mm - CENTRES["L"], axis=1).reshape(mask.shape)
    assert mask[radius < nucleus_mm - 0.5].all()
    assert mask[(radius > nucleus_mm) & (radius < nucleus_mm + 0.5)].mean() > 0.9
    assert not mask[radius > nucleus_mm + 2].any()
    assert not mask[labels == 1].any()
    (tmp_path / "truth" / "B01" / "exclusion.nii.gz").unlink()
    with pytest.raises(InputError, match=r"no exclusion\.nii\.gz; set"):
        run_exclusion(
            brain="B01", folder=tmp_path / "truth", mask=tmp_path / "mask.nii.gz", **paths
        )


def test_a_missing_hemisphere_is_infinitely_far(truth: TruthBrain, tmp_path: Path) -> None:
    shutil.copytree(truth.folder.parent, tmp_path / "truth")
    for name in ("pial", "white"):
        (tmp_path / "truth" / "B01" / f"hemi-R_{name}.surf.gii").unlink()
    left_only = TruthBrain(tmp_path / "truth", "B01")
    mids, placed = true_mids(left_only), placements(stack_of(truth).values())
    assert list(mids) == ["L"]
    estimated = {h: ball(h, HALF_MM) for h in "LR"}
    samples = surface_samples(left_only, estimated, mids, placed, VOXEL_MM)
    assert np.isinf(samples["surface_mm"]).mean() == 0.5 and samples["cortex_mm"].max() < 0.3
    del estimated["L"]
    lost = surface_samples(truth, estimated, true_mids(truth), placed, VOXEL_MM)
    assert np.isinf(lost["cortex_mm"]).mean() == 0.5


def test_two_components_and_a_hole_are_not_a_sphere() -> None:
    one = ball("L", 10)
    assert is_sphere(one)
    two = surfaces.Surface(
        np.concatenate([one.vertices, one.vertices + 50]),
        np.concatenate([one.faces, one.faces + len(one.vertices)]),
    )
    assert not is_sphere(two)
    assert not is_sphere(surfaces.Surface(one.vertices, one.faces[1:]))


def test_samples_stay_on_the_surface() -> None:
    one = ball("L", 10)
    sampled = sample_evenly(one.vertices, one.faces, 1000)
    assert np.linalg.norm(sampled - CENTRES["L"], axis=1) == pytest.approx(10, abs=0.1)
    assert sampled.mean(axis=0) == pytest.approx(CENTRES["L"], abs=0.5)


# --- the table
