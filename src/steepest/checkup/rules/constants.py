"""The rule about Adam's constants, ε and β₂.

The update is η m̂/(√v̂ + ε). ε is compared with the roots √v̂ that it is added to, which
it should leave alone, and 1/(1 − β₂), the updates that v̂ remembers, with what the loss
did when v̂ had decayed.

References
    Kingma & Ba (2015), Adam: a method for stochastic optimization.
    Goodfellow, Bengio & Courville (2016), Deep Learning, §8.5.3.
"""

import numpy as np

from ...training.record import Record
from ..finding import Chart, Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule
from .trend import finite, recipe_of, running, span, succeeded


MODEST = 100  # updates: fewer say nothing of a rise


def adam_constants(record: Record, limits: Limits) -> Finding | None:
    """Adam's ε decides the update, or its v̂ forgets too fast."""
    recipe = recipe_of(record)
    epsilon, beta2 = recipe.get("epsilon"), recipe.get("beta2")
    if recipe.get("optimizer") not in ("adam", "adamw"):
        return None
    if not isinstance(epsilon, int | float) or not isinstance(beta2, int | float):
        return None
    tiny = float(np.finfo(np.float32).tiny)
    if epsilon < tiny and record.meta.get("ended") == "non-finite":
        return _finding(
            Severity.HIGH,
            f"Adam's ε is {epsilon:g}, which is zero in float32, and the run ended in "
            "what is not a number.",
            Evidence("Adam's ε", float(epsilon), tiny),
            {"epsilon": 1e-8},
            0.8,
        )
    if "optimizer.small_roots" in record and not succeeded(record):
        step, share = finite(record, "optimizer.small_roots")
        middle = float(np.median(share)) if len(share) else 0.0
        typical = float(np.median(finite(record, "optimizer.root")[1]))
        if middle > limits["share"] and typical < epsilon:
            new = max(float(f"{typical / 1e3:.0e}"), 1e-8)
            return _finding(
                Severity.HIGH,
                f"Adam's ε of {epsilon:g} is above the root of nearly every second "
                f"moment, {typical:.2g} in the middle: the update is no longer scaled.",
                Evidence("share of √v̂ below 10 ε", middle, limits["share"], span(step)),
                {"epsilon": new},
                0.9,
            )
    if "optimizer.root" in record and beta2 < limits["beta2"]:
        return _spike(record, float(beta2), limits)
    return None


def _spike(record: Record, beta2: float, limits: Limits) -> Finding | None:
    """v̂ that decays to a tenth (`decay`), and then a loss that jumps."""
    step, root = finite(record, "optimizer.root")
    _, loss = finite(record, "loss")
    if len(root) < 8 or len(loss) < MODEST:
        return None
    means = running(loss, max(1, len(loss) // 50))
    low = int(np.argmin(means))
    late = means[low:]
    risen = float(late.max() - means[low]) / max(float(means[0] - means[low]), 1e-30)
    decayed = float(root[: len(root) // 4 + 1].max() / max(root.min(), 1e-30))
    if risen < limits["spike"] or decayed < limits["decay"] or succeeded(record):
        return None
    return _finding(
        Severity.MEDIUM,
        f"Adam's √v̂ decayed {decayed:.3g}-fold and then the loss leapt by {risen:.0%} of "
        f"what it had gained: β₂ = {beta2:g} forgets within {1 / (1 - beta2):.0f} updates.",
        Evidence("rise of the loss ÷ its gain", risen, limits["spike"], span(step)),
        {"beta2": 0.999},
        0.6,
    )


def _finding(
    severity: Severity,
    claim: str,
    evidence: Evidence,
    change: dict[str, float],
    confidence: float,
) -> Finding:
    ((name, value),) = change.items()
    return Finding(
        rule="OPT013",
        severity=severity,
        claim=claim,
        evidence=(evidence,),
        why=(
            "Adam divides by √v̂ + ε. ε is there for entries without a gradient; above "
            "√v̂ it takes the scaling away and the update shrinks to m̂ η/ε. And v̂ is an "
            "average over 1/(1 − β₂) updates: over too few of them it shrinks with the "
            "gradients, and the next large one meets a divisor that has forgotten."
        ),
        reference="DL §8.5.3; Kingma & Ba (2015)",
        cause="A constant taken from another program, or from another format.",
        prescription=Prescription(
            f"Set {'ε' if name == 'epsilon' else 'β₂'} to {value:g}.", recipe=change
        ),
        confidence=confidence,
        refutation=f"A run with {value:g} that fares no better.",
        chart=Chart("loss"),
    )


RULES: tuple[Rule, ...] = (
    Rule(
        id="OPT013",
        title="Adam's constants do not suit its gradients",
        severity=Severity.HIGH,
        judge=adam_constants,
        needs=("loss",),
        limits={"share": 0.5, "beta2": 0.98, "spike": 0.5, "decay": 10.0},
        doc=(
            "`share` of the √v̂ that are not zero below 10 ε, and their middle below ε, "
            "in a run that did not succeed; an ε that is zero in float32, where the run "
            "ended in NaN; or a √v̂ that fell by a factor `decay` before the loss rose by "
            "`spike` of its gain, with a β₂ below `beta2`. Look-alikes: dead units and "
            "embedding rows without a gradient, which are left out; a large ε in a run "
            "that went well."
        ),
        explains=(
            "OPT002",
            "OPT003",
            "OPT004",
            "OPT005",
            "OPT006",
            "NUM001",
            "GEN002",
            "SIG005",
        ),
    ),
)
