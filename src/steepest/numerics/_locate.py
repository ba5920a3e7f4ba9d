"""The first operation that makes a NaN or an infinity that matters.

A NaN spreads: by the time it is seen in the loss, thousands of operations carry it. The
one to blame is the first whose operands are finite and whose result is not: log of 0,
0/0, exp of 120. We evaluate the program operation by operation and let every value that
is not finite carry its *origin*: a new one where it is born, else that of the operand
that it came from.

Not every infinity is a fault. A mask of −∞ before a softmax is meant, and a `where` may
discard what is not finite. So a value that is finite again carries no origin, a `where`
passes on that of the case it chose, and what is blamed is the origin of an *output*.
When all outputs are finite nothing is. An infinity that is written down as a constant
is nobody's birth; a NaN made from such, as in (−∞) − (−∞), is one.

Parts of the program that end finite are not looked into, so loops cost what they cost.
The operations run one by one: a fault that exists only under `jit`, where XLA rewrites
(it folds (1 − p) + ε), is not seen here, and the answer is None.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §4.1.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..core import jaxpr


class Origin(NamedTuple):
    """Where the first non-finite value was made, and from what."""

    primitive: str  # "log"
    place: str  # "model.py:31", or "" if no line of the user's is known
    where: str  # "value" or "gradient"
    operands: tuple[tuple[float, float], ...]  # least and greatest of each operand
    step: int | None  # the turn of the innermost loop it is in
    sentence: str
    path: tuple[str, ...] = ()  # the calls and loops it is in; a turn as "scan[7]"


class Traced(NamedTuple):
    """A value; if it is not finite, whence, in the order of birth."""

    value: Any  # array
    origin: tuple[int, Origin] | None = None


def locate_nonfinite(
    fun: Callable[..., Any], *args: Any, where: str = "value"
) -> Origin | None:
    """Run `fun(*args)` one operation at a time; return the origin of its NaN or ±∞.

    None when all outputs are finite, or when what is not finite came in with the
    arguments or stands in the program as a constant. `where` is only what the answer is
    labelled with.
    """
    program = jaxpr.trace(fun, *args)
    values = [Traced(jnp.asarray(v)) for v in program.values]
    outs = _Run(where).evaluate(program.closed, values, None, ())
    return _first(outs)


def locate_in_loss(
    loss: Callable[..., Any], params: PyTree, *args: Any
) -> Origin | None:
    """Look in the value of `loss(params, *args)` first, then in its gradient."""
    origin = locate_nonfinite(loss, params, *args, where="value")
    if origin is None:
        origin = locate_nonfinite(jax.grad(loss), params, *args, where="gradient")
    return origin


class _Run:
    """One evaluation: rules over `Traced` values, and the count of births."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.births = 0

    def evaluate(
        self,
        closed: jaxpr.Closed,
        values: Sequence[Traced],
        around: jaxpr.Equation | None,
        turns: tuple[int, ...],
    ) -> list[Traced]:
        def rule(equation: jaxpr.Equation, *values: Traced) -> list[Traced]:
            outs = equation.bind(*(v.value for v in values))
            if all(map(_is_finite, outs)):
                return [Traced(out) for out in outs]
            if equation.control is not None:
                return inside[type(equation.control)](equation, values, turns)
            if equation.primitive == "select_n":
                origin = _first(_chosen(values), whole=True)
            else:
                origin = _first(values, whole=True)
            if origin is None and self._is_birth(values, outs):
                self.births += 1
                blame = _blame(equation, values, outs, self.where, turns)
                origin = (self.births, blame)
            return [Traced(o, None if _is_finite(o) else origin) for o in outs]

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

    def _is_birth(self, values: Sequence[Traced], outs: Sequence[Any]) -> bool:
        if all(_is_finite(v.value) for v in values):
            return True
        had = any(np.isnan(_floats(v.value)).any() for v in values)
        return not had and any(np.isnan(_floats(o)).any() for o in outs)

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
            x = [Traced(x.value[t], x.origin) for x in xs]
            x = [v if not _is_finite(v.value) else Traced(v.value) for v in x]
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


def _first(values: Sequence[Traced], whole: bool = False) -> Any:
    """The earliest origin among values; with its number if `whole`."""
    origins = [v.origin for v in values if v.origin is not None]
    if not origins:
        return None
    first = min(origins, key=lambda origin: origin[0])
    return first if whole else first[1]


def _chosen(values: Sequence[Traced]) -> list[Traced]:
    """The cases of a `select_n` of which a non-finite element was chosen."""
    which, *cases = values
    index = np.asarray(which.value).astype(int)
    return [
        case
        for i, case in enumerate(cases)
        if not np.isfinite(_floats(case.value)[index == i]).all()
    ]


def _stack(column: Sequence[Traced]) -> Traced:
    return Traced(jnp.stack([v.value for v in column]), _first(column, whole=True))


def _floats(x: Any) -> np.ndarray:
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


def _is_finite(x: Any) -> bool:
    return bool(np.isfinite(_floats(x)).all())


def _blame(
    equation: jaxpr.Equation,
    values: Sequence[Traced],
    outs: Sequence[Any],
    where: str,
    turns: tuple[int, ...],
) -> Origin:
    result = _floats(outs[0])
    bad = ~np.isfinite(result)
    kind = "NaN" if any(np.isnan(_floats(o)).any() for o in outs) else "infinity"
    ranges = []
    for v in values:
        x = _floats(v.value).astype(np.float64)
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
