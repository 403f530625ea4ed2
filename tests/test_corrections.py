"""Corrections of sections by a person: how they are read, used in the stack and proposed."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slice_pairs import (
    CORNERS_UM,
    PARAMS,
    about_centre,
    brain_slice,
    displaced,
    prepared,
    worst_px,
)
from test_alignment_stack import chains, composed, exact_pair, straight

from cytopipe.alignment.acceptance import PERSON
from cytopipe.alignment.manual_decisions import manual_places, manual_rigid_between, proposals
from cytopipe.alignment.pairwise.pairs import manual_pair
from cytopipe.files import InputError
from cytopipe.formats.tables import ACCEPTED, MIRRORED, PLAIN, UNCERTAIN, rigid_columns
from cytopipe.numerics.geometry import Rigid
from cytopipe.study.corrections import COLUMNS, Proposal, corrected, write_proposals
from cytopipe.study.sections import Section

SECTIONS = [Section("B01", number, f"{number}.ome.tif", 1.0, 20.0) for number in (0, 15, 30, 45)]
OTHERS = [Section("B02", 0, "0.ome.tif", 1.0, 20.0)]
HEAD = "\t".join(COLUMNS) + "\n"


def write(study: Path, *rows: str, head: str = HEAD) -> Path:
    path = study / "manual" / "B01" / "sections.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + "".join(row + "\n" for row in rows))
    return study / "manual"


def test_decisions_override_the_table_of_the_lab_and_empty_cells_decide_nothing(
    tmp_path: Path,
) -> None:
    own = [replace(SECTIONS[0], mirrored=True, excluded=True), *SECTIONS[1:], *OTHERS]
    manual = write(
        tmp_path,
        "# a comment",
        "0\t\tno",
        "15\tyes\t\t\t\t\t\tface down # sure",
        "30\t\t\tstack\t-0.1\t250\t-3.5e2",
        "45\t\t\t\t\t\t\tlooked at",
    )
    first, second, third, fourth, other = corrected(own, manual)
    assert first == replace(own[0], excluded=False)
    assert second == replace(own[1], mirrored=True)
    assert third == replace(own[2], onto="stack", angle_rad=-0.1, x_um=250.0, y_um=-350.0)
    assert (fourth, other) == (own[3], own[4])
    assert [Section(**s.row()) for s in corrected(own, manual)] == corrected(own, manual)
    # how a scan is read does not depend on its place
    assert third.scan_row(excluded=False) == own[2].row()
    assert corrected(own, tmp_path / "none") == own


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["7\tyes"], "line 2: there is no section 7 in config/sections.tsv; correct the number"),
        (["x\tyes"], "section is 'x'; give a whole number"),
        (["0\tyes", "0\t\tyes"], "line 3: section 0 is listed twice; merge the rows"),
        (["0\tperhaps"], "mirrored is 'perhaps'; use yes or no"),
        (["0\t\t\tstack\t0.1\t5"], "y_um is empty; a transform is onto"),
        (["0\t\t\t\t0.1\t5\t5"], "onto is empty; a transform is onto"),
        (["0\t\t\tstack\tnan\t5\t5"], "angle_rad is 'nan'; give a number"),
        (["0\t\t\tstack\t0\tinf\t5"], "x_um is 'inf'; give a number"),
        (["0\t\t\tstack\t12\t5\t5"], r"angle_rad is 12; give radians \(degrees x 0.0174533\)"),
        (["0\t\t\t16\t0\t5\t5"], "onto is 16; give another section"),
        (["0\t\t\t0\t0\t5\t5"], "onto is 0; give another section"),
        (["0\t\t\t15\t0\t5\t5"], "whether section 0 is mirrored; write yes or no"),
        (["0\tno\t\t15\t0\t5\t5"], "whether section 15 is mirrored; write yes or no"),
        (
            ["0\tno\t\t15\t0\t5\t5", "15\tno\t\t30\t0\t1\t1", "30\tno\t\t0\t0\t1\t1"],
            "transforms of sections 0, 15, 30 form a circle; empty",
        ),
        (["0\tyes\t\t\t\t\t\tnote\textra"], "9 cells under 8 columns; remove a tab"),
    ],
)
def test_a_wrong_row_is_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        corrected(SECTIONS, write(tmp_path, *rows))
    assert "sections.tsv" in str(refused.value)


def test_columns_of_corrections_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column 'angle_deg' is unknown; allowed: section, mir"):
        corrected(SECTIONS, write(tmp_path, head="section\tangle_deg\n"))


@pytest.mark.parametrize("fixed_flag", [False, True])
@pytest.mark.parametrize("moving_flag", [False, True])
def test_a_manual_pair_has_the_transform_that_the_person_gave(
    fixed_flag: bool, moving_flag: bool
) -> None:
    """Its transform carries points of the unmirrored sections, whichever of them are mirrored."""
    image, labels = brain_slice(1)
    rigid = about_centre(14, 900, -600)
    plain = displaced(image, labels, rigid, False)
    turn = {False: slice(None), True: slice(None, None, -1)}
    fixed = prepared(image[:, turn[fixed_flag]], labels[:, turn[fixed_flag]], 1, fixed_flag)
    moving = prepared(
        plain[0][:, turn[moving_flag]], plain[1][:, turn[moving_flag]], 2, moving_flag
    )
    pair = manual_pair(fixed, moving, rigid, 1, PARAMS)
    assert (pair.method, pair.status) == (PERSON, ACCEPTED)
    assert pair.overlap > 0.98
    flags = {1: fixed_flag, 2: moving_flag}
    places = composed(1, [pair], flags, onto={2: 1})
    assert worst_px(places[2].rigid, rigid) < 1e-6
    wrong = manual_pair(fixed, moving, replace(rigid, x_um=rigid.x_um + 1e6), 1, PARAMS)
    assert wrong.status == UNCERTAIN  # such as micrometres mistaken for millimetres


@settings(deadline=None)
@given(chains(), st.data())
def test_a_manual_place_moves_only_the_sections_further_out(
    chain: tuple[dict[int, Rigid], dict[int, bool]], data: st.DataObject
) -> None:
    true, flags = chain
    numbers = sorted(true)
    near = [exact_pair(a, b, true, flags) for a, b in pairwise(numbers)]
    base, placed = data.draw(st.permutations(numbers))[:2]
    shift = Rigid(0.3, 4e3, -2e3, "stack", "stack")
    before = composed(base, near, flags)
    moved = before[placed].rigid.then(shift)
    after = composed(base, near, flags, in_stack={placed: moved})
    for number in numbers:
        outwards = (number - placed) * (placed - base) >= 0
        expected = before[number].rigid.then(shift) if outwards else before[number].rigid
        np.testing.assert_allclose(after[number].rigid(CORNERS_UM), expected(CORNERS_UM), atol=1e-3)
    assert after[placed].via == placed


def test_a_section_laid_onto_another_is_placed_by_that_pair_alone() -> None:
    numbers, true = straight(5)
    flags = dict.fromkeys(numbers, False)
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    pairs += [exact_pair(a, a + 200, true, flags, 2) for a in numbers[:-2]]
    # 200 is laid onto 300, which lies further out, so 300 is reached by the bridge across 200
    wrong = replace(pairs[1], angle_rad=1.0, x_um=9e4, y_um=9e4)
    pairs[1] = wrong
    pairs[2] = replace(pairs[2], method=PERSON)
    places = composed(0, pairs, flags, onto={200: 300})
    assert (places[300].via, places[200].via) == (100, 300)
    expected = true[200].then(true[0].inverse())
    np.testing.assert_allclose(places[200].rigid(CORNERS_UM), expected(CORNERS_UM), atol=1e-3)
    # the base is not moved; the section that it was laid onto is laid onto it
    places = composed(200, pairs, flags, onto={200: 300})
    assert places[200].rigid.x_um == 0 and places[300].via == 200


def test_manual_places_need_a_pair() -> None:
    sections = [replace(s, mirrored=False) for s in SECTIONS]
    sections[3] = replace(sections[3], onto="0", angle_rad=0.1, x_um=5.0, y_um=6.0)
    with pytest.raises(
        InputError, match=r"section 45 lies onto 0, which is blank.*onto 30, or onto"
    ):
        manual_places(sections, [])
    sections[1] = replace(sections[1], onto="30", angle_rad=0.1, x_um=5.0, y_um=6.0)
    rigid = manual_rigid_between(
        sections[1], sections[2]
    )  # the pair's moving section is the later one
    assert rigid is not None
    expected = Rigid(0.1, 5.0, 6.0, "15", "30").inverse()
    np.testing.assert_allclose(rigid(CORNERS_UM), expected(CORNERS_UM))
    assert manual_rigid_between(sections[0], sections[1]) is None


def test_proposals_have_the_format_of_corrections(tmp_path: Path) -> None:
    numbers, true = straight(4)
    sections = [replace(SECTIONS[0], section=n) for n in numbers]
    flags = {0: False, 100: True, 200: False, 300: True}
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    pairs[1] = replace(pairs[1], status="too little overlap", **rigid_columns(None))
    pairs[2] = replace(pairs[2], status=UNCERTAIN)
    statuses = {0: "ok", 100: "ok", 200: "unaligned", 300: "uncertain"}
    handedness = {n: MIRRORED if flag else PLAIN for n, flag in flags.items()}
    proposed = proposals(sections, pairs, handedness, statuses)
    assert [(p.section, p.mirrored, p.excluded) for p in proposed] == [
        (100, True, None),
        (200, None, True),
        (300, True, None),
    ]
    assert proposed[0].notes.startswith("with 0 3 inliers as scanned, 60 mirrored; with 200 ")
    assert "with 100 (mirrored) 3 inliers as scanned, 60 mirrored, too little" in proposed[1].notes
    # copied unchanged, a proposal is the decision
    path = tmp_path / "manual" / "B01" / "sections.tsv"
    write_proposals(proposed, path, "B01")
    decided = corrected(sections, tmp_path / "manual")
    assert [s.mirrored for s in decided] == [None, True, None, True]
    assert [s.excluded for s in decided] == [False, False, True, False]
    write_proposals([Proposal(0)], path, "B01")
    assert corrected(sections, tmp_path / "manual") == sections
    confirmed = [replace(s, mirrored=flags[s.section]) for s in sections]
    assert [p.section for p in proposals(confirmed, pairs, handedness, statuses)] == [200, 300]
