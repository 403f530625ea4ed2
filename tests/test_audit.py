"""The audit of order and handedness, on stacks with a known truth."""

import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from table_rows import row

from cytopipe import alignment, logs
from cytopipe.alignment.audit.comparison import Compare, Comparison
from cytopipe.alignment.audit.comparison import compare as compare_sections
from cytopipe.alignment.audit.findings import ELSEWHERE, MIRRORED, NEITHER, SWAPPED
from cytopipe.alignment.audit.mirroring import marginals, mirrored_sections
from cytopipe.alignment.audit.order import audit
from cytopipe.alignment.pairwise.prepared_section import PreparedSection, prepare_section
from cytopipe.formats.images import write_labels, write_pyramid
from cytopipe.formats.tables import AuditRow, SegmentationRow, read_rows, write_rows
from cytopipe.numerics.geometry import Floats
from cytopipe.study import config as study_config
from cytopipe.study.config import Audit
from cytopipe.study.corrections import corrected
from cytopipe.study.sections import Section

PARAMS = Audit(**study_config.read(study_config.DEFAULTS)["audit"])
COUNT = 30


def stack_of(
    order: list[int],
    mirrored: set[int],
    asymmetry: float,
    seed: int,
    foreign: int = -1,
    noise_sd: float = 0.03,
    lean: float = 0.0,
) -> Compare:
    """Noisy similarity that falls with the true distance; `order[i]` is the section at place i.

    `mirrored` are true sections. `asymmetry` is the mean advantage of the right handedness, for
    neighbours, over its noise (0.03). `noise_sd` is the noise of the similarity. `lean` is how much
    more the left half of a section is like the right half of a later one than the other way round,
    over its noise (0.07).
    """
    random = np.random.default_rng(seed)
    halves = np.random.default_rng([seed, 1]).normal(0, 0.07, (2, COUNT, COUNT))
    noise = random.normal(0, 1, (2, COUNT, COUNT))
    noise[0] *= noise_sd
    # a section of poor quality is less similar to all others
    quality = random.uniform(0, 0.1, COUNT)

    def compare(one: int, other: int) -> Comparison:
        a, b = sorted((order[one], order[other]))
        value = 0.15 + 0.45 * np.exp(-(b - a) / 2) + noise[0, a, b] - quality[a] - quality[b]
        if foreign in (a, b):
            value = 0.15 + noise[0, a, b] - quality[a] - quality[b]
        advantage = 0.03 * asymmetry * np.exp(-(b - a - 1) / 5) + 0.03 * noise[1, a, b]
        if (a in mirrored) != (b in mirrored):
            advantage = -advantage
        # left meets right in the mirrored image if the handedness is equal, else in that as scanned
        sign = -0.07 * lean if a in mirrored else 0.07 * lean
        same = (a in mirrored) == (b in mirrored)
        plain_left = halves[0, a, b] + (0 if same else sign)
        mirrored_left = halves[1, a, b] + (sign if same else 0)
        pair = Comparison(float(value), float(value - advantage), plain_left, mirrored_left)
        return pair if order[one] < order[other] else pair.swapped()

    return compare


def findings_of(compare: Compare) -> set[tuple[int, str, tuple[int, ...]]]:
    return {(f.index, f.kind, f.others) for f in audit(COUNT, compare, PARAMS)}


@pytest.mark.parametrize("seed", range(20))
def test_a_clean_stack_has_no_findings(seed: int) -> None:
    assert findings_of(stack_of(list(range(COUNT)), set(), 1.5, seed)) == set()


@pytest.mark.parametrize("seed", range(10))
def test_a_stack_of_perfect_symmetry_has_no_mirrored_sections(seed: int) -> None:
    assert findings_of(stack_of(list(range(COUNT)), {4, 17}, 0.0, seed)) == set()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("one", "other"), [(14, 15), (9, 11), (6, 21), (4, 5), (25, 26)])
