"""Pixel sizes that disagree, and the confusion of units behind it, named."""

import math

# one unit taken for another, or a length for its inverse; ratios as found to given
_FACTORS = (
    (1000.0, "1000: mm against um, or um against nm"),
    (10_000.0, "10000: cm against um"),
    (10.0, "10: cm against mm"),
    (25_400.0, "25400: inches against um"),
    (25.4, "25.4: inches against mm"),
    (2.54, "2.54: inches against cm"),
)
# um in the units in which metadata give pixels a unit
_UNITS = ((1.0, "um"), (1000.0, "mm"), (10_000.0, "cm"), (25_400.0, "inch"))
TOLERANCE = 0.01
# a section of any brain, from a mouse's to a whole human one on its slide
SMALLEST_MM, LARGEST_MM = 1.0, 400.0


def same(found_um: float, given_um: float) -> bool:
    """Whether two pixel sizes agree within 1 %."""
    return abs(found_um / given_um - 1) <= TOLERANCE


def confusion(found_um: float, given_um: float) -> str:
    """What may have been confused where two pixel sizes differ; "" if nothing is known.

    Two kinds are known: a unit taken for another (a factor of 10, 1000, 25400, ... either way), and
    pixels a unit taken for units a pixel (their product is a unit squared).
    """
    ratio = found_um / given_um
    known = [f"a factor of {meaning}" for factor, meaning in _FACTORS if same(ratio, factor)]
    known += [f"a factor of 1/{meaning}" for factor, meaning in _FACTORS if same(1 / ratio, factor)]
    known += [
        f"{found_um:g} is pixels a {unit}, that is {unit_um / found_um:g} um a pixel"
        for unit_um, unit in _UNITS
        # (pixels a unit, read as um a pixel) x (um a pixel) = um in the unit
        if same(found_um * given_um, unit_um) and not same(found_um, given_um)
    ]
    return " or ".join(known)


def implausible(width_px: int, height_px: int, spacing_um: float) -> str:
    """Why a pixel size cannot be true of a section of so many pixels; "" if it can."""
    longest_mm = max(width_px, height_px) * spacing_um / 1000
    if SMALLEST_MM <= longest_mm <= LARGEST_MM:
        return ""
    fitting = [
        f"{spacing_um * factor:g} um (a factor of {name})"
        for scale, meaning in _FACTORS[:4]
        for factor, name in ((scale, meaning), (1 / scale, f"1/{meaning}"))
        if 10 * SMALLEST_MM <= longest_mm * factor <= LARGEST_MM / 2
    ]
    fitting += [
        f"{unit_um / spacing_um:g} um ({spacing_um:g} pixels a {unit})"
        for unit_um, unit in _UNITS[1:]
        if 10 * SMALLEST_MM <= longest_mm * unit_um / spacing_um**2 <= LARGEST_MM / 2
    ]
    return (
        f"{max(width_px, height_px)} px of {spacing_um:g} um are {longest_mm:.3g} mm, no section"
        + (f"; it would be one with {' or '.join(fitting)}" if fitting else "")
    )


def thickness(thickness_um: float) -> str:
    """Why a section's thickness cannot be true; "" if it can."""
    if 1 <= thickness_um <= 1000:
        return ""
    for factor, meaning in ((1000.0, "given in mm"), (1e-3, "given in nm")):
        if 5 <= thickness_um * factor <= 200:
            return f"{thickness_um:g} um; {thickness_um * factor:g} um {meaning}?"
    return f"{thickness_um:g} um"


def length_um(value: float, unit: str) -> float:
    """A length in um; NaN for a unit that is none."""
    um = {"nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0}
    um |= {"mm": 1e3, "cm": 1e4, "m": 1e6}
    return value * um.get(unit.strip(), math.nan)
