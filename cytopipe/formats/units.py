"""Lengths in um, and explanations of pixel sizes in a wrong unit."""

import math

# OME-XML writers use both micro signs; OME-Zarr spells units out
LENGTH_UM = {
    "nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "mm": 1e3,
    "cm": 1e4, "m": 1e6, "inch": 25_400.0,
    "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6,
}  # fmt: skip

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
