"""How near the program is to the ends of its numbers: facts `numerics.*`.

Measured on the real data, with the first parameters and again with the trained ones:

- `numerics.initial`, `numerics.final`: the operation with the least *headroom*, bits
  between its largest result and the end of the format, among those that make numbers
  larger; the relative error of the loss against the same program in float64, and the
  operation that it comes from;
- `numerics.clipped`: where the logarithm is taken of a bounded value, the share of
  entries that lie beyond the bound, whose gradient is zero;
- `numerics.narrow`: parameter arrays in formats of fewer digits than float32;
- `numerics.scaled_twice`: inputs that look divided by 255 twice.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ...core import jaxpr, pytree
from ...core.graph import MOVES, Node, Value
from ...training import Problem, Recipe, Record
from ...training.problem import first_batch, is_arrays, split
from ..treatments import is_narrow
from ._note import note
from .reading import BOUNDS, Reading, batch_of, objective, read, where


EXAMPLES = 64
NEAR = 0.002  # of an integer, counts as one
PIXELS = 255


def measure(problem: Problem, recipe: Recipe, record: Record) -> None:
    """Write the facts of the program before training."""
    record.facts["numerics.narrow"] = narrow(problem)
    note(record, "numerics.scaled_twice", lambda: scaled_twice(problem))
    note(record, "numerics.initial", lambda: precision(problem))


def measure_after(fitted: Any, problem: Problem, record: Record) -> None:
    """Write the facts of the trained model (a `Fitted`)."""
    trained = replace(problem, model=fitted.model, state=fitted.state)
    note(record, "numerics.final", lambda: precision(trained))
    note(
        record,
        "numerics.clipped",
        lambda: clipped(trained),
        without="the loss takes no logarithm of a bounded value",
    )


# -- Headroom and digits ---------------------------------------------------------------


def precision(problem: Problem) -> dict[str, Any]:
    """Least headroom and the error of the loss, on one batch."""
    params, loss = objective(problem)
    batch = batch_of(problem, EXAMPLES)

    def both(params: PyTree, batch: PyTree) -> Any:
        return jax.value_and_grad(loss)(params, batch)

    return headroom(both, params, batch) | digits(loss, params, batch)


def headroom(fun: Callable[..., Any], params: PyTree, batch: PyTree) -> dict[str, Any]:
    """The operation that comes nearest to the end of its format by making more of less.

    A constant near the end, as masks have it, makes nothing larger and does not count.
    """
    program = jaxpr.trace(fun, params, batch)
    seen: list[jaxpr.Equation] = []

    @jax.jit
    def run(*values: Any) -> Any:
        rooms: list[Any] = []
        seen.clear()

        def step(equation: jaxpr.Equation, *operands: Any) -> Any:
            outs = equation.bind(*operands)
            if real(outs):
                seen.append(equation)
                rooms.append(jnp.stack([room(outs), room(operands)]))
            return outs

        jaxpr.evaluate(
            program.closed, list(values), lift=jnp.asarray, rules={}, default=step
        )
        return jnp.stack(rooms)

    rooms = np.asarray(run(*program.values))
    grown = np.where(rooms[:, 0] < rooms[:, 1] - 1, rooms[:, 0], np.inf)
    least = int(np.argmin(grown))
    equation = seen[least]
    return {
        "bits": float(grown[least]) if np.isfinite(grown[least]) else None,
        "bits.primitive": equation.primitive,
        "bits.place": str(equation.place) if equation.place.file else "",
    }


def real(values: Any) -> bool:
    return any(jnp.issubdtype(v.dtype, jnp.floating) for v in values)


def room(values: Any) -> Any:
    """Bits between the largest finite magnitude among arrays and the format's end."""
    least = jnp.float32(np.inf)
    for v in values:
        if jnp.issubdtype(v.dtype, jnp.floating) and v.size:
            most = jnp.max(
                jnp.where(jnp.isfinite(v), jnp.abs(v), 0).astype(jnp.float32)
            )
            bits = jnp.finfo(v.dtype).maxexp - jnp.log2(most)
            least = jnp.minimum(least, bits.astype(jnp.float32))
    return least


