"""Slices of an ellipsoid, placed by known transforms, become that ellipsoid again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from slicer_files import write_segmentation
from table_rows import row

from cytopipe import reconstruction
from cytopipe.files import InputError
from cytopipe.formats import images, tables, volumes
from cytopipe.numerics import geometry
from cytopipe.study.config import Reconstruction

SPACING_UM, FULL_UM = 250.0, 125.0
STEP_UM = 1000.0
COLUMNS, ROWS = 150, 130
# a brain of gray around white matter, all three axes and the centre different (stack mm)
CENTRE = np.array([17.0, 13.0, 15.5])
GRAY, WHITE = np.array([13.0, 9.0, 11.0]), np.array([10.0, 6.0, 8.0])
PARAMS = Reconstruction(
    voxel_mm=0.5,
    smoothing_voxels=0.33,
    sulcus_voxels=0.8,
    max_gap_mm=3.0,
    defect_radius_mm=0.6,
    defect_min_mm3=2.0,
    cortex_mm=1.0,
    label_gap_mm=3.0,
    fragment_share=0.01,
)


def labels_at(stack_mm: np.ndarray) -> np.ndarray:
    """The true labels 0, 1, 2 at (..., 3) points (x, y, z) in the stack."""
    gray, white = ((((stack_mm - CENTRE) / axes) ** 2).sum(-1) < 1 for axes in (GRAY, WHITE))
    return (gray.astype(np.uint8) + white).astype(np.uint8)


class Study:
    """Slices on disk; `set` edits one of them before `run` writes them."""

    def __init__(self, folder: Path, image_right: geometry.ImageRight = "R") -> None:
        self.folder, self.image_right = folder, image_right
        self.random = np.random.default_rng(5)
        self.numbers = [number for number in range(32) if number != 17]  # one is missing
        self.mirrored = {9, 20}
        self.pages = {number: self.page(number) for number in self.numbers}

    def page(self, number: int) -> tuple[np.ndarray, geometry.Rigid]:
        angle, *shift_um = self.random.uniform([-0.3, -2000, -2000], [0.3, 2000, 2000])
        to_stack = geometry.Rigid(angle, shift_um[0], shift_um[1], str(number), "stack")
        middle = np.array([COLUMNS, ROWS]) * SPACING_UM / 2
        shift = CENTRE[:2] * 1000 - to_stack(middle) + shift_um
        to_stack = replace(to_stack, x_um=to_stack.x_um + shift[0], y_um=to_stack.y_um + shift[1])
        points = self.stack_points(number, to_stack)
        return labels_at(points / 1000), to_stack

    def stack_points(self, number: int, to_stack: geometry.Rigid) -> np.ndarray:
        pixels = np.stack(np.meshgrid(np.arange(COLUMNS), np.arange(ROWS)), axis=-1)
        points = geometry.pixels_to_section(pixels, SPACING_UM, FULL_UM)
        if number in self.mirrored:
            points = geometry.mirror(points, self.width_um)
        stack = to_stack(points)
        return np.concatenate([stack, np.full((*stack.shape[:2], 1), number * STEP_UM)], axis=-1)

    width_um = (COLUMNS * 2 - 1) * FULL_UM

    def set(
        self,
        number: int,
        where_mm: tuple[float, float],
        radius_mm: float,
        label: int,
        over: tuple[int, ...] = (0, 1, 2),
    ) -> None:
        """Draw a disc of `label` around (x, y) mm of the stack, over some labels of one section."""
        page, to_stack = self.pages[number]
        points = self.stack_points(number, to_stack)[..., :2] / 1000
        disc = np.linalg.norm(points - where_mm, axis=-1) < radius_mm
        page[disc & np.isin(page, over)] = label

    def run(
        self,
        params: Reconstruction = PARAMS,
        exclusion: Path | None = None,
        supplied: Path | None = None,
        workers: int = 1,
        cuts: tuple[int, ...] = (),
    ) -> None:
        chunks: dict[str, list[int]] = {"00000": [], "00016": []}
        for number in self.numbers:
            chunks["00000" if number < 16 else "00016"].append(number)
        stack = []
        for chunk, numbers in chunks.items():
            images.write_labels([self.pages[n][0] for n in numbers], self.folder / f"{chunk}.tif")
            rows = [self.segmentation_row(n, page) for page, n in enumerate(numbers)]
            tables.write_rows(tables.SegmentationRow, rows, self.folder / f"{chunk}.parquet")
            stack += [self.stack_row(n) for n in numbers]
        tables.write_rows(tables.StackRow, stack, self.folder / "stack.parquet")
        reconstruction.run_volume(
            brain="B1",
            labels=[self.folder / f"{chunk}.tif" for chunk in chunks],
            tables=[self.folder / f"{chunk}.parquet" for chunk in chunks],
            stack=self.folder / "stack.parquet",
            supplied_tissue=[supplied] if supplied else [],
            cuts=cuts,
            volume=self.folder / "whole.nii.gz",
            repairs=self.folder / "repairs-whole.parquet",
            workers=workers,
            params=params,
        )
        reconstruction.run(
            brain="B1",
            volume=self.folder / "whole.nii.gz",
            volume_repairs=self.folder / "repairs-whole.parquet",
            exclusion=[exclusion] if exclusion else [],
            missing_exclusion="go_on",
            tissue=self.folder / "tissue.nii.gz",
            repairs=self.folder / "repairs.parquet",
            params=params,
        )

    def frame(self, number: int) -> dict[str, object]:
        return {
            "brain": "B1",
            "section": number,
            "width_um": self.width_um,
            "height_um": (ROWS * 2 - 1) * FULL_UM,
            "full_spacing_um": FULL_UM,
        }

    def segmentation_row(self, number: int, page: int) -> tables.SegmentationRow:
        tissue_mm2 = float((self.pages[number][0] > 0).sum() * (SPACING_UM / 1000) ** 2)
        return row(
            tables.SegmentationRow,
            **self.frame(number),
            page=page,
            spacing_um=SPACING_UM,
            tissue_mm2=tissue_mm2,
            status="ok" if tissue_mm2 > 0 else "blank",
        )

    def stack_row(self, number: int) -> tables.StackRow:
        return row(
            tables.StackRow,
            **self.frame(number),
            z_um=number * STEP_UM,
            mirrored=number in self.mirrored,
            **tables.rigid_columns(self.pages[number][1]),
            image_right=self.image_right,
            status="ok",
        )

    @property
    def tissue(self) -> volumes.Volume:
        return volumes.read(self.folder / "tissue.nii.gz")

    @property
    def repairs(self) -> pd.DataFrame:
        return tables.read(tables.RepairRow, self.folder / "repairs.parquet")

    def truth(self) -> np.ndarray:
        """The true labels on the grid of the result."""
        tissue = self.tissue
        ras = tissue.to_mm(np.moveaxis(np.indices(tissue.data.shape), 0, -1))
        return labels_at(geometry.ras_to_stack(ras, self.image_right) / 1000)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize("image_right", ["R", "L"])
def test_the_ellipsoid_is_reconstructed(tmp_path: Path, image_right: geometry.ImageRight) -> None:
    """Sections are turned, shifted, mirrored and missing; every other plane lies between two."""
    study = Study(tmp_path, image_right)
    study.run()
    tissue, truth = study.tissue, study.truth()
    assert np.allclose(tissue.affine[:3, :3], np.eye(3) * 0.5)
    for label in (1, 2):
        assert dice(tissue.data >= label, truth >= label) > 0.97
        shift = np.subtract(
            ndimage.center_of_mass(tissue.data >= label), ndimage.center_of_mass(truth >= label)
        )
        assert np.linalg.norm(shift) < 0.3
    sign = 1 if image_right == "R" else -1
    centre = tissue.to_mm(np.array(ndimage.center_of_mass(tissue.data > 0)))
    assert np.abs(centre - [sign * CENTRE[0], CENTRE[2], -CENTRE[1]]).max() < 0.15
    assert len(study.repairs) == 0


def test_voxels_as_large_as_the_section_spacing_stack_the_sections(tmp_path: Path) -> None:
    """The paper's stacking: each plane of voxels is a section."""
    study = Study(tmp_path)
    study.run(PARAMS.model_copy(update={"voxel_mm": 1.0}))
    tissue, truth = study.tissue, study.truth()
    planes = tissue.to_mm(np.stack([np.zeros(tissue.data.shape[1])] * 3, 1) + [[0, 1, 0]])[:, 1]
    assert np.allclose(planes, np.round(planes))
    wrong = (tissue.data != truth).sum() / (truth > 0).sum()
    assert wrong < 0.06  # border voxels of the grid, and the missing section


