"""See inside a program: its intermediate values, with their place in the source.

`capture(f)` computes f and, beside the result, what passes through chosen *sites*: the
inputs or outputs of non-linearities, the results of matrix products and convolutions,
normalised values. It reads the jaxpr of f, so it needs no layers and no hooks, and
works on any model of any framework.

Derivatives stay what they were. A function with its own derivative rule that holds a
site is called unchanged for the result, and evaluated a second time, on inputs through
which no gradient flows, for the captured values; XLA merges the two. `remat` is rebuilt
around its body. So `jax.grad(capture(f), has_aux=True)` equals `jax.grad(f)`.

Inside `scan` a captured value has the time steps as its first axis. Of a `while` loop
it is that of the last turn; of a branch that was not taken it is NaN (zero for
integers), as it is for a loop that never ran. The condition of a loop is not looked at.

What is a site is read off the equations around it: see `sites.py`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree, Shaped

from . import jaxpr
from .errors import InputError
from .sites import Site, Sites


Reduce = Callable[[Site, Shaped[Array, "..."]], PyTree]
SELECTORS = {
    "nonlinearity.input": ("nonlinearity", "input"),
    "nonlinearity.output": ("nonlinearity", "output"),
    "matmul": ("matmul", "output"),
    "normalization": ("normalization", "output"),
}


def capture(
    fun: Callable[..., Any],
    what: str | Sequence[str] | Callable[[Site], bool] = "nonlinearity.input",
    reduce: Reduce | None = None,
) -> Callable[..., tuple[Any, dict[str, PyTree]]]:
    """Transform `fun` so that it returns `(result, captured)`.

    **Arguments**

    - `fun`: any function that JAX can trace. Arguments and results are pytrees; leaves
      that are no arrays are handed through.
    - `what`: `"nonlinearity.input"`, `"nonlinearity.output"`, `"matmul"` (products and
      convolutions), `"normalization"`, several of these, or a predicate on a `Site`
      (then the outputs are captured).
    - `reduce`: applied to every captured value as it passes, `reduce(site, value)`; for
      example `statistics` or `unit_statistics`. Without it the values are kept.

    **Returns** a function of the same arguments. `captured` maps a readable, unique
    name (`"relu model.py:31"`, then `"relu model.py:31#2"`) to what was captured there.
    It composes with `jit`, `vmap` and `grad(..., has_aux=True)`.

    Raises `InputError` for an unknown selector.

    >>> import jax.numpy as jnp
    >>> y, seen = capture(lambda x: jnp.tanh(2 * x))(jnp.ones(3))
    >>> [v.tolist() for v in seen.values()]
    [[2.0, 2.0, 2.0]]
    """
    wanted = _selection(what)
    keep = reduce or (lambda site, value: value)

    def with_capture(*args: Any, **kwargs: Any) -> tuple[Any, dict[str, PyTree]]:
        program = jaxpr.trace(fun, *args, **kwargs)
        outs, seen = _run(program.closed, program.values, wanted, keep, None)
        return program.result(outs), seen

    return with_capture


def statistics(site: Site, x: Shaped[Array, "..."]) -> dict[str, Array]:
    """Mean, standard deviation, least and greatest of a value, in float32.

    Cheap enough to be left on while training (see `python -m benchmarks capture`).
    """
    units = unit_statistics(site, x)
    mean = jnp.mean(units["mean"])
    within, between = units["std"] ** 2, (units["mean"] - mean) ** 2
    return {
        "mean": mean,
        "std": jnp.sqrt(jnp.mean(within + between)),
        "min": jnp.min(units["min"]),
        "max": jnp.max(units["max"]),
    }


def unit_statistics(site: Site, x: Shaped[Array, "..."]) -> dict[str, Array]:
    """The same four of every unit, over all axes but the site's `axis`.

    For looking at: no gradient flows through them.
    A ReLU unit whose greatest input is not positive is dead on this batch.
    """
    x = lax.stop_gradient(x).astype(jnp.float32)
    x = jnp.moveaxis(x, site.axis, -1) if x.ndim else x[None]
    x = x.reshape(-1, x.shape[-1])
    # One library call for each moment: fused into a loop, x·x would take six times as
    # long on a CPU. The price is that the deviation loses digits where it is less than
    # a thousandth of the mean.
    mean = jnp.sum(x, axis=0) / len(x)
    square = jnp.einsum("nu,nu->u", x, x) / len(x)
    return {
        "mean": mean,
        "std": jnp.sqrt(jnp.maximum(square - mean * mean, 0)),
        "min": jnp.min(x, axis=0),
        "max": jnp.max(x, axis=0),
    }


def _selection(what: Any) -> Callable[[Site], tuple[str, ...]]:
    """For a site, which of its "input" and "output" are wanted."""
    if callable(what):
        return lambda site: ("output",) if what(site) else ()
    names = (what,) if isinstance(what, str) else tuple(what)
    for name in names:
        if name not in SELECTORS:
            known = ", ".join(f"'{s}'" for s in SELECTORS)
            raise InputError(
                f"`what` must be one of {known}, or a predicate, but is {name!r}."
            )
    pairs = [SELECTORS[name] for name in names]
    return lambda site: tuple(side for kind, side in pairs if kind == site.kind)


Seen = dict[str, PyTree]
Wanted = Callable[[Site], tuple[str, ...]]


def _run(
    closed: jaxpr.Closed,
    args: Sequence[Any],
    wanted: Wanted,
    keep: Reduce,
    around: jaxpr.Equation | None,
) -> tuple[list[Any], Seen]:
    """Evaluate a program and gather what passes through its wanted sites."""
    seen: Seen = {}

    def note(name: str, value: PyTree) -> None:
        unique, count = name, 1
        while unique in seen:
            count += 1
            unique = f"{name.split('#')[0]}#{count}"
        seen[unique] = value

    def inside(body: jaxpr.Closed, values: Any, equation: Any) -> tuple[list, Seen]:
        return _run(body, values, wanted, keep, equation)

    sites = Sites(closed)

    def step(equation: jaxpr.Equation, *values: Any) -> list[Any]:
        site = sites.site(equation)
        if site is None:  # inside of a function that is known as a whole
            return equation.bind(*values)
        sides = wanted(site)
        if sides or site.kind == "nonlinearity":
            return look(site, sides, equation, values)
        if equation.control is None or not _holds(equation, wanted):
            return equation.bind(*values)
        outs, found = CONTROL[type(equation.control)](equation, values, inside)
        for name, value in found.items():
            note(name, value)
        return outs

    def look(site: Site, sides: Any, equation: Any, values: Any) -> list[Any]:
        several = len(sides) > 1
        if "input" in sides and sites.begins(equation):
            operand = values[sites.operand(equation)]
            note(f"{site} input" if several else str(site), keep(site, operand))
        outs = equation.bind(*values)
        if "output" in sides and sites.ends(equation):
            note(f"{site} output" if several else str(site), keep(site, outs[0]))
        return outs

    forms = (jaxpr.Call, jaxpr.Scan, jaxpr.While, jaxpr.Cond)
    outs = jaxpr.evaluate(
        closed,
        args,
        lift=lambda constant: constant,
        rules=dict.fromkeys(forms, step),
        default=step,
        around=around,
    )
    return outs, seen


def _holds(equation: jaxpr.Equation, wanted: Wanted) -> bool:
    """Whether a wanted site lies inside an equation's control flow."""
    for body in jaxpr.bodies(equation.control):
        sites = Sites(body)
        for eqn in body.jaxpr.eqns:
            inner = jaxpr.describe(eqn, equation)
            site = sites.site(inner)
            if site is None:
                continue
            if wanted(site):
                return True
            if site.kind != "nonlinearity" and _holds(inner, wanted):
                return True
    return False


