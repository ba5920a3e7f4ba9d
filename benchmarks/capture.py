"""What it costs to look: captured statistics beside the plain jitted function.

For a small MLP and a small CNN, forward and with its gradient, on the default device:
the plain jitted function, the same with `statistics` and with `unit_statistics` of the
inputs of all non-linearities, and with the values themselves.

The limit, 1.15, is set for the gradient: that is what runs while a program trains, and
there the inputs of non-linearities are kept in any case. A forward pass alone need not
keep them: XLA then fuses product, non-linearity and the next product into one loop, and
whatever is to be looked at breaks it. What that alone costs is the column of values.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from steepest.core import capture, statistics, unit_statistics


ROUNDS, SECONDS, LIMIT = 25, 0.04, 1.15


def main() -> None:
    worst = 0.0
    print(f"{'':22}{'plain':>10}{'statistics':>12}{'per unit':>12}{'values':>12}")
    for name, (model, params, x) in {"MLP": mlp(), "CNN": cnn()}.items():
        for work, call in {"forward": forward, "gradient": gradient}.items():
            functions = {
                "plain": call(model, None),
                "statistics": call(model, statistics),
                "per unit": call(model, unit_statistics),
                "values": call(model, lambda site, value: value),
            }
            seconds = race(functions, params, x)
            plain = seconds.pop("plain")
            ratios = "".join(f"{s / plain:11.3f}×" for s in seconds.values())
            print(f"{name + ', ' + work:22}{plain * 1e3:7.2f} ms{ratios}")
            if work == "gradient":
                worst = max(worst, seconds["statistics"] / plain)
    kept = "kept" if worst <= LIMIT else "broken"
    print(f"statistics beside a gradient: at most {worst:.3f}×; limit {LIMIT}×, {kept}")


def mlp() -> tuple[Callable, Any, Any]:
    sizes, keys = (784, 512, 512, 10), jax.random.split(jax.random.key(0), 3)
    params = [
        (jax.random.normal(k, (m, n)) / m**0.5, jnp.zeros(n))
        for k, m, n in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]

    def apply(params: Any, x: Any) -> Any:
        for W, b in params[:-1]:
            x = jax.nn.relu(x @ W + b[None])
        W, b = params[-1]
        return x @ W + b[None]

    return apply, params, jax.random.normal(jax.random.key(1), (256, 784))


def cnn() -> tuple[Callable, Any, Any]:
    keys = jax.random.split(jax.random.key(0), 3)
    params = {
        "first": jax.random.normal(keys[0], (3, 3, 1, 16)) / 3,
        "second": jax.random.normal(keys[1], (3, 3, 16, 32)) / 12,
        "head": jax.random.normal(keys[2], (32, 10)) / 6,
    }

    def convolve(x: Any, K: Any) -> Any:
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, K, (2, 2), "SAME", dimension_numbers=layout)

    def apply(params: Any, x: Any) -> Any:
        x = jax.nn.relu(convolve(x, params["first"]))
        x = jnp.tanh(convolve(x, params["second"]))
        return x.mean((1, 2)) @ params["head"]

    return apply, params, jax.random.normal(jax.random.key(1), (128, 28, 28, 1))


def forward(model: Callable, reduce: Callable | None) -> Callable:
    return jax.jit(model if reduce is None else capture(model, reduce=reduce))


def gradient(model: Callable, reduce: Callable | None) -> Callable:
    def loss(params: Any, x: Any) -> Any:
        return jnp.mean(jax.nn.logsumexp(model(params, x), axis=-1))

    if reduce is None:
        return jax.jit(jax.grad(loss))
    return jax.jit(jax.grad(capture(loss, reduce=reduce), has_aux=True))


def race(functions: dict[str, Callable], *args: Any) -> dict[str, float]:
    """Seconds a call: the least over rounds, in which the functions take turns."""
    best = dict.fromkeys(functions, np.inf)
    for f in functions.values():
        jax.block_until_ready(f(*args))
    for _ in range(ROUNDS):
        for name, f in functions.items():
            calls, began = 0, time.perf_counter()
            while time.perf_counter() - began < SECONDS:
                jax.block_until_ready(f(*args))
                calls += 1
            best[name] = min(best[name], (time.perf_counter() - began) / calls)
    return best


if __name__ == "__main__":
    main()
