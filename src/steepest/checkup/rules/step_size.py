"""Rules about the step size: beyond what the curvature allows, or far below it.

Both read it from two sides, step size × sharpness against the limit of stability and
the relative update of the fastest layer (`stability`), and accuse it only where the
run suffered and nothing else explains that.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.3.1, 8.2.4, 8.3, 11.4.
"""

import numpy as np

from ...training.record import Record
from ..finding import Chart, Evidence, Finding, Prescription, Severity
from ..numbers import number, share
from ..rule import Limits, Rule
from .stability import Stability, early_rate, grounded, stability_of, stable_rate
from .trend import (
    ADAPTIVE,
    failed,
    fall,
    finite,
    learning_rate,
    recipe_of,
    rising,
    rounded,
    span,
    succeeded,
)


SMALL = 8  # examples: a batch whose noise may throw a run about
LEAST = 1e-3  # of the learning rate: a prescription changes it by no more


def too_large(record: Record, limits: Limits) -> Finding | None:
    """The step size is beyond what the curvature allows, and the run suffers."""
    eta = learning_rate(record)
    if not np.isfinite(eta):
        return None
    # A run that went well all the same is told of a step far beyond the limit only.
    well = not unhappy(record)
    bar = 2.0 if well else 1.0
    stability = stability_of(record)
    evidence: list[Evidence] = []
    target = eta / 10
    claim, confidence = "", 0.0
    if stability is not None:
        ground = grounded(record, stability.steps)
        excess = np.where(ground, stability.excess, 0.0)
        first, middle = float(excess[0]), float(np.median(excess[ground]))
        if max(0.0 if well else first, middle) > bar * limits["product"]:
            # Where the limit is first passed: later the iterate is somewhere else.
            at = int(np.argmax(excess > bar * limits["product"]))
            worst, step = float(excess[at]), int(stability.steps[at])
            when = "at the start" if step == 0 else f"at step {step}"
            claim = (
                f"The step size {eta:.3g} is {number(worst)} times what the curvature of "
                f"the loss allows {when}, and the loss {outcome(record)}."
            )
            evidence.append(
                Evidence(
                    f"step size × sharpness {when}",
                    worst * stability.limit,
                    stability.limit,
                    (step, step),
                )
            )
            target = peak_rate(record) * max(0.9 / worst, LEAST)
            confidence = 0.95 if worst > 2 * limits["product"] else 0.85
        elif well or shaken(record, stability):
            return None  # the step suits the mean of the loss: noise, if anything
    rate = early_rate(record, first=True)
    if rate is not None and rate[0] > bar * limits["update"]:
        evidence.append(
            Evidence(
                "relative update ‖Δw‖/‖w‖ in the early phase (fastest layer)",
                rate[0],
                limits["update"],
                rate[2],
                rate[1],
            )
        )
        if not claim:
            claim = (
                f"Each early update changes `{rate[1]}` by {share(rate[0], 'its length')}"
                f", and the loss {outcome(record)}: the step size {eta:.3g} is too large."
            )
            target = eta * max(min(0.01 / rate[0], 0.1), LEAST)
            if stability is not None and stability.series == "sharpness":
                # Half of what curvature allows is no step to blame.
                target = max(target, min(0.5 / float(excess.max()), 0.5) * eta)
            confidence = 0.85
    if not claim:
        return None
    new = rounded(target)
    grave = failed(record) or rising(record)
    return Finding(
        rule="OPT001",
        severity=Severity.NOTE
        if well
        else Severity.CRITICAL
        if grave
        else Severity.HIGH,
        claim=claim,
        evidence=tuple(evidence),
        why=(
            "Along the direction of largest curvature λ, each step multiplies the "
            "distance to the minimum by 1 − ηλ (and momentum or Adam by something like "
            f"it). Past the limit{' ' + stability.formula if stability else ''} that "
            "factor is larger than 1 in size: the iterate overshoots further every "
            "time, until it leaves for a flatter and usually worse place, or for "
            "infinity. Hovering at the limit with a falling loss is normal; standing "
            "beyond it is not."
        ),
        reference="DL §4.3.1, §8.2.4; Cohen et al. (2021), edge of stability",
        cause="A learning rate meant for another scale of inputs, loss or network.",
        prescription=Prescription(
            f"Set the learning rate to {new:g}"
            + (
                "; then measure again: a step that far off says that something else is."
                if target <= eta * LEAST
                else "."
            ),
            recipe={"learning_rate": new},
        ),
        confidence=confidence,
        refutation=(
            f"Train with learning rate {new:g}: if the loss does not fall faster, the "
            "step size was not the trouble."
        ),
        chart=Chart(
            stability.series if stability else "layer.update_norm",
            limit=stability.limit / eta if stability else None,
            log=True,
        ),
    )


