"""How near the program is to the ends of its numbers: facts `numerics.*`.

Measured on the real data, with the first parameters and again with the trained ones:

- `numerics.initial`, `numerics.final`: the operation with the least *headroom*, bits
  between its largest result and the end of the format, among those that make numbers
  larger; the relative error of the loss against the same program in float64, what
  rounding the inputs would cost by itself, and the operation to blame;
- `numerics.clipped`: where the logarithm is taken of a bounded value, the share of
  entries that lie beyond the bound, whose gradient is zero;
- `numerics.narrow`: parameter arrays in formats of fewer digits than float32;
- `numerics.scaled_twice`: inputs that look divided by 255 twice.
"""

import functools
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
from ...training.problem import first_batch, general_loss, is_arrays, split
from ..treatments import is_narrow
from ._note import note
from .reading import BOUNDS, Reading, batch_of, read, where


EXAMPLES = 64
NUDGES = 2  # runs with the inputs moved by a rounding
WORTH_BLAME = 1e-4  # relative error of the loss
UNDUE = 16  # times what rounding the inputs would cost
TINY = 1e-30
NEAR = 0.002  # of an integer, counts as one
PIXELS = 255


def measure(problem: Problem, recipe: Recipe, record: Record) -> None:
    """Write the facts that need no training."""
    record.facts["numerics.narrow"] = narrow(problem)
    note(record, "numerics.scaled_twice", lambda: scaled_twice(problem))


def measure_after(fitted: Any, problem: Problem, record: Record) -> None:
    """Write the facts of the first and of the trained model (a `Fitted`)."""
    trained = replace(problem, model=fitted.model, state=fitted.state)
    looked: dict[str, Any] = {}

    def look_at(program: Problem) -> dict[str, Any]:
        looked.setdefault("at", looker(problem))  # compiled once for both
        return looked["at"](program)

    note(record, "numerics.initial", lambda: look_at(problem))
    note(record, "numerics.final", lambda: look_at(trained))
    note(
        record,
        "numerics.clipped",
        lambda: clipped(trained),
        without="the loss takes no logarithm of a bounded value",
    )


# -- Headroom and digits ---------------------------------------------------------------


def looker(problem: Problem) -> Callable[[Problem], dict[str, Any]]:
    """A function of the problem with other parameters; see `look`."""
    loss, batch = general_loss(problem), batch_of(problem, EXAMPLES)
    taken = pytree.trainable(problem.model)

    def run(params: PyTree, rest: PyTree, state: PyTree) -> Any:
        model = taken.merge(params, rest)
        return loss(model, batch, jax.random.key(0), state)[0]

    program = jaxpr.trace(run, taken.params, taken.rest, problem.state)
    look = watched(program.closed)

    def at(other: Problem) -> dict[str, Any]:
        parts = (*taken.split(other.model), other.state)
        return look(jaxpr.trace(run, *parts).values)

    return at


