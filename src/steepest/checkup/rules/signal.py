"""Rules about the signal on its way through the layers, and the gradient's way back.

By the chain rule the gradient at layer l is a product of the Jacobians of all the later
layers,

    ∂L/∂hₗ = J_{l+1}ᵀ ⋯ J_Lᵀ ∂L/∂h_L,                                        (1)

so that it shrinks or grows like a power of the depth unless the singular values of the
J lie around 1. Non-linearities enter through their slopes: 0 or 1 for ReLU, at most ¼
for the sigmoid, near 0 wherever a unit is saturated.
"""

import numpy as np

from ...training.record import Record
from ..finding import Chart, Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule
from .trend import (
    early,
    failed,
    fall,
    layers,
    recipe_of,
    rounded,
    span,
    step_size,
    succeeded,
)


def vanishing(record: Record, limits: Limits) -> Finding | None:
    """Gradients shrink towards the input by orders of magnitude, and it does harm."""
    profile = depth_profile(record)
    if profile is None or succeeded(record):
        return None
    rms, paths, steps = profile
    low = int(np.argmin(rms[: len(rms) - 1]))  # the last layer cannot have vanished
    high = low + 1 + int(np.argmax(rms[low + 1 :]))
    if rms[low] == 0 or rms[high] == 0:
        return None  # a cut, a dead layer or symmetry: not a power of the depth
    ratio = rms[low] / rms[high]
    if ratio > limits["ratio"] or high - low < 2:
        return None
    hops = high - low
    factor = ratio ** (1 / hops)
    return Finding(
        rule="SIG001",
        severity=Severity.HIGH if failed(record) else Severity.MEDIUM,
        claim=(
            f"The gradient vanishes on its way back: at `{paths[low]}` it is "
            f"{ratio:.1e} times what it is at `{paths[high]}`, {hops} layers later."
        ),
        evidence=(
            Evidence(
                "gradient RMS, early layer ÷ late layer (median over the early phase)",
                float(ratio),
                limits["ratio"],
                steps,
                paths[low],
            ),
            Evidence("factor for each layer", float(factor), 1.0, steps),
        ),
        why=(
            "The gradient at a layer is a product of the Jacobians of all layers after "
            f"it. Here every layer multiplies it by about {factor:.2g}, so the first "
            "layers are adjusted by what is left after that many products: they stay "
            "random while the last ones make do with what random features give. A "
            "sigmoid's slope is at most 1/4, so a stack of them cannot help it."
        ),
        reference="DL §8.2.5, §6.3.2; Glorot & Bengio (2010); He et al. (2015)",
        cause="Saturating non-linearities in a deep stack, or weights drawn too small.",
        prescription=Prescription(
            "Use ReLU (or GELU, SiLU) in the hidden layers with He initialisation, "
            "variance 2/fan-in; or add skip connections x + f(x), or normalisation.",
            snippet="jax.nn.initializers.he_normal()(key, (fan_in, fan_out))",
        ),
        confidence=0.9 if ratio < limits["ratio"] / 10 else 0.75,
        refutation=(
            "Draw the same network with ReLU and He initialisation: if the ratio "
            "between the same layers stays as small, the depth is not the cause."
        ),
        chart=Chart("layer.gradient_norm", log=True),
    )


def exploding(record: Record, limits: Limits) -> Finding | None:
    """Gradients grow towards the input, or in time, and the run suffers from it."""
    if succeeded(record):
        return None
    profile = depth_profile(record)
    evidence: list[Evidence] = []
    claim = ""
    if profile is not None:
        rms, paths, steps = profile
        first, last = int(np.argmax(rms)), len(rms) - 1
        ratio = rms[first] / rms[last] if rms[last] > 0 else 0.0
        if ratio > limits["ratio"] and last - first >= 2:
            claim = (
                f"The gradient explodes on its way back: at `{paths[first]}` it is "
                f"{ratio:.3g} times what it is at `{paths[last]}`."
            )
            evidence.append(
                Evidence(
                    "gradient RMS, early layer ÷ last layer",
                    float(ratio),
                    limits["ratio"],
                    steps,
                    paths[first],
                )
            )
    growth = growth_in_time(record)
    if growth is not None and growth[0] > limits["growth"] and harmed(record):
        times, at = growth
        if not claim:
            claim = (
                f"The gradient norm grew to {times:.3g} times its initial value by "
                f"step {at}, and the loss with it."
            )
        evidence.append(
            Evidence(
                "largest gradient norm ÷ its median over the first updates",
                times,
                limits["growth"],
                (0, at),
            )
        )
    if not claim:
        return None
    clip = clip_value(record)
    return Finding(
        rule="SIG002",
        severity=Severity.CRITICAL if harmed(record) else Severity.HIGH,
        claim=claim,
        evidence=tuple(evidence),
        why=(
            "A product of Jacobians with singular values above 1 grows like a power of "
            "the depth, or of the time in a recurrent net. The loss surface then has "
            "cliffs: one gradient taken there, times an ordinary step size, throws the "
            "weights far away and undoes the progress made. Weights that have grown "
            "make the next gradient larger still."
        ),
        reference="DL §8.2.4, §10.11.1; Pascanu, Mikolov & Bengio (2013)",
        cause=(
            "Weights drawn too large, inputs of large scale, or a step size that made "
            "the weights grow."
        ),
        prescription=Prescription(
            f"Clip the global gradient norm at {clip:.2g}, and draw the weights with "
            "variance 2/fan-in (ReLU) or 1/fan-in (tanh).",
            recipe={"clip_norm": clip},
        ),
        confidence=0.7,
        refutation=(
            "Train with the norm clipped: if the loss behaves no better, the gradients "
            "were large but not the cause."
        ),
        chart=Chart("gradient_norm", log=True),
    )


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
    eta = step_size(record)
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
    if not others > 0 or rate[still] > limits["ratio"] * others:
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
            else f"`{path}` hardly moves: {rate[still]:.1e} of its length in each update, "
            f"where the others move by {others:.1e}."
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


