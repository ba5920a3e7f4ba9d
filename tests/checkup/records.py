"""Records written by hand, runs simulated in NumPy, and one rule's judgement of them."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from steepest import Recipe, Record
from steepest.checkup._examine import examine
from steepest.checkup.finding import Finding
from steepest.checkup.rule import Rule
from steepest.checkup.rules import RULES
from steepest.training.recipe import check, describe


RULE = {rule.id: rule for rule in RULES}
FIELDS = {field.name for field in dataclasses.fields(Recipe)}


def judge(rule: str, record: Record, **limits: float) -> Finding | None:
    """What one rule says of a record, with some of its limits replaced."""
    named = {f"{rule}.{name}": value for name, value in limits.items()}
    result = examine(record, [RULE[rule]], limits=named)
    if result.not_run:
        pytest.fail(f"{rule} was not run: {result.not_run[rule]}")
    if not result.findings:
        return None
    assert_well_formed(result.findings[0], RULE[rule])
    return result.findings[0]


def found(rule: str, record: Record, **limits: float) -> Finding:
    """The same where there must be a finding."""
    finding = judge(rule, record, **limits)
    assert finding is not None, f"{rule} found nothing"
    return finding


def reason(rule: str, record: Record) -> str:
    """Why a rule was not run."""
    return examine(record, [RULE[rule]]).not_run[rule]


def assert_well_formed(finding: Finding, rule: Rule) -> None:
    """Whatever a rule finds can be read, measured, followed and refuted."""
    assert finding.rule == rule.id
    assert finding.severity <= rule.severity
    assert finding.evidence and not math.isnan(finding.evidence[0].observed)
    for said in (
        finding.claim,
        finding.why,
        finding.cause,
        finding.prescription.text,
        finding.refutation,
    ):
        assert said.endswith("."), said
        assert not any(word in said for word in ("nan", "None", "  ")), said
    assert (
        finding.claim[0] == "`"
        or finding.claim[0].isupper()
        or finding.claim[0].isdigit()
    )
    assert finding.reference
    assert 0 < finding.confidence <= 1
    assert set(finding.prescription.recipe) <= FIELDS
    check(dataclasses.replace(Recipe(), **finding.prescription.recipe))


# -- Runs ------------------------------------------------------------------------------


def run(loss: Any, rate: float | None = None, **recipe: Any) -> Record:
    """A run with these batch losses, one an update, under a recipe."""
    record = Record()
    loss = np.asarray(loss, float)
    record.extend("loss", range(len(loss)), list(loss))
    if rate is not None:
        recipe |= {"learning_rate": rate}
        record.extend("learning_rate", range(len(loss)), [rate] * len(loss))
    record.meta["recipe"] = describe(Recipe(**recipe))
    record.meta["ended"] = "completed"
    return record


def probe(
    record: Record,
    name: str,
    values: Any,
    steps: Sequence[int] | None = None,
    labels: Sequence[str] = (),
) -> Record:
    """Add a probed series, spread evenly over the run where no steps are given."""
    last = int(record["loss"].step[-1]) if "loss" in record else 100
    values = np.asarray(values, float)
    steps = np.linspace(0, last, len(values)).astype(int) if steps is None else steps
    for step, value in zip(steps, values, strict=True):
        record.add(name, int(step), value, labels)
    return record


def layered(
    record: Record,
    gradient: Any,
    update: Any = 1e-3,
    weight: Any = 1.0,
    probes: int = 10,
    paths: Sequence[str] = (),
) -> Record:
    """Norms of some weight arrays of 100 elements each, the same at every probe.

    A value that is given as a table `(probe, layer)` is taken as it is.
    """
    layers = np.shape(gradient)[-1]
    paths = list(paths) or [f"weights[{i}]" for i in range(layers)]
    for name, value in (("gradient", gradient), ("update", update), ("weight", weight)):
        table = np.broadcast_to(np.asarray(value, float), (probes, layers))
        probe(record, f"layer.{name}_norm", table, labels=paths)
    record.facts["experiment.depth"] = {"paths": paths, "sizes": [100] * layers}
    return record


def scored(
    record: Record,
    train: float,
    validation: float | None = None,
    *,
    sem: float = 0.01,
    validation_sem: float | None = None,
    constant: float = 0.1,
    linear: float = 0.9,
    linear_validation: float = 0.9,
    neighbours_validation: float = 0.9,
    metric: str = "accuracy",
) -> Record:
    """Scores of the trained model and of the simple ones beside it."""
    held = None if validation is None else [validation, validation_sem or sem]
    record.facts["experiment.final"] = {
        "metric": metric,
        "train": [train, sem],
        "validation": held,
    }
    record.facts["experiment.baselines"] = {
        "metric": metric,
        "constant": [[constant, sem], [constant, sem]],
        "linear": [[linear, sem], [linear_validation, sem]],
        "neighbours": [[1.0, 0.0], [neighbours_validation, sem]],
    }
    return record


# -- Descent on a quadratic ------------------------------------------------------------


def matrix(method: str, product: float, beta: float = 0.9) -> np.ndarray:
    """One step of a method on L(w) = λw²/2 as a map of (w, m/λ); `product` is ηλ.

    As Optax writes them: m ← g + βm, and Adam with a preconditioner that stands still.
    """
    p = product
    return {
        "sgd": np.array([[1 - p, 0.0], [0.0, 0.0]]),
        "rmsprop": np.array([[1 - p, 0.0], [0.0, 0.0]]),
        "momentum": np.array([[1 - p, -p * beta], [1.0, beta]]),
        "nesterov": np.array([[1 - p * (1 + beta), -p * beta**2], [1.0, beta]]),
        "adam": np.array([[1 - p * (1 - beta), -p * beta], [1 - beta, beta]]),
    }[method]


def stable_up_to(method: str, beta: float = 0.9) -> float:
    """The largest ηλ at which the spectral radius of a step is 1, by bisection."""
    low, high = 0.0, 1e3
    for _ in range(80):
        middle = (low + high) / 2
        radius = np.abs(np.linalg.eigvals(matrix(method, middle, beta))).max()
        low, high = (middle, high) if radius <= 1 else (low, middle)
    return low


def descend(
    curvatures: Sequence[float],
    rate: float,
    steps: int = 300,
    method: str = "sgd",
    beta: float = 0.9,
) -> np.ndarray:
    """The losses ½ Σ λᵢwᵢ² of a run that starts at w = (1, 1, ...)."""
    lam = np.asarray(curvatures, float)
    state = np.stack([np.ones_like(lam), np.zeros_like(lam)])
    maps = np.stack([matrix(method, rate * c, beta) for c in lam], axis=-1)
    losses = []
    for _ in range(steps):
        losses.append(0.5 * float(lam @ state[0] ** 2))
        state = np.einsum("ijn,jn->in", maps, state)
    return np.array(losses)


def quadratic(
    curvatures: Sequence[float], rate: float, steps: int = 300, **recipe: Any
) -> Record:
    """The record of such a run, with its sharpness, which is the largest curvature."""
    method = recipe.get("optimizer", "sgd")
    recipe["optimizer"] = method
    losses = descend(curvatures, rate, steps, method, recipe.get("momentum", 0.9))
    record = run(losses, rate, **recipe)
    return probe(record, "sharpness", [max(curvatures)] * 6)


def noisy(values: Sequence[float], scale: float, seed: int = 0) -> np.ndarray:
    """Values with Gaussian noise of a known standard deviation."""
    random = np.random.default_rng(seed)
    return np.asarray(values) + scale * random.standard_normal(len(values))
