"""Rules about units and layers that take no part in learning.

A unit learns through the slope of its non-linearity, which is a factor of its gradient:
0 or 1 for ReLU, at most ¼ for the sigmoid, near 0 wherever a unit is saturated. Where
that factor is 0 for every example nothing reaches the unit's weights, or the layers
before it. A layer as a whole learns at the rate of its relative update ‖Δw‖/‖w‖.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§6.3.1, 6.3.2, 8.2.5.
    Glorot, Bordes & Bengio (2011), Deep sparse rectifier neural networks.
"""

import numpy as np

from ...training.record import Record
from ..finding import Chart, Evidence, Finding, Prescription, Severity
from ..numbers import number, share
from ..rule import Limits, Rule
from .symptoms import CUT_OFF
from .trend import failed, layers, learning_rate, rounded, span, succeeded


USUAL = 1e-3  # relative update: a layer that moves by more is not idle


def dead(record: Record, limits: Limits) -> Finding | None:
    """Most units of a ReLU layer are zero for every example."""
    series = record["unit.dead"]
    if not len(series.step):
        return None
    first, last = np.asarray(series.value[0]), np.asarray(series.value[-1])
    worst = int(np.nanargmax(np.maximum(last, np.nanmedian(series.value, axis=0))))
    share = float(max(last[worst], np.nanmedian(series.value[:, worst])))
    if share < limits["share"]:
        return None
    place = series.labels[worst] if series.labels else f"site {worst}"
    born = float(first[worst]) >= 0.8 * share
    gone = share >= 0.9 or failed(record)
    grave = Severity.HIGH if gone and not succeeded(record) else Severity.MEDIUM
    if share > 0.995 and not succeeded(record):
        grave = Severity.CRITICAL
    if succeeded(record) and share < 0.9:
        grave = Severity.NOTE
    eta = learning_rate(record)
    if born:
        cause = (
            f"They were dead before the first update ({first[worst]:.0%}): a negative "
            "bias, a bad initialisation, or inputs far from zero mean."
        )
        prescription = Prescription(
            "Draw the weights with He initialisation and set the biases to 0 (or "
            "0.01); standardise the inputs.",
            snippet="w = jax.nn.initializers.he_normal()(key, (fan_in, fan_out))\n"
            "b = jnp.zeros(fan_out)",
        )
    else:
        cause = (
            f"They died while training (from {first[worst]:.0%}): an update too large "
            "moved their biases below all data."
        )
        new = rounded(eta / 10) if np.isfinite(eta) else None
        prescription = Prescription(
            f"Lower the learning rate to {new:g}, or use a non-linearity with a slope "
            "on both sides."
            if new
            else "Lower the learning rate tenfold, or use a leaky non-linearity.",
            recipe={"learning_rate": new} if new else {},
            snippet="jax.nn.leaky_relu(z)   # or jax.nn.gelu(z), jax.nn.silu(z)",
        )
    return Finding(
        rule="SIG003",
        severity=grave,
        claim=(
            f"{share:.0%} of the units of `{place}` are dead: their input is below "
            "zero for every example of the probe batch."
        ),
        evidence=(
            Evidence(
                "share of units that are zero for all examples",
                share,
                limits["share"],
                span(series.step),
                place,
            ),
            Evidence(
                "the same before training", float(first[worst]), None, (0, 0), place
            ),
        ),
        why=(
            "A ReLU passes no gradient where its input is negative. A unit whose input "
            "is negative for all data gets no gradient from any of them, so nothing "
            "can revive it: the layer is that much narrower for good, and with every "
            "unit dead nothing passes at all. That most *activations* are zero is "
            "normal; that whole units are is not."
        ),
        reference="DL §6.3.1; Glorot, Bordes & Bengio (2011); Maas et al. (2013)",
        cause=cause,
        prescription=prescription,
        confidence=0.95 if share > 0.7 else 0.8,
        refutation=(
            "Evaluate the layer on all training data: if the units fire for some of "
            "it, the probe batch was too small."
        ),
        chart=Chart("unit.dead", limit=limits["share"], healthy=(0.0, 0.3)),
    )