def too_small(record: Record, limits: Limits) -> Finding | None:
    """The loss falls, but so slowly that the run ends where it began."""
    eta, f = learning_rate(record), fall(record)
    if not np.isfinite(eta) or f is None or succeeded(record):
        return None
    if f.share > limits["progress"] or f.last > f.first + 2 * f.sem:
        return None
    if vanished(record) or slowed(record) or cut_off(record):
        return None
    evidence: list[Evidence] = []
    factor = 10.0
    rate = early_rate(record)
    if rate is not None and rate[0] >= limits["usual"]:
        return None  # whatever the curvature, such steps get somewhere
    if rate is not None and rate[0] < limits["update"]:
        evidence.append(
            Evidence(
                "relative update ‖Δw‖/‖w‖ of the fastest layer (early median)",
                rate[0],
                limits["update"],
                rate[2],
                rate[1],
            )
        )
        factor = 3e-3 / max(rate[0], 1e-12)
    stability = stability_of(record)
    if stability is not None:
        middle = float(np.median(stability.product)) / stability.limit
        if 0 < middle < limits["product"]:
            evidence.append(
                Evidence(
                    "step size × sharpness ÷ its limit (median)",
                    middle,
                    limits["product"],
                    span(stability.steps),
                )
            )
            if recipe_of(record).get("optimizer") not in ADAPTIVE:
                factor = 0.3 / middle
    if not evidence or (
        len(evidence) == 1 and stability is not None and rate is not None
    ):
        # Both were measured and only one is small: then it must be very small.
        lone = evidence[0] if evidence else None
        if lone is None or lone.limit is None or lone.observed > lone.limit / 3:
            return None
    new = rounded(min(eta * min(max(factor, 3.0), 1e5), stable_rate(record)))
    if new <= eta:
        return None  # curvature allows no longer step
    return Finding(
        rule="OPT002",
        severity=Severity.HIGH,
        claim=(
            f"The step size {eta:.3g} is far too small: {f.steps[1]} updates removed "
            f"{max(f.share, 0):.1%} of the training loss."
        ),
        evidence=(
            *evidence,
            Evidence("share of the training loss removed", f.share, None, f.steps),
        ),
        why=(
            "With step size η an error along curvature λ shrinks by 1 − ηλ in each "
            "step, so it takes some 1/(ηλ) steps to be rid of it. The loss is stable "
            "up to ηλ about 2; this run uses a small fraction of that, so it would "
            "need as many times more updates to arrive. Weights usually change by "
            "about a thousandth of their length in an update."
        ),
        reference="DL §4.3.1, §8.3.1, §11.4.1",
        cause="A learning rate (or a schedule that has decayed) too small for this loss.",
        prescription=Prescription(
            f"Raise the learning rate to {new:g}.", recipe={"learning_rate": new}
        ),
        confidence=0.9 if len(evidence) > 1 else 0.8,
        refutation=(
            f"Train with learning rate {new:g}: if the loss falls no faster or "
            "diverges, the step size was not the trouble."
        ),
        chart=Chart("train.loss" if f.series == "train.loss" else "loss"),
    )


def shaken(record: Record, stability: Stability) -> bool:
    """Whether batches are so small that their noise, at a step size that the curvature
    of the mean loss allows, is what threw the run about (`noise`)."""
    batch = batch_size(record)
    ground = grounded(record, stability.steps)
    return (
        batch is not None
        and batch <= SMALL
        and stability.series == "sharpness"
        and float(stability.excess[ground].max()) <= 1.0
    )


def batch_size(record: Record) -> int | None:
    """Examples in an update, as far as there are so many."""
    recipe = recipe_of(record)
    if not recipe.get("batch_size"):
        return None
    whole = int(recipe["batch_size"]) * int(recipe.get("accumulate", 1) or 1)
    return min(whole, int(record.meta.get("examples", whole)))


def peak_rate(record: Record) -> float:
    """The learning rate that a recipe names, of which a schedule takes its share."""
    rate = recipe_of(record).get("learning_rate")
    return float(rate) if isinstance(rate, int | float) else learning_rate(record)


