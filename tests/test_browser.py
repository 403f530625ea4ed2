"""What the pages do in a real browser: they are opened from the disk, sorted, clicked, dragged.

The study is that of `shell_study`. Its brain is two balls, so every place on the pages is known.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from browser import Browser
from report_pages import write_brain_page
from shell_study import FULL_UM, SECTIONS

from cytopipe.formats import tables
from cytopipe.report import section_numbers
from cytopipe.study import corrections
from cytopipe.study.sections import Section

pytestmark = pytest.mark.slow

LISTED = "probe.listed()"


def open_section(browser: Browser, page: Path, section: int, more: str = "") -> None:
    browser.open(page, f"#section={section}{more}")
    browser.wait_for("document.querySelector('#picture image')")


@pytest.mark.parametrize("page", ["B01.html", "index.html"])
def test_pages_open_from_the_disk(browser: Browser, pages: dict[str, Path], page: str) -> None:
    browser.open(pages[page])
    assert browser.js("document.querySelectorAll('h2').length") >= 3


@pytest.mark.parametrize("name", ["residual_um", "tissue_mm2", "points", "jump_mm"])
def test_sections_are_sorted_by_a_number_worst_first(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    """Compared with pandas; sections without the number come last, in their own order."""
    worse = next(n.worse for n in section_numbers.NUMBERS if n.name == name)
    table = section_numbers.read(pages["B01.tsv"]).sort_values(
        [name, "section"], ascending=[worse == "low", True], na_position="last"
    )
    browser.open(pages["B01.html"])
    # no problem is shown
    assert browser.js("getComputedStyle(byId('problem')).display") == "none"
    browser.js(f"byId('sort').value = '{name}'; byId('sort').dispatchEvent(new Event('change'))")
    shown = browser.js(LISTED)
    assert [n for n in shown if n != 1620] == table["section"].tolist()
    assert f"sort={name}" in browser.js("location.hash")
    browser.js("byId('turn').click()")
    turned = browser.js(LISTED)
    known = table.dropna(subset=[name])
    assert len(turned) == len(shown)
    assert set(turned[: len(known)]) == set(known["section"])
    assert known.set_index("section").loc[turned[: len(known)], name].is_monotonic_increasing == (
        worse == "high"
    )


def test_sections_are_filtered(browser: Browser, pages: dict[str, Path]) -> None:
    for show, sections in (("blank", [1220]), ("missing", [1620]), ("mirrored", [1120, 1920])):
        browser.open(pages["B01.html"], f"#show={show}")
        assert browser.js(LISTED) == sections


def test_keys_go_from_section_to_section(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["B01.html"], "#sort=residual_um&turned=yes")
    order = browser.js(LISTED)
    browser.press("n")
    assert browser.js("state().section") == order[0]
    browser.press("ArrowRight")
    browser.press("ArrowRight")
    browser.press("ArrowLeft")
    assert browser.js("state().section") == order[1]
    assert f"Section {order[1]}" in browser.js("byId('head').textContent")
    browser.js("history.back()")
    browser.wait_for(f"state().section === {order[2]}")
    browser.press("Escape")
    assert browser.js("byId('view').hidden") and browser.js(LISTED) == order
    browser.click(f"#s{order[3]}")
    assert browser.js("state().section") == order[3]


@pytest.mark.parametrize(("section", "mirrored"), [(1420, False), (1920, True)])
def test_a_section_shows_its_points_in_the_gray_matter(
    browser: Browser, pages: dict[str, Path], section: int, mirrored: bool
) -> None:
    """According to the browser, points are between the two outlines."""
    open_section(browser, pages["B01.html"], section)
    midline = tables.read(tables.MidlineRow, pages["midline.parquet"])
    mine = midline[midline["section"] == section]
    assert browser.js("probe.insides()") == [[True, False]] * len(mine)
    points = browser.js(f"load('x', 'section {section}').then(v => v.points)")
    points = np.array(points).reshape(-1, 5)
    true_um = mine[["x_um", "y_um", "x_cut_um", "y_cut_um"]].to_numpy()
    assert np.abs(points[:, :4] * 10 - true_um).max() <= 5
    # a mirrored section is flipped, until f is pressed
    flip = "byId('picture').firstChild.getCTM().a < 0"
    assert browser.js(flip) == mirrored
    browser.press("f")
    assert browser.js(flip) is False
    browser.press("f")


def test_layers_are_switched_by_keys(browser: Browser, pages: dict[str, Path]) -> None:
    open_section(browser, pages["B01.html"], 1420)
    shown = "probe.layersOn()"
    first = browser.js(shown)
    for key in range(1, 7):
        browser.press(str(key))
    assert browser.js(shown) == [not on for on in first]
    for key in range(1, 7):
        browser.press(str(key))
    assert browser.js(shown) == first


def test_a_pair_is_shown_for_either_handedness(browser: Browser, pages: dict[str, Path]) -> None:
    """1920 is mirrored: the pair's transform moves its outline onto that of its neighbour."""
    open_section(browser, pages["B01.html"], 1920)
    browser.wait_for("document.querySelectorAll('#pairs svg').length === 4")
    pairs = tables.read(tables.PairRow, pages["pairs.parquet"])
    assert set(pairs.loc[(pairs["moving"] == 1920) | (pairs["fixed"] == 1920), "mirrored"]) == {
        True
    }
    for caption in browser.js("probe.captions()"):
        assert caption.startswith("one section mirrored: ") and "accepted" in caption
    boxes = browser.js("probe.outlines()")
    assert len(boxes) == 2
    for fixed, moving in np.array(boxes):
        # neighbouring cuts of the balls differ by 2 mm in radius
        assert np.abs(fixed - moving).max() < 0.06