def digits(loss: Callable[..., Any], params: PyTree, batch: PyTree) -> dict[str, Any]:
    """The relative error of the loss, and the operation that makes most of it."""
    from ...numerics import shadow

    seen = shadow(loss)(params, batch)
    error = float(np.max(np.asarray(seen.error[0] if seen.error else 0.0)))
    worst = seen.worst(1)
    return {
        "error": error if np.isfinite(error) else None,
        "error.primitive": worst[0].primitive if worst else "",
        "error.place": str(worst[0].place) if worst else "",
    }


# -- Bounds under a logarithm ----------------------------------------------------------


def clipped(problem: Problem) -> list[dict[str, Any]] | None:
    """Each logarithm of a bounded value, with the share of entries beyond the bound."""
    r = read(problem)
    logs = [
        (node, bounds)
        for node in r.graph.nodes
        if node.primitive in ("log", "log1p") and node.outputs[0].id in r.params
        for bounds in [bounds_below(r, node)]
        if bounds
    ]
    if not logs:
        return None
    found = []
    for node, bounds in logs:
        beyond = [b for b in (outside(r, n) for n in bounds) if b is not None]
        if beyond:
            share = float(np.mean(np.any(np.broadcast_arrays(*beyond), axis=0)))
            found.append({"place": where(node), "share": share})
    return found or None


def bounds_below(r: Reading, node: Node) -> list[Node]:
    """The `max`, `min` and `clamp` that the operand of a logarithm comes from."""
    value, found = node.inputs[0], []
    for _ in range(4):
        behind = r.graph.maker.get(r.graph.origin(value, MOVES).id)
        if behind is None or behind.primitive not in BOUNDS:
            break
        moving = moving_side(r, behind)
        if moving is None:
            break
        found.append(behind)
        value = moving
    return found


def moving_side(r: Reading, node: Node) -> Value | None:
    """The only operand of a bound that depends on the parameters."""
    sides = [v for v in node.inputs if v.id in r.params]
    return sides[0] if len(sides) == 1 else None


def outside(r: Reading, node: Node) -> np.ndarray | None:
    """Which entries a bound has changed."""
    moving = moving_side(r, node)
    before = None if moving is None else r.value(moving)
    after = r.value(node.outputs[0])
    if before is None or after is None or before.shape != after.shape:
        return None
    return before != after


# -- Formats and scales ----------------------------------------------------------------


def narrow(problem: Problem) -> list[dict[str, Any]]:
    """The parameter arrays of fewer digits than float32."""
    params = pytree.trainable(problem.model).params
    leaves = zip(pytree.paths(params), jax.tree.leaves(params), strict=True)
    return [
        {"path": path, "dtype": leaf.dtype.name, "size": int(leaf.size)}
        for path, leaf in leaves
        if is_narrow(leaf)
    ]


def scaled_twice(problem: Problem) -> dict[str, Any] | None:
    """The largest input, and the share of inputs that are n/255² with whole n ≤ 255."""
    batch = problem.data if is_arrays(problem.data) else first_batch(problem, 256)
    inputs, _ = split(problem, batch)
    if not hasattr(inputs, "dtype") or not jnp.issubdtype(inputs.dtype, jnp.floating):
        return None
    x = np.asarray(inputs[:256], np.float64).ravel()
    x = x[np.isfinite(x)]
    levels = x * PIXELS**2
    whole = np.abs(levels - np.round(levels)) < NEAR * np.maximum(levels, 1)
    pixels = whole & (levels >= 0) & (levels <= PIXELS * (1 + NEAR))
    return {
        "largest": float(np.abs(x).max(initial=0.0)),
        "share": float(pixels.mean()) if x.size else 0.0,
        "levels": int(np.unique(np.round(levels[pixels])).size),
    }
