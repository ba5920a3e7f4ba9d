"""Programs of a few lines on a few numbers, for measurements that train nothing."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from steepest import Problem, Record
from steepest.checkup.preflight import data, initial, program, reading
from steepest.problems import FAULTS, Spec
from steepest.problems.spec import build


def weights(*shapes: tuple[int, ...], seed: int = 0) -> list[Any]:
    """Arrays of variance 2/fan-in."""
    rng = np.random.default_rng(seed)
    drawn = [rng.standard_normal(s) * np.sqrt(2 / np.prod(s[:-1])) for s in shapes]
    return [jnp.asarray(w, jnp.float32) for w in drawn]


def classes(n: int = 60, dim: int = 4, k: int = 3, seed: int = 0) -> Any:
    """Standard normal inputs and labels that follow from them."""
    x = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return x, (np.abs(x[:, :k]).argmax(axis=1)).astype(np.int32)


def numbers(n: int = 60, dim: int = 4, seed: int = 0) -> Any:
    """Standard normal inputs and a target of both signs."""
    x = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return x, np.sin(x[:, 0]) + x[:, 1]


def cross_entropy(logits: Any, y: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def squared(outputs: Any, y: Any) -> Any:
    return jnp.mean((outputs[:, 0] - y) ** 2)


def classifier(
    params: Any, apply: Callable[..., Any], data: Any = None, **more: Any
) -> Problem:
    """`apply(params, x)` gives logits."""

    def loss(params: Any, batch: Any) -> Any:
        return cross_entropy(apply(params, batch[0]), batch[1])

    return Problem(params, loss, data or classes(), predict=apply, **more)


def regression(params: Any, apply: Callable[..., Any], **more: Any) -> Problem:
    """`apply(params, x)` gives one column."""

    def loss(params: Any, batch: Any) -> Any:
        return squared(apply(params, batch[0]), batch[1])

    return Problem(params, loss, numbers(), predict=apply, **more)


def net(params: Any, x: Any) -> Any:
    """ReLU layers without biases."""
    for w in params[:-1]:
        x = jax.nn.relu(x @ w)
    return x @ params[-1]


def by_loss(loss: Callable[..., Any], params: Any = None, **more: Any) -> Problem:
    """A net of 4, 8, 3 units under a loss `(params, (x, y))` of the test's own."""
    params = weights((4, 8), (8, 3)) if params is None else params
    return Problem(params, loss, more.pop("data", classes()), **more)


def facts(problem: Problem) -> dict[str, Any]:
    """What pre-flight reads from a program; empty lists where all is well."""
    r = reading.read(problem)
    return {name: fact(problem, r) for name, fact in program.FACTS.items()}


def seen(problem: Problem) -> dict[str, Any]:
    """Those of the facts that are not empty."""
    return {name: fact for name, fact in facts(problem).items() if fact}


# -- Planted faults and their twins ------------------------------------------------------

BASES = {
    "moons": Spec("moons", hidden=(8, 8)),
    "wine": Spec("wine", hidden=(8,)),
    "regression": Spec("regression", hidden=(8, 8)),
}
MEASURES = {"DAT": data, "PRG": program, "INI": initial, "NUM": program}


@lru_cache
def planted(base: str, fault: str, family: str) -> Record:
    """The measurements before training that a family of rules reads.

    Without a fault it is the healthy twin.
    """
    spec = FAULTS[fault].plant(BASES[base]) if fault else BASES[base]
    case = build(spec)
    record = Record()
    data.measure(case.problem, case.recipe, record)
    if MEASURES[family] is not data:
        MEASURES[family].measure(case.problem, case.recipe, record)
    return record