def click_on_curves(browser: Browser, x: float) -> None:
    """Click where plotly has shown the values of a section, as a person does."""
    browser.js("document.querySelectorAll('#curves .hoverlayer > *').forEach(e => e.remove())")
    for place in (x + 0.001, x):
        browser.point_at("#curves", place, 0.3)
    browser.wait_for("document.querySelector('#curves .hoverlayer .legend')")
    browser.click("#curves", x, 0.3)


def test_a_click_on_a_curve_opens_the_section(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["B01.html"])
    click_on_curves(browser, 0.98)
    last = browser.js("Math.max(...rows.map(row => row.section))")
    assert browser.js("state().section") == last
    browser.press("Escape")
    click_on_curves(browser, 0.08)
    assert browser.js("state().section") == browser.js("Math.min(...rows.map(row => row.section))")


def test_decisions_are_kept_until_they_are_written(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    """The workflow reads the decisions of the page from manual/{brain}/sections.tsv."""
    open_section(browser, pages["B01.html"], 1420)
    assert "manual/B01/segmentation/01420.tif" in browser.js("byId('corrections').textContent")
    browser.press("m")
    browser.press("x")
    browser.press("ArrowRight")
    browser.press("x")
    open_section(browser, pages["B01.html"], 1920, "&show=mirrored")  # a reload keeps all
    browser.press("m")
    open_section(browser, pages["B01.html"], 1120, "&show=proposed")
    browser.press("a")
    assert decided(browser, tmp_path) == {
        1120: (True, False), 1420: (True, True), 1520: (None, True), 1920: (False, False),
    }  # fmt: skip
    browser.press("a")
    browser.press("m")  # undone
    assert 1120 not in decided(browser, tmp_path)
    browser.press("Escape")
    assert browser.js(LISTED) == [1120, 1220, 2120]  # 1220 by the audit
    browser.js("byId('forget').click()")
    assert browser.js("byId('decisions').hidden")


def test_decisions_do_not_show_in_another_study(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    """The other study is elsewhere, or it is another one at the same address."""
    home = tmp_path / "one"
    shutil.copytree(pages["B01.html"].parent, home)
    shutil.copytree(home, tmp_path / "two")
    page, other = home / "B01.html", tmp_path / "two" / "B01.html"
    for section in (1420, 1520):
        open_section(browser, page, section)
        browser.press("x")
    assert set(decided(browser, tmp_path)) == {1420, 1520}
    open_section(browser, other, 1420)
    assert browser.js("byId('decisions').hidden")
    browser.press("m")
    assert decided(browser, tmp_path) == {1420: (True, False)}
    # the scan of one section is another
    text = page.read_text()
    scan = browser.js("rowOf.get(1520).scan")
    assert len(scan) == 16 and text.count(scan) == 1
    page.write_text(text.replace(scan, scan[::-1]))
    open_section(browser, page, 1520)
    assert decided(browser, tmp_path) == {1420: (None, True)}
    browser.press("m")
    assert decided(browser, tmp_path) == {1420: (None, True), 1520: (True, False)}
    page.write_text(text)
    open_section(browser, page, 1420)
    assert decided(browser, tmp_path) == {1420: (None, True), 1520: (None, True)}
    browser.js("byId('forget').click()")
    open_section(browser, page, 1420)
    assert browser.js("byId('decisions').hidden")
    open_section(browser, other, 1420)
    assert set(decided(browser, tmp_path)) == {1420}


def decided(browser: Browser, study: Path) -> dict[int, tuple[bool | None, bool]]:
    """The page's table of decisions, read by the workflow's own reader."""
    return {s.section: (s.mirrored, s.excluded) for s in corrected_sections(browser, study)}


def corrected_sections(browser: Browser, study: Path) -> list[Section]:
    manual = study / "manual" / "B01" / "sections.tsv"
    manual.parent.mkdir(parents=True, exist_ok=True)
    manual.write_text(browser.js("byId('decision-table').textContent"))
    plain = [Section("B01", n, "", FULL_UM, 20.0) for n in SECTIONS]
    after = corrections.corrected(plain, study / "manual")
    return [b for a, b in zip(plain, after, strict=True) if a != b]


@pytest.mark.parametrize("fixed", [1420, 1920])
def test_dragging_a_section_gives_its_new_place(
    browser: Browser, pages: dict[str, Path], tmp_path: Path, fixed: int
) -> None:
    """The place onto its neighbour is that of the true stack, plus the distance of the drag."""
    moving = {1420: 1520, 1920: 2020}[fixed]
    open_section(browser, pages["B01.html"], moving)
    browser.wait_for("document.querySelectorAll('#pairs svg').length >= 2")
    view = "document.querySelector('#pairs .kept svg')"
    browser.js(f"{view}.scrollIntoView({{block: 'center'}})")
    x, y, um = browser.js("probe.middle()")
    browser.drag((x, y), (x + 12, y - 7))
    browser.js(f"{view}.parentElement.querySelector('button').click()")
    sections = {s.section: s for s in corrected_sections(browser, tmp_path)}
    section = sections[moving]
    assert (section.onto, section.mirrored) == (str(fixed), False)
    assert sections[fixed].mirrored is (fixed == 1920)
    placed = {
        row.section: row.placement
        for row in tables.read_rows(tables.StackRow, pages["stack.parquet"])
    }
    # both unmirrored, as the stack takes them
    right = placed[moving].rigid.then(placed[fixed].rigid.inverse())
    # the same rotation may differ by a full turn
    turns = (section.angle_rad - right.angle_rad) / (2 * np.pi)
    assert turns == pytest.approx(round(turns), abs=2e-6)
    assert section.x_um == pytest.approx(right.x_um + 12 * um, abs=2)
    assert section.y_um == pytest.approx(right.y_um - 7 * um, abs=2)
    browser.press("Escape")
    browser.js("byId('forget').click()")


def test_changes_since_an_earlier_run_come_first(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    before = section_numbers.read(pages["B01.tsv"])
    before.loc[before["section"] == 1720, ["status", "inliers"]] = ["uncertain", 2]
    section_numbers.write(before, tmp_path / "before" / "B01.tsv")
    page = write_brain_page(pages, tmp_path / "now", earlier=tmp_path / "before" / "B01.tsv")
    browser.open(page, "#sort=changes&show=changed")
    assert browser.js(LISTED) == [1720]
    assert "uncertain → ok" in browser.js("document.querySelector('#s1720 .value').textContent")
    assert "uncertain → ok" in browser.js("byId('changed').nextElementSibling.textContent")


def test_465_sections_load_as_they_are_scrolled_to(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    """A page of many sections asks for the pictures in and near the window, not for all."""
    page = many_sections(pages, tmp_path, 465)
    browser.open(page)
    assert browser.js(LISTED + ".length") == 465
    asked = [address for address in browser.requests if address.endswith(".jpg")]
    assert 0 < len(asked) < 200
    # nor for the viewers further down
    assert not any(address.endswith(("surface.js", "points.js")) for address in browser.requests)
    browser.js("byId('sort').value = 'residual_um'; byId('sort').onchange({target: byId('sort')})")
    values = browser.js("listed(state()).map(row => row.values.residual_um)")
    assert values == sorted(values, reverse=True)


def many_sections(pages: dict[str, Path], folder: Path, count: int) -> Path:
    """The page of B01 with `count` copies of a good section, each with another residual."""
    start, rest = pages["B01.html"].read_text().split('<script type="application/json" id="data">')
    data, end = rest.split("</script>", 1)
    values = json.loads(data)
    row = next(row for row in values["rows"] if row["section"] == 1420)
    before, sheet = start.split('<div class="sheet"')
    figure = sheet.split('id="s1420"')[1].split("</figure>")[0]
    after = sheet.split("</figure>\n</div>", 1)[1]
    rng = np.random.default_rng(0)
    shutil.copytree(pages["B01.html"].with_suffix(""), folder / "B01")
    thumbnails = folder / "B01" / "thumbnails"
    values |= {"rows": [], "pairs": []}
    figures = []
    for section in range(5000, 5000 + count):
        numbers = row["values"] | {"residual_um": float(rng.uniform(100, 900))}
        picture = f"{section:05d}.jpg"
        values["rows"].append(row | {"section": section, "picture": picture, "values": numbers})
        copied = figure.replace("1420", str(section))
        figures.append(f'<figure class="" id="s{section}"{copied}</figure>')
        shutil.copy(thumbnails / "01420.jpg", thumbnails / picture)
    page = folder / "B01.html"
    page.write_text(
        f'{before}<div class="sheet" id="sheet" style="--shape: 4 / 3">{"".join(figures)}</div>'
        f"{after}"
        f'<script type="application/json" id="data">{json.dumps(values)}</script>{end}'
    )
    return page
