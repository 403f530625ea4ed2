"""Planes, surface and points of a brain's page, as niivue draws them in a real browser.

The study is that of `shell_study`. Its brain is two balls, so every place on the page is known.
"""

import itertools
from pathlib import Path

import numpy as np
import pytest
from browser import Browser
from shell_study import CENTRES, MIDDLE_MM

from cytopipe.formats import tables

pytestmark = pytest.mark.slow


def open_viewer(browser: Browser, page: Path, canvas: str, ready: str) -> None:
    browser.open(page)
    browser.js(f"byId('{canvas}').scrollIntoView({{block: 'center'}})")
    browser.wait_for(ready)


def circle(centre: np.ndarray, axis: int, radius_mm: float) -> list[list[float]]:
    """Forty places around `centre`, in the plane perpendicular to `axis`."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False) + 0.1
    places = np.tile(centre, (40, 1))
    others = [other for other in range(3) if other != axis]
    places[:, others] += radius_mm * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return places.tolist()


def test_planes_are_linked_and_show_tissue_surface_and_repairs(
    browser: Browser, pages: dict[str, Path]
) -> None:
    open_viewer(browser, pages["B01.html"], "planes", "brainPlanes")
    left, right = CENTRES["L"], CENTRES["R"]
    browser.js(f"moveTo(brainPlanes, {right.tolist()})")
    # in the coronal plane, at the centre of the left ball; the sagittal plane follows
    share = browser.js(f"probe.share(brainPlanes, 1, {left.tolist()})")
    assert share[0] < browser.js(f"probe.share(brainPlanes, 1, {right.tolist()})")[0]
    browser.click("#planes", *share)
    position = browser.js("positionOf(brainPlanes)")
    assert position == pytest.approx(left.tolist(), abs=0.5)
    assert "R -16." in browser.js("byId('plane-readout').textContent")
    # off the centre: niivue's line is thin if a surface is perpendicular to the plane
    for axis, off_mm in itertools.product(range(3), (-6.0, 7.0)):
        centre = left.copy()
        centre[axis] += off_mm
        browser.js(f"moveTo(brainPlanes, {centre.tolist()})")

        def colours(radius_mm: float, at: np.ndarray = centre, axis: int = axis) -> list[list[int]]:
            """Colours in the plane at a distance from the centre of the ball."""
            within = np.sqrt(radius_mm**2 - ((at - left) ** 2).sum())
            return browser.js(f"probe.pixels(brainPlanes, {axis}, {circle(at, axis, within)})")

        for radius_mm, colour in ((8.0, [214, 208, 196]), (13.3, [125] * 3), (16.5, [255] * 3)):
            assert colours(radius_mm).count(colour) > 30, (axis, off_mm, radius_mm)
        # the mid-surface is a line where it crosses the plane, and only there
        inside, on, outside = (
            sum(map(vermillion, colours(MIDDLE_MM + beside))) for beside in (-0.9, 0, 0.9)
        )
        assert inside < 5 and on > 25 and outside < 5, (axis, off_mm)
    browser.js("byId('show-cut').click()")
    assert not any(map(vermillion, colours(MIDDLE_MM)))
    # the repair is 12 mm above the centre of the right ball; its row moves the planes there
    browser.click("#repair-list tr")
    there = right + (0, 0, 12)
    assert browser.js("positionOf(brainPlanes)") == pytest.approx(there.tolist(), abs=0.1)
    assert "section 1520" in browser.js("byId('plane-readout').textContent")  # 30 mm / 20 um
    # the repair is circled
    circles = [circle(there, 1, radius_mm) for radius_mm in np.arange(3.5, 4.5, 0.1)]
    shown = browser.js(f"probe.pixels(brainPlanes, 1, {list(itertools.chain(*circles))})")
    around = np.reshape([vermillion(colour) for colour in shown], (len(circles), -1))
    # the upper part may lie outside the volume
    assert around.any(axis=0).sum() > 25


def vermillion(colour: list[int]) -> bool:
    """Whether a pixel has the colour of mid-surface and defects, at least in part."""
    return colour[0] - colour[2] > 60


def test_letters_name_the_sides_of_the_planes(browser: Browser, pages: dict[str, Path]) -> None:
    open_viewer(browser, pages["B01.html"], "planes", "brainPlanes")
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


def test_the_surface_rotates_and_a_click_moves_the_planes(
    browser: Browser, pages: dict[str, Path]
) -> None:
    """For each ball from each side, the place under the pointer is on the visible side."""
    open_viewer(browser, pages["B01.html"], "surface-canvas", "brainPlanes && surfaceView")
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
            # beside the crosshair, which would hide the surface
            off = {"L": 0.04, "R": -0.04}[side]
            browser.click("#surface-canvas", middle[0] + off, middle[1] + off, count=2)
            place = np.array(browser.js("positionOf(brainPlanes)")) - CENTRES[side]
            assert np.linalg.norm(place) == pytest.approx(MIDDLE_MM, abs=0.5), (pose, side)
            assert place[axis] * sign > 0.75 * MIDDLE_MM, (pose, side)
            middles[pose, side] = middle
    assert "section" in browser.js("byId('surface-readout').textContent")
    # from the front and from below, the left hemisphere is at the right
    for pose, sign in (("above", 1), ("behind", 1), ("front", -1), ("below", -1)):
        assert sign * (middles[pose, "R"][0] - middles[pose, "L"][0]) > 0.05, pose
    # dragging rotates the surface: from the left one ball hides the other, then both are visible
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
    # the planes do not move
    assert browser.js("positionOf(brainPlanes)") == before


def test_points_are_on_their_side_of_the_template(browser: Browser, pages: dict[str, Path]) -> None:
    open_viewer(browser, pages["B01.html"], "template-planes", "templatePlanes")
    browser.js("byId('colour-points').value = 'hemisphere'; byId('colour-points').onchange()")
    columns = [
        browser.js(f"probe.colour(templatePlanes, {rgb})") for rgb in ([0, 114, 178], [230, 159, 0])
    ]
    (many_left, left), (many_right, right) = columns
    assert many_left > 50 and many_right > 50 and left < right - 100
    # the estimated error of a phantom's points is 0 here: the darkest colour of viridis
    browser.js("byId('colour-points').value = 'sigma'; byId('colour-points').onchange()")
    assert browser.js("probe.colour(templatePlanes, [68, 1, 84])")[0] > 100
    # at a point, the page shows its area, hemisphere and section
    points = tables.read(tables.PointRow, pages["points.parquet"])
    point = points[(points["section"] == 1520) & (points["hemisphere"] == "L")].iloc[10]
    at_mm = [float(point[axis]) for axis in ("x_mm", "y_mm", "z_mm")]
    browser.js(f"moveTo(templatePlanes, {at_mm})")
    assert "A, L, section 1520" in browser.js("byId('point-readout').textContent")
