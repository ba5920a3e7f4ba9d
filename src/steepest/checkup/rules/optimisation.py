"""Rules about the step: too long, too short, to and fro, up, nowhere, too few.

On a quadratic with curvature λ gradient descent multiplies its distance to the minimum
by 1 − ηλ in every step. It converges for ηλ < 2, and then no faster than ηλ allows. For
the other optimisers the same argument, applied to their own linear recurrence, gives

    gradient descent, SGD            ηλ < 2                                  (1)
    heavy ball                       ηλ < 2 (1 + β)                          (2)
    Nesterov                         ηλ < 2 (1 + β) / (1 + 2β)               (3)
    Adam, with P = √v̂ + ε            ηλ(P⁻¹H) < 2 (1 + β₁) / (1 − β₁)        (4)

with λ the sharpness; (4) is 38 for β₁ = 0.9. A deep network may hover at the limit with
a falling loss (the edge of stability): that is no fault.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.3.1, 8.2, 8.3, 11.4.
    Cohen et al. (2021), Gradient descent on neural networks typically occurs at the
    edge of stability.                                                     -- (1)-(3)
    Cohen et al. (2022), Adaptive gradient methods at the edge of stability.   -- (4)
"""

from typing import NamedTuple

import numpy as np

from ...training.record import Record
from ..finding import Chart, Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule
from .trend import (
    Fall,
    cut_short,
    early,
    failed,
    fall,
    finite,
    layers,
    recipe_of,
    rounded,
    scores,
    slope,
    span,
    step_size,
    succeeded,
)


class Stability(NamedTuple):
    """Step size × sharpness along the run, and the limit that theory sets for it."""

    limit: float
    series: str
    steps: np.ndarray
    product: np.ndarray
    formula: str


SHORT = 8  # updates: a slope is read from no fewer
ADAPTIVE = ("adam", "adamw", "rmsprop", "adagrad", "lion")


def too_large(record: Record, limits: Limits) -> Finding | None:
    """The step size is beyond what the curvature allows, and the run suffers."""
    eta = step_size(record)
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
        excess = stability.product / stability.limit
        first, middle = float(excess[0]), float(np.median(excess))
        first = 0.0 if well else first
        worst = max(first, middle)
        if worst > bar * limits["product"]:
            when = 0 if first >= middle else slice(None)
            steps = np.atleast_1d(stability.steps[when])
            what = "at the start" if first >= middle else "(median)"
            claim = (
                f"The step size {eta:.3g} is {worst:.3g} times what the curvature of "
                f"the loss allows, and the loss {outcome(record)}."
            )
            evidence.append(
                Evidence(
                    f"step size × sharpness {what}",
                    worst * stability.limit,
                    stability.limit,
                    span(steps),
                )
            )
            target = 0.9 * eta / worst
            confidence = 0.95 if worst > 2 * limits["product"] else 0.85
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
                f"Each early update changes `{rate[1]}` by {rate[0]:.0%} of its "
                f"length, and the loss {outcome(record)}: the step size {eta:.3g} is "
                "too large."
            )
            target = eta * min(0.01 / rate[0], 0.1)
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
            f"Set the learning rate to {new:g}, below the measured limit.",
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
    eta, f = step_size(record), fall(record)
    if not np.isfinite(eta) or f is None or succeeded(record):
        return None
    if f.share > limits["progress"] or f.last > f.first + 2 * f.sem:
        return None
    if vanished(record) or slowed(record) or cut_off(record):
        return None
    evidence: list[Evidence] = []
    factor = 10.0
    rate = early_rate(record)
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
    new = rounded(eta * min(max(factor, 3.0), 1e5))
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


