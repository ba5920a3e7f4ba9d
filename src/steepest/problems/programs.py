"""Training programs as people write them: losses, heads and models.

These stand for users' code, the good and the bad, and a report points into them by line
as it would into a user's file. The bad ones are marked; none of them raises an error.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..nn import CNN, MLP


Batch = tuple[Array, Array]


# -- Losses on logits --------------------------------------------------------------------


def cross_entropy(model: Any, batch: Batch, key: Any) -> Array:
    """Healthy: cross-entropy from logits."""
    x, y = batch
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


def summed_cross_entropy(model: Any, batch: Batch, key: Any) -> Array:
    """Sick: the sum over the batch instead of the mean."""
    x, y = batch
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).sum()


def log_of_softmax(model: Any, batch: Batch, key: Any) -> Array:
    """Sick: probabilities first, then their logarithm."""
    x, y = batch
    p = jax.nn.softmax(model(x))
    return -jnp.log(p[jnp.arange(len(y)), y]).mean()


def hand_written_softmax(model: Any, batch: Batch, key: Any) -> Array:
    """Sick: exponentials without the maximum taken out."""
    x, y = batch
    e = jnp.exp(model(x))
    p = e / e.sum(axis=-1, keepdims=True)
    return -jnp.mean(jnp.log(p)[jnp.arange(len(y)), y])


def softmax_twice(model: Any, batch: Batch, key: Any) -> Array:
    """Sick: probabilities fed to a loss that takes logits."""
    x, y = batch
    p = jax.nn.softmax(model(x))
    return optax.softmax_cross_entropy_with_integer_labels(p, y).mean()


def logits_as_probabilities(model: Any, batch: Batch, key: Any) -> Array:
    """Sick: raw scores fed to a loss that takes probabilities."""
    x, y = batch
    p = jnp.clip(model(x), 1e-7, 1.0)
    onehot = jax.nn.one_hot(y, p.shape[-1])
    return -(onehot * jnp.log(p)).sum(axis=-1).mean()


def squared_error_on_class_numbers(model: Any, batch: Batch, key: Any) -> Array:
    """Sick: the number of the class treated as a quantity, by every output."""
    x, y = batch
    return jnp.mean((model(x) - y[:, None].astype(jnp.float32)) ** 2)


def softmax_on_one_unit(model: Any, batch: Batch, key: Any) -> Array:
    """Sick: a softmax over one unit is 1 whatever the unit says."""
    x, y = batch
    p = jnp.clip(jax.nn.softmax(model(x)[:, :1], axis=-1)[:, 0], 1e-6, 1 - 1e-6)
    t = y.astype(jnp.float32)
    return -jnp.mean(t * jnp.log(p) + (1 - t) * jnp.log(1 - p))


def without_body(model: Any, batch: Batch, key: Any) -> Array:
    """Sick: a stray `stop_gradient` cuts the first layer off."""
    x, y = batch
    first = jax.tree.map(jax.lax.stop_gradient, (model.weights[0], model.biases[0]))
    model = eqx.tree_at(lambda m: (m.weights[0], m.biases[0]), model, first)
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


# -- Losses on quantities ------------------------------------------------------------------


def squared_error(model: Any, batch: Batch, key: Any) -> Array:
    """Healthy."""
    x, y = batch
    return jnp.mean((model(x)[:, 0] - y) ** 2)


def summed_squared_error(model: Any, batch: Batch, key: Any) -> Array:
    """Sick: the sum over the batch."""
    x, y = batch
    return jnp.sum((model(x)[:, 0] - y) ** 2)


def broadcast_squared_error(model: Any, batch: Batch, key: Any) -> Array:
    """Sick: (n, 1) minus (n,) is n × n."""
    x, y = batch
    with jax.numpy_rank_promotion("allow"):
        return jnp.mean((model(x) - y) ** 2)


def relu_head(model: Any, batch: Batch, key: Any) -> Array:
    """Sick: an output that cannot be negative for a target that is."""
    x, y = batch
    return jnp.mean((jax.nn.relu(model(x)[:, 0]) - y) ** 2)


def sigmoid_head(model: Any, batch: Batch, key: Any) -> Array:
    """Sick: an output between 0 and 1 for a target that is not."""
    x, y = batch
    return jnp.mean((jax.nn.sigmoid(model(x)[:, 0]) - y) ** 2)


def predict_relu(model: Any, x: Array) -> Array:
    """What a model trained with `relu_head` predicts."""
    return jax.nn.relu(model(x))


def predict_sigmoid(model: Any, x: Array) -> Array:
    """What a model trained with `sigmoid_head` predicts."""
    return jax.nn.sigmoid(model(x))


def predict(model: Any, x: Array) -> Array:
    """Raw outputs: logits, or predicted values."""
    return model(x)


# -- Models -------------------------------------------------------------------------------


def mlp(sizes: list[int], activation: str, key: Any) -> MLP:
    """An MLP with weights to suit its activation."""
    return MLP.init(sizes, activation, key=key)


def cnn(
    image: tuple[int, ...], channels: list[int], outputs: int, act: str, key: Any
) -> CNN:
    """A small convolutional network."""
    return CNN.init(image, channels, outputs, act, key=key)


def rescaled(model: Any, factor: float) -> Any:
    """Every weight times `factor`."""
    return eqx.tree_at(lambda m: m.weights, model, [factor * w for w in model.weights])


def unit_normal(model: Any, key: Any) -> Any:
    """Sick: weights from a standard normal, whatever the fan-in."""
    keys = jax.random.split(key, len(model.weights))
    new = [
        jax.random.normal(k, w.shape) for k, w in zip(keys, model.weights, strict=True)
    ]
    return eqx.tree_at(lambda m: m.weights, model, new)


def constant(model: Any, value: float) -> Any:
    """Sick: every weight the same."""
    new = [jnp.full(w.shape, value) for w in model.weights]
    return eqx.tree_at(lambda m: m.weights, model, new)


def negative_biases(model: Any, value: float) -> Any:
    """Sick: hidden biases so low that units never open."""
    new = [jnp.full(b.shape, value) for b in model.biases[:-1]] + [model.biases[-1]]
    return eqx.tree_at(lambda m: m.biases, model, new)


def large_head(model: Any, factor: float) -> Any:
    """Sick: a last layer far too large."""
    return eqx.tree_at(lambda m: m.weights[-1], model, factor * model.weights[-1])
