"""The check-up: measure, train, measure again, judge, report.

    problem, recipe ─► pre-flight (data, program, initial state)
                    ─► experiments (can it fit one batch?)
                    ─► fit, with probes
                    ─► afterwards (final curvature, baselines, worst mistakes)
                    ─► record ─► rules ─► findings, ranked ─► report

Each stage writes numbers into one record; only the rules judge. The stages share a
budget in seconds: the training run gets what the others leave it.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ..core.errors import InputError
from ..training import Problem, Recipe, Record, fit
from ..training._validate import validate
from ..training.probes import STANDARD
from ..training.probes.keeping import keep_end
from ..training.probes.moments import MOMENTS
from ._examine import examine
from .mistakes import mistakes_of
from .preflight import (
    data,
    experiments,
    features,
    ground,
    initial,
    numerics,
    program,
)
from .report import Report
from .rule import Rule
from .rules import RULES
from .verdict import verdict


SHARE = 0.7  # of the budget that the training run may take
OVERHEAD = 0.5  # of the training time for probes: a check-up is there to look
CLOSELY = 0.15  # of the budget, for probes beside that
GROUND = 0.1  # of the budget, at least, for the curvature at the end


def check(
    problem: Problem,
    recipe: Recipe | None = None,
    *,
    rules: Sequence[Rule] = RULES,
    limits: Mapping[str, float] | None = None,
    silence: Collection[str] = (),
    budget: float = 60.0,
    seed: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Check a training program and report what is wrong with it, with evidence.

    **Arguments**

    - `problem`, `recipe`: what is trained and how. Without a recipe, Adam at 1e-3.
    - `rules`: the rules to judge by; add your own with `RULES + (mine,)`.
    - `limits`: thresholds to replace, `{"OPT001.product": 1.8}`.
    - `silence`: ids of rules to leave out.
    - `budget`: seconds that the whole check may take, give or take the compilation of
      the training program. A run that does not fit is stopped, judged on what it did,
      and says so.
    - `seed`: replaces the recipe's seed.
    - `progress`: called with the name of each stage.

    **Returns** a `Report`. Raises `InputError`, before anything is run, for a program
    that cannot be checked.

    Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, ch. 11.
    """
    recipe = recipe or Recipe()
    if seed is not None:
        recipe = replace(recipe, seed=seed)
    if not budget > 0:
        raise InputError(
            f"`budget` must be a positive number of seconds, not {budget}."
        )
    start = time.perf_counter()
    record = Record()
    cost: dict[str, float] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        if progress is not None:
            progress(name)
        began = time.perf_counter()
        yield
        cost[name] = time.perf_counter() - began

    examine(record, rules, limits=limits, silence=silence)  # bad options fail first
    with stage("reading the program"):
        validate(problem, recipe)
        data.measure(problem, recipe, record)
        program.measure(problem, recipe, record)
        initial.measure(problem, recipe, record)
        numerics.measure(problem, recipe, record)
    with stage("trying one batch"):
        experiments.measure(problem, recipe, record)
    with stage("training"):
        spent = time.perf_counter() - start
        keeping, end = keep_end()
        fitted, record = fit(
            problem,
            recipe,
            probes=(*STANDARD, MOMENTS, keeping),
            budget=OVERHEAD,
            allowance=CLOSELY * budget,
            seconds=max(SHARE * budget - spent, 0.3 * budget),
            record=record,
        )
        explain_missing(record)
    with stage("looking back"):
        experiments.measure_after(fitted, problem, record)
        numerics.measure_after(fitted, problem, record)
        left = max(budget - (time.perf_counter() - start), GROUND * budget)
        features.measure_after(end(), record)
        ground.measure_after(end(), record, left)
        mistakes = mistakes_of(problem, fitted)
    with stage("judging"):
        examination = examine(record, rules, limits=limits, silence=silence)
    return Report(
        name=problem.name,
        verdict=verdict(record, examination.findings),
        findings=examination.findings,
        passed=examination.passed,
        not_run=examination.not_run,
        rules=tuple(rules),
        record=record,
        mistakes=mistakes,
        cost=cost,
    )


#: What a program may simply not have, by the series that measure it.
ABSENT = {
    "unit.dead": "the program has no ReLU",
    "unit.saturated": "the program has no tanh or sigmoid",
    "validation.loss": "the problem has no validation data",
    "program.new_shapes": "the data are arrays, whose batches have one shape",
    "optimizer.count": "the optimiser's state has no count or moments that are known",
    "loss_scale": "the loss is not computed in float16",
}
PROBES = {"unit": "activations", "validation": "evaluation", "layer": "norms"}


def explain_missing(record: Record) -> None:
    """Say why series are not there: a probe that failed, or nothing to measure."""
    for name, reason in ABSENT.items():
        if name not in record:
            probe = PROBES.get(name.split(".")[0])
            failed = record.missing.get(f"probe {probe}")
            reason = f"its measurement failed: {failed}" if failed else reason
            record.missing.setdefault(name, reason)
