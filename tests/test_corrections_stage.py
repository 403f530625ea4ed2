"""Corrections by a person in both steps of the alignment, on sections with known places."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from slice_pairs import FULL_UM, PARAMS, SPACING_UM, about_centre, brain_slice, displaced, worst_px
from test_alignment import segmentation_row

from cytopipe import alignment
from cytopipe.files import InputError
from cytopipe.formats.images import write_labels, write_pyramid
from cytopipe.formats.tables import PairRow, SegmentationRow, StackRow, read_rows, write_rows
from cytopipe.formats.text import read_table
from cytopipe.study.corrections import COLUMNS, corrected
from cytopipe.study.sections import Section

NUMBERS = (0, 10, 20)
TRUE = {0: about_centre(4, 900, -500), 10: about_centre(0, 0, 0), 20: about_centre(-9, -700, 300)}


class Study:
    """Three sections of one slice; the last is scanned face down and shows no texture."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        image, labels = brain_slice(1)
        self.sections, self.images, pages = [], [], []
        for number in NUMBERS:
            picture, page = displaced(image, labels, TRUE[number], number == 20)
            if number == 20:
                picture = np.where(page > 0, 120, 230).astype(np.float32)
            full = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
            self.images.append(folder / f"{number}.ome.tif")
            write_pyramid(
                np.clip(full, 0, 255).astype(np.uint8), self.images[-1], FULL_UM, SPACING_UM
            )
            self.sections.append(Section("B01", number, str(self.images[-1]), FULL_UM, 20.0))
            pages.append(page)
        rows = [segmentation_row(n, i, page) for i, (n, page) in enumerate(zip(NUMBERS, pages))]
        write_rows(SegmentationRow, rows, folder / "table.parquet")
        write_labels(pages, folder / "labels.tif")

    def run(self, text: str) -> tuple[dict[int, StackRow], list[PairRow]]:
        """The place of each section, and the pairs."""
        path = self.folder / "manual" / "B01" / "sections.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        sections = corrected(self.sections, self.folder / "manual")
        files = {name: self.folder / f"{name}.parquet" for name in ("chunk", "pairs", "stack")}
        alignment.run_pairs(
            sections=sections,
            images=self.images,
            tables=[self.folder / "table.parquet"],
            labels=[self.folder / "labels.tif"],
            chunk="00000",
            chunk_span=30,
            pairs=files["chunk"],
            params=PARAMS.model_copy(update={"neighbours": 1}),
        )
        alignment.run(
            sections=sections,
            chunk_pairs=[files["chunk"]],
            tables=[self.folder / "table.parquet"],
            labels=[self.folder / "labels.tif"],
            stack=files["stack"],
            pairs=files["pairs"],
            proposed=self.folder / "proposed.tsv",
            image_right="R",
            params=PARAMS,
        )
        places = {row.section: row for row in read_rows(StackRow, files["stack"])}
        return places, read_rows(PairRow, files["pairs"])


HEAD = "section\tmirrored\texcluded\tonto\tangle_rad\tx_um\ty_um\n"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(tmp_path_factory.mktemp("corrected"))


def test_a_place_onto_a_neighbour_is_used_and_certain(study: Study) -> None:
    true = TRUE[20]
    row = f"20\tyes\t\t10\t{true.angle_rad}\t{true.x_um}\t{true.y_um}\n"
    stack, pairs = study.run(HEAD + "10\tno\n" + row)
    assert [place.status for place in stack.values()] == ["ok", "ok", "ok"]
    assert stack[20].mirrored and not stack[10].mirrored
    # the base is section 10
    assert worst_px(stack[20].placement.rigid, true) < 1e-6
    (by_person,) = (pair for pair in pairs if pair.moving == 20)
    assert (by_person.method, by_person.status) == ("person", "accepted")
    assert by_person.overlap > 0.97
    proposed = read_table(study.folder / "proposed.tsv", ("section",), COLUMNS[1:])
    assert not proposed  # nothing is left to decide


def test_a_place_in_the_stack_is_used_unchanged(study: Study) -> None:
    stack, _ = study.run(HEAD + "20\tyes\t\tstack\t0.25\t1000\t-2000\n")
    assert (stack[20].angle_rad, stack[20].x_um, stack[20].y_um) == (0.25, 1000, -2000)
    assert stack[20].via == 20 and stack[20].status == "ok"


def test_an_excluded_section_leaves_the_stack(study: Study) -> None:
    stack, pairs = study.run(HEAD + "20\t\tyes\n")
    assert stack[20].status == "excluded" and not stack[20].is_placed
    assert all(pair.moving != 20 for pair in pairs)


def test_a_place_onto_an_excluded_section_is_refused(study: Study) -> None:
    rows = "10\tno\tyes\n20\tyes\t\t10\t0\t1\t1\n"
    with pytest.raises(InputError, match=r"section 20 lies onto 10, which is blank, excluded"):
        study.run(HEAD + rows)
