"""What it costs to follow λ_max along a loop, and how near the values are.

Three named problems, each by a plain jitted loop that is written here. Three copies of
the loop run in turn, a hundred updates at a time, so that all meet the same load: one
with `curvature.tracking.tracker` on a fixed batch of 256, and two alone, whose ratio says
what the race itself is worth. The tracker's clock stands still while the others run.
Reported are

- overhead: the extra seconds of the loop with the tracker, from the median chunk that has
  a measurement and the median one that has none, which a loaded machine disturbs least;
  of the whole run; the same of a loop without a tracker; and by the tracker's account;
- error: against Lanczos to a residual of 1e-4 on the same batch at the same parameters;
- the share of values that were flagged as not reliable, and the worst error of the rest;
- at one point of the run the value of the batch beside the interval for all data.

Compilation is left out of the overhead and printed apart. The limits are 5 % each.
Cockpit's HessMaxEV, measured at every step as published with its code, takes 7.1 (3C3D on
a GPU), 27 (an MLP on a GPU) and 72 to 99 (networks with convolutions on a CPU) times the
step itself.
"""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from steepest.curvature import Operator, batch_interval, eigenpairs, hvp, tracking
from steepest.problems import make
from steepest.training._objective import objective


STEPS = {"digits/mlp": 36000, "digits/cnn": 40000, "regression/mlp": 30000}
PROBE, BATCH = 256, 32
CHUNK = 100  # updates of one loop before the other's turn
CHECKED = 60  # measurements that are compared with full Lanczos
LIMIT = 0.05


class Loop(NamedTuple):
    """A problem, and one update of it."""

    loss: Any  # loss(params, batch)
    params: Any
    moments: Any
    data: Any
    probe: Any
    update: Any


class Raced(NamedTuple):
    """Seconds of all loops, chunk by chunk, and the parameters at each measurement."""

    seconds: np.ndarray  # (loops, chunks)
    measured: np.ndarray  # how many measurements a chunk has
    watch: Any
    points: list[Any]


def main() -> None:
    for name, steps in STEPS.items():
        loop = looped(name)
        raced = race(loop, steps)
        report(name, loop, raced)


def looped(name: str) -> Loop:
    """The named problem by its own optimiser, as one writes a loop by hand."""
    case = make(name)
    start = objective(case.problem, case.recipe, examples=PROBE)
    loss, optimiser = start.batch_loss, start.optimiser
    data = jax.tree.map(jnp.asarray, case.problem.data)

    @jax.jit
    def update(params: Any, moments: Any, chosen: Any) -> Any:
        batch = jax.tree.map(lambda a: a[chosen], data)
        g = jax.grad(loss)(params, batch)
        change, moments = optimiser.update(g, moments, params)
        return optax.apply_updates(params, change), moments

    return Loop(loss, start.params, start.moments, data, start.batch, update)


