"""Train a problem by a recipe, and note what happened.

One jitted step does the work. How many of them one call of the host makes is decided by
a short trial: a scan of K steps saves the host's overhead on small models and is slower
on others (on CPU a convolution inside a loop loses its threads). The scan is taken only
if it was faster *and* gave the same bits as K single steps; so the choice, which depends
on the clock, never shows in the result, and two runs with one seed agree bit for bit.

Losses stay on the device; they are looked at in bulk every few steps. When one is not
finite the run is wound back to the last look and replayed step by step to the first bad
one, whose parameters and batch are then evaluated operation by operation to find where
the NaN or infinity began.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from ..core import mesh as meshes, pytree
from ..core.errors import InputError
from ..core.progress import progress as progress_bar
from ..numerics import locate_in_loss
from . import checkpoint as checkpoints
from .batches import Order, examples_in, stacked
from .environment import environment
from .fitted import Fitted
from .probes import STANDARD, Context, Probe
from .problem import Problem, first_batch, general_loss, is_arrays, validate
from .recipe import Recipe, describe, length, optimiser, rate
from .record import Record
from .schedule import Schedule
from .step import Carry, Outcome, Program, loss_of, make_step, start


LOOK = 64  # steps between looks at the losses
SCAN = 16  # steps in a scan, where scanning pays
SLOW = 2e-3  # seconds a step from which the host's overhead does not matter
PROBE_BATCH = 256


class Fit(NamedTuple):
    """What `fit` returns."""

    fitted: Fitted
    record: Record


def fit(
    problem: Problem,
    recipe: Recipe | None = None,
    *,
    probes: Sequence[Probe] = STANDARD,
    budget: float = 0.10,
    seconds: float | None = None,
    checkpoint: str | Path | None = None,
    every: int | None = None,
    keep: int = 3,
    resume: bool = True,
    mesh: Mesh | None = None,
    steps_per_call: int | None = None,
    progress: bool | None = None,
    record: Record | None = None,
) -> Fit:
    """Train `problem` by `recipe`.

    **Arguments**

    - `probes`: measurements to take on the way; `()` for none.
    - `budget`: the share of the training time that probes may take.
    - `seconds`: stop after so long; the record says `ended = "out of time"`.
    - `checkpoint`: a directory. The run saves itself there every `every` updates (about
      every 30 s when None), keeps the last `keep` files and the best by validation
      loss, and goes on from the newest unless `resume` is False.
    - `mesh`: split each batch over the first axis of this mesh.
    - `steps_per_call`: updates in one call of the host; chosen by a trial when None.
    - `progress`: show a bar; None means on a terminal, after two seconds.
    - `record`: add to this record instead of a new one.

    **Returns** `(fitted, record)`. A non-finite loss ends the run with the last good
    parameters and `record.meta["nonfinite"]`; Ctrl-C ends it with what there is.

    Raises `InputError` for a problem or recipe that cannot be trained.
    """
    recipe = Recipe() if recipe is None else recipe
    validate(problem, recipe)
    if not budget > 0:
        raise InputError(
            f"`budget` must be a positive share of the time, not {budget}."
        )
    run = Run(problem, recipe, mesh, steps_per_call, record or Record())
    schedule = Schedule(run.context(), probes, run.total, budget)
    directory = None if checkpoint is None else checkpoints.prepare(checkpoint)
    if directory is not None and resume:
        run.resume(checkpoints.latest(directory, run.carry))
    ended = _train(run, schedule, seconds, directory, every, keep, progress)
    run.finish(ended, schedule)
    return Fit(run.fitted(), run.record)


def _train(
    run: "Run",
    schedule: Schedule,
    seconds: float | None,
    directory: Path | None,
    every: int | None,
    keep: int,
    show: bool | None,
) -> str:
    """Go on until something ends the run; say what did."""
    began = saved = time.perf_counter()
    last_saved, best = run.step, np.inf
    note = ""
    try:
        with progress_bar(f"training {run.problem.name}", run.total, show) as update:
            while True:
                if schedule.due(run.step):
                    values = schedule.measure(run.step, run.carry, run.record)
                    score = values.get("validation.loss", values.get("train.loss"))
                    score = np.inf if score is None else float(score)
                    if directory is not None and score < best:
                        best = score
                        checkpoints.save(directory, run.frozen(), keep, best=True)
                if run.total is not None and run.step >= run.total:
                    return "completed"
                late = seconds is not None and time.perf_counter() - began > seconds
                if late and run.step > 0:  # a run without an update says nothing
                    return "out of time"
                stop = schedule.next(run.step)
                if every is not None and directory is not None:
                    stop = min(stop, last_saved + every)
                before, tick = run.step, time.perf_counter()
                moved = run.advance(stop)
                if run.step > before:
                    took = (time.perf_counter() - tick) / (run.step - before)
                    schedule.pace = min(schedule.pace, took)
                if run.nonfinite is not None:
                    return "non-finite"
                now = time.perf_counter()
                due = (
                    now - saved > 30
                    if every is None
                    else run.step >= last_saved + every
                )
                if directory is not None and due:
                    checkpoints.save(directory, run.frozen(), keep, best=False)
                    saved, last_saved = now, run.step
                if not moved:
                    return "completed"  # the iterable has ended
                if run.recent is not None:
                    note = f"loss {run.recent:.4g}, {run.step / (now - began):.0f}/s"
                update(run.step, note)
    except KeyboardInterrupt:
        run.settle()
        return "interrupted"
    finally:
        run.seconds += time.perf_counter() - began


class Run:
    """The state of a run: what `advance` moves on.

    A class because a run is many arrays that change together, and because Ctrl-C must
    find them whole at any moment.
    """

    def __init__(
        self,
        problem: Problem,
        recipe: Recipe,
        mesh: Mesh | None,
        steps_per_call: int | None,
        record: Record,
    ) -> None:
        self.problem, self.recipe, self.mesh, self.record = (
            problem,
            recipe,
            mesh,
            record,
        )
        taken = pytree.trainable(problem.model)
        self.arrays = is_arrays(problem.data)
        examples = examples_in(problem.data) if self.arrays else None
        self.total = length(recipe, examples)
        self.program = Program(
            taken,
            general_loss(problem),
            optimiser(recipe, self.total or 1),
            recipe.precision,
        )
        self.key = jax.random.key(recipe.seed)
        # Steps give their input's memory away, so the user's own arrays are copied.
        self.carry = meshes.replicate(_copy(start(self.program, problem.state)), mesh)
        self.step, self.seconds = 0, 0.0
        self.nonfinite: dict[str, Any] | None = None
        self.recent: float | None = None
        self.pending: list[tuple[int, int, Outcome]] = []  # first step, count, outcome
        self.good = (0, _copy(self.carry))
        self.batches_seen: list[PyTree] = []  # of an iterable, since the last look
        self.single = jax.jit(self._single, donate_argnums=0)
        self.several = jax.jit(self._several, donate_argnums=0)
        self.per_call = steps_per_call
        self.source: Iterator[PyTree] | None = None
        if self.arrays:
            self.order = Order(examples or 0, recipe)
            meshes.check_batch(self.order.size, mesh)
            self.data = meshes.replicate(jax.tree.map(jnp.asarray, problem.data), mesh)
        else:
            self.per_call = 1
            self.source = stacked(problem, recipe, problem.model)
            self.data = None

    # -- The compiled steps --------------------------------------------------------------

    def _single(self, carry: Carry, data: Any, batch: Any, step: Any) -> Any:
        if self.arrays:
            batch = jax.tree.map(lambda a: a[batch], data)
        batch = batch if self.mesh is None else self._sharded(batch)
        key = jax.random.fold_in(self.key, step)
        return make_step(self.program)(carry, batch, key)

    def _several(self, carry: Carry, data: Any, batches: Any, steps: Any) -> Any:
        def one(carry: Carry, inputs: Any) -> Any:
            return self._single(carry, data, *inputs)

        return jax.lax.scan(one, carry, (batches, steps))

    def _sharded(self, batches: PyTree) -> PyTree:
        assert self.mesh is not None
        axis = self.mesh.axis_names[0]
        spec = jax.sharding.PartitionSpec(None, axis)
        place = jax.sharding.NamedSharding(self.mesh, spec)
        return jax.lax.with_sharding_constraint(batches, place)

    # -- Moving on ------------------------------------------------------------------------

    def advance(self, stop: float) -> bool:
        """Go on to `stop`, or to the next look at the losses; False at the data's end."""
        if self.step == 0 and not self.pending:
            self.good = (0, _copy(self.carry))
        target = min(stop, self.step + LOOK, self.total or np.inf)
        began = self.step
        if self.per_call is None and self.step >= 4:
            self._choose()
        while self.step < target:
            k = self.per_call or 1
            if k > 1 and self.step + k <= target and self.arrays:
                self._call(k)
            elif not self._call(1):
                break
            if self.per_call is None and self.step == 4:
                break
        self.settle()
        return self.step > began

    def _call(self, count: int) -> bool:
        if self.source is not None:
            batch = next(self.source, None)
            if batch is None:
                return False
            self.batches_seen.append(batch)
        elif count == 1:
            batch = self.order.take(self.step)
        else:
            batch = np.stack([self.order.take(self.step + i) for i in range(count)])
        if count == 1:
            step = np.uint32(self.step)
            self.carry, out = self.single(self.carry, self.data, batch, step)
        else:
            steps = np.arange(self.step, self.step + count, dtype=np.uint32)
            self.carry, out = self.several(self.carry, self.data, batch, steps)
        self.pending.append((self.step, count, out))
        self.step += count
        return True

    def _choose(self) -> None:
        """One step a call, or a scan of them? Time both on real steps."""
        self.per_call = 1
        left = (self.total or 0) - self.step
        if left < 20 * SCAN:
            return
        jax.block_until_ready(self.carry)
        before = _copy(self.carry)
        first = self.step
        tick = time.perf_counter()
        for _ in range(SCAN):
            self._call(1)
        jax.block_until_ready(self.carry)
        alone = (time.perf_counter() - tick) / SCAN
        if alone > SLOW:
            return
        batch = np.stack([self.order.take(first + i) for i in range(SCAN)])
        steps = np.arange(first, first + SCAN, dtype=np.uint32)
        inputs = (self.data, batch, steps)
        scanned, _ = self.several(_copy(before), *inputs)  # compiles
        if not _same(scanned, self.carry):
            return
        tick = time.perf_counter()
        jax.block_until_ready(self.several(before, *inputs))
        if (time.perf_counter() - tick) / SCAN < 0.9 * alone:
            self.per_call = SCAN

    def settle(self) -> None:
        """Look at the losses since the last look; wind back if one is not finite."""
        if not self.pending:
            return
        pending = jax.device_get(self.pending)
        losses = np.concatenate([np.atleast_1d(o.loss) for _, _, o in pending])
        norms = np.concatenate([np.atleast_1d(o.gradient_norm) for _, _, o in pending])
        scaled = self.recipe.precision == "float16"
        bad = ~np.isfinite(losses) | (~np.isfinite(norms) & (not scaled))
        first = pending[0][0]
        count = int(np.argmax(bad)) if bad.any() else len(losses)
        steps = range(first, first + count)
        rates = np.asarray([self.rate(s) for s in steps], np.float32)
        self.record.extend("loss", steps, list(losses[:count]))
        self.record.extend("gradient_norm", steps, list(norms[:count]))
        self.record.extend("learning_rate", steps, list(rates))
        for name in pending[0][2].metrics:
            every = [np.atleast_1d(o.metrics[name]) for _, _, o in pending]
            values = list(np.concatenate(every)[:count])
            self.record.extend(f"metric.{name}", steps, values)
        self.pending = []
        if bad.any():
            self._wind_back(first + count)
        else:
            self.recent = float(losses[-1])
            self.good = (self.step, _copy(self.carry))
            self.batches_seen = []

    def rate(self, step: int) -> float:
        """The learning rate of an update, where the recipe knows it."""
        if not isinstance(self.recipe.optimizer, str):
            return float("nan")
        if not hasattr(self, "_rate"):
            self._rate = rate(self.recipe, self.total or 1)
            self._constant = (
                not callable(self.recipe.learning_rate)
                and self.recipe.schedule == "constant"
                and self.recipe.warmup == 0
            )
        if self._constant:
            return float(self.recipe.learning_rate)  # type: ignore[arg-type]
        return float(np.asarray(self._rate(step)))

    def _wind_back(self, step: int) -> None:
        """Return to the state before the bad `step`, and find where it went wrong."""
        at, carry = self.good
        seen = list(self.batches_seen)
        replayed = 0
        while at < step:
            batch = seen[replayed] if self.source is not None else self.order.take(at)
            carry, _ = self.single(carry, self.data, batch, np.uint32(at))
            at, replayed = at + 1, replayed + 1
        self.carry, self.step = carry, step
        batch = seen[replayed] if self.source is not None else self.order.take(step)
        if self.arrays:
            batch = jax.tree.map(lambda a: a[batch], self.data)
        batch = jax.tree.map(lambda a: a[0], batch)
        key = jax.random.fold_in(self.key, np.uint32(step))

        def loss(params: PyTree, batch: PyTree) -> Any:
            args = (carry.rest, carry.state, batch, key)
            return loss_of(self.program, params, *args)[0]

        self.nonfinite = {"step": step, "sentence": "the origin was not found"}
        origin = locate_in_loss(loss, carry.params, batch)
        if origin is not None:
            self.nonfinite |= origin._asdict() | {"step": step, "turn": origin.step}

    # -- Beginning and ending ---------------------------------------------------------------

    def context(self) -> Context:
        """What probes need to prepare themselves."""
        size = PROBE_BATCH
        if self.arrays:
            n = examples_in(self.problem.data)
            chosen = np.random.default_rng((self.recipe.seed, 11)).permutation(n)[:size]
            batch = jax.tree.map(lambda a: jnp.asarray(a[chosen]), self.problem.data)
        else:
            batch = first_batch(self.problem, size)
        key = jax.random.fold_in(self.key, np.uint32(2**32 - 1))
        return Context(self.problem, self.recipe, self.program, batch, key)

    def frozen(self) -> checkpoints.Checkpoint:
        """The run as a checkpoint holds it."""
        return checkpoints.Checkpoint(self.step, self.carry, self.record)

    def resume(self, found: checkpoints.Checkpoint | None) -> None:
        """Go on from a checkpoint, if there is one."""
        if found is None:
            return
        self.carry = meshes.replicate(_copy(found.carry), self.mesh)
        self.step = found.step
        self.good = (self.step, _copy(self.carry))
        facts = self.record.facts
        self.record = found.record
        self.record.facts |= facts
        if self.source is not None:
            for _ in range(self.step):
                next(self.source, None)

    def fitted(self) -> Fitted:
        """The model as it is now."""
        model = self.program.taken.merge(self.carry.params, self.carry.rest)
        return Fitted(model, self.carry.state, self.problem)

    def finish(self, ended: str, schedule: Schedule) -> None:
        """Take the last measurements and write down what the run was."""
        if ended != "interrupted":
            schedule.measure(self.step, self.carry, self.record, last=True)
        taken = self.program.taken
        seconds = max(self.seconds, 1e-9)
        earlier = self.record.meta.get("seconds", 0.0)
        self.record.meta |= environment() | {
            "problem": self.problem.name,
            "recipe": describe(self.recipe),
            "seed": self.recipe.seed,
            "steps": self.step,
            "steps_per_call": self.per_call or 1,
            "parameters": sum(p.size for p in jax.tree.leaves(taken.params)),
            "parameter_paths": list(pytree.paths(taken.params)),
            "seconds": earlier + seconds,
            "steps_per_second": self.step / max(seconds - schedule.seconds, 1e-9),
            "overhead": schedule.spent / max(schedule.pace * self.step, 1e-9),
            "probe_seconds": schedule.seconds,
            "ended": ended,
        }
        if self.arrays:
            n = self.order.examples
            self.record.meta["examples"] = n
            self.record.meta["batches_per_epoch"] = n / self.order.size
        if self.nonfinite is not None:
            self.record.meta["nonfinite"] = self.nonfinite


def _copy(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda a: a.copy() if hasattr(a, "copy") else a, tree)


def _same(a: PyTree, b: PyTree) -> bool:
    """Whether two carries agree bit for bit."""

    def bits(x: Any) -> bytes:
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.random.key_data(x)
        return np.asarray(x).tobytes()

    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(bits(x) == bits(y) for x, y in pairs)
