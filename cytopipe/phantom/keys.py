"""Random numbers from integers: the same for a pixel, whatever window it is rendered in."""

import numpy as np
from numba import njit


@njit(cache=True, inline="always")
def uniform(a, b, c, d):  # type: ignore[no-untyped-def]
    """A uniform number in (0, 1) from four integers (splitmix64; Steele et al., OOPSLA 2014)."""
    state = np.uint64(a) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(d)
    for part in (np.uint64(b), np.uint64(c)):
        state = (state ^ part) * np.uint64(0xBF58476D1CE4E5B9)
        state ^= state >> np.uint64(27)
        state = state * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    state += np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return (float(state >> np.uint64(11)) + 0.5) / 9007199254740992.0


@njit(cache=True)
def normal(a, b, c, d):  # type: ignore[no-untyped-def]
    """A standard normal number from four integers (Box and Muller)."""
    return np.sqrt(-2 * np.log(uniform(a, b, c, d))) * np.cos(2 * np.pi * uniform(a, b, c, d + 1))
