"""Steps per second of `fit`, beside loops that people write by hand.

For a small MLP and a small CNN, Adam, the same batches in the same order, two threads:

- `jax`: a jitted step with donated arguments, called once an update (plain Optax);
- `scan`: the same step, 64 of them in one `lax.scan`;
- `torch`: an ordinary PyTorch loop.

`fit` itself drives the race: a probe that is due every `CHUNK` updates lets each of the
others do as many, so that all meet the same load. What is printed are medians of the
ratios of a round. The limit is 0.95 of `jax`.
"""

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from steepest import Problem, Recipe, fit
from steepest.nn import CNN, MLP
from steepest.training.probes import STANDARD, Probe


THREADS, ROUNDS, CHUNK, BATCH, SCAN = 2, 15, 256, 64, 64
PART = 8  # PyTorch does an eighth of the updates, so as not to outlast the rest
PAUSE = 0.4  # seconds after PyTorch, whose threads wait by spinning
LENGTH = 5000  # updates of the runs that the overhead of probes is measured on
LIMIT = 0.95


def main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    for name, (model, x, y) in {"MLP": mlp(), "CNN": cnn()}.items():
        print(f"\n{name}, {len(x)} examples, batches of {BATCH}, Adam")
        race(name, model, x, y, steps_per_call=None)
        race(name, model, x, y, steps_per_call=1)
        probes(model, x, y)
        beginning(model, x, y)


def mlp() -> tuple[Any, np.ndarray, np.ndarray]:
    x, y = pictures()
    return MLP.init([64, 128, 64, 10], key=jax.random.key(0)), x.reshape(len(x), 64), y


def cnn() -> tuple[Any, np.ndarray, np.ndarray]:
    x, y = pictures()
    model = CNN.init((8, 8, 1), (16, 32), 10, key=jax.random.key(0))
    return model, x.reshape(len(x), 8, 8, 1), y


def pictures() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y.astype(np.int32)


def loss(model: Any, batch: Any) -> Any:
    x, y = batch
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


# -- The race ---------------------------------------------------------------------------


def race(
    name: str, model: Any, x: np.ndarray, y: np.ndarray, steps_per_call: int | None
) -> None:
    """All in turn; with the calls that `fit` chooses also the other ways to write it."""
    rivals = {"jax": by_hand(model, x, y)}
    if steps_per_call is None:
        rivals["scan"] = by_scan(model, x, y)
        try:
            rivals["torch"] = by_torch(name, x, y)
        except ImportError as error:
            print(f"  torch: not run, {error}")
    seconds: dict[str, list[float]] = {k: [] for k in ("fit", *rivals)}
    clock = [0.0]

    def prepare(_: Any) -> Callable[[Any], dict[str, float]]:
        def measure(snapshot: Any) -> dict[str, float]:
            jax.block_until_ready(snapshot.carry)
            seconds["fit"].append(time.perf_counter() - clock[0])
            for rival, run in rivals.items():
                began = time.perf_counter()
                part = PART if rival == "torch" else 1
                run(CHUNK // part)
                seconds[rival].append(part * (time.perf_counter() - began))
                if rival == "torch":
                    time.sleep(PAUSE)
            if len(seconds["fit"]) == ROUNDS + 3:
                raise KeyboardInterrupt  # enough; the run itself is a long one
            clock[0] = time.perf_counter()
            return {}

        return measure

    recipe = Recipe(steps=1_000_000, batch_size=BATCH)
    _, record = fit(
        Problem(model, loss, (x, y)),
        recipe,
        probes=[Probe("race", prepare, CHUNK)],
        steps_per_call=steps_per_call,
    )
    rounds = {k: np.asarray(v[-ROUNDS:]) for k, v in seconds.items()}
    how = "chosen" if steps_per_call is None else "as told"
    print(f"  fit with {record.meta['steps_per_call']} updates a call, {how}")
    for rival, took in rounds.items():
        ratio = median(took / rounds["fit"])
        print(f"  {rival:6}{CHUNK / median(took):9.0f} steps/s", end="")
        print("" if rival == "fit" else f"   fit runs at {ratio:5.2f}× of it", end="")
        print(f"   (limit {LIMIT})" if rival == "jax" else "")


def by_hand(model: Any, x: np.ndarray, y: np.ndarray) -> Callable[[int], None]:
    optimiser = optax.adam(1e-3)

    def step(model: Any, moments: Any, batch: Any) -> Any:
        value, g = jax.value_and_grad(loss)(model, batch)
        updates, moments = optimiser.update(g, moments, model)
        return optax.apply_updates(model, updates), moments, value

    step = jax.jit(step, donate_argnums=(0, 1))
    model = jax.tree.map(jnp.copy, model)
    state, order = [model, optimiser.init(model)], batches(len(x))

    def run(count: int) -> None:
        model, moments = state
        losses = []
        for _ in range(count):
            i = next(order)
            model, moments, value = step(model, moments, (x[i], y[i]))
            losses.append(value)
        jax.block_until_ready((model, losses))
        state[:] = model, moments

    return run


def by_scan(model: Any, x: np.ndarray, y: np.ndarray) -> Callable[[int], None]:
    optimiser = optax.adam(1e-3)
    xs, ys = jnp.asarray(x), jnp.asarray(y)

    def step(carry: Any, i: Any) -> Any:
        model, moments = carry
        value, g = jax.value_and_grad(loss)(model, (xs[i], ys[i]))
        updates, moments = optimiser.update(g, moments, model)
        return (optax.apply_updates(model, updates), moments), value

    several = jax.jit(lambda c, i: jax.lax.scan(step, c, i), donate_argnums=0)
    model = jax.tree.map(jnp.copy, model)
    state, order = [(model, optimiser.init(model))], batches(len(x))

    def run(count: int) -> None:
        for _ in range(count // SCAN):
            i = np.stack([next(order) for _ in range(SCAN)])
            state[0], _ = several(state[0], i)
        jax.block_until_ready(state)

    return run


def by_torch(name: str, x: np.ndarray, y: np.ndarray) -> Callable[[int], None]:
    import torch
    from torch import nn

    torch.set_num_threads(THREADS)
    if name == "MLP":
        model = nn.Sequential(
            nn.Linear(64, 128),
            nn.ReLU(),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )
    else:
        x = x.transpose(0, 3, 1, 2)
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 10),
        )
    optimiser, order = torch.optim.Adam(model.parameters(), 1e-3), batches(len(x))
    xs, ys = torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(y).long()
    cross_entropy = nn.CrossEntropyLoss()

    def run(count: int) -> None:
        for _ in range(count):
            i = torch.from_numpy(next(order))
            optimiser.zero_grad(set_to_none=True)
            cross_entropy(model(xs[i]), ys[i]).backward()
            optimiser.step()

    return run


