"""Two networks of the size that people train: a transformer and a residual network.

A training step of each, value and gradient, is about 1,500 equations.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class Network(NamedTuple):
    """A loss with arguments to call it at."""

    loss: Callable[..., Any]  # (params, x, labels) -> scalar
    params: Any
    x: Any
    labels: Any


def transformer(
    blocks: int = 6, width: int = 64, length: int = 32, naive: bool = False
) -> Network:
    """A causal language model: pre-norm blocks with attention and a GELU layer.

    `naive` has softmax, log-softmax and norm written out, so that they overflow.
    """
    softmax = written_softmax if naive else jax.nn.softmax
    keys = iter(jax.random.split(jax.random.key(0), 8 * blocks + 4))
    dense = lambda m, n: jax.random.normal(next(keys), (m, n)) / m**0.5
    params = {
        "embed": dense(100, width),
        "head": dense(width, 100),
        "blocks": [
            {
                "qkv": dense(width, 3 * width),
                "out": dense(width, width),
                "up": dense(width, 4 * width),
                "down": dense(4 * width, width),
                "norm1": jnp.ones(width),
                "norm2": jnp.ones(width),
            }
            for _ in range(blocks)
        ],
    }

    def norm(x: Any, gain: Any) -> Any:
        mean = x.mean(-1, keepdims=True)
        centred = x - mean
        variance = (centred**2).mean(-1, keepdims=True)
        return centred * lax.rsqrt(variance + 1e-5) * gain

    def attend(p: Any, x: Any) -> Any:
        n, heads = x.shape[1], 4
        q, k, v = jnp.split(x @ p["qkv"], 3, axis=-1)
        split = lambda a: a.reshape(*a.shape[:2], heads, -1).transpose(0, 2, 1, 3)
        q, k, v = map(split, (q, k, v))
        scores = q @ k.transpose(0, 1, 3, 2) / (width / heads) ** 0.5
        scores = jnp.where(jnp.tril(jnp.ones((n, n), bool)), scores, -jnp.inf)
        mixed = softmax(scores, axis=-1) @ v
        return mixed.transpose(0, 2, 1, 3).reshape(x.shape) @ p["out"]

    def loss(params: Any, x: Any, labels: Any) -> Any:
        h = x @ params["embed"]
        for p in params["blocks"]:
            h = h + attend(p, norm(h, p["norm1"]))
            h = h + jax.nn.gelu(norm(h, p["norm2"]) @ p["up"]) @ p["down"]
        logits = norm(h, jnp.ones(width)) @ params["head"]
        logs = jnp.log(softmax(logits)) if naive else jax.nn.log_softmax(logits)
        return -jnp.take_along_axis(logs, labels[..., None], axis=-1).mean()

    tokens = jax.random.randint(jax.random.key(1), (4, length + 1), 0, 100)
    return Network(loss, params, jax.nn.one_hot(tokens[:, :-1], 100), tokens[:, 1:])


def written_softmax(x: Any, axis: int = -1) -> Any:
    e = jnp.exp(x)
    return e / jnp.sum(e, axis=axis, keepdims=True)


def resnet(width: int = 16) -> Network:
    """ResNet-18 in shape: four stages of two blocks, batch normalisation, a head."""
    keys = iter(jax.random.split(jax.random.key(0), 64))
    conv = lambda m, n, k=3: jax.random.normal(next(keys), (k, k, m, n)) / (k * m**0.5)
    scale = lambda n: {"gain": jnp.ones(n), "bias": jnp.zeros(n)}
    params: dict[str, Any] = {
        "stem": conv(3, width),
        "norm": scale(width),
        "blocks": [],
    }
    m = width
    for stage in range(4):
        for block in range(2):
            n = width * 2**stage
            p = {"a": conv(m, n), "b": conv(n, n), "n1": scale(n), "n2": scale(n)}
            if block == 0 and stage:
                p |= {"skip": conv(m, n, 1), "n3": scale(n)}
            params["blocks"].append(p)
            m = n
    params["head"] = jax.random.normal(next(keys), (m, 10)) / m**0.5

    def convolve(x: Any, K: Any, stride: int = 1) -> Any:
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            x, K, (stride, stride), "SAME", dimension_numbers=layout
        )

    def norm(x: Any, p: Any) -> Any:
        mean = x.mean((0, 1, 2), keepdims=True)
        variance = jnp.square(x - mean).mean((0, 1, 2), keepdims=True)
        return (x - mean) * lax.rsqrt(variance + 1e-5) * p["gain"] + p["bias"]

    def loss(params: Any, x: Any, labels: Any) -> Any:
        h = jax.nn.relu(norm(convolve(x, params["stem"]), params["norm"]))
        for p in params["blocks"]:
            stride = 2 if "skip" in p else 1
            y = jax.nn.relu(norm(convolve(h, p["a"], stride), p["n1"]))
            y = norm(convolve(y, p["b"]), p["n2"])
            skip = norm(convolve(h, p["skip"], 2), p["n3"]) if "skip" in p else h
            h = jax.nn.relu(y + skip)
        logits = h.mean((1, 2)) @ params["head"]
        onehot = jax.nn.one_hot(labels, 10)
        return -(onehot * jax.nn.log_softmax(logits)).sum(-1).mean()

    x = jax.random.normal(jax.random.key(1), (8, 32, 32, 3))
    return Network(loss, params, x, jax.random.randint(jax.random.key(2), (8,), 0, 10))
