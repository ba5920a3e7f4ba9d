"""The state of a run, and how it moves on.

Losses stay on the device and are looked at once a *block* of updates. At a look the
state is copied, so that a run that went bad in the next block can be put back.

How many updates one call of the host makes is decided by a short trial: a loop of them
saves the host's overhead on small models and is slower on others (on CPU a convolution
inside a loop loses its threads). The loop is taken only if it was faster *and* gave the
same bits as single steps; so the choice, which depends on the clock, never shows in the
result, and two runs with one seed agree bit for bit.
"""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from ..core import mesh as meshes, pytree
from . import checkpoint as checkpoints
from ._calls import Block, Log, copy, deleted, make_calls, same
from ._interrupt import Critical
from ._nonfinite import wind_back
from .batches import Order, examples_in, on_host, stacked
from .environment import environment
from .fitted import Fitted
from .probes import Context
from .problem import Problem, first_batch, general_loss, is_arrays
from .recipe import Recipe, describe, length, optimiser, rates
from .record import Record
from .schedule import Schedule
from .step import Carry, Program, start


BLOCK = 128  # updates between looks, at most
HELD = 2**28  # bytes of an iterable's batches that a block may hold for a replay
WAIT = 0.5  # seconds between looks, about
WARM = 4  # updates before the trial of the two ways to call
ROUNDS, TRIAL = 5, 16  # of the trial, and the updates in each
SLOW = 4e-3  # seconds an update from which the host's overhead does not matter
SAVED = 2e-4  # seconds an update that a loop saves, at most
PROBE_BATCH = 256


class Good(NamedTuple):
    """The state at the last look."""

    step: int
    carry: Carry


