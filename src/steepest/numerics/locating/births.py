"""Following what is not finite through a program that is run one operation at a time.

A value that is not finite carries its *origin*: a new one where it is born, else that of
the operand that it came from; and the numbers of all births that are in it. A value that
is finite carries none, so an operation that makes it of others kills what was in them.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...core import jaxpr


class Origin(NamedTuple):
    """Where the first non-finite value was made, and from what."""

    primitive: str  # "log"
    place: str  # "model.py:31", or "" if no line of the user's is known
    where: str  # "value" or "gradient"
    operands: tuple[tuple[float, float], ...]  # least and greatest of each operand
    step: int | None  # the turn of the innermost loop it is in
    sentence: str
    path: tuple[str, ...] = ()  # the calls and loops it is in; a turn as "scan[7]"
    mode: str = "eager"  # "jit" if it is so only in the compiled program

    def __str__(self) -> str:
        return self.sentence


class Birth(NamedTuple):
    """A NaN or an infinity: where it was made, and what became of it."""

    origin: Origin
    reaches_output: bool
    passed: int  # operations that it went through
    killed: tuple[str, ...]  # what there is none of it behind: "select_n a.py:3"

    def __str__(self) -> str:
        if self.reaches_output:
            return f"{self.origin.sentence}; it reaches a result"
        ends = f", ended by {', '.join(self.killed)}" if self.killed else ""
        return f"{self.origin.sentence}; it reaches no result{ends}"


class Traced(NamedTuple):
    """A value; if it is not finite, whence, in the order of birth."""

    value: Any  # array
    origin: tuple[int, Origin] | None = None
    births: frozenset[int] = frozenset()  # numbers of all births in it


class Run:
    """One evaluation: rules over `Traced` values, and the count of births."""

    def __init__(self, where: str, thorough: bool = False) -> None:
        self.where = where
        self.thorough = thorough  # look into what ends finite too
        self.births = 0
        self.born: dict[int, Origin] = {}
        self.passed: Counter[int] = Counter()
        self.killed: dict[int, list[str]] = defaultdict(list)

    def evaluate(
        self,
        closed: jaxpr.Closed,
        values: Sequence[Traced],
        around: jaxpr.Equation | None,
        turns: tuple[int, ...],
    ) -> list[Traced]:
        def rule(equation: jaxpr.Equation, *values: Traced) -> list[Traced]:
            control = equation.control
            if control is not None and self.thorough:
                return inside[type(control)](equation, values, turns)
            outs = equation.bind(*(v.value for v in values))
            if all(map(is_finite, outs)):
                self.note_killed(equation, values)
                return [Traced(out) for out in outs]
            if control is not None:
                return inside[type(control)](equation, values, turns)
            where = equation.primitive == "select_n"
            chosen = _chosen(values) if where else values
            if where:
                lost = births_in(values) - births_in(chosen)
                self.kill(equation, lost)
            origin, births = first(chosen, whole=True), births_in(chosen)
            if origin is None and self._is_birth(values, outs):
                self.births += 1
                blame = _blame(equation, values, outs, self.where, turns)
                origin, births = (self.births, blame), frozenset((self.births,))
                self.born[self.births] = blame
            else:
                self.passed.update(births)
            return [
                Traced(o) if is_finite(o) else Traced(o, origin, births) for o in outs
            ]

        inside = {
            jaxpr.Call: self.call,
            jaxpr.Scan: self.scan,
            jaxpr.While: self.loop,
            jaxpr.Cond: self.cond,
        }
        return jaxpr.evaluate(
            closed,
            values,
            lift=Traced,
            rules=dict.fromkeys(inside, rule),
            default=rule,
            around=around,
        )

    def note_killed(self, equation: jaxpr.Equation, values: Sequence[Traced]) -> None:
        self.kill(equation, births_in(values))

    def kill(self, equation: jaxpr.Equation, births: frozenset[int]) -> None:
        at = f" {equation.place}" if equation.place.file else ""
        for number in births:
            self.killed[number].append(f"{equation.primitive}{at}")

    def _is_birth(self, values: Sequence[Traced], outs: Sequence[Any]) -> bool:
        if all(is_finite(v.value) for v in values):
            return True
        had = any(np.isnan(floats(v.value)).any() for v in values)
        return not had and any(np.isnan(floats(o)).any() for o in outs)

    def call(self, equation: Any, values: Any, turns: Any) -> list[Traced]:
        return self.evaluate(equation.control.body, values, equation, turns)

    def cond(self, equation: Any, values: Any, turns: Any) -> list[Traced]:
        branches = equation.control.branches
        index = int(np.clip(int(values[0].value), 0, len(branches) - 1))
        return self.evaluate(branches[index], values[1:], equation, turns)

    def scan(self, equation: Any, values: Any, turns: Any) -> list[Traced]:
        loop = equation.control
        consts, carry, xs = loop.split(values)
        order = range(loop.length)[:: -1 if loop.reverse else 1]
        ys: dict[int, list[Traced]] = {}
        for t in order:
            x = [Traced(x.value[t], x.origin, x.births) for x in xs]
            x = [v if not is_finite(v.value) else Traced(v.value) for v in x]
            turn = (*turns, t)
            outs = self.evaluate(loop.body, [*consts, *carry, *x], equation, turn)
            carry, ys[t] = outs[: loop.num_carry], outs[loop.num_carry :]
        columns = zip(*(ys[t] for t in range(loop.length)), strict=True)
        return [*carry, *map(_stack, columns)]

    def loop(self, equation: Any, values: Any, turns: Any) -> list[Traced]:
        loop = equation.control
        tests, consts, carry = loop.split(values)
        t = 0
        while self._go_on(loop, [*tests, *carry], equation, (*turns, t)):
            turn = (*turns, t)
            carry = self.evaluate(loop.body, [*consts, *carry], equation, turn)
            t += 1
        return carry

    def _go_on(self, loop: Any, values: Any, equation: Any, turns: Any) -> bool:
        (test,) = self.evaluate(loop.condition, values, equation, turns)
        return bool(test.value)


def first(values: Sequence[Traced], whole: bool = False) -> Any:
    """The earliest origin among values; with its number if `whole`."""
    origins = [v.origin for v in values if v.origin is not None]
    if not origins:
        return None
    first = min(origins, key=lambda origin: origin[0])
    return first if whole else first[1]


def births_in(values: Sequence[Traced]) -> frozenset[int]:
    return frozenset().union(*(v.births for v in values))


def _chosen(values: Sequence[Traced]) -> list[Traced]:
    """The cases of a `select_n` of which a non-finite element was chosen."""
    which, *cases = values
    index = np.asarray(which.value).astype(int)
    return [
        case
        for i, case in enumerate(cases)
        if not np.isfinite(floats(case.value)[index == i]).all()
    ]


def _stack(column: Sequence[Traced]) -> Traced:
    whole = jnp.stack([v.value for v in column])
    return Traced(whole, first(column, whole=True), births_in(column))


def floats(x: Any) -> np.ndarray:
    """The numbers that can fail to be finite, in the shape of `x`; else zeros."""
    dtype = getattr(x, "dtype", None)
    if dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.extended):
        return np.zeros(x.shape)  # a random key
    if isinstance(x, jax.Ref):
        return np.zeros(())  # a place in memory, not yet a value
    x = np.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return np.abs(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else np.zeros(x.shape)


def is_finite(x: Any) -> bool:
    return bool(np.isfinite(floats(x)).all())


def _blame(
    equation: jaxpr.Equation,
    values: Sequence[Traced],
    outs: Sequence[Any],
    where: str,
    turns: tuple[int, ...],
) -> Origin:
    result = floats(outs[0])
    bad = ~np.isfinite(result)
    kind = "NaN" if any(np.isnan(floats(o)).any() for o in outs) else "infinity"
    ranges = []
    for v in values:
        x = floats(v.value).astype(np.float64)
        x = x[bad] if x.shape == bad.shape and bad.any() else x.ravel()
        if x.size:
            ranges.append((float(x.min()), float(x.max())))
    said = " and ".join(
        f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
        for low, high in ranges
    )
    place = str(equation.place) if equation.place.file else ""
    step = turns[-1] if turns else None
    name = equation.primitive
    sentence = (
        f"`{name}` of {said or 'its operands'} gives {kind}"
        + (f" at {place}" if place else "")
        + (f", in step {step} of the loop" if step is not None else "")
        + (", in the gradient" if where == "gradient" else "")
    )
    left = list(turns)
    path = tuple(
        f"{name}[{left.pop(0)}]" if name in ("scan", "while") and left else name
        for name in equation.path
    )
    return Origin(equation.primitive, place, where, tuple(ranges), step, sentence, path)
