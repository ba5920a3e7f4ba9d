"""Rules about the first state: where training starts decides what it can reach.

Initial parameters have to break the symmetry between units, and their scale decides how
signals and gradients grow or fade from layer to layer (DL §8.4). The first loss is known
beforehand: a model that knows nothing about K classes should lose log K.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§6.2.2, 8.4.
    Glorot & Bengio (2010), Understanding the difficulty of training deep feedforward
    neural networks.
    He et al. (2015), Delving deep into rectifiers.
"""

import numpy as np

from ...training.record import Record
from ..finding import Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule
from .symptoms import ILL_SCALED
from .trend import failed, succeeded


def first_loss(record: Record, limits: Limits) -> Finding | None:
    """The loss before training is far above that of knowing nothing."""
    fact = record.facts["initial.loss"]
    loss, expected = float(fact["loss"]), float(fact["expected"])
    if not np.isfinite(loss) or expected <= 0 or loss <= limits["ratio"] * expected:
        return None
    ratio = loss / expected
    return Finding(
        rule="INI001",
        severity=Severity.HIGH
        if ratio > 3 * limits["ratio"] and not succeeded(record)
        else Severity.MEDIUM,
        claim=(
            f"The first loss is {loss:.3g}, {ratio:.3g} times the {expected:.3g} "
            f"({fact['of']}) that knowing nothing would cost."
        ),
        evidence=(
            Evidence(
                f"first loss ÷ {fact['of']}", ratio, limits["ratio"], steps=(0, 0)
            ),
        ),
        why=(
            "Before training the outputs should say nothing: near-equal scores for "
            "all classes, or numbers near zero. A first loss far above that means that "
            "the model starts out sure, and wrong: the first part of the run goes into "
            "taking large outputs back, with gradients as large, and softmaxes and "
            "sigmoids start saturated."
        ),
        reference="DL §8.4, §6.2.2",
        cause=(
            "Output weights drawn too large, inputs that are not scaled, or a loss "
            "that is not the mean over examples."
        ),
        prescription=Prescription(
            "Draw the last layer's weights with variance 1/fan-in or smaller (zero is "
            "fine there), and start its bias at the log of the class shares, or the "
            "mean of the targets.",
            snippet="W = W / jnp.sqrt(fan_in)\nb = jnp.log(class_shares)",
        ),
        confidence=0.8,
        refutation=(
            "A loss that is scaled or weighted on purpose, or a model that was trained "
            "before, on other data."
        ),
    )


def symmetry(record: Record, limits: Limits) -> Finding | None:
    """Units that start equal stay equal."""
    fact = record.facts["initial.constant_layers"]
    same, zero, matrices = fact["same"], fact["zero"], int(fact["matrices"])
    order = (record.facts.get("experiment.depth") or {}).get("paths", [])
    last = order[-1] if order else None
    inner = [path for path in same if path != last]
    if len(zero) == matrices and matrices > 1:
        inner = zero
    if not inner:
        return None
    value = "zero" if inner is zero else "one constant"
    return Finding(
        rule="INI002",
        severity=Severity.MEDIUM if succeeded(record) else Severity.CRITICAL,
        claim=(
            f"All weights of {_names(inner)} start at {value}, so that the units of a "
            "layer are copies of each other."
        ),
        evidence=(
            Evidence(
                "weight arrays whose units are all alike",
                float(len(inner)),
                0.0,
                (0, 0),
                inner[0],
            ),
        ),
        why=(
            "Two units with the same inputs and the same weights compute the same "
            "value, get the same gradient and take the same step: deterministic "
            "training can never tell them apart. The layer works as one unit, however "
            "wide it is."
            + (
                " With every weight at zero the gradient of all but the last layer is "
                "zero as well."
                if inner is zero
                else ""
            )
        ),
        reference="DL §8.4",
        cause="Weights initialised with a constant.",
        prescription=Prescription(
            "Draw the weights at random, with variance 2/fan-in before ReLU, "
            "1/fan-in otherwise; biases may start at zero.",
            snippet="jax.nn.initializers.he_normal()(key, (fan_in, fan_out))",
        ),
        confidence=0.97,
        refutation="Two units of the layer that differ after training.",
    )


