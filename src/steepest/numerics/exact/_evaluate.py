"""What a program would give if its numbers were real numbers.

Every float of a program is replaced by a number of arbitrary precision: inputs and
constants stand for the numbers that they are in their format, operations are computed
in p bits, and p grows until the result is certain. Nothing is rounded to the formats of
the program, so the result is the truth that its floating-point results are measured
against, including those of its gradient program, which is a program too.

When is p enough? Each operation reports how many bits of what it was given it cannot
pass on: a sum the bits that cancel, log₂(max |xᵢ| / |Σ xᵢ|); an exponential log₂ |x|; a
logarithm −log₂ |log x|. A result is accepted

1. if the sum of the worst reports leaves `DIGITS` of the p bits, and no operation met
   what p bits cannot decide (a sum of rounded numbers that is 0 or that lost a term, a
   comparison of numbers that agree to half of the bits); or
2. if a run with several times as many bits gives the same digits.

A program that is undecided at `MOST` digits has what the last run gave, NaN where the
last two differ. Constants are those of the program: a polynomial inside a library
function whose coefficients are float32 is taken at its word.

References
    Johansson et al., mpmath: a Python library for arbitrary-precision arithmetic.
    Muller et al. (2018), Handbook of Floating-Point Arithmetic, ch. 12 (Ziv's strategy).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

from ...core import jaxpr
from ...core.errors import InputError
from . import contractions, elementary, movement, reductions
from .run import DIGITS, Run, Values, lift


BITS = math.log2(10)
LADDER = (60, 240, 960, 2880)  # decimal digits of the runs
SIZE = 20_000  # scalar operations in a run


def evaluate(
    fun: Callable[..., Any] | jaxpr.Closed,
    *args: Any,
    digits: int | None = None,
    size: int = SIZE,
) -> list[Values]:
    """The outputs of `fun(*args)` in exact arithmetic, flat.

    `fun` is a function of pytrees of arrays, or a traced program of flat arrays. An
    output of floats is an array of `mpmath.mpf`, one of complex numbers of
    `mpmath.mpc`; integers, truth values and keys are those of the program. With `digits`
    there is one run with that many decimal digits. `size` limits the scalar operations
    of a run; more are refused by an `InputError`.
    """
    if not isinstance(fun, jaxpr.Closed):
        program = jaxpr.trace(fun, *args)
        closed, args = program.closed, tuple(program.values)
    else:
        closed = fun
    return _settled(closed, args, digits, size, None)


def trace(closed: jaxpr.Closed, args: Sequence[Any], size: int = SIZE) -> Any:
    """The outputs, and (equation, operands, results) of all that was computed."""
    seen: list[Any] = []
    return _settled(closed, args, None, size, seen), seen


def _settled(
    closed: jaxpr.Closed,
    args: Sequence[Any],
    digits: int | None,
    size: int,
    seen: list[Any] | None,
) -> list[Values]:
    """The outputs of runs with more and more digits, until they are certain."""
    if digits is not None:
        return _run(closed, args, digits, size, seen)[0]
    before: list[Values] | None = None
    outs: list[Values] = []
    needed = 0
    for digits in LADDER:
        before = outs if needed else None
        if seen is not None:
            seen.clear()
        outs, run = _run(closed, args, max(digits, needed), size, seen)
        same = before is not None and not run.gap and _agree(before, outs)
        if run.certain or same:
            return outs
        needed = int(run.gap / BITS) + LADDER[0]
    assert before is not None
    return [_known(*pair) for pair in zip(before, outs, strict=True)]


def gradient(fun: Callable[..., Any], size: int = SIZE) -> Callable[..., list[Values]]:
    """The exact gradient of the sum of the outputs of `fun`, by all its floats.

    The function that it returns takes the arguments of `fun` and gives one array for
    each of their arrays of floats, flat.
    """

    def exactly(*args: Any) -> list[Values]:
        total, values, real = _of_floats(fun, args)
        by = tuple(i for i, r in enumerate(real) if r)
        return evaluate(jax.grad(lambda *v: sum(total(*v)), by), *values, size=size)

    return exactly


def condition(fun: Callable[..., Any], *args: Any) -> list[np.ndarray]:
    """The condition number of each output element, κ = Σᵢ |xᵢ ∂y/∂xᵢ| / |y|.

    Rounding the inputs to a unit roundoff u costs an output κ u, however well it is
    computed. In exact arithmetic, as float64; ∞ where y = 0 depends on an input.
    """
    _total, values, real = _of_floats(fun, args)
    by = tuple(i for i, r in enumerate(real) if r)
    jacobian = jax.jacrev(lambda *v: _whole(fun, args, v), by)
    ys = evaluate(lambda *v: _whole(fun, args, v), *values)
    rows = evaluate(jacobian, *values)
    inputs = [values[i] for i in by]
    found = []
    for k, y in enumerate(ys):
        moved = np.zeros(y.shape)
        for x, J in zip(inputs, rows[k * len(by) : (k + 1) * len(by)], strict=True):
            size = np.abs(J.reshape(*y.shape, -1).astype(float))
            moved += (size * np.abs(np.asarray(x, float)).ravel()).sum(-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append(np.where(moved == 0, 0.0, moved / np.abs(y.astype(float))))
    return found


def _of_floats(fun: Callable[..., Any], args: Sequence[Any]) -> Any:
    """`fun` as sums of its outputs by flat values, these, and which are floats."""
    leaves = [jnp.asarray(x) for x in jax.tree.leaves(args) if _is_array(x)]
    real = [jnp.issubdtype(x.dtype, jnp.floating) for x in leaves]
    if not any(real):
        raise InputError("No argument holds floats, so there is nothing to derive by.")
    return lambda *v: [y.sum() for y in _whole(fun, args, v)], leaves, real


def _whole(fun: Callable[..., Any], args: Sequence[Any], values: Any) -> list[Any]:
    """The float outputs of `fun` with other arrays in its arguments."""
    leaves, tree = jax.tree.flatten(tuple(args))
    rest = iter(values)
    filled = [next(rest) if _is_array(x) else x for x in leaves]
    outs = jax.tree.leaves(fun(*jax.tree.unflatten(tree, filled)))
    return [y for y in outs if jnp.issubdtype(jnp.result_type(y), jnp.floating)]


def _is_array(x: Any) -> bool:
    return isinstance(x, (*jaxpr.ARRAYS, float))


# -- One run --------------------------------------------------------------------------


def _run(
    closed: jaxpr.Closed,
    args: Sequence[Any],
    digits: int,
    size: int,
    seen: list[Any] | None = None,
) -> tuple[list[Values], Run]:
    """The outputs, and what was lost on the way."""
    with mpmath.workdps(digits):
        run = Run(mpmath.mp.prec, size)
        run.seen = seen
        rules: dict[Any, Any] = {n: _bound(run, rule) for n, rule in RULES.items()}
        _Loops(run, rules)
        outs = jaxpr.evaluate(
            closed,
            [lift(x) for x in args],
            lift=lift,
            rules=rules,
            default=_bound(run, movement.native),
        )
        return outs, run


def _bound(run: Run, rule: Callable[..., Any]) -> Callable[..., Any]:
    def bound(equation: jaxpr.Equation, *values: Any) -> Any:
        run.spend(equation)
        with run.reporting():
            out = rule(run, equation, *values)
        if run.seen is not None and out is not NotImplemented:
            run.seen.append((equation, values, out if isinstance(out, list) else [out]))
        return out

    return bound


class _Loops:
    """Control flow, as it is: the rules of a run hold in the bodies too."""

    def __init__(self, run: Run, rules: dict[Any, Any]) -> None:
        self.run = run
        self.rules = rules
        rules |= {
            jaxpr.Scan: self.scan,
            jaxpr.While: self.loop,
            jaxpr.Cond: self.cond,
            "custom_linear_solve": self.solve,
        }

    def inside(self, closed: Any, values: Any, equation: Any, body: int = 0) -> Any:
        return jaxpr.evaluate(
            closed,
            values,
            lift=lift,
            rules=self.rules,
            default=_bound(self.run, movement.native),
            around=equation,
            body=body,
        )

    def scan(self, equation: jaxpr.Equation, *operands: Any) -> list[Any]:
        loop = equation.control
        consts, carry, xs = loop.split(operands)
        order = range(loop.length)[:: -1 if loop.reverse else 1]
        ys: dict[int, list[Any]] = {}
        for t in order:
            row = [lift(x[t]) for x in xs]
            outs = self.inside(loop.body, [*consts, *carry, *row], equation)
            carry, ys[t] = outs[: loop.num_carry], outs[loop.num_carry :]
        columns = zip(*(ys[t] for t in range(loop.length)), strict=True)
        empty = [_empty(v) for v in equation.outputs[loop.num_carry :]]
        stacked = [_stack(column) for column in columns] if loop.length else empty
        return [*carry, *stacked]

    def loop(self, equation: jaxpr.Equation, *operands: Any) -> list[Any]:
        loop = equation.control
        tests, consts, carry = loop.split(operands)
        while True:
            goes = np.asarray(
                self.inside(loop.condition, [*tests, *carry], equation)[0]
            )
            if not goes.any():
                return carry
            after = self.inside(loop.body, [*consts, *carry], equation, 1)
            if goes.ndim:  # many examples: those that have ended stay as they are
                rank = [
                    goes.reshape(goes.shape + (1,) * (np.ndim(x) - goes.ndim))
                    for x in after
                ]
                after = [np.where(*x) for x in zip(rank, after, carry, strict=True)]
            carry = after

    def solve(self, equation: jaxpr.Equation, *operands: Any) -> list[Any]:
        """A linear system with derivatives of its own, by the method that it names."""
        lengths, bodies = equation.params["const_lengths"], equation.params["jaxprs"]
        start = lengths.matvec + lengths.vecmat
        consts = operands[start : start + lengths.solve]
        b = operands[sum(lengths) :]
        return self.inside(bodies.solve, [*consts, *b], equation)

    def cond(self, equation: jaxpr.Equation, index: Any, *operands: Any) -> list[Any]:
        branches = equation.control.branches
        chosen = int(np.clip(int(index), 0, len(branches) - 1))
        return self.inside(branches[chosen], list(operands), equation, chosen)


def _stack(column: Sequence[Any]) -> Any:
    return np.stack(column) if isinstance(column[0], np.ndarray) else jnp.stack(column)


def _empty(aval: Any) -> np.ndarray:
    real = jnp.issubdtype(aval.dtype, jnp.inexact)
    return np.zeros(aval.shape, object if real else aval.dtype)


RULES: dict[str, Callable[..., Any]] = {
    **elementary.RULES,
    **movement.RULES,
    **reductions.RULES,
    **contractions.RULES,
}


# -- Whether two runs say the same -----------------------------------------------------


def _agree(a: Sequence[Values], b: Sequence[Values]) -> bool:
    return all(_same(x, y).all() for x, y in zip(a, b, strict=True))


def _same(a: Any, b: Any) -> np.ndarray:
    if not isinstance(a, np.ndarray) or a.dtype != object:
        return np.ones(np.shape(a), bool)
    return np.asarray(np.frompyfunc(_close, 2, 1)(a, b), bool)


def _close(x: Any, y: Any) -> bool:
    if x != x or y != y:
        return x != x and y != y
    return bool(x == y or abs(x - y) <= abs(y) * mpmath.mpf(10) ** -DIGITS)


def _known(before: Any, out: Any) -> Any:
    same = _same(before, out)
    return out if same.all() else np.where(same, out, mpmath.mpf("nan"))