class Run:
    """What `advance` moves on.

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
        self.problem, self.recipe, self.record = problem, recipe, record
        self.mesh, self.per_call = mesh, steps_per_call
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
        self.carry = copy(meshes.replicate(start(self.program, problem.state), mesh))
        self.step = self.began = 0  # updates done; and before this process
        self.earlier = 0.0  # seconds of the processes before this one
        self.good = Good(0, copy(self.carry))
        self.log: Log | None = None
        self.critical = Critical()
        self.nonfinite: dict[str, Any] | None = None
        self.recent: float | None = None
        self.seconds = 0.0  # of this process
        self.timed = (0, 0.0)  # updates and seconds, without compilation
        self.compilation = 0.0  # seconds that the first updates took
        self.pace = np.inf  # seconds an update takes, at its best
        self.length = BLOCK
        self.seen: list[PyTree] = []  # batches of an iterable, since the last look
        self.shapes: dict[tuple[Any, ...], int] = {}  # of them, with the first update
        self.source: Iterator[PyTree] | None = None
        if self.arrays:
            self.order = Order(examples or 0, recipe)
            meshes.check_batch(self.order.size, mesh)
            self.data = meshes.replicate(jax.tree.map(jnp.asarray, problem.data), mesh)
            batch = jax.tree.map(lambda a: a[: self.order.size], self.data)
        else:
            self.per_call, self.data = 1, None
            self.source = stacked(problem, recipe, self._model_now)
            batch = jax.tree.map(on_host, first_batch(problem, recipe.batch_size))
            size = sum(leaf.nbytes for leaf in jax.tree.leaves(batch))
            self.length = int(np.clip(HELD // (size * recipe.accumulate), 1, BLOCK))
        one = jax.eval_shape(
            lambda b: jax.tree.map(lambda a: jnp.stack([a] * recipe.accumulate), b),
            batch,
        )
        self.look = self.length
        self.calls = make_calls(self.program, self.key, one, self.arrays, mesh)
        self.inputs: Block | None = None
        self.ahead: tuple[int, Any] | None = None

    # -- Moving on ------------------------------------------------------------------------

    def advance(self, stop: float) -> bool:
        """Go on to `stop`, or to the next look at the losses; False at the data's end."""
        first = self.step
        end = int(min(stop, first + self.look, self.total or np.inf))
        compiling = self.per_call is None or self.log is None
        if self.per_call is None and first < WARM:
            end = min(end, WARM)
        began = time.perf_counter()
        self._open()
        if self.per_call is None and first >= WARM:
            self._choose(end)
        while self.step < end and self._call(min(self.per_call or 1, end - self.step)):
            pass
        self.settle()
        if first == self.began:
            self.compilation = time.perf_counter() - began
        if not compiling and self.step > first:
            took, (steps, seconds) = time.perf_counter() - began, self.timed
            self.timed = (steps + self.step - first, seconds + took)
            self.pace = min(self.pace, took / (self.step - first))
            self.look = int(np.clip(WAIT / self.pace, 1, self.length))
        return self.step > first

    def _open(self) -> None:
        """Put the inputs of a block on the device, before its first update."""
        if self.log is None:
            self.log = self.calls.empty(self.carry, self.step, self.length)
        if self.arrays:
            self.inputs = self.block_of(self.step)

    def block_of(self, step: int) -> Block:
        """The inputs of updates from `step` on; of an iterable, those of the last look."""
        if not self.arrays:
            place = step - self.good.step
            return self._placed(Block(np.uint32(self.good.step), self.seen[place]))
        if self.ahead is None or self.ahead[0] != step:
            self.ahead = (step, self.order.block(step, self.length))
        return self._placed(Block(np.uint32(step), self.ahead[1]))

    def _placed(self, block: Block) -> Block:
        return meshes.replicate(jax.device_put(block), self.mesh)

    def batches(self, step: int) -> PyTree:
        """The accumulated batches of an update since the last look."""
        if not self.arrays:
            return self.seen[step - self.good.step]
        chosen = self.order.take(step)
        return jax.tree.map(lambda a: a[chosen], self.data)

    def _call(self, count: int) -> bool:
        if self.source is not None:
            batch = next(self.source, None)
            if batch is None:
                return False
            meshes.check_batch(jax.tree.leaves(batch)[0].shape[1], self.mesh)
            self.seen.append(batch)
            shapes = tuple((a.shape, str(a.dtype)) for a in jax.tree.leaves(batch))
            self.shapes.setdefault(shapes, self.step)
            self.inputs = self.block_of(self.step)
        with self.critical:
            assert self.log is not None and self.inputs is not None
            now = (self.carry, self.log, self.data, self.inputs)
            if count == 1:
                self.carry, self.log = self.calls.single(*now)
            else:
                number = np.int32(count)
                self.carry, self.log = self.calls.several(*now, number)
            self.step += count
        return True

    def _choose(self, end: int) -> None:
        """One update a call, or a loop of them? Time both in turn on real updates."""
        left = (self.total or 0) - self.step
        if left * SAVED < self.compilation:  # the loop would not earn its compilation
            self.per_call = 1
        if self.per_call == 1 or end - self.step < (ROUNDS + 2) * TRIAL:
            return
        assert self.inputs is not None
        self.per_call = 1
        before, log, inputs = copy(self.carry), copy(self.log), self.inputs

        def one_by_one() -> None:
            for _ in range(TRIAL):
                self._call(1)

        def loop() -> Any:
            now = (copy(before), copy(log), self.data, inputs)
            return self.calls.several(*now, np.int32(TRIAL))

        alone = self._time(one_by_one)
        before, log = copy(self.carry), copy(self.log)
        alone = min(alone, self._time(one_by_one))
        earns = left * min(0.4 * alone, SAVED) > self.compilation
        if alone > SLOW or not earns:
            return
        if not same(loop(), (self.carry, self.log)):  # compiles
            return
        looped = np.inf
        for _ in range(ROUNDS):
            looped = min(looped, self._time(loop))
            alone = min(alone, self._time(one_by_one))
            if looped > 5 * alone:  # a convolution in a loop
                return
        if looped < 0.97 * alone:
            self.per_call = self.length

    def _time(self, calls: Any) -> float:
        """Seconds an update of a trial takes."""
        jax.block_until_ready(self.carry)
        began = time.perf_counter()
        out = calls()
        jax.block_until_ready((out, self.carry))
        return (time.perf_counter() - began) / TRIAL

    def settle(self) -> None:
        """Look at the losses since the last look; wind back if one is not finite."""
        first, count = self.good.step, self.step - self.good.step
        if count == 0 or self.log is None:
            return
        kept = copy(self.carry)
        if self.arrays and self.step != (self.total or -1):  # while the device works
            self.ahead = (self.step, self.order.block(self.step, self.length))
        outcome = jax.device_get(self.log.outcome)
        losses, norms = outcome.loss[:count], outcome.gradient_norm[:count]
        bad = ~np.isfinite(norms)
        if outcome.scale is not None:  # an overflow is cured by halving, down to 1
            bad &= outcome.scale[:count] <= 1
        bad |= ~np.isfinite(losses)
        fine = int(np.argmax(bad)) if bad.any() else count
        steps = np.arange(first, first + fine)
        series = {
            "loss": losses[:fine],
            "gradient_norm": norms[:fine],
            "learning_rate": rates(self.recipe, self.total or 1, steps, self.length),
        }
        if outcome.scale is not None:
            series["loss_scale"] = outcome.scale[:fine]
        for name, values in outcome.metrics.items():
            series[f"metric.{name}"] = values[:fine]
        with self.critical:
            for name, values in series.items():
                self.record.extend(name, steps, np.array(values))
            if not bad.any():
                self.recent = float(losses[-1])
                self.good = Good(self.step, kept)
                self.seen = []
        if bad.any():
            wind_back(self, first + fine)

    def recover(self) -> None:
        """After Ctrl-C: keep what was done, or go back to the last look."""
        if deleted(self.carry) or deleted(self.log):
            self.carry, self.step = copy(self.good.carry), self.good.step
            self.log = None
        self.settle()

    def _model_now(self) -> PyTree:
        carry = copy(self.carry)
        return self.program.taken.merge(carry.params, carry.rest)

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

    def frozen(self, schedule: Schedule) -> checkpoints.Checkpoint:
        """The run as a checkpoint holds it."""
        self.record.meta["seconds"] = self.earlier + self.seconds
        plan = schedule.plan()
        recipe = describe(self.recipe)
        return checkpoints.Checkpoint(self.step, self.carry, self.record, plan, recipe)

    def resume(self, found: checkpoints.Checkpoint | None, schedule: Schedule) -> None:
        """Go on from a checkpoint, if there is one."""
        if found is None:
            return
        self.carry = copy(meshes.replicate(found.carry, self.mesh))
        self.step = found.step
        self.good = Good(self.step, copy(self.carry))
        self.record.continue_from(found.record)
        self.began = self.step
        self.earlier = float(found.record.meta.get("seconds", 0.0))
        schedule.restore(found.plan, self.step)
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
            try:
                schedule.measure(
                    self.step, self.carry, self.record, self.pace, last=True
                )
            except KeyboardInterrupt:
                ended = "interrupted"
        taken = self.program.taken
        steps, seconds = self.timed
        updates = steps and seconds / steps * (self.step - self.began)
        self.record.meta |= environment() | {
            "problem": self.problem.name,
            "recipe": describe(self.recipe),
            "seed": self.recipe.seed,
            "steps": self.step,
            "steps_per_call": self.per_call or 1,
            "parameters": sum(p.size for p in jax.tree.leaves(taken.params)),
            "parameter_paths": list(pytree.paths(taken.params)),
            "seconds": self.earlier + self.seconds,
            "steps_per_second": (
                steps / seconds if steps else self.step / max(self.seconds, 1e-9)
            ),
            "overhead": schedule.spent / max(updates or self.seconds, 1e-9),
            "probe_seconds": schedule.seconds,
            "probe_compile_seconds": schedule.seconds - schedule.spent,
            "ended": ended,
        }
        if not self.arrays:
            self.record.facts["program.new_shapes"] = sorted(self.shapes.values())
        if self.arrays:
            n = self.order.examples
            self.record.meta["examples"] = n
            self.record.meta["batches_per_epoch"] = n / self.order.size
        if self.nonfinite is not None:
            self.record.meta["nonfinite"] = self.nonfinite
