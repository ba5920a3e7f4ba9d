"""From a record to a report: for runs that were measured elsewhere, or before.

A check-up trains the program itself. Whoever has a training loop of their own notes
what happens in a `Record`, one call a step, and has that judged:

    record = steepest.Record()
    for step, batch in enumerate(batches):
        params, opt_state, loss, grads = update(params, opt_state, batch)
        record.log(step, loss=loss, gradient_norm=optax.tree.norm(grads))
    print(steepest.review(record))

Rules whose measurements the record lacks are listed as not run.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.errors import InputError
from ..training.recipe import Recipe, describe
from ..training.record import Record, Series
from ._examine import examine
from .report import Report
from .rule import Rule
from .rules import RULES
from .verdict import verdict


SCALARS = (
    "loss",
    "gradient_norm",
    "learning_rate",
    "optimizer_count",
    "optimizer_momentum_norm",
    *(f"{held}.{x}" for held in ("train", "validation") for x in ("loss", "accuracy")),
)


#: Kinds of measurements that take the program itself.
PROGRAM = (
    "data",
    "program",
    "initial",
    "experiment",
    "numerics",
    "curvature",
    "features",
    "noise",
)


def review(
    record: Record,
    *,
    recipe: Recipe | None = None,
    name: str | None = None,
    rules: Sequence[Rule] = RULES,
    limits: Mapping[str, float] | None = None,
    silence: Collection[str] = (),
) -> Report:
    """Judge what a record holds, without running anything; see the module docstring.

    **Arguments**

    - `record`: written by `fit`, by `steepest.check` (`report.record`), by
      `Record.load`, or by a loop of your own. It is left as it is.
    - `recipe`: how the run was made, where the record does not say. Rules about the
      optimiser need it.
    - `name`: what the report calls it.
    - `rules`, `limits`, `silence`: as for `steepest.check`.

    **Returns** a `Report`. Raises `InputError` for a record with nothing in it, or with
    series that are not numbers of one shape.
    """
    record = completed(record, recipe, name)
    if "versions" not in record.meta:  # not written by `fit`
        say_why(record, rules)
    examination = examine(record, rules, limits=limits, silence=silence)
    return Report(
        name=str(record.meta.get("problem", "record")),
        verdict=verdict(record, examination.findings),
        findings=examination.findings,
        passed=examination.passed,
        not_run=examination.not_run,
        rules=tuple(rules),
        record=record,
    )


def completed(record: Record, recipe: Recipe | None, name: str | None) -> Record:
    """A copy whose `meta` says what a loop of one's own leaves unsaid.

    A loss that is not finite ends the run there, as it does in `fit`.
    """
    series = checked(record)
    meta: dict[str, Any] = {}
    if "loss" in series:
        step, loss = series["loss"].step, series["loss"].value
        bad = np.flatnonzero(~np.isfinite(loss))
        meta = {"steps": int(step[-1]) + 1, "ended": "completed"}
        if len(bad):
            first = int(step[bad[0]])
            meta |= {"steps": first, "ended": "non-finite"}
            meta["nonfinite"] = {"step": first, "sentence": "The origin is unknown."}
    if recipe is not None:
        meta |= {"recipe": describe(recipe), "seed": recipe.seed}
    meta |= record.meta
    if name is not None:
        meta["problem"] = name
    ours = "nonfinite" in meta and "nonfinite" not in record.meta
    last = meta["steps"] - 1 if ours else np.inf
    new = Record(dict(record.facts), dict(record.missing), meta)
    for key, (step, value, labels) in series.items():
        upto = max(int(np.sum(step <= last)), 1)  # a series is never empty
        new.add(key, int(step[0]), value[0], labels)
        new.extend(key, step[1:upto].tolist(), list(value[1:upto]))
    return new


def say_why(record: Record, rules: Sequence[Rule]) -> None:
    """Note why what the rules need is not in the record of somebody's own loop."""
    needs = (either for rule in rules for either in rule.needs)
    for need in (name for either in needs for name in either.split("|")):
        kind = need.partition(".")[0]
        if need in record or need in record.missing:
            continue
        if kind in PROGRAM:
            reason = "it takes the program itself, which `steepest.check` reads"
        else:
            reason = f"the loop did not log `{need}`"
        record.missing[need] = reason


def checked(record: Record) -> dict[str, Series]:
    """Every series, or `InputError` on one that no rule could read."""
    try:
        result = dict(record.series)
    except ValueError:
        raise InputError(
            "The values of a series in the record differ in shape; log the same kind "
            "of value at every step."
        ) from None
    for name, series in result.items():
        if series.step.ndim != 1 or len(series.step) != len(series.value):
            raise InputError(
                f"`{name}` in the record has {len(series.value)} values at "
                f"{series.step.size} steps; give one step for each value."
            )
        dtype, shape = series.value.dtype, list(series.value.shape[1:])
        if dtype.kind not in "biuf" and dtype.name != "bfloat16":
            raise InputError(f"`{name}` in the record holds {dtype}, not numbers.")
        if name in SCALARS and shape:
            raise InputError(
                f"`{name}` was logged as arrays of shape {shape}; log a scalar."
            )
    if not result and not record.facts:
        raise InputError(
            "The record is empty; log at least the loss: `record.log(step, loss=loss)`."
        )
    return {name: series for name, series in result.items() if len(series.step)}