def oscillation(record: Record, limits: Limits) -> Finding | None:
    """The loss jumps up and down by more than noise, and by enough to matter."""
    f = fall(record)
    name = "train.loss" if "train.loss" in record else "probe.loss"
    if f is None or name not in record:
        return None
    step, value = finite(record, name)
    late = value[len(value) // 2 :]
    if len(late) < 6 or f.range <= 0:
        return None
    jumps = np.diff(late)
    switches = float(np.mean(np.sign(jumps[1:]) != np.sign(jumps[:-1])))
    swing = float(np.median(np.abs(jumps)))
    noise = 0.0
    if f"{name}.sem" in record:
        noise = float(np.nanmedian(record[f"{name}.sem"].value))
    relative = swing / f.range
    if switches < limits["switches"] or relative < limits["swing"]:
        return None
    if swing < 2 * noise and relative < 3 * limits["swing"]:
        return None
    eta = step_size(record)
    new = rounded(eta / 3) if np.isfinite(eta) else None
    return Finding(
        rule="OPT003",
        severity=Severity.NOTE if succeeded(record) else Severity.MEDIUM,
        claim=(
            "The training loss oscillates: from one measurement to the next it moves "
            f"by {swing:.3g}, {relative:.0%} of all that the run has gained."
        ),
        evidence=(
            Evidence(
                "median jump ÷ gain of the run",
                relative,
                limits["swing"],
                (int(step[len(value) // 2]), int(step[-1])),
                error=noise / f.range,
            ),
            Evidence(
                "share of jumps that change direction",
                switches,
                limits["switches"],
                (int(step[len(value) // 2]), int(step[-1])),
            ),
        ),
        why=(
            "Measured on fixed data in evaluation mode, the loss has no sampling noise "
            "of its own: what moves it is the parameters, thrown from side to side of "
            "a valley by steps that are long for its curvature, or by the noise of "
            "small batches times the step size. The floor of such a run is "
            "proportional to η."
        ),
        reference="DL §8.3.1; Robbins & Monro (1951)",
        cause="A step size at the limit of stability, or constant to the end.",
        prescription=Prescription(
            "Let the learning rate decay to zero (cosine), or lower it"
            + (f" to {new:g}." if new else " threefold."),
            recipe={"schedule": "cosine"},
        ),
        confidence=0.7,
        refutation="With a third of the step size the jumps should shrink by as much.",
        chart=Chart(name),
    )


def divergence(record: Record, limits: Limits) -> Finding | None:
    """The loss ends far above where it has been."""
    f = fall(record)
    if f is None:
        return None
    _, value = finite(record, "loss")
    n = max(1, len(value) // 20)
    means = running_of(value, n)
    scale = max(f.range, 0.05 * abs(f.first), 1e-12)
    last, best, first = f.last, f.best, f.first
    if f.series != "loss" or record.meta.get("ended") == "non-finite":
        # Every update is seen by the batch loss, also the last ones before a NaN.
        if len(means) and means[-1] - means.min() > 3 * np.std(
            value[:n] if n > 1 else 0
        ):
            last = max(last, float(means[-1]))
        if record.meta.get("ended") == "non-finite" and len(value):
            last = max(last, float(value[-1]))
    rise = (last - best) / scale
    above = (last - first) / max(abs(first), 1e-12)
    noise = 3 * f.sem
    if last - best <= noise:
        return None
    worse = above > limits["above"] and last - first > noise
    lost = (
        rise > limits["rise"] and f.range > 0.1 * abs(f.first) and not succeeded(record)
    )
    if not (worse or lost):
        return None
    eta = step_size(record)
    new = rounded(eta / 10) if np.isfinite(eta) else None
    return Finding(
        rule="OPT004",
        severity=Severity.CRITICAL if worse else Severity.HIGH,
        claim=(
            f"Training diverges: the loss ends at {last:.3g}, above the {first:.3g} it "
            "started from."
            if worse
            else f"Training diverges: the loss ends at {last:.3g} after it had come down "
            f"to {best:.3g}."
        ),
        evidence=(
            Evidence(
                "loss at the end", last, first if worse else best, f.steps, "", f.sem
            ),
        ),
        why=(
            "A descent method that is stable lowers the loss on average. A loss that "
            "ends above its start, by more than its noise, says that the steps carry "
            "the weights away from every minimum they pass: step size, curvature and "
            "noise together are past the limit of stability, or a sign is wrong."
        ),
        reference="DL §8.2.4, §8.3.1",
        cause="A step size too large for the curvature, or gradients that explode.",
        prescription=Prescription(
            f"Lower the learning rate to {new:g}; warm it up; clip the gradient norm."
            if new
            else "Lower the learning rate tenfold; warm it up; clip the gradient norm.",
            recipe={"learning_rate": new} if new else {},
        ),
        confidence=0.85,
        refutation="A run with a tenth of the step size that diverges as well.",
        chart=Chart("loss", log=True),
    )


def plateau(record: Record, limits: Limits) -> Finding | None:
    """The loss has stopped falling although simple models do better."""
    f = fall(record)
    if f is None or not failed(record) or record.meta.get("ended") == "non-finite":
        return None
    _, value = finite(record, "loss")
    late = value[len(value) // 2 :]
    if len(late) < 16:
        return None
    s = slope(late)
    # What the line gains over half the run, against what is still to be gained.
    flat = abs(s.change) < 2 * s.sem or abs(s.change) < limits["gain"] * abs(f.last)
    if not flat or s.change < -limits["gain"] * abs(f.last):
        return None
    known = scores(record)
    evidence = [
        Evidence(
            "change of the batch loss over the last half of the run",
            s.change,
            -limits["gain"] * abs(f.last),
            f.steps,
            error=s.sem,
        )
    ]
    what = f"at {f.last:.3g}, having started from {f.first:.3g}"
    if "linear" in known and "train" in known:
        evidence.append(
            Evidence(
                f"training {known['metric']} (limit: a linear model's)",
                known["train"],
                known["linear"],
                error=known.get("train_sem"),
            )
        )
    return Finding(
        rule="OPT005",
        severity=Severity.MEDIUM,
        claim=f"The training loss stands still {what}, far from what can be reached.",
        evidence=tuple(evidence),
        why=(
            "Training that stops with a high loss has met not a bad local minimum, "
            "which are rare in many dimensions, but a region where the gradient "
            "carries no information: dead or saturated units, a symmetric start, a "
            "saddle, or a loss that does not depend on the inputs as it should."
        ),
        reference="DL §8.2.2, §8.2.3",
        cause="Something upstream; see the findings about signal, program and data.",
        prescription=Prescription(
            "Mend the causes above first; if there are none, try Adam at 1e-3.",
            recipe={"optimizer": "adam", "learning_rate": 1e-3},
        ),
        confidence=0.6,
        refutation="Ten times as many updates that bring the loss down after all.",
        chart=Chart("loss"),
    )


def stopped(record: Record, limits: Limits) -> Finding | None:
    """The run ended while it was still improving, or long after it had been best."""
    f = fall(record)
    if f is None or record.meta.get("ended") == "non-finite":
        return None
    if "validation.loss" in record:
        step, value = finite(record, "validation.loss")
        best = int(np.argmin(value)) if len(value) else 0
        sem = 0.0
        if "validation.loss.sem" in record and len(value):
            sem = float(np.nan_to_num(record["validation.loss.sem"].value[-1]))
        if len(value) >= 5 and step[best] < limits["late"] * step[-1]:
            rise = value[-1] - value[best]
            if rise > max(2 * sem, 0.1 * abs(value[best])):
                return _too_late(step, value, best, sem, limits)
        held = slope(value[len(value) // 2 :]) if len(value) >= 8 else None
        if held is not None and held.change > 0:
            return None
    _, value = finite(record, "loss")
    late = value[-max(SHORT, len(value) // 4) :]
    if len(late) < SHORT or f.range <= 0 or succeeded(record):
        return None
    if cut_short(record):  # by the budget of the check, not by the recipe
        return None
    s = slope(late)
    gain = -s.change / max(abs(f.last), 1e-12)
    if gain < limits["gain"] or -s.change < 3 * s.sem:
        return None
    return Finding(
        rule="OPT006",
        severity=Severity.MEDIUM if failed(record) else Severity.NOTE,
        claim=(
            f"The run stopped too early: over its last quarter the loss was still "
            f"falling by {gain:.0%} of its value."
        ),
        evidence=(
            Evidence(
                "fall of the batch loss over the last quarter ÷ its value",
                gain,
                limits["gain"],
                (int(0.75 * f.steps[1]), f.steps[1]),
                error=s.sem / max(abs(f.last), 1e-12),
            ),
        ),
        why=(
            "While both training and held-out loss fall, more updates are the cheapest "
            "way to a better model. How long to train is best left to held-out data: "
            "until their loss has not improved for a while."
        ),
        reference="DL §7.8",
        cause="A fixed number of epochs chosen too small.",
        prescription=Prescription(
            "Train three times as long, and stop by the validation loss.",
            recipe=_longer(record),
        ),
        confidence=0.7,
        refutation="Twice the updates that do not lower the validation loss.",
        chart=Chart("loss"),
    )


def _too_late(
    step: np.ndarray, value: np.ndarray, best: int, sem: float, limits: Limits
) -> Finding:
    return Finding(
        rule="OPT006",
        severity=Severity.NOTE,
        claim=(
            f"The run went on too long: the validation loss was best at step "
            f"{step[best]} ({value[best]:.3g}) and ended at {value[-1]:.3g}, "
            f"{step[-1] - step[best]} updates later."
        ),
        evidence=(
            Evidence(
                "step of the best validation loss ÷ length of the run",
                float(step[best] / step[-1]),
                limits["late"],
                (int(step[best]), int(step[-1])),
                error=sem,
            ),
        ),
        why=(
            "Stopping at the best validation loss is a regulariser that costs nothing: "
            "the number of updates bounds how far the weights get from their start, "
            "much as weight decay does."
        ),
        reference="DL §7.8",
        cause="No early stopping.",
        prescription=Prescription(
            f"Keep the parameters of step {step[best]}: set the number of steps to "
            "it, or restore the best checkpoint.",
            recipe={"steps": int(step[best])} if step[best] > 0 else {},
        ),
        confidence=0.8,
        refutation="The accuracy at the end, if it is better than at that step.",
        chart=Chart("validation.loss"),
    )


def one_batch(record: Record, limits: Limits) -> Finding | None:
    """The program cannot memorise sixteen examples."""
    b = record.facts["experiment.one_batch"]
    score, last, first = b.get("score"), b["loss_last"], b["loss_first"]
    if score is not None and score >= limits["score"]:
        return None
    removed = (first - last) / max(abs(first), 1e-12) if np.isfinite(last) else -np.inf
    if score is None and (removed > limits["removed"] or first <= 0):
        return None
    if score is not None and removed > 0.99 and first > 0:
        return None  # the loss is solved; `predict` says something else
    stuck = bool(removed < 0.5)
    evidence = [
        Evidence(
            "share of the loss removed", float(max(removed, -9.99)), limits["removed"]
        )
    ]
    said = f"the loss went from {first:.3g} to {last:.3g}"
    if not np.isfinite(last):
        said = "the loss stopped being a number"
    if score is not None:
        evidence.insert(
            0, Evidence("accuracy or R² on them", float(score), limits["score"])
        )
        said += f", the score to {score:.2g}"
    return Finding(
        rule="OPT007",
        severity=Severity.CRITICAL
        if stuck and failed(record)
        else Severity.HIGH
        if failed(record)
        else Severity.NOTE
        if succeeded(record)
        else Severity.MEDIUM,
        claim=(
            f"The program cannot fit {b['size']} examples: after {b['steps']} updates "
            f"of Adam at the best of three rates {said}."
        ),
        evidence=tuple(evidence),
        why=(
            "Almost any network can memorise a handful of examples, whatever its data. "
            "If this one cannot, more data, time or regularisation will not help: "
            "there is a fault in the program (loss, labels, output layer), or the "
            "gradient does not reach the weights."
        ),
        reference="DL §11.5",
        cause="A fault in the loss or the model; look at the output layer first.",
        prescription=Prescription(
            "Bisect on these examples: first the loss on hand-made outputs, then the "
            "last layer alone, then the layers before it."
        ),
        confidence=0.8 if stuck else 0.6,
        refutation=(
            "Two of the examples have equal inputs and different targets, so that no "
            "function fits them."
        ),
        chart=Chart("loss"),
    )


# -- What the rules above share --------------------------------------------------------


def stability_of(record: Record) -> Stability | None:
    """Step size × sharpness against the limit (1)-(4) of the recipe's optimiser."""
    recipe = recipe_of(record)
    kind = recipe.get("optimizer")
    beta = float(recipe.get("momentum", 0.9) or 0.0)
    beta1 = float(recipe.get("beta1", 0.9) or 0.0)
    series = "sharpness"
    match kind:
        case "sgd":
            limit, formula = 2.0, "ηλ < 2"
        case "momentum":
            limit, formula = 2 * (1 + beta), f"ηλ < 2(1 + β) = {2 * (1 + beta):.3g}"
        case "nesterov":
            limit = 2 * (1 + beta) / (1 + 2 * beta)
            formula = f"ηλ < 2(1 + β)/(1 + 2β) = {limit:.3g}"
        case "adam" | "adamw":
            series, limit = "sharpness.preconditioned", 2 * (1 + beta1) / (1 - beta1)
            formula = f"ηλ(P⁻¹H) < 2(1 + β₁)/(1 − β₁) = {limit:.3g}"
        case "rmsprop":
            series, limit, formula = "sharpness.preconditioned", 2.0, "ηλ(P⁻¹H) < 2"
        case _:
            return None
    if series not in record or "learning_rate" not in record:
        return None
    step, value = record[series].step, np.asarray(record[series].value, float)
    rates = record["learning_rate"]
    eta = np.asarray(rates.value, float)
    at = np.clip(np.searchsorted(rates.step, step), 0, len(eta) - 1)
    product = eta[at] * value
    if recipe.get("warmup"):
        product = np.where(step < int(recipe["warmup"]), np.nan, product)
    good = np.isfinite(product) & (value > 0)
    if not good.any():
        return None
    return Stability(limit, series, step[good], product[good], formula)


def early_rate(
    record: Record, first: bool = False
) -> tuple[float, str, tuple[int, int]] | None:
    """The relative update of the fastest weight array: early median, path, steps.

    With `first`, that of the very first update if it is larger: a step that kills every
    unit leaves nothing to be seen afterwards.
    """
    if "layer.update_norm" not in record or "layer.weight_norm" not in record:
        return None
    step, update, paths = layers(record, "layer.update_norm")
    _, weight, _ = layers(record, "layer.weight_norm")
    if not len(paths) or not len(step):
        return None
    warm = int(recipe_of(record).get("warmup", 0) or 0)
    chosen = np.array([i for i in early(step) if step[i] >= warm], int)
    if not len(chosen):
        chosen = np.arange(len(step))
    weight = np.where(weight > 0, weight, np.nan)
    ratio = update[chosen] / weight[chosen]
    if first and step[0] >= warm and np.isfinite(update[0] / weight[0]).any():
        start = update[0] / weight[0]
        start = np.where(np.isfinite(start), start, -1)
        middle = early_rate(record)
        if middle is None or start.max() > middle[0]:
            top = int(np.argmax(start))
            return float(start[top]), paths[top], (int(step[0]), int(step[0]))
    if not np.isfinite(ratio).any():
        return None
    with np.errstate(all="ignore"):
        usual = np.array(
            [
                np.median(c[np.isfinite(c)]) if np.isfinite(c).any() else -1
                for c in ratio.T
            ]
        )
    top = int(np.argmax(usual))
    return float(usual[top]), paths[top], (int(step[chosen[0]]), int(step[chosen[-1]]))


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


def rising(record: Record) -> bool:
    """Whether the training loss ended above its start."""
    f = fall(record)
    return f is not None and f.last > f.first + 2 * f.sem


def outcome(record: Record) -> str:
    """How the loss fared, for the middle of a sentence."""
    if record.meta.get("ended") == "non-finite":
        return "stopped being a number"
    f: Fall | None = fall(record)
    if f is None:
        return "does not fall"
    if f.last > f.first:
        return f"rose from {f.first:.3g} to {f.last:.3g}"
    only = "only " if unhappy(record) else ""
    return f"{only}went from {f.first:.3g} to {f.last:.3g}"


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


def running_of(value: np.ndarray, n: int) -> np.ndarray:
    """Means of consecutive blocks of n, the last of them at the end."""
    if len(value) < n:
        return value
    return value[len(value) % n :].reshape(-1, n).mean(axis=1)


def _longer(record: Record) -> dict[str, float]:
    recipe = recipe_of(record)
    if recipe.get("steps"):
        return {"steps": 3 * int(recipe["steps"])}
    return {"epochs": 3 * float(recipe["epochs"])} if recipe.get("epochs") else {}


RULES: tuple[Rule, ...] = (
    Rule(
        id="OPT001",
        title="Step size too large for the curvature",
        severity=Severity.CRITICAL,
        judge=too_large,
        needs=("loss", "learning_rate"),
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
        ),
    ),
    Rule(
        id="OPT002",
        title="Step size too small",
        severity=Severity.HIGH,
        judge=too_small,
        needs=("loss", "learning_rate"),
        limits={"update": 2e-4, "product": 0.02, "progress": 0.6},
        doc=(
            "`progress`: at most this share of the training loss was removed. "
            "`update`: relative update of the fastest layer, early median. `product`: "
            "step size × sharpness in units of the stability limit. Both small, or one "
            "of them by a further factor of three. Silent when the gradient itself "
            "fell below a twentieth, or the loss came to rest by itself. Look-alikes: warm-up, a run that is done, a "
            "plateau."
        ),
        explains=("SIG005", "OPT005", "OPT006", "GEN002"),
    ),
    Rule(
        id="OPT003",
        title="Oscillating loss",
        severity=Severity.MEDIUM,
        judge=oscillation,
        needs=("probe.loss",),
        limits={"switches": 0.4, "swing": 0.1},
        doc=(
            "The loss on fixed data over the last half of the run: `switches` of "
            "direction, and the median jump as a share of all that was gained "
            "(`swing`), above twice the standard error. Look-alikes: batch noise, "
            "which fixed data do not have, and jumps of a loss that is nearly zero."
        ),
        explains=("OPT006",),
    ),
    Rule(
        id="OPT004",
        title="Divergence",
        severity=Severity.CRITICAL,
        judge=divergence,
        needs=("loss",),
        limits={"above": 0.2, "rise": 0.5},
        doc=(
            "`above`: the loss at the end is above that at the start by this share, "
            "and by more than three standard errors. `rise`: or it lost this share of "
            "what it had gained. Look-alike: a loss near zero that doubles."
        ),
        explains=("NUM001", "OPT003", "OPT005", "OPT006", "GEN002"),
    ),
    Rule(
        id="OPT005",
        title="Plateau far from the floor",
        severity=Severity.MEDIUM,
        judge=plateau,
        needs=("loss",),
        limits={"gain": 0.05},
        doc=(
            "The slope of the batch loss over the last half of the run is zero within "
            "two standard errors or gains less than `gain`, although the run failed: "
            "it fits its training data worse than a linear model or a constant. A "
            "plateau of a run that is done is not one."
        ),
        explains=("GEN002",),
    ),
    Rule(
        id="OPT006",
        title="Stopped too early or too late",
        severity=Severity.MEDIUM,
        judge=stopped,
        needs=("loss",),
        limits={"gain": 0.15, "late": 0.5},
        doc=(
            "`gain`: the batch loss still falls by this share of its value over the "
            "last quarter, three standard errors from flat. `late`: the validation "
            "loss was best before this share of the run and has risen by a tenth and "
            "two standard errors. Advice, unless the run failed."
        ),
        explains=("GEN002",),
    ),
    Rule(
        id="OPT007",
        title="Cannot fit one batch",
        severity=Severity.CRITICAL,
        judge=one_batch,
        needs=("experiment.one_batch",),
        limits={"score": 0.9, "removed": 0.7},
        doc=(
            "Sixteen examples, 200 updates of Adam, the best of three rates. `score`: "
            "accuracy or R² on them that counts as fitted; without `predict`, "
            "`removed`: the share of the loss that must be gone; labels smoothed by a "
            "tenth leave a fifth of it. Look-alikes: label smoothing and noisy targets "
            "have a floor above zero, which the score does not see."
        ),
        explains=("OPT005", "GEN002"),
    ),
)