def race(loop: Loop, steps: int) -> Raced:
    """Run all loops in turn; the tracker's clock runs in its own loop alone."""
    paused = 0.0
    tracking.perf_counter = lambda: time.perf_counter() - paused
    watch = tracking.tracker(loop.loss, data=loop.probe, key=jax.random.key(0))
    n = len(jax.tree.leaves(loop.data)[0])
    chosen = np.random.default_rng(0).integers(0, n, (steps + 1, BATCH))
    points = []

    def look(step: int, params: Any) -> None:
        if watch(step, params) is not None:
            points.append(params)

    def go(now: Any, rows: range, look: Any) -> Any:
        for step in rows:
            now = loop.update(*now, chosen[step])
            look(step, now[0])
        return jax.block_until_ready(now)

    looks = [lambda step, params: None, look, lambda step, params: None]
    # The first update compiles; the first measurement is on credit.
    now = [go((loop.params, loop.moments), range(1), look) for look in looks]
    seconds = np.zeros((3, steps // CHUNK))
    measured = np.zeros(steps // CHUNK, int)
    seconds[1, 0] = watch.seconds
    for i in range(steps // CHUNK):
        rows = range(1 + i * CHUNK, 1 + (i + 1) * CHUNK)
        before = len(points)
        for j in np.roll(range(3), i):
            began = time.perf_counter()
            now[j] = go(now[j], rows, looks[j])
            took = time.perf_counter() - began
            seconds[j, i] += took
            if j != 1:
                paused += took
        measured[i] = len(points) - before
    return Raced(seconds, measured, watch, points)


def overhead(raced: Raced, loop: int) -> float:
    """What a loop takes beyond that of the first, from medians over like chunks."""
    extra = raced.seconds[loop] - raced.seconds[0]
    total = sum(
        np.median(extra[raced.measured == count]) * np.sum(raced.measured == count)
        for count in np.unique(raced.measured)
    )
    return total / (np.median(raced.seconds[0]) * len(extra))


def report(name: str, loop: Loop, raced: Raced) -> None:
    watch, history = raced.watch, raced.watch.history
    products = sum(seen.num_products for seen in history)
    total = raced.seconds.sum(1)
    steps = CHUNK * raced.seconds.shape[1]
    pace = np.median(raced.seconds[0]) / CHUNK
    robust = overhead(raced, 1)
    print(
        f"\n{name}: {steps} updates of {pace * 1e6:.0f} µs, "
        f"{len(history)} measurements, {products} products of "
        f"{np.median([s.seconds / s.num_products for s in history]) * 1e6:.0f} µs, "
        f"compiled in {watch.compile_seconds:.1f} s"
    )
    print(
        f"  overhead   {robust:.1%} from medians ({total[1] / total[0] - 1:.1%} of the "
        f"whole run); of a loop without a tracker {overhead(raced, 2):.1%} "
        f"({total[2] / total[0] - 1:.1%}); by its own account {watch.overhead:.1%}; "
        f"limit {LIMIT:.0%}, {'kept' if robust <= LIMIT else 'broken'}"
    )
    errors = compared(loop, raced)
    flagged = np.array([not seen.reliable for seen in history])
    wrong = errors[~flagged[chosen_of(history)]]
    middle = np.median(errors)
    print(
        f"  error      {middle:.2%} median, {np.quantile(errors, 0.95):.2%} for 95 %, "
        f"{errors.max():.2%} at worst; flagged {flagged.mean():.0%}, worst of the rest "
        f"{wrong.max(initial=0):.2%}; limit {LIMIT:.0%} (median), "
        f"{'kept' if middle <= LIMIT else 'broken'}"
    )
    at = 2
    n = len(jax.tree.leaves(loop.data)[0])
    size = n // 12
    found = batch_interval(
        loop.loss,
        raced.points[at],
        data=loop.data,
        batch_size=size,
        num_batches=n // size,
        key=jax.random.key(1),
    )
    print(
        f"  all data   at step {history[at].step} the batch of {PROBE} has "
        f"{history[at].highest:.4g}; {found}"
    )


def chosen_of(history: list[Any]) -> np.ndarray:
    """Which measurements are compared, spread over the run."""
    return np.unique(np.linspace(0, len(history) - 1, CHECKED).astype(int))


def compared(loop: Loop, raced: Raced) -> np.ndarray:
    """Relative errors against Lanczos to a residual of 1e-4."""
    unravel = ravel_pytree(loop.params)[1]

    @jax.jit
    def product(theta: Any, v: Any) -> Any:
        loss = lambda p: loop.loss(p, loop.probe)
        return ravel_pytree(hvp(loss, unravel(theta), unravel(v)))[0]

    errors = []
    for i in chosen_of(raced.watch.history):
        theta = ravel_pytree(raced.points[i])[0]
        operator = Operator(lambda v, t=theta: product(t, v), theta, unravel)
        full = eigenpairs(operator, key=jax.random.key(2), tolerance=1e-4)
        exact = float(full.values[0])
        errors.append(abs(raced.watch.history[i].highest / exact - 1))
    return np.array(errors)


if __name__ == "__main__":
    main()
