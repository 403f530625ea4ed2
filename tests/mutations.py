"""Damage to files: flipped bits, lost ends, lost, repeated, swapped and foreign spans of bytes.

The fuzzers (test_fuzz_*.py) damage a valid file a few hundred times with a fixed seed and demand
that its reader either reads it or raises InputError. `FUZZ=5000` in the environment raises the
number of damaged files per valid one.
"""

import copy
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

# what takes the place of a value in JSON; the last is not written
_VALUES = (
    None, True, -1, 0, 1, 2.5, 1e308, float("nan"), 10**400, 2**31, 2**63, "x", "", [], {}, [None],
    [1, 2], [0, 0], [-1, -1], [1e-300, 1e300], ["x", "x", "x"], ...,
)  # fmt: skip

Mutation = Callable[[bytes, np.random.Generator], bytes]

_LONGEST = 64  # bytes of a span: headers and index entries are shorter
# the values that integers and lengths in headers trip over
_EXTREMES = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
)


def rounds(few: int) -> int:
    """How many damaged files to try: `few`, or the number in the environment variable FUZZ."""
    return int(os.environ.get("FUZZ", few))


def flip_bits(content: bytes, random: np.random.Generator) -> bytes:
    """One to eight flipped bits."""
    damaged = bytearray(content)
    for place in random.integers(len(content), size=random.integers(1, 9)):
        damaged[place] ^= 1 << random.integers(8)
    return bytes(damaged)


def truncate(content: bytes, random: np.random.Generator) -> bytes:
    """Only the beginning."""
    return content[: random.integers(len(content))]


def insert(content: bytes, random: np.random.Generator) -> bytes:
    """Random bytes in between."""
    place = random.integers(len(content) + 1)
    return content[:place] + random.bytes(random.integers(1, _LONGEST)) + content[place:]


def delete(content: bytes, random: np.random.Generator) -> bytes:
    """One span less."""
    start, end = _span(content, random)
    return content[:start] + content[end:]


def repeat(content: bytes, random: np.random.Generator) -> bytes:
    """One span twice."""
    start, end = _span(content, random)
    return content[:end] + content[start:]


def swap(content: bytes, random: np.random.Generator) -> bytes:
    """Two spans of the same length exchanged."""
    length = random.integers(1, min(_LONGEST, len(content) // 2) + 1)
    first, second = sorted(random.integers(len(content) - length + 1, size=2))
    second = max(second, min(first + length, len(content) - length))
    first = min(first, second - length)
    return (
        content[:first]
        + content[second : second + length]
        + content[first + length : second]
        + content[first : first + length]
        + content[second + length :]
    )


def overwrite(content: bytes, random: np.random.Generator) -> bytes:
    """One span replaced by an extreme number."""
    extreme = _EXTREMES[random.integers(len(_EXTREMES))]
    place = random.integers(len(content))
    return content[:place] + extreme + content[place + len(extreme) :]


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, truncate, insert, delete, repeat, swap, overwrite,
)  # fmt: skip


def damaged(
    content: bytes, count: int, seed: int = 0, head: int = 0
) -> Iterator[tuple[str, bytes]]:
    """`count` damaged copies of a file of at least two bytes, each with a name for the message.

    Parameters
    ----------
    head : if not 0, every second copy is damaged within this many first bytes only, where most
        formats have their header.
    """
    for number in range(count):
        random = np.random.default_rng([seed, number])
        mutation = MUTATIONS[number % len(MUTATIONS)]
        kept = b""
        part = content
        if head and number // len(MUTATIONS) % 2:
            part, kept = content[:head], content[head:]
        yield f"{mutation.__name__} {number} (seed {seed})", mutation(part, random) + kept


def changed_json(text: str, count: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """`count` copies of a JSON document, in each of which one value is another or is missing."""
    document = json.loads(text)
    places = list(_places(document))
    for number in range(count):
        random = np.random.default_rng([seed, number])
        place = places[random.integers(len(places))]
        value = _VALUES[random.integers(len(_VALUES))]
        changed = copy.deepcopy(document)
        parent = changed
        for key in place[:-1]:
            parent = parent[key]
        if value is ...:
            del parent[place[-1]]
        else:
            parent[place[-1]] = value
        yield f"{place} = {value!r:.40} (seed {seed})", json.dumps(changed)


def _places(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Keys and indices that lead to each value inside a JSON document."""
    children = node.items() if isinstance(node, dict) else enumerate(node)
    for key, child in children:
        yield (*above, key)
        if isinstance(child, dict | list):
            yield from _places(child, (*above, key))


def _span(content: bytes, random: np.random.Generator) -> tuple[int, int]:
    start = int(random.integers(len(content)))
    return start, min(start + int(random.integers(1, _LONGEST)), len(content))
