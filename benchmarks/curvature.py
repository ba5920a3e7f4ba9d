"""What curvature costs: products, ten eigenpairs, a density; beside PyTorch's libraries.

A tanh network of some 250 000 parameters on 512 examples, float32, on the default device.
`hvp` and `ggn` are single products; `linearized` is one of many, which shares the part
that does not depend on the vector. All run in turn, in one process, on the same numbers;
without the extra `peers` ours runs alone. Errors are against eigenpairs in float64 whose
residuals are below 1e-9.
"""

import importlib.util
import itertools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.capture import race
from steepest.curvature import (
    eigenpairs,
    gauss_newton,
    ggn_product,
    hessian,
    hvp,
    spectrum,
)


SIZES = (64, 400, 400, 150, 10)
TOP = 10
ROUNDS = 1
PEERS = all(map(importlib.util.find_spec, ("torch", "curvlinops", "pyhessian")))


def network(dtype: Any = np.float32) -> tuple[Any, Any, Any, Any, Any]:
    """Parameters, data, logits, the loss of logits, and the loss; drawn in float32."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32).astype(dtype)
    params = [
        (jnp.asarray(draw(a, b) / dtype(a**0.5)), jnp.zeros(b, dtype))
        for a, b in itertools.pairwise(SIZES)
    ]
    x = jnp.asarray(draw(512, SIZES[0]))
    y = jnp.asarray(rng.integers(0, SIZES[-1], 512))

    def outputs(params: Any) -> Any:
        h = x
        for w, b in params[:-1]:
            h = jnp.tanh(h @ w + b)
        w, b = params[-1]
        return h @ w + b

    def output_loss(z: Any) -> Any:
        return -jnp.mean(jax.nn.log_softmax(z)[jnp.arange(512), y])

    return params, (x, y), outputs, output_loss, lambda p: output_loss(outputs(p))


def products() -> None:
    params, data, outputs, output_loss, loss = network()
    v = jax.tree.map(jnp.ones_like, params)
    H, G = hessian(loss, params), gauss_newton(outputs, output_loss, params)
    flat = jnp.ones(H.size)
    one = {
        "gradient": jax.jit(lambda p, v: jax.grad(loss)(p)),
        "hvp": jax.jit(lambda p, v: hvp(loss, p, v)),
        "ggn": jax.jit(lambda p, v: ggn_product(outputs, output_loss, p, v)),
    }
    ways: dict[str, Callable] = {k: lambda f=f: f(params, v) for k, f in one.items()}
    ways["hvp, linearized"] = lambda: H.matvec(flat)
    ways["ggn, linearized"] = lambda: G.matvec(flat)
    if PEERS:
        from benchmarks import _torch_twin as peers

        given = peers.twin(params, *data)
        ways |= peers.autograd_products(*given) | peers.curvlinops_products(*given)
    seconds = race(ways)
    for name, taken in seconds.items():
        own = seconds["torch gradient" if name not in list(ways)[:5] else "gradient"]
        row = f"{name:20}{taken * 1e3:9.2f} ms{taken / own:8.2f} of its own gradient"
        kind = name.removeprefix("torch autograd ").removeprefix("curvlinops ")
        if kind != name:
            row += f"{taken / seconds[kind]:8.2f} times ours"
            row += f"{taken / seconds[kind + ', linearized']:8.2f} times linearized"
        print(row)


def ten_largest() -> None:
    params, data, *_, loss = network()
    n = hessian(loss, params).size
    with jax.enable_x64(True):
        wide, *_, exact_loss = network(np.float64)
        H = hessian(exact_loss, wide)
        exact = eigenpairs(H, TOP, key=jax.random.key(7), tolerance=1e-9).values

    def ours(tolerance: float | None) -> tuple[Any, Any]:
        found = eigenpairs(
            hessian(loss, params), TOP, key=jax.random.key(1), tolerance=tolerance
        )
        return found.values, found.num_products

    ways: dict[str, Callable[[], tuple[Any, Any]]] = {
        "ours": lambda: ours(None),
        "ours, tolerance 1e-2": lambda: ours(1e-2),
        "ours, tolerance 1e-1": lambda: ours(1e-1),
    }
    if PEERS:
        from scipy.sparse.linalg import eigsh

        from benchmarks import _torch_twin as peers

        given = peers.twin(params, *data)
        H, _ = peers.curvlinops_operators(*given)

        def through(operator: Any, tolerance: Any) -> Callable[[], Any]:
            def run() -> tuple[Any, Any]:
                A, count = peers.counted(operator.matvec, n)
                values = eigsh(A, TOP, which="LA", tol=tolerance)[0]
                return values[::-1], count[0]

            return run

        def pyhessian(**options: Any) -> tuple[Any, Any]:
            values, _ = peers.pyhessian_of(*given).eigenvalues(top_n=TOP, **options)
            return np.array(values), "?"

        scipy = H.to_scipy()
        ways["curvlinops + eigsh, tol 1e-4"] = through(scipy, 1e-4)
        ways["curvlinops + eigsh, tol 0"] = through(scipy, 0.0)
        ways["PyHessian, its rule"] = pyhessian
        ways["PyHessian, tol 1e-6"] = lambda: pyhessian(tol=1e-6, maxIter=2000)
    print(f"\nThe {TOP} largest of {n} parameters:")
    compared(ways, lambda v: f"{np.abs(v / exact - 1).max():.1e}", "worst error")


def density() -> None:
    """The mean of |λ| under the density and its mass below zero, from 100 products."""
    params, data, *_, loss = network()

    def ours() -> tuple[Any, Any]:
        found = spectrum.spectral_density(
            hessian(loss, params), key=jax.random.key(1), num_probes=1, num_steps=100
        )
        return found.mean(np.abs).value, found.num_products

    ways: dict[str, Callable[[], tuple[Any, Any]]] = {"ours": ours}
    if PEERS:
        from benchmarks import _torch_twin as peers

        given = peers.twin(params, *data)

        def pyhessian() -> tuple[Any, Any]:
            nodes, weights = peers.pyhessian_of(*given).density(iter=100, n_v=1)
            return float(np.dot(np.abs(nodes[0]), weights[0])), 100

        def curvlinops() -> tuple[Any, Any]:
            nodes, vectors = peers.curvlinops_lanczos(H, 100)
            return float(np.dot(np.abs(nodes), vectors[0] ** 2)), 100

        H, _ = peers.curvlinops_operators(*given)
        ways |= {"PyHessian": pyhessian, "curvlinops": curvlinops}
    print("\nSpectral density, one probe of 100 products:")
    compared(ways, lambda v: f"{v:.3e}", "mean |λ|")


def compared(
    ways: dict[str, Callable[[], tuple[Any, Any]]],
    judge: Callable[[Any], str],
    title: str,
) -> None:
    """Run all in turn; seconds after a first, untimed round."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers = {name: way() for name, way in ways.items()}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            began = time.perf_counter()
            answers[name] = way()
            seconds[name].append(time.perf_counter() - began)
    own = np.median(seconds["ours"])
    for name, (value, count) in answers.items():
        taken = np.median(seconds[name])
        print(
            f"  {name:30}{taken:8.2f} s{taken / own:7.2f} times ours{count!s:>6} products"
            f"   {title} {judge(value)}"
        )


def main() -> None:
    products()
    ten_largest()
    density()


if __name__ == "__main__":
    main()
