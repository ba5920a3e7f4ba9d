"""What the loss does, read from its program: facts `program.*`.

Each fact is a list of places with numbers, empty where all is well. A fact that cannot
be read from this program is missing, with the reason; that never stops the others.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ...core import pytree
from ...core.graph import MOVES, Graph, Node, Value
from ...training import Problem, Recipe, Record
from ...training.problem import general_loss, split, task_of
from . import reading
from .reading import AFFINE, BOUNDS, CUTS, Reading


Fact = list[dict[str, Any]]


def measure(problem: Problem, recipe: Recipe, record: Record) -> None:
    """Write the facts `program.*` into the record."""
    names = {f"program.{name}": fact for name, fact in FACTS.items()}
    try:
        r = reading.read(problem)
    except Exception as error:
        reason = f"the loss could not be read: {type(error).__name__}: {error}"
        record.missing.update(dict.fromkeys([*names, "program.batch_growth"], reason))
        return
    for name, fact in names.items():
        note(record, name, lambda fact=fact: fact(problem, r))
    without = "the first loss is zero or not a number"
    note(record, "program.batch_growth", lambda: batch_growth(problem), without)
    without = "it takes a regression with `predict`"
    note(record, "program.output_range", lambda: output_range(problem, r), without)
    record.facts["program.operations"] = len(r.graph.nodes)


def note(
    record: Record,
    name: str,
    measurement: Callable[[], Any],
    without: str = "this program has nothing to measure it on",
) -> None:
    """Write one fact, or why it is missing; `without` says so of a measured None."""
    try:
        value = measurement()
    except Exception as error:
        record.missing[name] = f"could not be measured: {type(error).__name__}: {error}"
        return
    if value is None:
        record.missing.setdefault(name, without)
    else:
        record.facts[name] = value


def where(node: Node) -> str:
    """The line of a node, as a report prints it."""
    return str(node.place) if node.place.file else ""


# -- Softmax -----------------------------------------------------------------------------


def one_unit_softmax(problem: Problem, r: Reading) -> Fact:
    """Softmaxes over an axis of length 1: constantly 1, without a gradient."""
    return [
        {"place": where(node)}
        for node in r.graph.nodes
        if node.primitive == "div"
        and node.outputs[0].id in r.params
        and reading.softmax_of(r, node.outputs[0]) is not None
        and reading.softmax_axis(r, node) == 1
    ]


def softmax_twice(problem: Problem, r: Reading) -> Fact:
    """Exponentials (of a softmax or log-softmax) whose operand is a softmax already."""
    found = []
    for node in r.graph.nodes:
        if node.primitive != "exp" or node.outputs[0].id not in r.params:
            continue
        behind = r.back(node.inputs[0])
        if behind is not None and behind.primitive == "sub":  # the maximum, taken out
            behind = r.back(behind.inputs[0])
        inner = None if behind is None else reading.softmax_of(r, behind.outputs[0])
        if inner is not None and summed_up(r, node):
            classes = reading.softmax_axis(r, inner)
            found.append(
                {"place": where(node), "inner": where(inner), "classes": classes}
            )
    return found


def summed_up(r: Reading, node: Node) -> bool:
    """Whether an exponential feeds a sum, as in a softmax, through moves alone."""
    queue = [node.outputs[0]]
    while queue:
        for user in r.graph.users.get(queue.pop().id, ()):
            if user.primitive == "reduce_sum":
                return True
            if user.primitive in MOVES:
                queue.append(user.outputs[0])
    return False


def log_of_softmax(problem: Problem, r: Reading) -> Fact:
    """Logarithms of what a softmax or a sigmoid made: its zero becomes −∞."""
    found = []
    for node in r.graph.nodes:
        if node.primitive not in ("log", "log1p") or node.outputs[0].id not in r.params:
            continue
        value, guarded = node.inputs[0], False
        for _ in range(6):
            value = r.graph.origin(value, MOVES)
            behind = r.graph.maker.get(value.id)
            if behind is None:
                break
            if reading.softmax_of(r, value) or behind.primitive == "logistic":
                kind = "softmax" if behind.primitive == "div" else "sigmoid"
                operand = r.value(node.inputs[0])
                least = _least(operand)
                found.append(
                    {
                        "place": where(node),
                        "of": kind,
                        "guarded": guarded,
                        "least": least,
                    }
                )
                break
            if behind.primitive in (*BOUNDS, "add", "sub", "neg"):
                # max(p, tiny) and p + tiny guard; 1 − p and −p do not.
                guarded |= behind.primitive in BOUNDS
                guarded |= behind.primitive == "add" and small_constant(r, behind)
                value = next((i for i in behind.inputs if i.id in r.params), value)
            else:
                break
    return found


def _least(value: np.ndarray | None) -> float:
    """The least number among the values; 0 where there is none, as after an overflow."""
    numbers = np.zeros(0) if value is None else value[~np.isnan(value)]
    return float(numbers.min()) if numbers.size else 0.0


def small_constant(r: Reading, node: Node) -> bool:
    """Whether one operand of an addition is a small positive constant."""
    sides = [r.value(i) for i in node.inputs if i.id not in r.params]
    return any(s is not None and s.size and 0 < float(np.max(s)) < 0.1 for s in sides)


def missing_softmax(problem: Problem, r: Reading) -> Fact:
    """Logarithms of an affine output, clipped or not: scores taken for probabilities."""
    found = []
    for node in r.graph.nodes:
        if node.primitive != "log" or node.outputs[0].id not in r.inputs & r.params:
            continue
        value = node.inputs[0]
        for _ in range(8):
            value = r.graph.origin(value, MOVES)
            behind = r.graph.maker.get(value.id)
            if behind is None:
                break
            if behind.primitive in AFFINE:
                raw = r.value(behind.outputs[0])
                outside = (
                    float(np.mean((raw <= 0) | (raw > 1))) if raw is not None else 1.0
                )
                found.append({"place": where(node), "outside": outside})
                break
            side = [i for i in behind.inputs if i.id in r.params]
            if behind.primitive not in (*BOUNDS, "add", "sub", "neg") or not side:
                break
            value = next((i for i in side if i.id in r.inputs), side[0])
    return found


# -- Targets ------------------------------------------------------------------------------


def broadcast(problem: Problem, r: Reading) -> Fact:
    """Differences of size batch × batch between a prediction and a target."""
    found = []
    for node, twin in zip(r.graph.nodes, r.larger.nodes, strict=False):
        shape, other = node.outputs[0].shape, twin.outputs[0].shape
        small, large = r.sizes
        if node.primitive != "sub" or shape.count(small) < 2:
            continue
        if other.count(large) < 2 and len(r.graph.nodes) == len(r.larger.nodes):
            continue
        a, b = node.inputs
        for prediction, target in ((a, b), (b, a)):
            plain = target.id in r.targets and target.id not in r.params | r.inputs
            if prediction.id in r.params and plain and len(shape) == 2:
                found.append(
                    {"place": where(node), "shape": list(shape), "batch": small}
                )
                break
    return found


def class_numbers(problem: Problem, r: Reading) -> Fact:
    """Differences between outputs and the numbers of classes."""
    if task_of(problem) != "classification":
        return []
    _, y = split(problem, reading.batch_of(problem, reading.SIZES[0]))
    if y is None or np.asarray(y).dtype.kind not in "iu" or np.asarray(y).ndim != 1:
        return []
    found = []
    for node in r.graph.nodes:
        if node.primitive != "sub" or node.outputs[0].id not in r.params:
            continue
        for prediction, target in (node.inputs, node.inputs[::-1]):
            source = r.graph.origin(target, MOVES)
            raw = source.id in {v.id for v in r.graph.inputs} and source.id in r.targets
            if not raw or prediction.id not in r.params:
                continue
            classes = int(np.asarray(y).max()) + 1
            units = node.outputs[0].shape[-1] if len(node.outputs[0].shape) > 1 else 1
            if classes > 2 or units > 1:
                found.append({"place": where(node), "classes": classes, "units": units})
    return found


# -- Gradients and layers -------------------------------------------------------------------


def without_gradient(problem: Problem, r: Reading) -> Fact:
    """Parameters that the loss does not depend on through anything differentiable.

    A function may bring a derivative of its own (a straight-through rounding), so what
    the program seems to cut must also have a gradient of exactly zero.
    """
    frozen = tuple(problem.notes.get("frozen", ()))
    ends = {v.id for v in r.graph.outputs}
    alive = set(ends)
    for node in reversed(r.graph.nodes):
        if node.primitive not in CUTS and any(v.id in alive for v in node.outputs):
            alive.update(v.id for v in node.inputs if _differentiable(v))
    found = []
    for leaf, path in zip(r.leaves, r.paths, strict=True):
        if leaf.id in alive or any(_within(path, f) for f in frozen):
            continue
        cut = [n for n in r.graph.nodes if n.primitive in CUTS and leaf.id in _ids(n)]
        kind = (
            cut[0].primitive
            if cut
            else ("unused" if leaf.id not in r.graph.users else "cut")
        )
        place = where(cut[0]) if cut else ""
        found.append({"path": path, "by": kind, "place": place, "size": leaf.size})
    if not found:
        return found
    moved = _has_gradient(problem)
    return [f for f in found if f["path"] not in moved]


def _within(path: str, parent: str) -> bool:
    """Whether a parameter's path is `parent` or lies inside of it."""
    return path == parent or path.startswith((f"{parent}.", f"{parent}["))


