"""Which operation of one program is which of another.

Operations with the same expression number are the same. Between those, a longest common
subsequence of operations of the same form (primitive, parameters, shapes), and between
those again of the same primitive, pairs what is left. What has no partner was added or
removed.

References
    Hunt & McIlroy (1976), An algorithm for differential file comparison.
"""

from collections.abc import Callable, Hashable, Sequence
from difflib import SequenceMatcher
from typing import Any

from .steps import Step


Pairs = list[tuple[int, int]]


def align(old: Sequence[Step], new: Sequence[Step]) -> Pairs:
    """Pairs of positions, increasing in both."""
    keys: list[Callable[[Step], Hashable]] = [
        lambda s: s.number,
        lambda s: s.form,
        lambda s: (s.equation.primitive, shapes(s)),
    ]
    return _align(old, new, (0, len(old)), (0, len(new)), keys)


def shapes(step: Step) -> tuple[Any, ...]:
    return tuple(tuple(v.shape) for v in step.equation.outputs)


def _align(
    old: Sequence[Step],
    new: Sequence[Step],
    i: tuple[int, int],
    j: tuple[int, int],
    keys: Sequence[Callable[[Step], Hashable]],
) -> Pairs:
    if not keys or i[0] == i[1] or j[0] == j[1]:
        return []
    key, *rest = keys
    left = [key(s) for s in old[i[0] : i[1]]]
    right = [key(s) for s in new[j[0] : j[1]]]
    blocks = SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks()
    pairs: Pairs = []
    a, b = i[0], j[0]
    for block in blocks:
        u, v = i[0] + block.a, j[0] + block.b
        pairs += _align(old, new, (a, u), (b, v), rest)
        pairs += [(u + k, v + k) for k in range(block.size)]
        a, b = u + block.size, v + block.size
    return pairs
