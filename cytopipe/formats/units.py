"""Lengths in um, and explanations of pixel sizes in a wrong unit."""

import math

_PREFIXES = (
    ("Y", "yotta", 24), ("Z", "zetta", 21), ("E", "exa", 18), ("P", "peta", 15), ("T", "tera", 12),
    ("G", "giga", 9), ("M", "mega", 6), ("k", "kilo", 3), ("h", "hecto", 2), ("da", "deca", 1),
    ("", "", 0), ("d", "deci", -1), ("c", "centi", -2), ("m", "milli", -3), ("µ", "micro", -6),
    ("n", "nano", -9), ("p", "pico", -12), ("f", "femto", -15), ("a", "atto", -18),
    ("z", "zepto", -21), ("y", "yocto", -24),
)  # fmt: skip
_INCH_UM = 25_400.0
# All units of length of OME-XML (UnitsLength, by symbols) and of OME-Zarr (spelled out), and what
# programs write besides. Two signs look like µ, and two like the one of the angstrom.
LENGTH_UM = {
    **{f"{symbol}m": 10.0 ** (power + 6) for symbol, _, power in _PREFIXES},
    **{f"{name}meter": 10.0 ** (power + 6) for _, name, power in _PREFIXES},
    **{f"{name}metre": 10.0 ** (power + 6) for _, name, power in _PREFIXES},
    "um": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0,
    "\u00c5": 1e-4, "\u212b": 1e-4, "angstrom": 1e-4,
    "in": _INCH_UM, "inch": _INCH_UM, "thou": _INCH_UM / 1000, "mil": _INCH_UM / 1000,
    "li": _INCH_UM / 12,
    "pt": _INCH_UM / 72, "ft": 12 * _INCH_UM, "foot": 12 * _INCH_UM,
    "yd": 36 * _INCH_UM, "yard": 36 * _INCH_UM, "mi": 63_360 * _INCH_UM, "mile": 63_360 * _INCH_UM,
    "ua": 149_597_870_700e6, "ly": 9_460_730_472_580_800e6,
    "pc": 3.085677581491367e22, "parsec": 3.085677581491367e22,
}  # fmt: skip
# units by which a file says that it knows no length
NO_LENGTH = ("pixel", "pixels", "reference frame")

# ratios of confused units
_RATIOS = (
    (1000.0, "1000: mm vs um, or um vs nm"),
    (10_000.0, "10000: cm vs um"),
    (10.0, "10: cm vs mm"),
    (25_400.0, "25400: inches vs um"),
    (25.4, "25.4: inches vs mm"),
    (2.54, "2.54: inches vs cm"),
)
# units in which programs write a resolution
_RESOLUTION_UNITS = ("mm", "cm", "inch")
TOLERANCE = 0.01  # chosen, not measured
# longer side of a section: from a mouse brain to a whole human brain on its slide; chosen
SMALLEST_MM, LARGEST_MM = 1.0, 400.0


def length_um(value: float, unit: str) -> float:
    """A length in um; NaN if the unit is unknown."""
    return value * LENGTH_UM.get(unit.strip(), math.nan)


def agree(one_um: float, other_um: float) -> bool:
    """Whether two pixel sizes agree within TOLERANCE."""
    return abs(one_um / other_um - 1) <= TOLERANCE


def explain_mismatch(actual_um: float, expected_um: float) -> str:
    """Explain the difference of two pixel sizes by a confusion of units; "" if none fits.

    It recognises two mistakes: a wrong unit (a factor of 10, 1000, 25400, ... either way), and
    pixels per unit instead of units per pixel (the product of the two is the unit).
    """
    ratio = actual_um / expected_um
    reasons = [f"a factor of {meaning}" for factor, meaning in _RATIOS if agree(ratio, factor)]
    reasons += [
        f"a factor of 1/{meaning}" for factor, meaning in _RATIOS if agree(1 / ratio, factor)
    ]
    reasons += [
        f"{actual_um:g} may be pixels per {unit}, that is {LENGTH_UM[unit] / actual_um:g} um"
        for unit in ("um", *_RESOLUTION_UNITS)
        if agree(actual_um * expected_um, LENGTH_UM[unit]) and not agree(actual_um, expected_um)
    ]
    return " or ".join(reasons)


def implausible_size(width_px: int, height_px: int, spacing_um: float) -> str:
    """Explain why a section of this size cannot have this pixel size; "" if it can."""
    longest_px = max(width_px, height_px)
    longest_mm = longest_px * spacing_um / 1000
    if SMALLEST_MM <= longest_mm <= LARGEST_MM:
        return ""
    candidates = {}
    for ratio, meaning in _RATIOS[:4]:
        candidates[spacing_um * ratio] = f"a factor of {meaning}"
        candidates[spacing_um / ratio] = f"a factor of 1/{meaning}"
    for unit in _RESOLUTION_UNITS:
        candidates[LENGTH_UM[unit] / spacing_um] = f"{spacing_um:g} pixels per {unit}"
    plausible = [
        f"{um:g} um ({reason})"
        for um, reason in candidates.items()
        if 10 * SMALLEST_MM <= longest_px * um / 1000 <= LARGEST_MM / 2
    ]
    return (
        f"{longest_px} px of {spacing_um:g} um are {longest_mm:.3g} mm, too "
        f"{'small' if longest_mm < SMALLEST_MM else 'large'} for a section"
        + (f"; a pixel size of {' or '.join(plausible)} would fit" if plausible else "")
    )


def implausible_thickness(thickness_um: float) -> str:
    """Explain why a section cannot be this thick; "" if it can."""
    if 1 <= thickness_um <= 1000:
        return ""
    for factor, unit in ((1000.0, "mm"), (1e-3, "nm")):
        if 5 <= thickness_um * factor <= 200:
            return f"{thickness_um:g} um; {thickness_um * factor:g} um given in {unit}?"
    return f"{thickness_um:g} um"