def _has_gradient(problem: Problem) -> set[str]:
    """Paths of the parameters whose gradient on a small batch is not zero."""
    taken = pytree.trainable(problem.model)
    loss = general_loss(problem)
    batch = reading.batch_of(problem, reading.SIZES[0])

    @jax.jit
    @jax.grad
    def gradient(params: Any) -> Any:
        model = taken.merge(params, taken.rest)
        return loss(model, batch, jax.random.key(0), problem.state)[0]

    leaves = jax.tree.leaves(gradient(taken.params))
    pairs = zip(pytree.paths(taken.params), leaves, strict=True)
    return {path for path, g in pairs if np.asarray(g).any()}


def _ids(node: Node) -> set[int]:
    return {v.id for v in node.inputs}


def _differentiable(value: Value) -> bool:
    return value.dtype is not None and jax.numpy.issubdtype(
        value.dtype, jax.numpy.inexact
    )


def linear_stack(problem: Problem, r: Reading) -> Fact:
    """Affine maps that feed one another with nothing between them.

    Both have weights of their own. A bottleneck (a map to fewer units than both its
    ends have) and a convolution by channel before one by pixel are factorisations that
    someone meant, and are left out.
    """
    found = []
    for node in r.graph.nodes:
        if node.primitive not in AFFINE or not _weighted(r, node):
            continue
        data = _data_side(r, node)
        value = data
        for _ in range(12):
            value = r.graph.origin(value, MOVES)
            behind = r.graph.maker.get(value.id)
            if behind is None or len(_real_users(r.graph, value)) > 1:
                break
            if behind.primitive in AFFINE:
                factors = _bottleneck(r, behind, node) or _by_channel(behind, node)
                if _weighted(r, behind) and not factors:
                    found.append({"place": where(node), "first": where(behind)})
                break
            side = [i for i in behind.inputs if i.id in r.inputs]
            if behind.primitive != "add" or len(side) != 1:
                break
            value = side[0]
    return found