def batches(examples: int) -> Any:
    """Indices of batches; a new order every epoch, an incomplete batch is dropped."""
    generator = np.random.default_rng(0)
    while True:
        order = generator.permutation(examples)
        for i in range(0, examples - BATCH + 1, BATCH):
            yield order[i : i + BATCH]


# -- Probes, and the beginning ----------------------------------------------------------


def probes(model: Any, x: np.ndarray, y: np.ndarray) -> None:
    """What the default probes add to the time of a run, and what the record says."""
    problem = Problem(model, loss, (x, y), validation=(x[:360], y[:360]))
    ratios, said = [], []
    for _ in range(3):
        took = {}
        for name, chosen in {"without": (), "with": STANDARD}.items():
            recipe = Recipe(steps=LENGTH, batch_size=BATCH)
            began = time.perf_counter()
            _, record = fit(problem, recipe, probes=chosen)
            took[name] = time.perf_counter() - began
            if chosen:
                said.append(record.meta["overhead"])
                preparation = record.meta["probe_compile_seconds"]
                took[name] -= preparation
        ratios.append(took["with"] / took["without"] - 1)
    print(
        f"  default probes add {median(ratios):.1%} to {LENGTH} updates; the record says "
        f"{median(said):.1%}; their compilation took {preparation:.1f} s"
    )


def beginning(model: Any, x: np.ndarray, y: np.ndarray) -> None:
    """From the call to the end of the first step, compilation included."""
    problem = Problem(model, loss, (x, y))

    def first(run: Callable[[], Any]) -> float:
        times = []
        for _ in range(3):
            jax.clear_caches()
            began = time.perf_counter()
            run()
            times.append(time.perf_counter() - began)
        return median(times)

    recipe = Recipe(steps=1, batch_size=BATCH)
    alone = first(lambda: by_hand(model, x, y)(1))
    ours = first(lambda: fit(problem, recipe, probes=()))
    looked = first(lambda: fit(problem, recipe))
    print(
        f"  start to the end of the first step: fit {ours:.2f} s, with default probes "
        f"{looked:.2f} s, by hand {alone:.2f} s"
    )


if __name__ == "__main__":
    main()