def saturated(record: Record, limits: Limits) -> Finding | None:
    """Most units of a tanh or sigmoid layer are saturated while they should learn."""
    series = record["unit.saturated"]
    if not len(series.step):
        return None
    value = np.asarray(series.value, float)
    start = np.nanmax(value[: max(1, len(value) // 3)], axis=0)
    share_of = start if succeeded(record) else np.maximum(start, value[-1])
    worst = int(np.nanargmax(share_of))
    share = float(share_of[worst])
    if share < limits["share"]:
        return None
    place = series.labels[worst] if series.labels else f"site {worst}"
    born = bool(value[0, worst] >= 0.5 * share)
    grave = Severity.HIGH if failed(record) else Severity.MEDIUM
    if succeeded(record):
        grave = Severity.NOTE
    spread = ""
    evidence = [
        Evidence(
            "share of units with slope < 10⁻³ on > 95 % of the examples",
            share,
            limits["share"],
            span(series.step),
            place,
        )
    ]
    if "activation.std" in record and place in record["activation.std"].labels:
        s = record["activation.std"]
        std = float(s.value[0][s.labels.index(place)])
        evidence.append(
            Evidence("standard deviation of its input", std, 2.0, None, place)
        )
        spread = f" Its input had a standard deviation of {std:.3g} at the start."
    return Finding(
        rule="SIG004",
        severity=grave,
        claim=f"{share:.0%} of the units of `{place}` are saturated.",
        evidence=tuple(evidence),
        why=(
            "Sigmoid and tanh are flat away from zero: at |z| = 4.15 the slope of tanh "
            "is a thousandth of its greatest value. A saturated unit passes neither a "
            "gradient to the layers before it nor one to its own weights, so it stays "
            f"where it is, a constant.{spread}"
        ),
        reference="DL §6.3.2; Glorot & Bengio (2010)",
        cause=(
            "Inputs that are not standardised, or weights drawn too large."
            if born
            else "Weights that have grown under a large step size."
        ),
        prescription=Prescription(
            "Standardise the inputs and draw the weights with variance 1/fan-in "
            "(Glorot), or use ReLU in hidden layers.",
            snippet="x = (x - x_train.mean(0)) / x_train.std(0)",
        ),
        confidence=0.85,
        refutation=(
            "Divide the layer's weights by ten and train again: if it learns no "
            "better, saturation was not what held it."
        ),
        chart=Chart("unit.saturated", limit=limits["share"], healthy=(0.0, 0.2)),
    )


def idle(record: Record, limits: Limits) -> Finding | None:
    """A layer hardly moves while the others learn."""
    step, update, paths = layers(record, "layer.update_norm")
    _, weight, _ = layers(record, "layer.weight_norm")
    _, gradient, _ = layers(record, "layer.gradient_norm")
    if len(paths) < 2 or not len(step):
        return None
    rate = np.nanmedian(update / np.maximum(weight, 1e-30), axis=0)
    still = int(np.argmin(rate))
    others = float(np.median(np.delete(rate, still)))
    if not others > 0 or rate[still] > min(limits["ratio"] * others, USUAL):
        return None
    if np.nanmax(gradient[:, still]) == 0:
        return None  # no gradient path at all: PRG008, or dead units
    frozen = np.nanmax(update[:, still]) == 0
    if not frozen and succeeded(record):
        return None
    path = paths[still]
    return Finding(
        rule="SIG005",
        severity=Severity.NOTE if frozen else Severity.MEDIUM,
        claim=(
            f"`{path}` has a gradient but is never updated."
            if frozen
            else f"`{path}` hardly moves: by {share(float(rate[still]), 'its length')} in "
            f"each update, where the others move by {number(others)}."
        ),
        evidence=(
            Evidence(
                "relative update ‖Δw‖/‖w‖ ÷ median of the other layers",
                float(rate[still] / others),
                limits["ratio"],
                span(step),
                path,
            ),
        ),
        why=(
            "A layer learns at the rate ‖Δw‖/‖w‖. Around 10⁻³ for each update is "
            "usual; a layer that is slower than the rest by orders of magnitude stays "
            "what its initialisation made it, and the others have to work around it."
        ),
        reference="DL §8.2.5, §11.5; You, Gitman & Ginsburg (2017)",
        cause=(
            "The optimiser leaves it out: frozen on purpose, or forgotten in a mask."
            if frozen
            else "A gradient that has vanished, or a learning rate of its own."
        ),
        prescription=Prescription(
            f"If it is not frozen on purpose, put `{path}` back into the optimiser's "
            "mask."
            if frozen
            else "Use an optimiser that rescales each layer, or mend the gradient's way."
        ),
        confidence=0.6,
        refutation="Train that layer alone: if the loss falls, it was able to learn.",
        chart=Chart("layer.update_norm", log=True),
    )


RULES: tuple[Rule, ...] = (
    Rule(
        id="SIG003",
        title="Dead ReLU units",
        severity=Severity.CRITICAL,
        judge=dead,
        needs=("unit.dead",),
        limits={"share": 0.5},
        doc=(
            "The share of units of a ReLU site whose input is ≤ 0 for the whole probe "
            "batch. `share` 0.5: half the layer, the default of other tools too; small "
            "healthy nets lose up to a quarter. Look-alike: 50-90 % zero activations "
            "with no unit dead, which is what ReLU is for."
        ),
        explains=CUT_OFF,
    ),
    Rule(
        id="SIG004",
        title="Saturated units",
        severity=Severity.HIGH,
        judge=saturated,
        needs=("unit.saturated",),
        limits={"share": 0.5},
        doc=(
            "`share`: that of the units of a tanh or sigmoid site with a slope below "
            "10⁻³ of the greatest on more than 95 % of the probe batch, in the first "
            "third of the run, or at its end if it failed: the head of a classifier that is "
            "right and sure is saturated, and should be."
        ),
        explains=CUT_OFF,
    ),
    Rule(
        id="SIG005",
        title="A layer that does not learn",
        severity=Severity.MEDIUM,
        judge=idle,
        needs=("layer.update_norm", "layer.weight_norm", "layer.gradient_norm"),
        limits={"ratio": 1e-4},
        doc=(
            "`ratio`: median relative update ‖Δw‖/‖w‖ of a weight array ÷ the median of "
            "the others. A layer whose update is exactly zero while its gradient is not is "
            "frozen by the optimiser, on purpose or not: a note. Layers without any "
            "gradient are PRG008's."
        ),
    ),
)
