"""The pages in a real browser: opened from the disk, sorted, turned, clicked; what they show.

The study is that of `shell_study`: two balls, so that every place on the pages is known.
"""

import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import Browser
from report_pages import write_brain_page, write_pages
from shell_study import CENTRES, FULL_UM, MIDDLE_MM, SECTIONS

from cytopipe.formats import tables
from cytopipe.numerics.geometry import Rigid
from cytopipe.report import section_numbers
from cytopipe.study import corrections
from cytopipe.study.sections import Section


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_pages(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with Browser(Path(__file__).with_name("browser_probes.js").read_text()) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The browser; whatever the page complains of fails the test."""
    yield chromium
    assert chromium.errors == []
    assert all(address.startswith(("file:", "data:")) for address in chromium.requests)


LISTED = "probe.listed()"


def open_section(browser: Browser, page: Path, section: int, more: str = "") -> None:
    browser.open(page, f"#section={section}{more}")
    browser.wait_for("document.querySelector('#picture image')")


def open_viewer(browser: Browser, page: Path, canvas: str, ready: str) -> None:
    browser.open(page)
    browser.js(f"byId('{canvas}').scrollIntoView({{block: 'center'}})")
    browser.wait_for(ready)


@pytest.mark.parametrize("page", ["B01.html", "index.html"])
def test_pages_open_from_the_disk(browser: Browser, study: dict[str, Path], page: str) -> None:
    browser.open(study[page])
    assert browser.js("document.querySelectorAll('h2').length") >= 3


@pytest.mark.parametrize("name", ["residual_um", "tissue_mm2", "points", "jump_mm"])
def test_sections_are_sorted_by_a_number_worst_first(
    browser: Browser, study: dict[str, Path], name: str
) -> None:
    """Against pandas; sections without the number come last, in their own order."""
    worse = next(n.worse for n in section_numbers.NUMBERS if n.name == name)
    table = section_numbers.read(study["B01.tsv"]).sort_values(
        [name, "section"], ascending=[worse == "low", True], na_position="last"
    )
    browser.open(study["B01.html"])
    # nothing is wrong, and nothing says so
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


def test_sections_are_filtered(browser: Browser, study: dict[str, Path]) -> None:
    for show, sections in (("blank", [1220]), ("missing", [1620]), ("mirrored", [1120, 1920])):
        browser.open(study["B01.html"], f"#show={show}")
        assert browser.js(LISTED) == sections


def test_keys_lead_from_section_to_section(browser: Browser, study: dict[str, Path]) -> None:
    browser.open(study["B01.html"], "#sort=residual_um&turned=yes")
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
    browser: Browser, study: dict[str, Path], section: int, mirrored: bool
) -> None:
    """Points lie between the two outlines by the browser's own geometry; cuts lie 0.5 mm beside."""
    open_section(browser, study["B01.html"], section)
    midline = tables.read(tables.MIDLINE, study["midline.parquet"])
    mine = midline[midline["section"] == section]
    assert browser.js("probe.insides()") == [[True, False]] * len(mine)
    found = browser.js(f"load('x', 'section {section}').then(v => v.points)")
    found = np.array(found).reshape(-1, 5)
    true_um = mine[["x_um", "y_um", "x_cut_um", "y_cut_um"]].to_numpy()
    assert np.abs(found[:, :4] * 10 - true_um).max() <= 5
    # a mirrored section is flipped, until f is pressed
    flip = "byId('picture').firstChild.getCTM().a < 0"
    assert browser.js(flip) == mirrored
    browser.press("f")
    assert browser.js(flip) is False
    browser.press("f")


def test_layers_are_switched_by_keys(browser: Browser, study: dict[str, Path]) -> None:
    open_section(browser, study["B01.html"], 1420)
    shown = "probe.layersOn()"
    first = browser.js(shown)
    for key in range(1, 7):
        browser.press(str(key))
    assert browser.js(shown) == [not on for on in first]
    for key in range(1, 7):
        browser.press(str(key))
    assert browser.js(shown) == first


def test_a_pair_is_shown_with_both_hands(browser: Browser, study: dict[str, Path]) -> None:
    """1920 is mirrored: its outline laid by the pair's transform falls onto its neighbour's."""
    open_section(browser, study["B01.html"], 1920)
    browser.wait_for("document.querySelectorAll('#pairs svg').length === 4")
    pairs = tables.read(tables.PAIRS, study["pairs.parquet"])
    assert set(pairs.loc[(pairs["moving"] == 1920) | (pairs["fixed"] == 1920), "mirrored"]) == {
        True
    }
    for caption in browser.js("probe.captions()"):
        assert caption.startswith("one of the two mirrored: ") and "accepted" in caption
    boxes = browser.js("probe.outlines()")
    assert len(boxes) == 2
    for fixed, moving in np.array(boxes):
        # neighbouring cuts of the balls differ by 2 mm in radius
        assert np.abs(fixed - moving).max() < 0.06


def test_planes_are_linked_and_show_what_is_there(browser: Browser, study: dict[str, Path]) -> None:
    open_viewer(browser, study["B01.html"], "planes", "brainPlanes")
    left, right = CENTRES["L"], CENTRES["R"]
    browser.js(f"moveTo(brainPlanes, {right.tolist()})")
    # in the coronal plane, at the centre of the left ball: white matter; the sagittal plane follows
    share = browser.js(f"probe.share(brainPlanes, 1, {left.tolist()})")
    assert share[0] < browser.js(f"probe.share(brainPlanes, 1, {right.tolist()})")[0]
    browser.click("#planes", *share)
    position = browser.js("positionOf(brainPlanes)")
    assert position == pytest.approx(left.tolist(), abs=0.5)
    assert "R -16." in browser.js("byId('plane-readout').textContent")
    for axis, off_mm in itertools.product(range(3), (-6.0, 7.0)):
        centre = left.copy()
        centre[axis] += off_mm
        browser.js(f"moveTo(brainPlanes, {centre.tolist()})")

        def places(radius_mm: float, count: int = 40) -> list[list[float]]:
            """Places of the plane at a distance from the ball's centre."""
            angle = np.linspace(0, 2 * np.pi, count, endpoint=False) + 0.1
            ring = np.tile(centre, (count, 1))
            ring[:, [a for a in range(3) if a != axis]] += np.sqrt(radius_mm**2 - off_mm**2) * (
                np.stack([np.cos(angle), np.sin(angle)], axis=1)
            )
            return ring.tolist()

        for radius_mm, colour in ((8.0, [214, 208, 196]), (13.3, [125] * 3), (16.5, [255] * 3)):
            shown = browser.js(f"probe.pixels(brainPlanes, {axis}, {places(radius_mm)})")
            assert shown.count(colour) > 30, (axis, off_mm, radius_mm)
        # the mid-surface is a line, drawn in vermillion, where it crosses the plane, and only there
        reds = [
            sum(
                red - blue > 60
                for red, _, blue in browser.js(
                    f"probe.pixels(brainPlanes, {axis}, {places(MIDDLE_MM + beside_mm)})"
                )
            )
            for beside_mm in (-0.9, 0, 0.9)
        ]
        assert reds[0] < 5 and reds[1] > 25 and reds[2] < 5, (axis, off_mm, reds)
    browser.js("byId('show-cut').click()")
    assert not any(
        red - blue > 60
        for red, _, blue in browser.js(f"probe.pixels(brainPlanes, {axis}, {places(MIDDLE_MM)})")
    )
    # the repair lies 12 mm above the centre of the right ball; its row leads there
    browser.click("#repair-list tr")
    there = right + (0, 0, 12)
    assert browser.js("positionOf(brainPlanes)") == pytest.approx(there.tolist(), abs=0.1)
    assert "section 1520" in browser.js("byId('plane-readout').textContent")  # 30 mm / 20 um
    # and is circled
    for across, along in ((0.8, 0.6), (-0.8, -0.6)):
        line = [there + r * np.array([across, 0, along]) for r in np.arange(3.5, 4.5, 0.05)]
        shown = browser.js(f"probe.pixels(brainPlanes, 1, {np.array(line).tolist()})")
        assert any(red - blue > 60 for red, _, blue in shown)


def test_letters_name_the_sides_of_the_planes(browser: Browser, study: dict[str, Path]) -> None:
    open_viewer(browser, study["B01.html"], "planes", "brainPlanes")
    letters = browser.js("probe.letters(brainPlanes)")
    axes = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    # axial, coronal, sagittal, each with its four letters
    for axis, tile, four in zip(
        (2, 1, 0),
        browser.js("probe.middles(brainPlanes)"),
        [letters[:4], letters[4:8], letters[8:]],
        strict=True,
    ):
        assert len({axes[letter] for letter, _, _ in four}) == 4
        here = np.array([0.0, 30.0, -20.0])
        for letter, x, y in four:
            along, sign = axes[letter]
            there = here.copy()
            there[along] += 5 * sign
            before, after = (
                np.array(browser.js(f"probe.share(brainPlanes, {axis}, {place.tolist()})"))
                for place in (here, there)
            )
            towards, step = np.array([x, y]) - tile, after - before
            # straight towards the letter
            main = int(np.argmax(np.abs(step)))
            assert abs(step[1 - main]) < 1e-6 and step[main] * towards[main] > 0, (axis, letter)
            assert abs(towards[1 - main]) < 0.02, (axis, letter)


def test_the_surface_turns_and_a_click_finds_the_place(
    browser: Browser, study: dict[str, Path]
) -> None:
    """Each ball from each side: the place under the pointer lies on the side that one sees."""
    open_viewer(browser, study["B01.html"], "surface-canvas", "brainPlanes && surfaceView")
    browser.js(
        "byId('surface-map').value = 'hemisphere'; byId('surface-map').onchange();"
        "surfaceView.setCrosshairColor([1, 1, 1, 1])"
    )
    foremost = {"left": (0, -1), "right": (0, 1), "above": (2, 1), "below": (2, -1)}
    foremost |= {"front": (1, 1), "behind": (1, -1)}
    middles = {}
    for pose, (axis, sign) in foremost.items():
        browser.js(f"[...byId('poses').children].find(b => b.textContent === '{pose}').click()")
        for side in "LR":
            browser.js(f"byId('surface-side').value = '{side}'; byId('surface-side').onchange()")
            count, *middle = browser.js("probe.surface(surfaceView)")
            assert count > 5000
            # beside the crosshair, which would be in the way
            off = {"L": 0.05, "R": -0.05}[side]
            browser.click("#surface-canvas", middle[0] + off, middle[1] + off, count=2)
            place = np.array(browser.js("positionOf(brainPlanes)")) - CENTRES[side]
            assert np.linalg.norm(place) == pytest.approx(MIDDLE_MM, abs=0.5), (pose, side)
            assert place[axis] * sign > 0.8 * MIDDLE_MM, (pose, side)
            middles[pose, side] = middle
    assert "section" in browser.js("byId('surface-readout').textContent")
    # as one looks at the brain, its left is at the right from the front and from below
    for pose, sign in (("above", 1), ("behind", 1), ("front", -1), ("below", -1)):
        assert sign * (middles[pose, "R"][0] - middles[pose, "L"][0]) > 0.05, pose
    # dragging turns the surface: from the left one ball hides the other, then both are seen
    browser.js("byId('surface-side').value = 'both'; byId('surface-side').onchange()")
    browser.js("byId('poses').children[0].click()")
    one = browser.js("probe.surface(surfaceView)")[0]
    before = browser.js("positionOf(brainPlanes)")
    x, y = browser.js(
        "(() => { const b = byId('surface-canvas').getBoundingClientRect();"
        "return [b.left + b.width / 2, b.top + b.height / 2] })()"
    )
    browser.drag((x, y), (x + 90, y))
    assert browser.js("probe.surface(surfaceView)")[0] > 1.5 * one
    # and leaves the planes where they are
    assert browser.js("positionOf(brainPlanes)") == before


def test_points_lie_over_the_template_on_their_side(
    browser: Browser, study: dict[str, Path]
) -> None:
    open_viewer(browser, study["B01.html"], "template-planes", "templatePlanes")
    browser.js("byId('colour-points').value = 'hemisphere'; byId('colour-points').onchange()")
    columns = [
        browser.js(f"probe.colour(templatePlanes, {rgb})") for rgb in ([0, 114, 178], [230, 159, 0])
    ]
    (many_left, left), (many_right, right) = columns
    assert many_left > 50 and many_right > 50 and left < right - 100
    # the estimated error of a phantom's points is 0 here: the darkest colour of viridis
    browser.js("byId('colour-points').value = 'sigma'; byId('colour-points').onchange()")
    assert browser.js("probe.colour(templatePlanes, [68, 1, 84])")[0] > 100
    # a click onto a point says whose it is
    points = tables.read(tables.POINTS, study["points.parquet"])
    point = points[(points["section"] == 1520) & (points["hemisphere"] == "L")].iloc[10]
    at_mm = [float(point[axis]) for axis in ("x_mm", "y_mm", "z_mm")]
    browser.js(f"moveTo(templatePlanes, {at_mm})")
    assert "A, L, section 1520" in browser.js("byId('point-readout').textContent")


def test_a_click_on_a_curve_leads_to_the_section(browser: Browser, study: dict[str, Path]) -> None:
    browser.open(study["B01.html"])
    browser.click("#curves", 0.999, 0.3)
    last = browser.js("Math.max(...rows.map(row => row.section))")
    assert browser.js("state().section") == last
    browser.press("Escape")
    browser.click("#curves", 0.07, 0.3)
    assert browser.js("state().section") == browser.js("Math.min(...rows.map(row => row.section))")


def test_decisions_are_kept_until_they_are_written(
    browser: Browser, study: dict[str, Path], tmp_path: Path
) -> None:
    """What is decided on the page is what the workflow reads from manual/{brain}/sections.tsv."""
    open_section(browser, study["B01.html"], 1420)
    assert "manual/B01/segmentation/01420.tif" in browser.js("byId('corrections').textContent")
    browser.press("m")
    browser.press("x")
    browser.press("ArrowRight")
    browser.press("x")
    open_section(browser, study["B01.html"], 1920, "&show=mirrored")  # a reload: all is kept
    browser.press("m")
    open_section(browser, study["B01.html"], 1120, "&show=proposed")
    browser.press("a")
    assert decided(browser, tmp_path) == {
        1120: (True, False), 1420: (True, True), 1520: (None, True), 1920: (False, False),
    }  # fmt: skip
    browser.press("a")
    browser.press("m")  # taken back
    assert 1120 not in decided(browser, tmp_path)
    browser.press("Escape")
    assert browser.js(LISTED) == [1120, 1220, 2120]  # 1220: the audit says so
    browser.js("byId('forget').click()")
    assert browser.js("byId('decisions').hidden")


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
def test_a_section_that_is_dragged_says_its_new_place(
    browser: Browser, study: dict[str, Path], tmp_path: Path, fixed: int
) -> None:
    """The place onto its neighbour is that of the true stack, moved by what it was dragged."""
    moving = {1420: 1520, 1920: 2020}[fixed]
    open_section(browser, study["B01.html"], moving)
    browser.wait_for("document.querySelectorAll('#pairs svg').length >= 2")
    view = "document.querySelector('#pairs .kept svg')"
    browser.js(f"{view}.scrollIntoView({{block: 'center'}})")
    x, y, um = browser.js("probe.middle()")
    browser.drag((x, y), (x + 12, y - 7))
    browser.js(f"{view}.parentElement.querySelector('button').click()")
    found = {s.section: s for s in corrected_sections(browser, tmp_path)}
    section = found[moving]
    assert (section.onto, section.mirrored) == (str(fixed), False)
    assert found[fixed].mirrored is (fixed == 1920)
    stack = tables.read(tables.STACK, study["stack.parquet"]).set_index("section")
    names = ["angle_rad", "x_um", "y_um"]
    a, b = (Rigid(*stack.loc[n, names], f"{n}", "stack") for n in (fixed, moving))
    # both unmirrored, as the stack takes them
    right = b.then(replace(a.inverse(), source="stack"))
    assert section.angle_rad == pytest.approx(right.angle_rad, abs=1e-5)
    assert section.x_um == pytest.approx(right.x_um + 12 * um, abs=2)
    assert section.y_um == pytest.approx(right.y_um - 7 * um, abs=2)
    browser.press("Escape")
    browser.js("byId('forget').click()")


def test_changes_since_an_earlier_run_come_first(
    browser: Browser, study: dict[str, Path], tmp_path: Path
) -> None:
    before = section_numbers.read(study["B01.tsv"])
    before.loc[before["section"] == 1720, ["status", "inliers"]] = ["uncertain", 2]
    section_numbers.write(before, tmp_path / "before" / "B01.tsv")
    page = write_brain_page(study, tmp_path / "now", earlier=tmp_path / "before" / "B01.tsv")
    browser.open(page, "#sort=changes&show=changed")
    assert browser.js(LISTED) == [1720]
    assert "uncertain → ok" in browser.js("document.querySelector('#s1720 .value').textContent")
    assert "uncertain → ok" in browser.js("byId('changed').nextElementSibling.textContent")


def test_465_sections_load_as_they_are_scrolled_to(
    browser: Browser, study: dict[str, Path], tmp_path: Path
) -> None:
    """A page of many sections asks for the pictures in and near the window, not for all."""
    page = many_sections(study, tmp_path, 465)
    browser.open(page)
    assert browser.js(LISTED + ".length") == 465
    asked = [address for address in browser.requests if address.endswith(".jpg")]
    assert 0 < len(asked) < 200
    # nor for what stands further down
    assert not any(address.endswith(("surface.js", "points.js")) for address in browser.requests)
    browser.js("byId('sort').value = 'residual_um'; byId('sort').onchange({target: byId('sort')})")
    values = browser.js("listed(state()).map(row => row.values.residual_um)")
    assert values == sorted(values, reverse=True)


def many_sections(study: dict[str, Path], folder: Path, count: int) -> Path:
    """The page of B01 with one good section in `count` copies, each with another residual."""
    start, rest = study["B01.html"].read_text().split('<script type="application/json" id="data">')
    data, end = rest.split("</script>", 1)
    values = json.loads(data)
    row = next(row for row in values["rows"] if row["section"] == 1420)
    before, sheet = start.split('<div class="sheet"')
    figure = sheet.split('id="s1420"')[1].split("</figure>")[0]
    after = sheet.split("</figure>\n</div>", 1)[1]
    rng = np.random.default_rng(0)
    shutil.copytree(study["B01.html"].with_suffix(""), folder / "B01")
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