def test_a_gap_too_wide_is_refused_or_a_declared_cut(tmp_path: Path) -> None:
    study = Study(tmp_path)
    params = PARAMS.model_copy(update={"max_gap_mm": 1.5, "fragment_share": 0.0})
    with pytest.raises(InputError, match=r"B1: no usable section from 16 to 18 \(2\.0 mm\)"):
        study.run(params)
    study.run(params, cuts=(16,))
    tissue = study.tissue
    inside = (tissue.data > 0).any(axis=(0, 2))
    a_mm = tissue.affine[1, 3] + 0.5 * np.arange(len(inside))
    assert not inside[np.abs(a_mm - 17) < 0.4].any()
    assert inside[np.abs(a_mm - 16) < 0.4].all() and inside[np.abs(a_mm - 18) < 0.4].all()


def test_hole_and_dirt_are_repaired_and_recorded(tmp_path: Path) -> None:
    study = Study(tmp_path)
    hole, dirt = (15.0, 13.0), (27.0, 20.0)
    study.set(12, hole, 2.5, 0)
    study.set(22, dirt, 1.5, 1)
    study.run()
    truth = study.truth()
    assert dice(study.tissue.data >= 1, truth >= 1) > 0.97
    assert dice(study.tissue.data >= 2, truth >= 2) > 0.97
    repairs = study.repairs.sort_values("a_mm")
    assert list(repairs.kind) == ["defect", "defect"]
    centres = repairs[["r_mm", "a_mm", "s_mm"]]
    assert np.allclose(centres.iloc[0], [hole[0], 12, -hole[1]], atol=0.4)
    assert np.allclose(centres.iloc[1], [dirt[0], 22, -dirt[1]], atol=0.4)
    assert repairs.volume_mm3.iloc[0] == pytest.approx(np.pi * 2.5**2, rel=0.2)