def scale(record: Record, limits: Limits) -> Finding | None:
    """Signals grow or fade on their way through the first state."""
    fact = record.facts["initial.signal"]
    std = np.asarray(fact["std"], float)
    sites = list(fact["sites"])
    good = np.isfinite(std)
    if not good.any():
        return None
    big = int(np.argmax(np.where(good, std, -1)))
    small = int(np.argmin(np.where(good, std, np.inf)))
    evidence: list[Evidence] = []
    if std[big] > limits["large"]:
        kind, at, value = "large", big, float(std[big])
        evidence.append(
            Evidence(
                "standard deviation of what enters the non-linearity",
                value,
                limits["large"],
                (0, 0),
                sites[at],
            )
        )
    elif std[small] < limits["small"] and not _born_dead(record):
        kind, at, value = "small", small, float(std[small])
        evidence.append(
            Evidence(
                "standard deviation of what enters the non-linearity",
                value,
                limits["small"],
                (0, 0),
                sites[at],
            )
        )
    else:
        return None
    if len(std) > 1 and std[0] > 0:
        factor = float((std[good][-1] / std[good][0]) ** (1 / max(good.sum() - 1, 1)))
        evidence.append(Evidence("factor from layer to layer", factor, 1.0, (0, 0)))
    grave = failed(record) and not succeeded(record)
    return Finding(
        rule="INI003",
        severity=Severity.HIGH if grave else Severity.MEDIUM,
        claim=(
            f"At the start the input of `{sites[at]}` has a standard deviation of "
            f"{value:.3g}: the first weights are too {kind}."
        ),
        evidence=tuple(evidence),
        why=(
            "A sum of n inputs of variance s with weights of variance v has variance "
            "nvs. With v = 1/n (2/n before ReLU) signals keep their size through any "
            "depth; with any other v they grow or fade like a power of it, tanh and "
            "sigmoid saturate, and the gradient does the same on its way back."
        ),
        reference="DL §8.4; Glorot & Bengio (2010); He et al. (2015)",
        cause="A fixed standard deviation for the weights, whatever the fan-in.",
        prescription=Prescription(
            "Scale the initial weights by the fan-in: variance 2/n before ReLU, GELU, "
            "SiLU, 1/n otherwise.",
            snippet="jax.nn.initializers.he_normal()(key, (fan_in, fan_out))",
        ),
        confidence=0.85,
        refutation=(
            "The same program with weights of variance 1/fan-in that trains no better."
        ),
    )


def _born_dead(record: Record) -> bool:
    """Whether units were dead at the start: then a signal is cut off, not faded."""
    if "unit.dead" not in record or not len(record["unit.dead"].step):
        return False
    return bool(np.nanmax(record["unit.dead"].value[0]) > 0.5)


def _names(paths: list[str]) -> str:
    shown = ", ".join(f"`{p}`" for p in paths[:3])
    return shown + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


RULES: tuple[Rule, ...] = (
    Rule(
        id="INI001",
        title="A wrong first loss",
        severity=Severity.HIGH,
        judge=first_loss,
        needs=("initial.loss",),
        limits={"ratio": 4.0},
        doc=(
            "The loss before training ÷ log K for K classes, or ÷ the mean square of "
            "the targets. `ratio` 4: a usual head adds half its variance to log K, and "
            "random outputs of variance one or two add that to a regression's loss. "
            "Look-alikes: losses that are not a mean (PRG007), weighted losses."
        ),
        explains=(
            "OPT001",
            "OPT003",
            "OPT006",
            "OPT007",
            "SIG002",
            "SIG003",
            "SIG004",
            "NUM001",
            "GEN001",
            "OPT008",
            "OPT009",
            "OPT010",
        ),
    ),
    Rule(
        id="INI002",
        title="Symmetry between units is not broken",
        severity=Severity.CRITICAL,
        judge=symmetry,
        needs=("initial.constant_layers",),
        doc=(
            "Weight matrices before the last all of whose units are equal, or all "
            "matrices zero. Look-alikes, which are silent: a last layer that starts "
            "at zero, residual branches that end in zeros, biases and normalisation "
            "scales."
        ),
        explains=(
            "INI003",
            "SIG001",
            "SIG003",
            "SIG005",
            "OPT002",
            "OPT003",
            "OPT005",
            "OPT006",
            "OPT007",
            "GEN002",
            "OPT008",
            "OPT009",
            "SIG006",
        ),
    ),
    Rule(
        id="INI003",
        title="Initial weights of the wrong scale",
        severity=Severity.HIGH,
        judge=scale,
        needs=("initial.signal",),
        limits={"large": 10.0, "small": 0.01},
        doc=(
            "The standard deviation of what enters each non-linearity before training, "
            "which well-drawn weights keep near 1 (0.5 to 2 on standardised inputs). "
            "`large` and `small` leave a decade beyond what inputs in [0, 1] and "
            "sparse inputs make."
        ),
        explains=ILL_SCALED,
    ),
)
