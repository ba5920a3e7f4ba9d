"""The loss as a graph, with the values at its nodes and what each depends on.

The loss is traced on batches of two sizes, both prime, so that an axis that is the batch
can be told from one that happens to be as long. Values are those of the smaller batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from ...core import jaxpr, pytree
from ...core.graph import MOVES, Graph, Node, Value, graph
from ...training import Problem
from ...training.batches import examples_in
from ...training.problem import first_batch, general_loss, is_arrays, predictor, split


SIZES = (23, 29)
AFFINE = ("dot_general", "conv_general_dilated")
#: Steps over which a value is still "the same quantity": moved, shifted, bounded.
BOUNDS = ("clamp", "max", "min")
CUTS = (
    "stop_gradient",
    "floor",
    "ceil",
    "round",
    "sign",
    "argmax",
    "argmin",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "is_finite",
)


#: Places with numbers, empty where all is well.
Fact = list[dict[str, Any]]


@dataclass(frozen=True)
class Reading:
    """A traced loss, ready for pattern matching."""

    graph: Graph
    larger: Graph  # the same at the larger batch
    sizes: tuple[int, int]  # examples in the two batches
    run: Callable[[], dict[int, np.ndarray]]  # computes `values`
    params: frozenset[int]  # ids of values that depend on parameters
    inputs: frozenset[int]  # ... on the batch's inputs
    targets: frozenset[int]  # ... on its targets
    leaves: tuple[Value, ...]  # the parameters
    paths: tuple[str, ...]  # their names

    @cached_property
    def values(self) -> dict[int, np.ndarray]:
        """Value id -> what it was on the smaller batch; computed when first asked for."""
        return self.run()

    def value(self, v: Value) -> np.ndarray | None:
        """What a value was, if it is a plain array."""
        return self.values.get(v.id) if v.constant is None else np.asarray(v.constant)

    def back(self, v: Value, through: tuple[str, ...] = MOVES) -> Node | None:
        """The node that made a value, seen through what only moves it."""
        return self.graph.maker.get(self.graph.origin(v, through).id)


def objective(
    problem: Problem,
) -> tuple[PyTree, Callable[[PyTree, PyTree], Any]]:
    """The first parameters, and the loss as a function of parameters and batch."""
    taken, loss = pytree.trainable(problem.model), general_loss(problem)

    def run(params: PyTree, batch: PyTree) -> Any:
        model = taken.merge(params, taken.rest)
        return loss(model, batch, jax.random.key(0), problem.state)[0]

    return taken.params, run


def read(problem: Problem) -> Reading:
    """Trace the loss; what its values were is computed only if somebody asks."""
    params, run = objective(problem)
    large = batch_of(problem, SIZES[1])
    most = examples_in(large)  # an iterable's batch may be smaller
    small = batch_of(problem, SIZES[0] if most == SIZES[1] else max(1, most - 3))
    program = jaxpr.trace(run, params, small)
    g = graph(program.closed)
    larger = graph(jaxpr.trace(run, params, large).closed)
    args = jax.tree.leaves((params, small))
    count = len(jax.tree.leaves(params))
    x, y = split(problem, small)
    batch_ids = [id(leaf) for leaf in jax.tree.leaves(small)]

    def members(tree: Any) -> list[Value]:
        wanted = {id(leaf) for leaf in jax.tree.leaves(tree)}
        return [g.inputs[count + i] for i, b in enumerate(batch_ids) if b in wanted]

    return Reading(
        graph=g,
        larger=larger,
        sizes=(examples_in(small), most),
        run=lambda: values_at(program.closed, args, g),
        params=reach(g, g.inputs[:count]),
        inputs=reach(g, members(x)),
        targets=reach(g, members(y)),
        leaves=g.inputs[:count],
        paths=pytree.paths(params),
    )


def read_predict(problem: Problem) -> Graph | None:
    """The graph of `predict` on a small batch, if there is one."""
    predict = predictor(problem)
    if predict is None:
        return None
    taken = pytree.trainable(problem.model)
    x, _ = split(problem, batch_of(problem, SIZES[0]))

    def run(params: PyTree, x: Any) -> Any:
        return predict(taken.merge(params, taken.rest), x, problem.state)

    return graph(jaxpr.trace(run, taken.params, x).closed)


def batch_of(problem: Problem, size: int) -> PyTree:
    """`size` examples spread over the data, so that sorted data show all classes."""
    if not is_arrays(problem.data):
        batch = first_batch(problem, size)
        return jax.tree.map(lambda a: a[: min(size, examples_in(batch))], batch)
    n = examples_in(problem.data)
    chosen = np.linspace(0, n - 1, size).astype(int)
    return jax.tree.map(lambda a: jax.numpy.asarray(a[chosen]), problem.data)


def values_at(closed: Any, args: list[Any], g: Graph) -> dict[int, np.ndarray]:
    """Run the program once, compiled whole, and keep what every node makes."""
    ids = [v.id for node in g.nodes for v in node.outputs]

    @jax.jit
    def run(*args: Any) -> list[Any]:
        made: list[Any] = []

        def keep(equation: jaxpr.Equation, *values: Any) -> list[Any]:
            outs = equation.bind(*values)
            made.extend(outs)
            return outs

        jaxpr.evaluate(closed, args, lift=lambda c: c, rules={}, default=keep)
        return made

    pairs = [
        *zip((v.id for v in g.inputs), args, strict=True),
        *zip(ids, run(*args), strict=True),
    ]
    return {
        id: np.asarray(array)
        for id, array in pairs
        if not jax.dtypes.issubdtype(array.dtype, jax.dtypes.extended)
    }


def reach(
    g: Graph, start: Any, passes: Callable[[Node], bool] = lambda n: True
) -> frozenset[int]:
    """Ids of the values that depend on any of `start`."""
    found = {value.id for value in start}
    for node in g.nodes:
        if passes(node) and any(v.id in found for v in node.inputs):
            found.update(v.id for v in node.outputs)
    return frozenset(found)


def softmax_of(r: Reading, v: Value) -> Node | None:
    """The operation that made `v` a softmax over an axis, or None.

    exp(z) / Σ exp(z) or exp(z − log Σ exp(z)), whoever wrote it, and with the maximum
    taken out or not.
    """
    node = r.back(v)
    if node is None or sum_below(r, node) is None:
        return None
    if node.primitive == "exp":
        return node
    top, total = r.back(node.inputs[0]), sum_below(r, node)
    under = r.back(total.inputs[0]) if total is not None else None
    if top is None or under is None or {top.primitive, under.primitive} != {"exp"}:
        return None
    z, other = (r.graph.origin(n.inputs[0], MOVES) for n in (top, under))
    return node if z.id == other.id else None


def sum_below(r: Reading, node: Node) -> Node | None:
    """The sum that a softmax divides by, in either form; None if there is none."""
    if node.primitive == "div":
        total = r.back(node.inputs[1])
    elif node.primitive == "exp":
        behind = r.back(node.inputs[0])
        if behind is None or behind.primitive != "sub":
            return None
        total = log_sum(r, behind.inputs[1])
    else:
        return None
    return total if total is not None and total.primitive == "reduce_sum" else None


def log_sum(r: Reading, v: Value) -> Node | None:
    """The Σ exp behind log Σ exp, with the maximum added back or not."""
    node = r.back(v)
    if node is not None and node.primitive == "add":
        sides = [r.back(i) for i in node.inputs]
        node = next((n for n in sides if n is not None and n.primitive == "log"), None)
    if node is None or node.primitive != "log":
        return None
    total = r.back(node.inputs[0], (*MOVES, "abs"))
    if total is None or total.primitive != "reduce_sum":
        return None
    terms = r.back(total.inputs[0])
    return total if terms is not None and terms.primitive == "exp" else None


def softmax_axis(r: Reading, node: Node) -> int:
    """How many terms the softmax sums over."""
    below = sum_below(r, node)
    assert below is not None
    shape, axes = below.inputs[0].shape, below.equation.params["axes"]
    return int(np.prod([shape[a] for a in axes]))


def where(node: Node) -> str:
    """The line of a node, as a report prints it."""
    return str(node.place) if node.place.file else ""
