"""What the stable forms cost: value and gradient beside the functions in common use.

A batch of 256 rows of 1000 numbers, or as many single numbers, float32, compiled, on the
default device. The functions in common use are faster where they leave out what
makes ours right: a scale, a second reduction, a derivative of its own.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.special as special
import optax

from benchmarks.capture import race
from steepest.numerics import stable


PEERS: dict[str, tuple[Callable, Callable]] = {
    "logsumexp": (
        lambda x: jax.nn.logsumexp(x, axis=-1),
        lambda x: stable.logsumexp(x, axis=-1),
    ),
    "softmax": (jax.nn.softmax, stable.softmax),
    "log_softmax": (jax.nn.log_softmax, stable.log_softmax),
    "cross_entropy": (
        lambda x: optax.softmax_cross_entropy_with_integer_labels(x, labels(x)),
        lambda x: stable.cross_entropy(x, labels(x)),
    ),
    "sigmoid": (jax.nn.sigmoid, stable.sigmoid),
    "softplus": (jax.nn.softplus, stable.softplus),
    "tanh": (jnp.tanh, stable.tanh),
    "gelu": (
        lambda x: jax.nn.gelu(x, approximate=False),
        stable.gelu,
    ),
    "log_ndtr": (special.log_ndtr, stable.log_ndtr),
    "norm": (
        lambda x: jnp.linalg.norm(x, axis=-1),
        lambda x: stable.norm(x, axis=-1),
    ),
    "variance": (lambda x: x.var(-1), lambda x: stable.variance(x, axis=-1)),
    "sum": (lambda x: x.sum(-1), lambda x: stable.sum_compensated(x, axis=-1)),
}


def labels(x: Any) -> Any:
    return jnp.zeros(len(x), jnp.int32)


def main() -> None:
    x = 3 * jax.random.normal(jax.random.key(0), (256, 1000))
    print(f"{'':16}{'value':>12}{'of usual':>10}{'gradient':>12}{'of usual':>10}")
    for name, (usual, ours) in PEERS.items():
        cells = ""
        for wrap in (lambda f: f, lambda f: jax.grad(lambda x: f(x).sum())):
            functions = {"usual": jax.jit(wrap(usual)), "ours": jax.jit(wrap(ours))}
            seconds = race(functions, x)
            ratio = seconds["ours"] / seconds["usual"]
            cells += f"{seconds['ours'] * 1e6:9.0f} µs{ratio:9.2f}×"
        print(f"{name:16}{cells}")


if __name__ == "__main__":
    main()