def test_torn_section_does_not_outvote_its_neighbours(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.set(20, (28.0, 13.0), 8.0, 0)
    study.run()
    repairs = study.repairs
    assert list(repairs.kind) == ["defect"] and repairs.a_mm[0] == pytest.approx(20)
    truth = study.truth()
    assert dice(study.tissue.data >= 1, truth >= 1) > 0.97


def test_wrong_label_is_repaired_only_between_near_neighbours(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.set(12, (17.0, 13.0), 2.5, 1)
    study.run()
    assert list(study.repairs.kind) == ["defect"]
    study.run(PARAMS.model_copy(update={"label_gap_mm": 1.5}))
    assert len(study.repairs) == 0


def test_a_sulcus_in_one_section_is_not_a_defect(tmp_path: Path) -> None:
    """Background lined with gray matter is anatomy, whatever its width."""
    study = Study(tmp_path)
    study.set(15, (17.0, 4.0), 5.0, 1, over=(2,))
    study.set(15, (17.0, 4.0), 3.0, 0)
    study.run(PARAMS.model_copy(update={"label_gap_mm": 0.0}))
    assert len(study.repairs) == 0


def test_fragment_is_dropped(tmp_path: Path) -> None:
    study = Study(tmp_path)
    for number in (12, 13, 14):
        study.set(number, (29.0, 22.0), 1.5, 1)
    study.run()
    repairs = study.repairs
    assert list(repairs.kind) == ["fragment"]
    assert np.allclose(repairs[["r_mm", "a_mm", "s_mm"]].iloc[0], [29, 13, -22], atol=0.4)
    assert dice(study.tissue.data > 0, study.truth() > 0) > 0.97


def test_exclusion_on_another_grid(tmp_path: Path) -> None:
    """A coarse box in stack RAS, drawn with flipped axes as 3D Slicer may write it."""
    study = Study(tmp_path)
    mask = np.zeros((40, 40, 40), np.uint8)
    affine = np.diag([-2.0, -2.0, 2.0, 1.0])
    affine[:3, 3] = 61, 79, -59.4
    corner = np.moveaxis(np.indices(mask.shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    mask[corner[..., 2] < -16] = 1
    path = tmp_path / "exclusion.nii.gz"
    volumes.write(volumes.Volume(mask, affine), path)
    study.run(exclusion=path)
    tissue = study.tissue
    s_mm = tissue.affine[2, 3] + 0.5 * np.arange(tissue.data.shape[2])
    assert not (tissue.data > 0)[:, :, s_mm < -16.4].any()
    kept = s_mm > -16.4
    assert dice((tissue.data > 0)[:, :, kept], (study.truth() > 0)[:, :, kept]) > 0.97
    repairs = study.repairs
    assert (repairs.kind == "excluded").all()
    expected = (study.truth()[:, :, ~kept] > 0).sum() * 0.5**3
    assert repairs.volume_mm3.sum() == pytest.approx(expected, rel=0.05)


def test_an_exclusion_mask_off_the_brain_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "exclusion.nii.gz"
    affine = volumes.regular_affine(2.0, np.array([500.0, 0, 0]))
    volumes.write(volumes.Volume(np.ones((9, 9, 9), np.uint8), affine), path)
    with pytest.raises(InputError, match=r"exclusion\.nii\.gz: marks no tissue"):
        Study(tmp_path).run(exclusion=path)


def test_segments_drawn_by_a_person_are_excluded(tmp_path: Path) -> None:
    """A cropped segmentation of 3D Slicer, two segments that overlap in layers."""
    study = Study(tmp_path)
    shape, affine = (20, 40, 14), np.diag([1.5, 1.0, 1.0, 1.0])
    affine[:3, 3] = 2.0, -1.0, -30.0
    below = np.ones(shape, np.uint8)  # up to -16.5
    aside = below.copy()
    aside[:8] = 0  # right of 13.25
    path = write_segmentation(
        tmp_path / "exclusion.seg.nrrd", [below, aside], affine, [("stem", 0, 1), ("side", 1, 1)]
    )
    study.run(exclusion=path)
    tissue = study.tissue
    s_mm = tissue.affine[2, 3] + 0.5 * np.arange(tissue.data.shape[2])
    assert not (tissue.data > 0)[:, :, s_mm < -16.8].any()
    kept = s_mm > -16.4
    assert dice((tissue.data > 0)[:, :, kept], (study.truth() > 0)[:, :, kept]) > 0.97


def test_a_mask_of_most_of_the_brain_is_refused(tmp_path: Path) -> None:
    affine = volumes.regular_affine(2.0, np.array([-20.0, -20, -60]))
    cortex = np.ones((60, 60, 60), np.uint8)
    path = write_segmentation(tmp_path / "exclusion.seg.nrrd", [cortex], affine, [("cortex", 0, 1)])
    with pytest.raises(InputError, match=r"marks 100 % of the tissue \(cortex 100 %\)"):
        Study(tmp_path).run(exclusion=path)
    assert not (tmp_path / "tissue.nii.gz").exists()


def test_a_missing_mask_stops_with_instructions_or_goes_on(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.run()
    names = {"volume": "whole.nii.gz", "volume_repairs": "repairs-whole.parquet"}
    paths = {key: tmp_path / name for key, name in names.items()}
    paths |= {"tissue": tmp_path / "new.nii.gz", "repairs": tmp_path / "new.parquet"}
    with pytest.raises(InputError, match=r"manual/B1/exclusion\.seg\.nrrd \(or .*whole.nii.gz"):
        reconstruction.run(
            brain="B1", exclusion=[], missing_exclusion="stop", params=PARAMS, **paths
        )
    assert not paths["tissue"].exists()
    two = [tmp_path / "exclusion.nii.gz", tmp_path / "exclusion.seg.nrrd"]
    with pytest.raises(InputError, match=r"and exclusion.seg.nrrd: two masks; delete one"):
        reconstruction.run(
            brain="B1", exclusion=two, missing_exclusion="stop", params=PARAMS, **paths
        )


def test_too_few_sections_are_an_error(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.numbers = [13]
    with pytest.raises(InputError, match="1 sections have tissue"):
        study.run()


def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path) -> None:
    outputs = []
    for workers in (1, 3):
        study = Study(tmp_path)
        study.run(workers=workers)
        outputs.append(
            [(tmp_path / name).read_bytes() for name in ("tissue.nii.gz", "repairs.parquet")]
        )
    assert outputs[0] == outputs[1]