# -- Control flow with sites inside ---------------------------------------------------


def _call(equation: jaxpr.Equation, values: Any, inside: Any) -> tuple[list, Seen]:
    call = equation.control
    if call.kind in ("custom_jvp", "custom_vjp"):
        _, found = inside(call.body, list(map(lax.stop_gradient, values)), equation)
        return equation.bind(*values), found
    return call.wrap(lambda *v: inside(call.body, v, equation))(*values)


def _scan(equation: jaxpr.Equation, values: Any, inside: Any) -> tuple[list, Seen]:
    scan = equation.control
    consts, carry, xs = scan.split(values)

    def step(carry: Any, x: Any) -> Any:
        outs, found = inside(scan.body, [*consts, *carry, *x], equation)
        return outs[: scan.num_carry], (outs[scan.num_carry :], found)

    carry, (ys, found) = lax.scan(
        step,
        carry,
        xs,
        length=scan.length,
        reverse=scan.reverse,
        unroll=scan.unroll,
    )
    return [*carry, *ys], found


def _while(equation: jaxpr.Equation, values: Any, inside: Any) -> tuple[list, Seen]:
    loop = equation.control
    tests, consts, carry = loop.split(values)

    def go_on(state: Any) -> Any:
        return inside(loop.condition, [*tests, *state[0]], equation)[0][0]

    def turn(state: Any) -> Any:
        return inside(loop.body, [*consts, *state[0]], equation)

    _, found = jax.eval_shape(turn, (carry, None))
    return lax.while_loop(go_on, turn, (carry, _nothing(found)))


def _cond(equation: jaxpr.Equation, values: Any, inside: Any) -> tuple[list, Seen]:
    index, operands = values[0], list(values[1:])
    branches = equation.control.branches
    shapes = [
        jax.eval_shape(lambda *v, b=b: inside(b, v, equation)[1], *operands)
        for b in branches
    ]

    def branch(which: int) -> Callable[..., Any]:
        def run(*operands: Any) -> Any:
            outs, found = inside(branches[which], operands, equation)
            every = [_nothing(shape) for shape in shapes]
            every[which] = found
            return outs, every

        return run

    outs, every = lax.switch(
        index, [branch(i) for i in range(len(branches))], *operands
    )
    found: Seen = {}
    for which, some in enumerate(every):
        for name, value in some.items():
            found[f"{name} branch {which}" if name in found else name] = value
    return outs, found


def _nothing(shapes: PyTree) -> PyTree:
    def empty(s: Any) -> Array:
        missing = jnp.nan if jnp.issubdtype(s.dtype, jnp.inexact) else 0
        return jnp.full(s.shape, missing, s.dtype)

    return jax.tree.map(empty, shapes)


CONTROL = {
    jaxpr.Call: _call,
    jaxpr.Scan: _scan,
    jaxpr.While: _while,
    jaxpr.Cond: _cond,
}