def _weighted(r: Reading, node: Node) -> bool:
    """One operand is parameters alone, the other depends on the inputs."""
    a, b = node.inputs[:2]
    pure = [v.id in r.params and v.id not in r.inputs for v in (a, b)]
    return sum(pure) == 1 and any(v.id in r.inputs for v in (a, b))


def _data_side(r: Reading, node: Node) -> Value:
    a, b = node.inputs[:2]
    return a if a.id in r.inputs else b


def _real_users(g: Graph, value: Value) -> list[Node]:
    return g.users.get(value.id, [])


def _bottleneck(r: Reading, first: Node, second: Node) -> bool:
    inner = first.outputs[0].size
    return inner < _data_side(r, first).size and inner < second.outputs[0].size


def _by_channel(*nodes: Node) -> bool:
    """Whether one of the maps is a grouped convolution, as in a separable one."""
    return any(n.equation.params.get("feature_group_count", 1) > 1 for n in nodes)


# -- Numbers ----------------------------------------------------------------------------------


def batch_growth(problem: Problem) -> float | None:
    """loss(batch twice) / loss(batch): 1 for a mean, 2 for a sum."""
    taken = pytree.trainable(problem.model)
    loss = general_loss(problem)
    batch = reading.batch_of(problem, reading.SIZES[0])
    twice = jax.tree.map(lambda a: jax.numpy.concatenate([a, a]), batch)

    @jax.jit
    def run(params: Any, rest: Any, batch: Any, twice: Any) -> Any:
        model, key = taken.merge(params, rest), jax.random.key(0)
        losses = [loss(model, b, key, problem.state)[0] for b in (batch, twice)]
        return jax.numpy.stack(losses)

    once, both = np.asarray(run(taken.params, taken.rest, batch, twice), float)
    if not np.isfinite(once) or abs(once) < 1e-12:
        return None
    return float(both / once)


def output_range(problem: Problem, r: Reading) -> dict[str, Any] | None:
    """The range of the last operation of `predict`, and that of the targets."""
    if task_of(problem) != "regression":
        return None
    g = reading.read_predict(problem)
    if g is None:
        return None
    value = g.origin(g.outputs[0], MOVES)
    node = g.maker.get(value.id)
    if node is None:
        return None
    _, y = split(problem, reading.batch_of(problem, 512))
    y = np.asarray(y, np.float64)
    low, high = RANGES.get(node.primitive, (-np.inf, np.inf))
    if node.primitive == "max":
        constants = [i.constant for i in node.inputs if i.constant is not None]
        low = float(np.max(constants[0])) if constants else -np.inf
    outside = float(np.mean((y < low) | (y > high)))
    return {
        "operation": {"max": "ReLU", "logistic": "sigmoid"}.get(
            node.primitive, node.primitive
        ),
        "low": float(low) if np.isfinite(low) else None,
        "high": float(high) if np.isfinite(high) else None,
        "outside": outside,
        "target": [float(y.min()), float(y.max())],
        "place": where(node),
    }


RANGES = {
    "logistic": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "exp": (0.0, np.inf),
    "abs": (0.0, np.inf),
    "square": (0.0, np.inf),
    "sqrt": (0.0, np.inf),
}

FACTS: dict[str, Callable[[Problem, Reading], Fact]] = {
    "one_unit_softmax": one_unit_softmax,
    "softmax_twice": softmax_twice,
    "log_of_softmax": log_of_softmax,
    "missing_softmax": missing_softmax,
    "broadcast": broadcast,
    "class_numbers": class_numbers,
    "without_gradient": without_gradient,
    "linear_stack": linear_stack,
}