# -- What the rules above share --------------------------------------------------------


def unhappy(record: Record) -> bool:
    """Whether the loss rose, stands high, or swings by much of what was gained."""
    if record.meta.get("ended") == "non-finite" or failed(record) or rising(record):
        return True
    f = fall(record)
    if f is None or succeeded(record):
        return False
    if f.share < 0.5:
        return True
    return f.last - f.best > 0.3 * f.range


def outcome(record: Record) -> str:
    """How the loss fared, for the middle of a sentence."""
    if record.meta.get("ended") == "non-finite":
        return "stopped being a number"
    f = fall(record)
    if f is None:
        return "does not fall"
    if f.last > f.first:
        return f"rose from {number(f.first)} to {number(f.last)}"
    only = "only " if unhappy(record) else ""
    return f"{only}went from {number(f.first)} to {number(f.last)}"


def vanished(record: Record) -> bool:
    """Whether the gradient itself has become small, so that steps are not to blame."""
    if "gradient_norm" not in record:
        return False
    _, value = finite(record, "gradient_norm")
    if len(value) < 10:
        return False
    n = max(3, len(value) // 10)
    return bool(np.median(value[-n:]) < 0.05 * np.median(value[:n]))


def cut_off(record: Record) -> bool:
    """Whether dead units or a violent first step explain a loss that stands still."""
    dead = record["unit.dead"].value if "unit.dead" in record else np.empty(0)
    if len(dead) and np.nanmax(dead[-1]) > 0.9:
        return True
    rate = early_rate(record, first=True)
    return rate is not None and rate[0] > 0.1


def slowed(record: Record) -> bool:
    """Whether the loss came to rest by itself: the second half of the run gained less
    than a fifth of what the first did. Steps that are too small go on at one pace."""
    _, value = finite(record, "loss")
    if len(value) < 40:
        return False
    n = len(value) // 10
    start, end = value[:n], value[-n:]
    middle = value[len(value) // 2 - n // 2 :][:n].mean()
    first, second = start.mean() - middle, middle - end.mean()
    return bool(first > 5 * end.std() / np.sqrt(n) and second < 0.2 * first)


RULES: tuple[Rule, ...] = (
    Rule(
        id="OPT001",
        title="Step size too large for the curvature",
        severity=Severity.CRITICAL,
        judge=too_large,
        needs=(
            "loss",
            "learning_rate",
            "sharpness|sharpness.preconditioned|layer.update_norm",
        ),
        limits={"product": 1.0, "update": 0.25},
        doc=(
            "Step size × measured sharpness against the stability limit of the "
            "optimiser (2; 2(1+β) with momentum; 38 for Adam on its preconditioned "
            "Hessian). `product`: in units of that limit, at the first measurement or "
            "in the median. `update`: relative update of the fastest layer in the "
            "early phase, for optimisers whose limit is not known; a healthy one is "
            "near 10⁻³. A fault only when the loss rose, stands high or swings; a "
            "note when it fell although the step stood at twice these limits. Hovering "
            "at the limit is the edge of stability, which is normal. "
            "Look-alikes: warm-up (left out), a large rate for a flat loss, batch "
            "noise."
        ),
        explains=(
            "SIG002",
            "SIG003",
            "SIG004",
            "OPT003",
            "OPT004",
            "OPT005",
            "OPT006",
            "NUM001",
            "GEN002",
            "GEN001",
            "OPT008",
            "OPT009",
            "OPT010",
            "SIG006",
        ),
    ),
    Rule(
        id="OPT002",
        title="Step size too small",
        severity=Severity.HIGH,
        judge=too_small,
        needs=(
            "loss",
            "learning_rate",
            "sharpness|sharpness.preconditioned|layer.update_norm",
        ),
        limits={"update": 2e-4, "usual": 1e-3, "product": 0.02, "progress": 0.6},
        doc=(
            "`progress`: at most this share of the training loss was removed. "
            "`update`: relative update of the fastest layer, early median. `product`: "
            "step size × sharpness in units of the stability limit. Both small, or one "
            "of them by a further factor of three. Silent from a relative update of "
            "`usual` on, when the gradient itself fell below a twentieth, and when the "
            "loss came to rest by itself. Look-alikes: warm-up, a run that is done, a "
            "plateau."
        ),
        explains=(
            "SIG005",
            "OPT005",
            "OPT006",
            "GEN002",
        ),
    ),
)
