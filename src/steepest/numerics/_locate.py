"""The first operation that makes a NaN or an infinity.

A NaN spreads: by the time it is seen in the loss, thousands of operations carry it. The
one to blame is the first whose operands are finite and whose result is not: log of 0,
0/0, exp of 120. We evaluate the program operation by operation and note every such
*birth*.

Not every infinity is a fault. A mask of −inf before a softmax is meant, and a `where`
may discard what is not finite. Hence a gate: when the outputs are finite nothing is
blamed. And an infinity that is written down as a constant is nobody's birth.

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


def locate_nonfinite(
    fun: Callable[..., Any], *args: Any, where: str = "value"
) -> Origin | None:
    """Run `fun(*args)` one operation at a time; return the first birth of NaN or ±inf.

    None when all outputs are finite, or when what is not finite came in with the
    arguments. `where` is only what the answer is labelled with.
    """
    program = jaxpr.trace(fun, *args)
    births: list[Origin] = []
    leaves = [jnp.asarray(a) for a in program.values]
    outs = _run(program.closed, leaves, births, where, None, None)
    if all(map(_finite, outs)) or not births:
        return None
    nan = [b for b in births if "NaN" in b.sentence]
    if any(bool(np.isnan(o).any()) for o in map(_floats, outs)) and nan:
        first_nan = births.index(nan[0])
        return births[0] if first_nan else nan[0]
    return births[0]


def locate_in_loss(
    loss: Callable[..., Any], params: PyTree, *args: Any
) -> Origin | None:
    """Look in the value of `loss(params, *args)` first, then in its gradient."""
    origin = locate_nonfinite(loss, params, *args, where="value")
    if origin is None:
        origin = locate_nonfinite(jax.grad(loss), params, *args, where="gradient")
    return origin


def _run(
    closed: jaxpr.Closed,
    args: Sequence[Any],
    births: list[Origin],
    where: str,
    around: jaxpr.Equation | None,
    turn: int | None,
) -> list[Any]:
    def inside(body: Any, values: Any, equation: Any, turn: int | None) -> list[Any]:
        return _run(body, values, births, where, equation, turn)

    def plain(equation: jaxpr.Equation, *values: Any) -> list[Any]:
        outs = equation.bind(*values)
        if all(map(_finite, values)) and not all(map(_finite, outs)):
            births.append(_origin(equation, values, outs, where, turn))
        return outs

    def call(equation: jaxpr.Equation, *values: Any) -> list[Any]:
        return inside(equation.control.body, values, equation, turn)

    def scan(equation: jaxpr.Equation, *values: Any) -> list[Any]:
        s = equation.control
        n, m = s.num_consts, s.num_consts + s.num_carry
        consts, carry, xs = values[:n], list(values[n:m]), values[m:]
        ys: list[Any] = []
        order = range(s.length)
        for t in reversed(order) if s.reverse else order:
            x = [x[t] for x in xs]
            outs = inside(s.body, [*consts, *carry, *x], equation, t)
            carry = outs[: s.num_carry]
            ys.append(outs[s.num_carry :])
        if s.length == 0:
            return equation.bind(*values)
        if s.reverse:
            ys.reverse()
        return [*carry, *(jnp.stack(y) for y in zip(*ys, strict=True))]

    def loop(equation: jaxpr.Equation, *values: Any) -> list[Any]:
        w = equation.control
        n = w.num_condition_consts
        m = n + w.num_body_consts
        tests, consts, carry = values[:n], values[n:m], list(values[m:])
        t = 0
        while bool(inside(w.condition, [*tests, *carry], equation, t)[0]):
            carry = inside(w.body, [*consts, *carry], equation, t)
            t += 1
        return carry

    def cond(equation: jaxpr.Equation, *values: Any) -> list[Any]:
        branches = equation.control.branches
        index = int(np.clip(int(values[0]), 0, len(branches) - 1))
        return inside(branches[index], values[1:], equation, turn)

    return jaxpr.evaluate(
        closed,
        args,
        lift=lambda constant: constant,
        rules={
            jaxpr.Call: call,
            jaxpr.Scan: scan,
            jaxpr.While: loop,
            jaxpr.Cond: cond,
        },
        default=plain,
        around=around,
    )


def _floats(x: Any) -> np.ndarray:
    dtype = getattr(x, "dtype", None)
    if dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.extended):
        return np.zeros(0)  # a random key
    x = np.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return np.abs(x)
    return x.astype(np.float64) if jnp.issubdtype(x.dtype, jnp.floating) else np.zeros(0)


def _finite(x: Any) -> bool:
    return bool(np.isfinite(_floats(x)).all())


def _origin(
    equation: jaxpr.Equation,
    values: Sequence[Any],
    outs: Sequence[Any],
    where: str,
    turn: int | None,
) -> Origin:
    result = np.concatenate([_floats(o).ravel() for o in outs])
    kind = "NaN" if np.isnan(result).any() else "infinity"
    bad = ~np.isfinite(result)
    arrays = [_floats(v) for v in values]
    to_blame = [
        a.ravel()[bad] if a.size == bad.size and len(outs) == 1 else a.ravel()
        for a in arrays
    ]
    ranges = tuple((float(a.min()), float(a.max())) for a in to_blame if a.size)
    said = " and ".join(
        f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}" for low, high in ranges
    )
    place = str(equation.place) if equation.place.file else ""
    sentence = (
        f"`{equation.primitive}` of {said or 'its operands'} gives {kind}"
        + (f" at {place}" if place else "")
        + (f", in step {turn} of the loop" if turn is not None else "")
        + (", in the gradient" if where == "gradient" else "")
    )
    return Origin(equation.primitive, place, where, ranges, turn, sentence)
