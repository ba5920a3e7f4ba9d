"""What curvature costs: products in units of a gradient, and the ten largest eigenpairs.

A tanh network of some 250 000 parameters on 512 examples, float32, on the default device.
`hvp` and `ggn` are single products; `linearized` is one of many, which shares the part
that does not depend on the vector.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.capture import race
from steepest.curvature import eigenpairs, gauss_newton, ggn_product, hessian, hvp


SIZES = (64, 400, 400, 150, 10)


def network(key: Any) -> tuple[Any, Any, Any, Any]:
    """Parameters, logits, the loss of logits, and the loss."""
    keys = jax.random.split(key, len(SIZES) + 1)
    params = [
        (jax.random.normal(k, (a, b)) / a**0.5, jnp.zeros(b))
        for k, a, b in zip(keys, SIZES[:-1], SIZES[1:])
    ]
    x = jax.random.normal(keys[-2], (512, SIZES[0]))
    y = jax.random.randint(keys[-1], (512,), 0, SIZES[-1])

    def outputs(params: Any) -> Any:
        h = x
        for w, b in params[:-1]:
            h = jnp.tanh(h @ w + b)
        w, b = params[-1]
        return h @ w + b

    def output_loss(z: Any) -> Any:
        return -jnp.mean(jax.nn.log_softmax(z)[jnp.arange(512), y])

    return params, outputs, output_loss, lambda p: output_loss(outputs(p))


def products() -> None:
    params, outputs, output_loss, loss = network(jax.random.key(0))
    v = jax.tree.map(jnp.ones_like, params)
    H, G = hessian(loss, params), gauss_newton(outputs, output_loss, params)
    flat = jnp.ones(H.size)
    ways = {
        "gradient": lambda p, v: jax.grad(loss)(p),
        "hvp": lambda p, v: hvp(loss, p, v),
        "ggn": lambda p, v: ggn_product(outputs, output_loss, p, v),
    }
    seconds = race({name: jax.jit(way) for name, way in ways.items()}, params, v)
    seconds |= race({"hvp, linearized": H.matvec, "ggn, linearized": G.matvec}, flat)
    for name, taken in seconds.items():
        print(
            f"{name:18}{taken * 1e3:9.2f} ms{taken / seconds['gradient']:8.2f} gradients"
        )


def ten_largest() -> None:
    params, *_, loss = network(jax.random.key(0))
    H = hessian(loss, params)
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        found = eigenpairs(H, 10, key=jax.random.key(1))
        taken.append(time.perf_counter() - began)
    print(
        f"ten largest of {H.size} parameters: {np.median(taken):.2f} s, "
        f"{found.num_products} products, worst residual "
        f"{(found.residuals / found.values).max():.1e} of its eigenvalue"
    )


def main() -> None:
    products()
    ten_largest()


if __name__ == "__main__":
    main()
