"""Healthy programs that look ill: what a check-up must keep silent about.

Each is sound, learns what there is to learn, and has one feature that is easily taken
for a fault: a gradient that is zero on purpose, a loss with a floor above zero, a step
size at the edge of stability. `CONTROLS` at the bottom is the whole list.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from .. import data as sets
from ..training import Aux, Problem, Recipe
from . import programs
from .faults import rare_class
from .programs import cross_entropy
from .spec import Case, Spec, build


def spec(about: str, change: Spec, **recipe: Any) -> Callable[[], Case]:
    """A control that is a spec, with some fields of its recipe replaced."""

    def make() -> Case:
        case = build(change)
        return case._replace(recipe=replace(case.recipe, **recipe), about=about)

    return make


def moons(
    about: str, params: PyTree, apply: Callable[..., Array], **recipe: Any
) -> Case:
    """A control on two moons: a forward function of bare parameters."""
    train, held = sets.stratified(sets.moons(500, noise=0.15), 0.2)
    problem = classifier(params, apply, train.arrays, held.arrays)
    chosen: dict[str, Any] = {"learning_rate": 5e-3, "epochs": 50} | recipe
    return Case(problem, Recipe(**chosen), "", about)


def classifier(
    params: PyTree, apply: Callable[..., Array], train: Any, held: Any, **more: Any
) -> Problem:
    """The cross-entropy of a forward function that gives logits."""

    def loss(params: PyTree, batch: tuple[Array, Array], key: Any) -> Array:
        x, y = batch
        return optax.softmax_cross_entropy_with_integer_labels(
            apply(params, x), y
        ).mean()

    return Problem(params, loss, train, held, predict=apply, **more)


def draw(key: Any, *shape: int) -> Array:
    """Weights of variance 2/fan-in."""
    return jax.random.normal(key, shape) * jnp.sqrt(2 / shape[0])


def keys(n: int) -> Array:
    """Random keys, always the same."""
    return jax.random.split(jax.random.key(0), n)


# -- Gradients that are zero on purpose --------------------------------------------------


def zero_residual() -> Case:
    a, b, c, d = keys(4)
    params = {
        "embed": draw(a, 2, 32),
        "inner": [draw(b, 32, 32), draw(c, 32, 32)],
        "outer": [jnp.zeros((32, 32)), jnp.zeros((32, 32))],  # branches start as x
        "head": draw(d, 32, 2) / 2,
    }

    def apply(params: PyTree, x: Array) -> Array:
        h = x @ params["embed"]
        for inner, outer in zip(params["inner"], params["outer"], strict=True):
            h = h + jax.nn.relu(h @ inner) @ outer
        return h @ params["head"]

    return moons("residual branches that end in zeros", params, apply)


def frozen() -> Case:
    a, b = keys(2)
    params = {"features": draw(a, 2, 128) * 2, "head": draw(b, 128, 2) / 2}

    def apply(params: PyTree, x: Array) -> Array:
        return jax.nn.relu(x @ params["features"] + 0.0) @ params["head"]

    labels = {"features": "frozen", "head": "trained"}
    optimizer = optax.partition(
        {"frozen": optax.set_to_zero(), "trained": optax.adam(5e-3)}, labels
    )
    return moons(
        "random features, frozen by the optimiser", params, apply, optimizer=optimizer
    )


def embedding() -> Case:
    """Tokens of which most never occur: their rows never get a gradient."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 40, (600, 6)).astype(np.int32)
    labels = ((tokens % 2).sum(axis=1) > 3).astype(np.int32)
    a, b = keys(2)
    params = {
        "table": 0.5 * jax.random.normal(a, (200, 16)),
        "weight": draw(b, 16, 2),
        "bias": jnp.zeros(2),
    }

    def apply(params: PyTree, x: Array) -> Array:
        h = params["table"][x].mean(axis=1)
        return jnp.tanh(h) @ params["weight"] + params["bias"][None]

    train, held = (tokens[:500], labels[:500]), (tokens[500:], labels[500:])
    problem = classifier(params, apply, train, held, name="tokens")
    recipe = Recipe(learning_rate=1e-2, epochs=40)
    return Case(problem, recipe, "", "embedding rows that are never looked up")


def double_where() -> Case:
    a, b, c = keys(3)
    params = [draw(a, 3, 32), draw(b, 32, 32), draw(c, 32, 2) / 2]

    def apply(params: PyTree, x: Array) -> Array:
        square = jnp.sum(jnp.maximum(x, 0) ** 2, axis=-1, keepdims=True)
        safe = jnp.where(square > 0, square, 1.0)
        length = jnp.where(square > 0, jnp.sqrt(safe), 0.0)
        h = jnp.concatenate([x, length], axis=-1)
        for W in params[:-1]:
            h = jax.nn.relu(h @ W)
        return h @ params[-1]

    return moons("a root that is guarded on both sides of a where", params, apply)