# -- What the rules above share --------------------------------------------------------


def depth_profile(
    record: Record,
) -> tuple[np.ndarray, list[str], tuple[int, int]] | None:
    """The early gradient of every weight array by depth, as RMS of an element."""
    step, gradient, paths = layers(record, "layer.gradient_norm")
    depth = record.facts.get("experiment.depth")
    if len(paths) < 3 or not len(step):
        return None
    chosen = early(step)
    good = chosen[np.isfinite(gradient[chosen]).all(axis=1)]
    if not len(good):
        return None
    norm = np.median(gradient[good], axis=0)
    size = np.ones(len(paths))
    if depth:
        size = np.array([depth["sizes"][depth["paths"].index(p)] for p in paths], float)
    return norm / np.sqrt(size), paths, (int(step[good[0]]), int(step[good[-1]]))


def growth_in_time(record: Record) -> tuple[float, int] | None:
    """The largest gradient norm relative to the first tenth's median, and its step."""
    if "gradient_norm" not in record:
        return None
    series = record["gradient_norm"]
    value = np.asarray(series.value, float)
    good = np.isfinite(value)
    if good.sum() < 5:
        return None
    n = min(max(3, len(value) // 10), 20)
    base = float(np.median(value[good][:n]))
    if not base > 0:
        return None
    top = int(np.argmax(np.where(good, value, -np.inf)))
    return float(value[top] / base), int(series.step[top])


def harmed(record: Record) -> bool:
    """Whether the loss went up over the run, or stopped being a number."""
    if record.meta.get("ended") == "non-finite":
        return True
    f = fall(record)
    return f is not None and f.last > f.first + 2 * f.sem


def clip_value(record: Record) -> float:
    """The 90th percentile of the gradient norms of the first part of the run."""
    if recipe_of(record).get("clip_norm"):
        return float(recipe_of(record)["clip_norm"]) / 2
    if "gradient_norm" in record:
        value = np.asarray(record["gradient_norm"].value, float)
        value = value[np.isfinite(value)][: max(10, len(value) // 5)]
        if len(value):
            return rounded(float(np.percentile(value, 90)), 2) or 1.0
    return 1.0


RULES: tuple[Rule, ...] = (
    Rule(
        id="SIG001",
        title="Vanishing gradient",
        severity=Severity.HIGH,
        judge=vanishing,
        needs=("layer.gradient_norm",),
        limits={"ratio": 1e-2},
        doc=(
            "Root-mean-square gradient of the weight arrays in the order of their use, "
            "median over the early phase without the first measurement. `ratio`: "
            "earlier ÷ later layer, at least two layers apart; 10⁻² is a factor 0.2 "
            "for each of three layers, which no well-drawn ReLU net reaches. Silent "
            "when the run learned its data: gradients that vanish at the end of a "
            "successful run are success. Look-alikes: zero-initialised residual "
            "branches (first measurement left out), exact zeros (dead units, symmetry, "
            "no gradient path)."
        ),
        explains=("SIG005", "OPT002", "OPT005", "OPT006", "OPT007", "GEN002"),
    ),
    Rule(
        id="SIG002",
        title="Exploding gradient",
        severity=Severity.CRITICAL,
        judge=exploding,
        needs=("layer.gradient_norm", "loss"),
        limits={"ratio": 70.0, "growth": 100.0},
        doc=(
            "`ratio`: RMS gradient of an early weight array ÷ that of the last one "
            "(70: the limit of Zhang et al. 2021). `growth`: largest gradient norm ÷ "
            "median of the first updates, counted only if the loss rose as well. "
            "Silent when the run learned its data."
        ),
        explains=(
            "NUM001",
            "SIG003",
            "SIG004",
            "OPT001",
            "OPT003",
            "OPT004",
            "OPT005",
            "OPT007",
            "GEN002",
        ),
    ),
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
        explains=(
            "SIG001",
            "SIG005",
            "OPT002",
            "OPT005",
            "OPT006",
            "OPT007",
            "GEN002",
        ),
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
        explains=(
            "SIG001",
            "SIG005",
            "OPT002",
            "OPT005",
            "OPT006",
            "OPT007",
            "GEN002",
        ),
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