def watched(closed: jaxpr.Closed) -> Callable[[list[Any]], dict[str, Any]]:
    """Run a program beside its shadow in float64, compiled once.

    Of its operations outside of loops, the one that comes nearest to the end of its
    format by making more of less: a constant near the end, as masks have it, makes
    nothing larger and does not count. Of its first output, the relative error, and the
    greatest relative change of the wide result when every input moves by half an ulp:
    an error of that size is the inputs' doing, not the program's.
    """
    from ...numerics.shadowing.errors import Pair, paired
    from ...numerics.shadowing.wide import run_wide, widened

    seen: list[jaxpr.Equation] = []

    def step(rooms: list[Any], equation: jaxpr.Equation, *operands: Any) -> list[Any]:
        natives = [x.native for x in operands]
        outs = equation.bind(*natives)
        wide = None
        if real(outs) and real(natives):
            wide = run_wide(equation, [x.wide for x in operands], natives, outs)
        wide = [widened(out) for out in outs] if wide is None else wide
        if real(outs):
            seen.append(equation)
            rooms.append(jnp.stack([room(outs), room(natives)]))
        return [Pair(n, w if real([n]) else n) for n, w in zip(outs, wide, strict=True)]

    @jax.jit
    def run(*values: Any) -> Any:
        rooms: list[Any] = []
        seen.clear()
        with jax.enable_x64(True):
            outs = jaxpr.evaluate(
                closed,
                [paired(v) for v in values],
                lift=paired,
                rules={},
                default=functools.partial(step, rooms),
            )
            table = jnp.stack(rooms) if rooms else jnp.full((1, 2), np.inf, np.float32)
            return outs[0].native, outs[0].wide, table

    def look(values: list[Any]) -> dict[str, Any]:
        native, wide, table = map(np.asarray, run(*values))
        near = nearest(seen, table)
        error = abs(float(native) - float(wide)) / max(abs(float(wide)), TINY)
        if not np.isfinite(error):
            return near | {"error": None, "error.primitive": "", "error.place": ""}
        moved = [float(run(*nudged(values, seed))[1]) for seed in range(NUDGES)]
        change = max(abs(m - float(wide)) for m in moved) / max(abs(float(wide)), TINY)
        blamed = "", ""
        if error > WORTH_BLAME and error > UNDUE * change:
            blamed = guilty(closed, values)
        return near | {
            "error": error,
            "error.of_inputs": change,
            "error.primitive": blamed[0],
            "error.place": blamed[1],
        }

    return look


def nearest(seen: list[jaxpr.Equation], table: np.ndarray) -> dict[str, Any]:
    """The operation of the least headroom among those that make numbers larger."""
    grown = np.where(table[:, 0] < table[:, 1] - 1, table[:, 0], np.inf)
    least = int(np.argmin(grown))
    if not np.isfinite(grown[least]):
        return {"bits": None, "bits.primitive": "", "bits.place": ""}
    return {
        "bits": float(grown[least]),
        "bits.primitive": seen[least].primitive,
        "bits.place": str(seen[least].place) if seen[least].place.file else "",
    }


def guilty(closed: jaxpr.Closed, values: list[Any]) -> tuple[str, str]:
    """The operation that the error of the first output is to blame on."""
    from ...numerics.shadowing.blame import blame
    from ...numerics.shadowing.operations import operations
    from ...numerics.shadowing.program import shadow_program

    rows = jax.jit(lambda *v: shadow_program(closed, list(v))[2])(*values)
    operation, _ = blame(operations(closed), np.asarray(rows), 0)
    place = operation.place
    return operation.primitive, str(place) if place.file else ""


def nudged(values: list[Any], seed: int) -> list[Any]:
    """Every floating-point number to its neighbour below or above, at random."""
    rng = np.random.default_rng(seed)

    def nudge(x: Any) -> Any:
        if not hasattr(x, "dtype") or not jnp.issubdtype(x.dtype, jnp.floating):
            return x
        way = jnp.asarray(rng.choice([-1.0, 1.0], np.shape(x)), x.dtype)
        return (x * (1 + way * jnp.finfo(x.dtype).eps)).astype(x.dtype)

    return [nudge(x) for x in values]


def real(values: Any) -> bool:
    """Whether an array among them holds floating-point numbers."""
    return any(
        hasattr(v, "dtype") and bool(jnp.issubdtype(v.dtype, jnp.floating))
        for v in values
    )


def room(values: Any) -> Any:
    """Bits between the largest finite magnitude among arrays and the format's end."""
    least = jnp.float32(np.inf)
    for v in values:
        if real([v]) and v.size:
            most = jnp.max(
                jnp.where(jnp.isfinite(v), jnp.abs(v), 0).astype(jnp.float32)
            )
            bits = jnp.finfo(v.dtype).maxexp - jnp.log2(most)
            least = jnp.minimum(least, bits.astype(jnp.float32))
    return least


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
