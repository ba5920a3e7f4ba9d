"""What an audit costs on a transformer and a residual network, and what it is beside.

For a training step (value and gradient, about 1,250 equations) of each network, weights
given and inputs an interval: the time to bound every value (limit 5 s), to look for
witnesses (limit 30 s, the budget), compilation apart; then a shadowed step and a
stabilised step beside the plain jitted one (limits 4× and 1.1×). Last, what JAX itself
offers, on the same step: `checkify.float_checks`, `jax_debug_nans`, `jax_debug_infs`;
these find a NaN when they are handed the input that makes it, and no lost digit.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import checkify

from steepest import Interval, audit, shadow, stabilize
from steepest.core import jaxpr
from steepest.numerics.intervals import analyse, range_of

from ._networks import Network, resnet, transformer


ROUNDS = 7


def main() -> None:
    for name, make in {"transformer": transformer, "ResNet-18": resnet}.items():
        net = make()
        step = jax.value_and_grad(net.loss)
        args = (net.params, net.x, net.labels)
        program = jaxpr.trace(step, *args)
        print(f"{name}: {sum(1 for _ in jaxpr.equations(program.closed))} equations")
        bounds(net, program)
        search(net)
        ratios(net, step, args)
    rewritten()


def bounds(net: Network, program: jaxpr.Program) -> None:
    """Candidates from ranges, the inputs between −3 and 3."""
    began = time.perf_counter()
    ranges = [
        range_of(Interval(-3, 3, v.shape)) if v.shape == net.x.shape else range_of(v)
        for v in program.values
    ]
    found = analyse(program.closed, ranges)
    seconds = time.perf_counter() - began
    own = [c for c in found.candidates if not c.derived]
    print(f"  bounds      {seconds:6.2f} s   limit 5 s; {len(own)} candidates")


def search(net: Network) -> None:
    began = time.perf_counter()
    spec = Interval(-3, 3, net.x.shape)
    found = audit(net.loss, net.params, spec, net.labels, budget=30.0)
    seconds = time.perf_counter() - began
    compiling = found.seconds.get("compilation", 0.0) + found.seconds.get(
        "tracing", 0.0
    )
    print(
        f"  witnesses   {seconds - compiling:6.2f} s   limit 30 s; "
        f"{found.points} inputs, {len(found.confirmed)} confirmed; "
        f"compilation apart {compiling:.2f} s"
    )


def ratios(net: Network, step: Callable, args: tuple[Any, ...]) -> None:
    """Calls of a compiled step, each kind in turn, as ratios to the plain one."""
    checked = checkify.checkify(step, errors=checkify.float_checks)
    functions = {
        "plain jit": jax.jit(step),
        "shadow": jax.jit(shadow(step)),
        "stabilised": jax.jit(jax.value_and_grad(stabilize(net.loss))),
        "checkify.float_checks": jax.jit(checked),
    }
    plain = report(functions, args)
    for flag in ("jax_debug_nans", "jax_debug_infs"):
        jax.config.update(flag, True)
        f = jax.jit(step)
        timed(f, args)
        median = float(np.median([timed(f, args) for _ in range(ROUNDS)]))
        jax.config.update(flag, False)
        print(f"  {flag:22}{median * 1e3:8.1f} ms  {median / plain:6.2f}×")


def report(functions: dict[str, Callable], args: tuple[Any, ...]) -> float:
    """Print the medians of interleaved calls, as ratios to the first; return that."""
    first = {name: timed(f, args) for name, f in functions.items()}
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(ROUNDS):
        for name, f in functions.items():
            timed(f, args)  # another program has had the caches
            seconds[name].append(timed(f, args))
    plain = float(np.median(next(iter(seconds.values()))))
    for name, times in seconds.items():
        median = float(np.median(times))
        print(
            f"  {name:22}{median * 1e3:8.1f} ms  {median / plain:6.2f}×   "
            f"first call {first[name]:6.1f} s"
        )
    return plain


def rewritten() -> None:
    """A transformer whose softmax is written out, and the same one stabilised."""
    net = transformer(naive=True)
    args = (net.params, net.x, net.labels)
    changes = stabilize(net.loss).rewrites(*args)
    functions = {
        "as written": jax.jit(jax.value_and_grad(net.loss)),
        "stabilised": jax.jit(jax.value_and_grad(stabilize(net.loss))),
    }
    print(f"transformer with softmax written out: {len(changes.applied)} rewrites")
    report(functions, args)


def timed(f: Callable, args: tuple[Any, ...]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(f(*args))
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
