"""Train a problem by a recipe, and note what happened.

    step ... step │ look │ step ... step │ look │ probes │ checkpoint │ step ...

The compiled step is in `step.py`, the calls of it in `_calls.py`, the run that they
move on in `_run.py`, the plan of the probes in `schedule.py`. Here is the order of
events, until one of them ends the run.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from ..core.errors import InputError
from ..core.progress import progress as progress_bar
from . import checkpoint as checkpoints
from ._interrupt import listening
from ._run import Run
from ._validate import validate
from .fitted import Fitted
from .probes import STANDARD, Probe
from .problem import Problem
from .recipe import Recipe
from .record import Record
from .schedule import Schedule


PERIOD = 30.0  # seconds between checkpoints


class Fit(NamedTuple):
    """What `fit` returns."""

    fitted: Fitted
    record: Record


class Saving(NamedTuple):
    """Where and how often checkpoints are written."""

    directory: Path
    every: int | None  # updates
    keep: int


def fit(
    problem: Problem,
    recipe: Recipe | None = None,
    *,
    probes: Sequence[Probe] = STANDARD,
    budget: float = 0.10,
    allowance: float = 0.0,
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
    - `budget`: the share of the training time that probes may take. They measure at the
      beginning, once more to learn what that costs, and at the end, whatever it is.
    - `allowance`: seconds that they may take beside, spread over the run.
    - `seconds`: stop after so long, compilation not counted, which a slow machine
      would spend all of it on; the record says `ended = "out of time"`.
    - `checkpoint`: a directory. The run saves itself there every `every` updates (about
      every 30 s when None) and at its end, keeps the last `keep` files and, where the
      probes evaluate, the best by validation loss (by training loss without validation
      data), and goes on from the newest unless `resume` is False. An unbroken run and a
      resumed one agree bit for bit; the batches of an iterable are read again up to
      where the run was, so it must give the same ones.
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
    counts = {"every": every, "keep": keep, "steps_per_call": steps_per_call}
    for name, value in counts.items():
        if value is not None and value < 1:
            raise InputError(f"`{name}` must be at least 1, not {value}.")
    run = Run(problem, recipe, mesh, steps_per_call, record or Record())
    schedule = Schedule(run.context(), probes, run.total, budget, run.record, allowance)
    saving = None
    if checkpoint is not None:
        saving = Saving(checkpoints.prepare(checkpoint), every, keep)
        if resume:
            run.resume(
                checkpoints.latest(saving.directory, run.carry, recipe), schedule
            )
    with listening(run.critical):
        try:
            ended = _train(run, schedule, seconds, saving, progress)
        except jax.errors.JaxRuntimeError as error:  # out of memory, a failing callback
            last = str(error).strip().splitlines()[-1]
            raise InputError(
                f"The program fails while it runs, after {run.step} updates: {last}"
            ) from error
        run.finish(ended, schedule)
    return Fit(run.fitted(), run.record)


def _train(
    run: Run,
    schedule: Schedule,
    seconds: float | None,
    saving: Saving | None,
    show: bool | None,
) -> str:
    """Go on until something ends the run; say what did."""
    began = time.perf_counter()
    ended = "interrupted"
    try:
        with progress_bar(f"training {run.problem.name}", run.total, show) as update:
            ended = _until_the_end(run, schedule, seconds, saving, update)
    except KeyboardInterrupt:
        run.recover()
    finally:
        run.seconds += time.perf_counter() - began
    if saving is not None and run.step > run.began:
        with run.critical:
            checkpoints.save(saving.directory, run.frozen(schedule), saving.keep)
    return ended


def _until_the_end(
    run: Run,
    schedule: Schedule,
    seconds: float | None,
    saving: Saving | None,
    update: Callable[[int, str], None],
) -> str:
    began = saved = time.perf_counter()
    last_saved, best = run.step, checkpoints.best_score(run.record)
    while True:
        if schedule.due(run.step, run.pace):
            values = schedule.measure(run.step, run.carry, run.record, run.pace)
            score = values.get("validation.loss", values.get("train.loss"))
            if saving is not None and score is not None and float(score) < best:
                best = float(score)
                checkpoints.save_best(saving.directory, run.frozen(schedule))
        if run.total is not None and run.step >= run.total:
            return "completed"
        compiling = schedule.seconds - schedule.spent + run.compilation
        spent = time.perf_counter() - began - compiling
        late = seconds is not None and spent > seconds
        if late and run.step > 0:  # a run without an update says nothing
            return "out of time"
        stop = schedule.next(run.step, run.pace)
        if saving is not None and saving.every is not None:
            stop = min(stop, last_saved + saving.every)
        moved = run.advance(stop)
        if run.nonfinite is not None:
            return "non-finite"
        if not moved:
            return "completed"  # the iterable has ended
        now = time.perf_counter()
        if saving is not None:
            ripe = now - saved > PERIOD
            if saving.every is not None:
                ripe = run.step >= last_saved + saving.every
            if ripe:
                checkpoints.save(saving.directory, run.frozen(schedule), saving.keep)
                saved, last_saved = now, run.step
        speed = (run.step - run.began) / (now - began)
        update(run.step, f"loss {run.recent:.4g}, {speed:.0f}/s")
