"""Bounds of every value of a program, and the operations that they do not acquit.

Abstract interpretation (Cousot & Cousot 1977) in interval arithmetic, of the numbers
that a run *operation by operation* computes, roundings and flushed subnormals included,
with the relations of `relations` and the pieces of `pieces`. It promises:

a. a finite number that is computed lies in the bounds of its equation;
b. an equation that makes an infinity from finite operands, or NaN from operands that
   are not NaN, is a candidate; or it is in `not_analysed`.
"""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from ...core import jaxpr
from . import elementwise, loops, movement, reductions
from .formats import format_of, settle
from .interval import Interval
from .state import Address, Candidate, State, constant, unknown
from .value import Value, boxed, small


@dataclass(frozen=True, eq=False)
class Range:
    """What the elements of an array may be; the ends may be arrays that broadcast."""

    low: np.ndarray
    high: np.ndarray
    shape: tuple[int, ...]
    dtype: Any
    nan: bool = False
    known: Any = None  # the array itself, where there is only one

    @property
    def least(self) -> float:
        return float(np.min(self.low))

    @property
    def most(self) -> float:
        return float(np.max(self.high))

    def holds(self, array: Any) -> bool:
        """Whether every finite element lies inside."""
        x = np.asarray(array).astype(np.float64)
        return bool((~np.isfinite(x) | ((x >= self.low) & (x <= self.high))).all())


@dataclass(frozen=True, eq=False)
class Analysis:
    """Bounds of all results, and the operations that they do not acquit."""

    outputs: list[Range]
    results: dict[Address, tuple[Range, ...]]  # joined over the turns of loops
    candidates: tuple[Candidate, ...]
    not_analysed: tuple[jaxpr.NotAnalysed, ...]


def range_of(spec: Any) -> Range:
    """An `Interval`; any finite number of a `ShapeDtypeStruct`; an array's own values."""
    if isinstance(spec, Range):
        return spec
    if isinstance(spec, Interval):
        shape = tuple(spec.shape)
        low, high = boxed(spec.low, shape), boxed(spec.high, shape)
        return Range(low, high, shape, jnp.dtype(spec.dtype))
    if isinstance(spec, jax.ShapeDtypeStruct):
        fmt, shape = format_of(spec.dtype), tuple(spec.shape)
        low, high = boxed(fmt.low, shape), boxed(fmt.high, shape)
        return Range(low, high, shape, spec.dtype)
    shape, dtype = tuple(np.shape(spec)), jax.numpy.result_type(spec)
    fmt = format_of(dtype)
    if fmt.kind == "other":
        zero = boxed(0.0, shape)
        return Range(zero, zero, shape, dtype, known=spec)
    x = np.asarray(spec).astype(np.float64)
    nan = bool(np.isnan(x).any())
    low, high = x, x
    if nan:
        low = np.asarray(np.nanmin(x, initial=0))
        high = np.asarray(np.nanmax(x, initial=0))
    return Range(low, high, shape, dtype, nan, known=spec)


def analyse(closed: jaxpr.Closed, ranges: Sequence[Any]) -> Analysis:
    """Bounds of all that a program computes from operands in these ranges."""
    state = State(special=constants(closed))
    unseen: Counter = Counter()
    with np.errstate(all="ignore"):
        operands = [operand(state, range_of(r)) for r in ranges]
        outs = interpreter(state, unseen)(closed, operands, None, 0)
    results = {
        address: tuple(
            Range(low, high, shape, dtype, nan) for low, high, shape, dtype, nan in row
        )
        for address, row in state.results.items()
    }
    found = tuple(state.candidates.values())
    return Analysis(
        [Range(v.low, v.high, v.shape, v.dtype, v.nan) for v in outs],
        results,
        found,
        jaxpr.not_analysed(unseen),
    )


def operand(state: State, r: Range) -> Value:
    if r.known is not None:
        return constant(state, r.known)
    low, high = small(
        *settle(format_of(r.dtype), boxed(r.low, r.shape), boxed(r.high, r.shape))
    )
    minus = bool((low < 0).any())  # a range from 0 up has no −0
    number = state.fresh()
    value = Value(r.shape, r.dtype, low, high, r.nan, number=number, minus=minus)
    state.keep(value)
    return value


def interpreter(state: State, unseen: Counter) -> Callable[..., list[Value]]:
    """Evaluates a program in intervals."""

    def run(
        closed: jaxpr.Closed,
        values: Sequence[Value],
        around: jaxpr.Equation | None,
        body: int,
    ) -> list[Value]:
        return jaxpr.evaluate(
            closed,
            values,
            lift=functools.partial(constant, state),
            rules=rules,
            default=default,
            unseen=unseen,
            around=around,
            body=body,
        )

    def inner(equation: jaxpr.Equation, body: int, values: Sequence[Value]) -> Any:
        closed = jaxpr.bodies(equation.control)[body]
        return run(closed, values, equation, body)

    def default(equation: jaxpr.Equation, *values: Value) -> Any:
        outs = [unknown(state, a, spoilt=True, nan=True) for a in equation.outputs]
        return outs if len(outs) != 1 else outs[0]

    ordinary = {**movement.RULES, **reductions.RULES}
    ordinary |= dict.fromkeys(elementwise.RULES, elementwise.elementwise)
    rules: dict[Any, Callable] = {
        name: written(state, functools.partial(rule, state))
        for name, rule in ordinary.items()
    }
    loop = {
        jaxpr.Scan: loops.scan,
        jaxpr.While: loops.while_loop,
        jaxpr.Cond: loops.cond,
    }
    for kind, rule in loop.items():
        rules[kind] = written(state, functools.partial(rule, state, inner))
    return run


def written(state: State, rule: Callable) -> Callable:
    """The rule, with its results written down."""

    def apply(equation: jaxpr.Equation, *values: Value) -> Any:
        try:
            out = rule(equation, *values)
        except (ArithmeticError, LookupError, TypeError, ValueError):
            out = NotImplemented  # a form that the rule is not for: anything may come
        if out is NotImplemented:
            return out
        outs = out if isinstance(out, list) else [out]
        if state.recording:
            row = [(v.low, v.high, v.shape, v.dtype, v.nan) for v in outs]
            before = state.results.get(equation.address)
            if before is not None:
                row = [joined(a, b) for a, b in zip(before, row)]
            state.results[equation.address] = row
        if len(equation.outputs) == 1:
            return outs[0]
        return outs

    return apply


def joined(a: tuple, b: tuple) -> tuple:
    low, high = np.minimum(a[0], b[0]), np.maximum(a[1], b[1])
    return low, high, a[2], a[3], a[4] or b[4]


MOST_CONSTANTS = 48


def constants(closed: jaxpr.Closed) -> tuple[float, ...]:
    """Numbers that stand in the program, where functions of one source may turn."""
    numbers: dict[float, None] = {}
    for equation in jaxpr.equations(closed):
        for atom in equation.eqn.invars:
            if not isinstance(atom, core.Literal) or np.ndim(atom.val):
                continue
            if not format_of(jax.numpy.result_type(atom.val)).real:
                continue
            x = float(atom.val)
            if np.isfinite(x) and x not in (0.0, 1.0, -1.0):
                numbers.update({x: None, -x: None})
    return tuple(list(numbers)[:MOST_CONSTANTS])
