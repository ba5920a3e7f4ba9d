"""By how much two results differ, and how a difference goes on through a program.

Two arrays are compared in units in the last place of the coarser of their formats,

    ulps = max |a − b| / (ε max(|a|, |b|, mean |a|)),                              (1)

so that elements that are small beside the others, by cancellation, do not count.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...core import jaxpr
from .alignment import align
from .steps import Numbered, Numbers, Step, is_key, run


class Difference(NamedTuple):
    """Two arrays."""

    ulps: float  # (1); ∞ where one of them is not finite, or shapes differ
    relative: float
    element: int
    old: float
    new: float


SAME = Difference(0.0, 0.0, 0, 0.0, 0.0)


class Parting(NamedTuple):
    """An operation of which the two versions compute different values."""

    operation: str  # the primitive, of the new version
    old_place: jaxpr.Place
    new_place: jaxpr.Place
    difference: Difference
    path: tuple[str, ...] = ()  # the loops around it, each with its turn

    def __str__(self) -> str:
        d = self.difference
        where = f" in {' in '.join(self.path)}" if self.path else ""
        return (
            f"`{self.operation}`{where}, old {self.old_place or '?'}, new "
            f"{self.new_place or '?'}: {d.old:.9g} became {d.new:.9g} "
            f"({d.ulps:.3g} ulp, element {d.element})"
        )


def difference(a: Any, b: Any) -> Difference:
    """How far two arrays are apart."""
    if is_key(a) or is_key(b):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    if a.shape != b.shape:
        return Difference(np.inf, np.inf, 0, np.nan, np.nan)
    if not a.size:
        return SAME
    eps = max(eps_of(a), eps_of(b))
    x, y = (wide(v).ravel() for v in (a, b))
    with np.errstate(all="ignore"):
        size = np.maximum(abs(x), abs(y))
        usual = np.mean(abs(x[np.isfinite(x)])) if np.isfinite(x).any() else 0.0
        gap = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, abs(x - y))
        gap = np.where(np.isnan(gap), np.inf, gap)
        ulps = gap / (eps * np.maximum(size, usual))
        ulps = np.where(gap == 0, 0.0, np.where(np.isnan(ulps), np.inf, ulps))
        k = int(np.argmax(ulps))
        relative = gap[k] / size[k] if gap[k] else 0.0
    return Difference(
        float(ulps[k]),
        float(np.nan_to_num(relative, nan=np.inf, posinf=np.inf)),
        k,
        float(np.real(x[k])),
        float(np.real(y[k])),
    )


def same_bits(a: Any, b: Any) -> bool:
    if is_key(a) or is_key(b):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    same = a.shape == b.shape and a.dtype == b.dtype
    return same and np.asarray(a).tobytes() == np.asarray(b).tobytes()


def eps_of(x: Any) -> float:
    """ε of a format of floats; integers and truth values are exact."""
    return (
        float(jnp.finfo(x.dtype).eps) if jnp.issubdtype(x.dtype, jnp.inexact) else 1e-9
    )


def wide(x: Any) -> np.ndarray:
    x = np.asarray(x)
    return x if x.dtype.kind == "c" else x.astype(np.float64)


#: They show the difference of their operand once more.
MOVES = frozenset(
    (
        "broadcast_in_dim",
        "copy",
        "expand_dims",
        "reshape",
        "squeeze",
        "stop_gradient",
        "transpose",
    )
)

# -- The first of many ------------------------------------------------------------------


class Side(NamedTuple):
    steps: list[Step]
    outs: list[Numbered]


def apart(a: Any, b: Any, tolerance: float | None) -> bool:
    """Whether two results differ beyond a tolerance in ulps; None asks for the bits."""
    if tolerance is None:
        return not same_bits(a, b)
    return difference(a, b).ulps > tolerance


def partings(
    old: Side,
    new: Side,
    numbers: Numbers,
    tolerance: float | None,
    path: tuple[str, ...] = (),
) -> list[Parting]:
    """All matched operations that part, in order; the first of them from the inside."""
    found: list[Parting] = []
    for i, j in align(old.steps, new.steps):
        s, t = old.steps[i], new.steps[j]
        if found and t.equation.primitive in MOVES:
            continue
        for a, b in zip(s.outs, t.outs, strict=False):
            if not apart(a, b, tolerance):
                continue
            inner = inside(s, t, numbers, tolerance, path) if not found else None
            places = s.equation.place, t.equation.place
            here = Parting(t.equation.primitive, *places, difference(a, b), path)
            found += [inner, here] if inner is not None else [here]
            break
    return found


def inside(
    old: Step,
    new: Step,
    numbers: Numbers,
    tolerance: float | None,
    path: tuple[str, ...],
) -> Parting | None:
    """The first operation that parts in the bodies of two loops, and its turn."""
    a, b = old.equation.control, new.equation.control
    if type(a) is not type(b) or a is None:
        return None
    turns = {jaxpr.Scan: scan_turns, jaxpr.While: while_turns, jaxpr.Cond: branch}
    both = zip(turns[type(a)](old, numbers), turns[type(b)](new, numbers), strict=False)
    for (_, s), (turn, t) in both:
        name = new.equation.primitive
        inner = (*path, f"{name}[{turn}]" if name != "cond" else name)
        found = partings(s, t, numbers, tolerance, inner)
        if found:
            return found[0]
    return None


def numbered(values: Sequence[Any], numbers: Numbers) -> list[Numbered]:
    return numbers.inputs(list(values))


def scan_turns(step: Step, numbers: Numbers) -> Any:
    loop = step.equation.control
    consts, carry, xs = loop.split([x.value for x in step.operands])
    for t in range(loop.length)[:: -1 if loop.reverse else 1]:
        values = numbered([*consts, *carry, *(x[t] for x in xs)], numbers)
        outs, steps = run(loop.body, values, numbers, step.equation)
        yield t, Side(steps, outs)
        carry = [o.value for o in outs[: loop.num_carry]]


def while_turns(step: Step, numbers: Numbers) -> Any:
    loop = step.equation.control
    tests, consts, carry = loop.split([x.value for x in step.operands])
    t = 0
    while True:
        given = numbered([*tests, *carry], numbers)
        (go_on,), _ = run(loop.condition, given, numbers, step.equation)
        if not bool(go_on.value):
            return
        values = numbered([*consts, *carry], numbers)
        outs, steps = run(loop.body, values, numbers, step.equation, 1)
        yield t, Side(steps, outs)
        carry, t = [o.value for o in outs], t + 1


def branch(step: Step, numbers: Numbers) -> Any:
    index, *rest = (x.value for x in step.operands)
    branches = step.equation.control.branches
    k = int(np.clip(int(index), 0, len(branches) - 1))
    outs, steps = run(branches[k], numbered(rest, numbers), numbers, step.equation, k)
    yield k, Side(steps, outs)