# -- Structures that resemble faults -----------------------------------------------------


def tied() -> Case:
    a, b = keys(2)
    params = {"weight": draw(a, 2, 48), "head": draw(b, 2, 2) / 2}

    def apply(params: PyTree, x: Array) -> Array:
        code = jax.nn.relu(x @ params["weight"] + 0.1)
        return jnp.tanh(code @ params["weight"].T / 8) @ params["head"]

    return moons("one matrix used twice, forth and back", params, apply)


def bottleneck() -> Case:
    a, b, c, d = keys(4)
    params = [draw(a, 2, 48), draw(b, 48, 8), draw(c, 8, 48) * 2, draw(d, 48, 2) / 2]

    def apply(params: PyTree, x: Array) -> Array:
        h = jax.nn.relu(x @ params[0])
        h = jax.nn.relu(h @ params[1] @ params[2])  # rank 8, on purpose
        return h @ params[3]

    return moons("a matrix of low rank, as a product of two", params, apply)


def attention() -> Case:
    """Softmax, product, softmax: not a softmax twice."""
    dataset = sets.load("digits")
    train, held = sets.stratified(
        replace(dataset, inputs=dataset.inputs.reshape(-1, 8, 8) / 16), 0.2
    )
    q, k, v, m, o = keys(5)
    params = {
        "query": draw(q, 8, 16) / 1.4,
        "key": draw(k, 8, 16) / 1.4,
        "value": draw(v, 8, 16),
        "mixed": draw(m, 8, 16),
        "out": draw(o, 128, 10) / 1.4,
    }

    def apply(params: PyTree, x: Array) -> Array:
        scores = jnp.einsum("nid,njd->nij", x @ params["query"], x @ params["key"])
        h = x @ params["value"] + jax.nn.softmax(scores / 4) @ (x @ params["mixed"])
        return jax.nn.relu(h).reshape(len(x), -1) @ params["out"]

    problem = classifier(
        params, apply, train.arrays, held.arrays, name="digits/attention"
    )
    return Case(
        problem, Recipe(learning_rate=1e-2, epochs=30), "", "softmax in attention"
    )


def batch_norm() -> Case:
    """Statistics as state: training and evaluation mode differ."""
    a, b, c = keys(3)
    params = {
        "first": draw(a, 2, 32),
        "scale": jnp.ones(32),
        "shift": jnp.zeros(32),
        "second": draw(b, 32, 32),
        "head": draw(c, 32, 2) / 2,
    }
    train, held = sets.stratified(sets.moons(500, noise=0.15), 0.2)
    start = {"mean": jnp.zeros(32), "var": jnp.ones(32)}

    def forward(params: PyTree, x: Array, mean: Array, var: Array) -> Array:
        z = (x @ params["first"] - mean) / jnp.sqrt(var + 1e-5)
        h = jax.nn.relu(z * params["scale"][None] + params["shift"][None])
        return jax.nn.relu(h @ params["second"]) @ params["head"]

    def loss(params: PyTree, batch: tuple[Array, Array], key: Any, state: Any) -> Any:
        x, y = batch
        z = x @ params["first"]
        mean, var = z.mean(axis=0), z.var(axis=0)
        logits = forward(params, x, mean[None], var[None])
        new = {
            "mean": 0.9 * state["mean"] + 0.1 * mean,
            "var": 0.9 * state["var"] + 0.1 * var,
        }
        value = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return value, Aux(jax.tree.map(jax.lax.stop_gradient, new))

    def predict(params: PyTree, x: Array, state: Any) -> Array:
        return forward(params, x, state["mean"][None], state["var"][None])

    def evaluate(params: PyTree, batch: tuple[Array, Array], state: Any) -> Array:
        x, y = batch
        logits = predict(params, x, state)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    problem = Problem(
        params,
        loss,
        train.arrays,
        held.arrays,
        predict=predict,
        evaluate=evaluate,
        state=start,
        name="moons/batch-norm",
    )
    recipe = Recipe(learning_rate=5e-3, epochs=50)
    return Case(problem, recipe, "", "batch normalisation")


# -- Losses with a floor, or with weights -------------------------------------------------


def smoothed(model: Any, batch: tuple[Array, Array], key: Any) -> Array:
    """Cross-entropy against smoothed labels: its least value is not zero."""
    x, y = batch
    logits = model(x)
    targets = optax.smooth_labels(jax.nn.one_hot(y, logits.shape[-1]), 0.1)
    return optax.softmax_cross_entropy(logits, targets).mean()


