"""The pieces of reports made by hand."""

import numpy as np

from steepest import Recipe, Record
from steepest.checkup.finding import Evidence, Finding, Prescription, Severity
from steepest.checkup.rule import Rule
from steepest.training.recipe import describe


HOSTILE = "<script>alert('x')</script>&\"]]>"


def finding(rule: str, severity: Severity, **fields) -> Finding:
    given = {
        "claim": f"The claim of {rule}.",
        "evidence": (Evidence("a quantity", 3.0, 2.0, (10, 20), "model.py:31", 0.1),),
        "why": "Theory says *so* of `eta`.",
        "reference": "DL §4.3.1",
        "cause": f"The cause of {rule}.",
        "prescription": Prescription(
            f"The cure of {rule}.", {"learning_rate": 0.01}, "x = x / 255"
        ),
        "confidence": 0.9,
        "refutation": f"What refutes {rule}.",
    }
    return Finding(rule=rule, severity=severity, **given | fields)


def rule(name: str, title: str = "A title") -> Rule:
    return Rule(name, title, Severity.HIGH, lambda record, limits: None, ())


def recorded(layers: int = 3, probes: int = 12, steps: int = 120) -> Record:
    """A run as `fit` records it."""
    record = Record()
    rng = np.random.default_rng(0)
    for step in range(steps):
        loss = 2.3 * np.exp(-step / 30) + 0.05 * rng.random()
        record.log(step, loss=loss, gradient_norm=1.0, learning_rate=0.05)
    paths = [f"layers[{i}].weight" for i in range(layers)]
    units = [f"relu model.py:{i}" for i in range(layers)]
    for step in np.linspace(0, steps, probes).astype(int):
        loss = 2.3 * np.exp(-step / 30)
        record.log(step, **{"train.loss": loss, "validation.loss": loss + 0.2})
        record.log(step, **{"train.accuracy": 0.9, "validation.accuracy": 0.8})
        record.log(step, sharpness=30.0 + step / 10)
        for name in ("gradient", "weight", "update"):
            scale = {"gradient": 1e-2, "weight": 1.0, "update": 1e-3}[name]
            value = scale * np.geomspace(0.01, 1, layers).astype(np.float32)
            record.add(f"layer.{name}_norm", step, value, paths)
        record.add("unit.dead", step, np.linspace(0, 0.6, layers), units)
        record.add("activation.std", step, np.linspace(0.5, 1, layers), units)
    record.meta |= {
        "recipe": describe(Recipe(optimizer="sgd", learning_rate=0.05)),
        "seed": 7,
        "steps": steps,
        "parameters": 12345,
        "seconds": 1.5,
        "ended": "completed",
        "versions": {"python": "3.11", "jax": "0.10"},
        "device": "1 × cpu (cpu)",
    }
    return record