def test_three_mirrored_and_two_swapped_are_named_and_nothing_else(
    one: int, other: int, seed: int
) -> None:
    order = list(range(COUNT))
    order[one], order[other] = other, one
    expected = {(one, SWAPPED, (other,)), (other, SWAPPED, (one,))}
    expected |= {(order.index(section), MIRRORED, ()) for section in (3, 12, 24)}
    assert findings_of(stack_of(order, {3, 12, 24}, 2.5, seed, noise_sd=0.015)) == expected


@pytest.mark.parametrize("seed", range(5))
def test_a_section_that_belongs_elsewhere(seed: int) -> None:
    order = list(range(COUNT))
    order.insert(20, order.pop(5))
    # true section 5 lies at place 20; 4 and 6 at places 4 and 5
    assert findings_of(stack_of(order, set(), 2.5, seed, noise_sd=0.015)) == {
        (20, ELSEWHERE, (4, 5))
    }


@pytest.mark.parametrize("seed", range(5))
def test_a_foreign_section_matches_neither_neighbour(seed: int) -> None:
    compare = stack_of(list(range(COUNT)), set(), 2.5, seed, foreign=13, noise_sd=0.015)
    assert findings_of(compare) == {(13, NEITHER, (12, 14))}


def test_noise_that_makes_many_sections_look_odd_does_not_make_the_audit_endless(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 150
    noise = np.random.default_rng(0).normal(0, 0.1, (count, count))
    asked = set()

    def compare(one: int, other: int) -> Comparison:
        asked.add((one, other))
        value = float(0.15 + 0.45 * np.exp(-abs(one - other) / 2) + noise[one, other])
        return Comparison(value, value, 0.0, 0.0)

    monkeypatch.setattr(logs.logger, "propagate", True)
    with caplog.at_level("INFO", logs.logger.name):
        audit(count, compare, PARAMS)
    assert re.search(
        r"\d+ more sections look odd and were compared with their neighbours only", caplog.text
    )
    # neighbours, those compared with all, and the neighbours of places that were tried
    assert len(asked) < count * (PARAMS.hand_reach + PARAMS.max_searched + 12)


@pytest.mark.parametrize("lean", [3.0, -3.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_stack_cut_askew_shows_the_handedness_of_its_end_without_any_pair(
    seed: int, lean: float
) -> None:
    mirrored = {0, 19}
    compare = stack_of(list(range(COUNT)), mirrored, 0.0, seed, lean=lean)
    assert findings_of(compare) == {(section, MIRRORED, ()) for section in mirrored}


def test_evidence_of_halves_follows_the_order() -> None:
    """Sections 10 and 11 are exchanged, and 10 is mirrored."""
    order = list(range(COUNT))
    order[10], order[11] = 11, 10
    compare = stack_of(order, {10}, 0.0, 2, noise_sd=0.015, lean=2.0)
    assert findings_of(compare) == {(10, SWAPPED, (11,)), (11, SWAPPED, (10,)), (11, MIRRORED, ())}


def test_confidence_falls_with_the_asymmetry() -> None:
    sure = []
    for asymmetry in (2.0, 1.0, 0.6):
        compare = stack_of(list(range(COUNT)), {12}, asymmetry, 1)
        table = np.full((COUNT, PARAMS.hand_reach), np.nan)
        for one in range(COUNT):
            for other in range(one + 1, min(COUNT, one + 1 + PARAMS.hand_reach)):
                pair = compare(one, other)
                table[one, other - one - 1] = pair.plain - pair.mirrored
        flags, chance = mirrored_sections(table, np.zeros((COUNT, 2)), PARAMS.mirrored_share)
        sure.append(float(chance[12] if flags[12] else 1 - chance[12]))
    assert sure == sorted(sure, reverse=True)


def test_marginals_equal_the_sum_over_all_assignments() -> None:
    random = np.random.default_rng(3)
    sections, reach, share = 8, 3, 0.2
    votes = random.normal(0.5, 1.5, (sections, reach))
    own = random.normal(0.5, 1.5, sections)
    total = np.zeros(sections)
    whole = 0.0
    for state in product((0, 1), repeat=sections):
        energy = sum(np.log(share if flag else 1 - share) for flag in state)
        energy += sum((-0.5 if flag else 0.5) * vote for flag, vote in zip(state, own, strict=True))
        for i in range(sections):
            for step in range(1, reach + 1):
                if i + step < sections:
                    energy += votes[i, step - 1] * (0.5 if state[i] == state[i + step] else -0.5)
        weight = np.exp(energy)
        whole += weight
        total += weight * np.array(state)
    np.testing.assert_allclose(marginals(votes, own, share), total / whole, rtol=1e-9)


def test_few_sections_give_no_findings() -> None:
    assert audit(7, lambda one, other: Comparison(0.5, 0.1, 0.0, 0.0), PARAMS) == []


# --- images


def sections_of_a_block(
    count: int, symmetric: bool, seed: int, ahead: float = 0.0
) -> list[tuple[Floats, Floats]]:
    """Stain and tissue of sections through a block of smooth structure, nearly symmetric.

    Their left edge lies `ahead` sections before the midline, their right edge as far behind it.
    """
    random = np.random.default_rng(seed)
    shape = (3 * count, 90, 120)

    def smooth(sigma: float) -> Floats:
        values = ndimage.gaussian_filter(random.normal(size=shape), (4, sigma, sigma))
        return np.asarray(values / values.std())

    structure = smooth(4) + smooth(2)
    even = (structure + structure[..., ::-1]) / np.sqrt(2)
    odd = np.zeros(shape) if symmetric else 0.5 * smooth(3)
    row, column = np.indices(shape[1:])
    block = even + odd
    depth = 3 * ahead * (59.5 - column) / 46
    pairs = []
    for place in range(0, 3 * count, 3):
        width = 46 + 3 * np.sin(place / 15)
        tissue = ((row - 45) / 32) ** 2 + ((column - 59.5) / width) ** 2 < 1
        noise = random.normal(0, 0.2, shape[1:])
        cut = ndimage.map_coordinates(block, [place + depth, row, column], order=1, mode="nearest")
        stain = np.where(tissue, 120 + 25 * cut + 25 * noise, 240)
        pairs.append((np.clip(stain, 0, 255), tissue.astype(float)))
    return pairs


def prepared(
    number: int, stain: Floats, tissue: Floats, turn_deg: float, flipped: bool
) -> PreparedSection:
    def turned(layer: Floats, order: int, outside: float) -> Floats:
        layer = layer[:, ::-1] if flipped else layer
        return np.asarray(ndimage.rotate(layer, turn_deg, reshape=False, order=order, cval=outside))

    labels = turned(tissue, 0, 0).astype(np.uint8)
    pixels = turned(stain, 1, 240)
    return prepare_section(segmented(number, labels), pixels, labels, 50.0, 50.0)


def segmented(number: int, labels: np.ndarray) -> SegmentationRow:
    return row(
        SegmentationRow, brain="B01", section=number, page=number, spacing_um=50.0,
        full_spacing_um=50.0, width_um=119 * 50.0, height_um=89 * 50.0,
        tissue_mm2=labels.sum() * 0.05**2, status="ok",
    )  # fmt: skip


def image_findings(symmetric: bool, spoiled: bool) -> set[tuple[int, str, tuple[int, ...]]]:
    count = 12
    order = list(range(count))
    if spoiled:
        order[6], order[7] = order[7], order[6]
    turns = np.random.default_rng(7).uniform(-12, 12, count)
    block = sections_of_a_block(count, symmetric, 11)
    block_sections = [
        prepared(place, *block[order[place]], turns[place], spoiled and place in (2, 9))
        for place in range(count)
    ]

    def compare(one: int, other: int) -> Comparison:
        return compare_sections(block_sections[one], block_sections[other], np.radians(40))

    return {(f.index, f.kind, f.others) for f in audit(count, compare, PARAMS)}


def test_images_with_two_mirrored_and_two_swapped() -> None:
    assert image_findings(symmetric=False, spoiled=True) == {
        (2, MIRRORED, ()),
        (6, SWAPPED, (7,)),
        (7, SWAPPED, (6,)),
        (9, MIRRORED, ()),
    }


def test_images_of_a_clean_stack() -> None:
    assert image_findings(symmetric=False, spoiled=False) == set()


def test_images_of_perfect_symmetry_have_no_mirrored_sections() -> None:
    assert image_findings(symmetric=True, spoiled=False) == set()


def test_halves_show_how_a_section_is_cut() -> None:
    """A symmetric block cut askew; the second section lies ahead, so left is like its right."""
    block = sections_of_a_block(12, True, 11, ahead=0.5)
    block_sections = [prepared(place, *block[place], 8.0 - place, False) for place in (4, 5, 6)]
    flipped = [prepared(place, *block[place], 8.0 - place, True) for place in (4, 5, 6)]
    reach = np.radians(40)
    for one, other in ((0, 1), (1, 2)):
        assert (
            compare_sections(block_sections[one], block_sections[other], reach).mirrored_left > 0.05
        )
        assert (
            compare_sections(block_sections[other], block_sections[one], reach).mirrored_left
            < -0.05
        )
        assert compare_sections(flipped[one], flipped[other], reach).mirrored_left < -0.05
        assert compare_sections(block_sections[one], flipped[other], reach).plain_left > 0.05
        assert compare_sections(flipped[one], block_sections[other], reach).plain_left < -0.05


# --- files


def test_the_stage_writes_its_findings_and_proposes_them(tmp_path: Path) -> None:
    """Sections 2 and 9 of 12 were scanned face down, and a person has confirmed 9."""
    block = sections_of_a_block(12, False, 11)
    turns = np.random.default_rng(7).uniform(-12, 12, 12)
    pages, sections, rows = [], [], []
    for place, (stain, tissue) in enumerate(block):
        flipped = place in (2, 9)
        layers = [
            ndimage.rotate(layer[:, ::-1] if flipped else layer, turns[place], reshape=False,
                           order=order, cval=outside)
            for layer, order, outside in ((stain, 1, 240), (tissue, 0, 0))
        ]  # fmt: skip
        image = tmp_path / f"{place}.ome.tif"
        write_pyramid(np.clip(layers[0], 0, 255).astype(np.uint8), image, 50.0, 200.0, tile=64)
        pages.append(layers[1].astype(np.uint8))
        sections.append(Section("B01", place, str(image), 50.0, 20.0, mirrored=place == 9 or None))
        rows.append(segmented(place, pages[-1]))
    write_labels(pages, tmp_path / "labels.tif")
    write_rows(SegmentationRow, rows, tmp_path / "table.parquet")
    alignment.run_audit(
        sections=sections,
        images=[Path(section.image) for section in sections],
        tables=[tmp_path / "table.parquet"],
        labels=[tmp_path / "labels.tif"],
        findings=tmp_path / "audit.parquet",
        proposed=tmp_path / "sections.tsv",
        max_rotation_deg=60.0,
        params=PARAMS,
    )
    (finding,) = read_rows(AuditRow, tmp_path / "audit.parquet")
    assert (finding.section, finding.finding) == (2, "mirrored")
    assert finding.confidence >= PARAMS.min_confidence
    # copied unchanged, the proposal is the decision
    manual = tmp_path / "manual" / "B01"
    manual.mkdir(parents=True)
    (tmp_path / "sections.tsv").rename(manual / "sections.tsv")
    decided = corrected(sections, tmp_path / "manual")
    assert [s.section for s in decided if s.mirrored] == [2, 9]