def dropped(model: Any, batch: tuple[Array, Array], key: Any) -> Array:
    """Dropout on the inputs of the last layer: training is harder than evaluation."""
    x, y = batch
    keep = jax.random.bernoulli(key, 0.8, x.shape)
    x = jnp.where(keep, x / 0.8, 0.0)
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


def without_dropout(model: Any, batch: tuple[Array, Array]) -> Array:
    """The same in evaluation mode."""
    return cross_entropy(model, batch, None)


def weighted(model: Any, batch: tuple[Array, Array], key: Any) -> Array:
    """Cross-entropy with the rare class weighted up."""
    x, y = batch
    weight = jnp.where(y == 0, 10.0, 1.0)
    each = optax.softmax_cross_entropy_with_integer_labels(model(x), y)
    return jnp.sum(weight * each) / jnp.sum(weight)


def penalised(model: Any, batch: tuple[Array, Array], key: Any) -> Array:
    """Cross-entropy with weight decay as a term of the loss."""
    decay = sum(jnp.sum(W**2) for W in model.weights)
    return cross_entropy(model, batch, key) + 1e-4 * decay


def dropout() -> Case:
    case = build(Spec(loss=dropped, learning_rate=2e-3))
    problem = replace(case.problem, evaluate=without_dropout)
    return case._replace(problem=problem, about="dropout on the inputs")


def progressive() -> Case:
    """A net whose sharpness climbs to 2/η and hovers there while its loss falls.

    Cohen et al. (2021), §2: a Chebyshev polynomial of degree 3 at 20 points.
    """
    x = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    y = 4 * x[:, 0] ** 3 - 3 * x[:, 0]
    model = programs.mlp([1, 20, 20, 1], "tanh", jax.random.key(0))

    def half_squared_error(model: Any, batch: tuple[Array, Array], key: Any) -> Array:
        x, y = batch
        return jnp.mean((model(x)[:, 0] - y) ** 2) / 2

    problem = Problem(
        model,
        half_squared_error,
        (x, y),
        predict=programs.predict,
        name="chebyshev/mlp",
    )
    recipe = Recipe(optimizer="sgd", learning_rate=0.2, batch_size=20, steps=3000)
    return Case(problem, recipe, "", "full-batch descent whose sharpness climbs to 2/η")


def class_weights() -> Case:
    planted = rare_class(Spec("breast-cancer", hidden=(16,), learning_rate=2e-3))
    notes = {"class_weights": True}
    return build(replace(planted, loss=weighted, notes=notes))._replace(
        about="an imbalance that the loss makes good"
    )


CONTROLS: dict[str, Callable[[], Case]] = {
    "zero-residual": zero_residual,
    "frozen": frozen,
    "embedding": embedding,
    "double-where": double_where,
    "tied": tied,
    "bottleneck": bottleneck,
    "attention": attention,
    "batch-norm": batch_norm,
    "dropout": dropout,
    "class-weights": class_weights,
    "label-smoothing": spec("smoothed labels", Spec(loss=smoothed)),
    "weight-penalty": spec("a penalty in the loss", Spec(loss=penalised)),
    "large-rate": spec(
        "a learning rate of 0.5, which plain gradient descent takes well",
        Spec("moons", hidden=(32, 32), epochs=60, optimizer="sgd", learning_rate=0.5),
    ),
    "edge-of-stability": spec(
        "full-batch descent at step size × sharpness = 2",
        Spec(
            hidden=(32,),
            activation="tanh",
            optimizer="sgd",
            learning_rate=0.8,
            batch_size=1437,
            epochs=600,
        ),
    ),
    "progressive-sharpening": progressive,
    "warm-up": spec(
        "a long warm-up and a cosine",
        Spec("moons", hidden=(32, 32), epochs=60),
        learning_rate=1e-2,
        warmup=200,
        schedule="cosine",
    ),
    "clipping": spec(
        "a gradient norm that is clipped now and then",
        Spec("wine", hidden=(16,), epochs=60, batch_size=16, learning_rate=3e-3),
        clip_norm=2.0,
    ),
    "batch-of-one": spec(
        "one example an update",
        Spec("regression", hidden=(32,), epochs=6, batch_size=1, learning_rate=1e-3),
    ),
    "linear": spec(
        "logistic regression that starts at zero",
        Spec(
            "breast-cancer",
            hidden=(),
            epochs=40,
            learning_rate=1e-2,
            change_model=lambda m, key: jax.tree.map(jnp.zeros_like, m),
        ),
    ),
    "deep-tanh": spec(
        "six tanh layers", Spec(hidden=(48,) * 6, activation="tanh", epochs=15)
    ),
}
