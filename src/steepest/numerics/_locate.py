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

Parts of the program that end finite are not looked into, so loops cost what they cost;
`nonfinite_operations` looks into all, and lists what was born and masked as well.

The operations run one by one. What is finite then may not be so under `jit`, where XLA
rewrites: it folds (1 − p) + ε to (1 + ε) − p. So a program that ends finite is compiled
and run once more, and if that ends otherwise, it is traced backwards from the output:
an operation is to blame if, compiled up to it, the program gives a NaN or an infinity,
and compiled up to each of its operands it does not.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §4.1.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..core import jaxpr
from ..core.errors import InputError
from .locating.births import Birth, Origin, Run, Traced, first, is_finite
from .locating.compiled import array, under_jit


def locate_nonfinite(
    fun: Callable[..., Any],
    *args: Any,
    where: str | None = None,
    gradient: bool = False,
    compiled: bool = True,
) -> Origin | None:
    """Run `fun(*args)` one operation at a time; return the origin of its NaN or ±∞.

    None when all outputs are finite, or when what is not finite came in with the
    arguments or stands in the program as a constant. With `gradient` the program is the
    gradient of the sum of the outputs by all floats of the arguments. What is finite is
    run once more under `jit`, unless `compiled` is False. `where` is only what the
    answer is labelled with.
    """
    label = where or ("gradient" if gradient else "value")
    program = jaxpr.trace(*_by_its_floats(fun, args) if gradient else (fun, *args))
    values = [Traced(array(v)) for v in program.values]
    outs = Run(label).evaluate(program.closed, values, None, ())
    if not compiled or not all(is_finite(out.value) for out in outs):
        return first(outs)
    return under_jit(program, label)


def nonfinite_operations(
    fun: Callable[..., Any], *args: Any, gradient: bool = False
) -> tuple[Birth, ...]:
    """Every operation of `fun(*args)` that makes a NaN or an infinity, in their order.

    Those that reach an output and those that are masked on the way, with the operations
    that mask them. Of a line in a loop the first turn is listed.
    """
    label = "gradient" if gradient else "value"
    program = jaxpr.trace(*_by_its_floats(fun, args) if gradient else (fun, *args))
    run = Run(label, thorough=True)
    values = [Traced(array(v)) for v in program.values]
    outs = run.evaluate(program.closed, values, None, ())
    reached = frozenset().union(*(out.births for out in outs))
    found: dict[Any, Birth] = {}
    for number, origin in run.born.items():
        path = tuple(name.split("[")[0] for name in origin.path)
        key = origin.primitive, origin.place, path
        birth = Birth(
            origin,
            number in reached,
            run.passed[number],
            tuple(dict.fromkeys(run.killed[number])),
        )
        before = found.get(key)
        if before is not None:
            birth = before._replace(
                reaches_output=before.reaches_output or birth.reaches_output
            )
        found[key] = birth
    return tuple(found.values())


def locate_in_loss(
    loss: Callable[..., Any], params: PyTree, *args: Any
) -> Origin | None:
    """Look in the value of `loss(params, *args)` first, then in its gradient."""
    gradient = jax.grad(loss)
    for compiled in (False, True):
        for fun, where in ((loss, "value"), (gradient, "gradient")):
            origin = locate_nonfinite(
                fun, params, *args, where=where, compiled=compiled
            )
            if origin is not None:
                return origin
    return None


def _by_its_floats(
    fun: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[Callable[..., Any], *tuple[Any, ...]]:
    """The gradient of the sum of what `fun` returns, and the arrays that it takes."""
    leaves, tree = jax.tree.flatten(args)
    real = [i for i, x in enumerate(leaves) if isinstance(x, float) or _is_real(x)]
    if not real:
        raise InputError("No argument holds floats, so there is no gradient.")

    def total(*floats: Any) -> Any:
        filled = list(leaves)
        for i, x in zip(real, floats, strict=True):
            filled[i] = x
        outs = jax.tree.leaves(fun(*jax.tree.unflatten(tree, filled)))
        parts = [
            jnp.sum(y).astype(jnp.float32) for y in outs if _is_real(jnp.asarray(y))
        ]
        if not parts:
            raise InputError("The function returns no floats, so there is no gradient.")
        return parts[0] if len(parts) == 1 else jnp.sum(jnp.stack(parts))

    floats = [jnp.asarray(leaves[i]) for i in real]
    return jax.grad(total, tuple(range(len(real)))), *floats


def _is_real(x: Any) -> bool:
    dtype = getattr(x, "dtype", None)
    if dtype is None or jax.dtypes.issubdtype(dtype, jax.dtypes.extended):
        return False
    return bool(jnp.issubdtype(dtype, jnp.floating))
