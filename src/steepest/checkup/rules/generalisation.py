"""Rules about held-out data: fitted too well, or not well enough.

The difference between the expected loss on new data and the loss on the training data is
the generalisation gap (DL §5.2). It is estimated on finitely many examples, so that it
comes with an error:

    gap ± 2 √(sem²_train + sem²_validation),                                 (1)

and only the lower end of that interval is held against the model. That it does badly on
its *training* data is another illness with the opposite cure.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§5.2, 11.4 and ch. 7.
"""

import numpy as np

from ...training.record import Record
from ..finding import Chart, Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule
from .trend import cut_short, failed, fall, finite, recipe_of, scores, span


def overfitting(record: Record, limits: Limits) -> Finding | None:
    """Much better on the training data than on held-out data, beyond doubt."""
    known = scores(record)
    if "train" not in known or "validation" not in known:
        return _by_loss(record, limits)
    gap = known["train"] - known["validation"]
    error = float(np.hypot(known["train_sem"], known["validation_sem"]))
    if known["metric"] == "accuracy":
        note, medium, high = limits["gap"] / 2, limits["gap"], 2 * limits["gap"]
    else:  # R² is a share of variance; of noisy targets much cannot be had
        note, medium, high = limits["r2"] / 2, limits["r2"], 2 * limits["r2"]
    lower = gap - 2 * error
    if gap < note or lower <= 0 or failed(record):
        return None
    severity = Severity.NOTE
    if gap >= medium and lower > note:
        severity = Severity.MEDIUM
    if gap >= high and lower > medium:
        severity = Severity.HIGH
    evidence = [
        Evidence(f"{known['metric']}, training − validation", gap, medium, error=error),
        Evidence(
            f"validation {known['metric']}",
            known["validation"],
            known["train"],
            error=known["validation_sem"],
        ),
    ]
    rival = max(
        (
            known[k]
            for k in ("linear_validation", "neighbours_validation")
            if k in known
        ),
        default=None,
    )
    worse = rival is not None and rival > known["validation"] + known["validation_sem"]
    if rival is not None:
        evidence.append(
            Evidence(f"best simple model's validation {known['metric']}", rival)
        )
    if "validation.loss" in record:
        step, value = finite(record, "validation.loss")
        if len(value) > 2 and value.min() < value[-1]:
            best = int(np.argmin(value))
            evidence.append(
                Evidence(
                    "validation loss at the end (limit: its best)",
                    float(value[-1]),
                    float(value[best]),
                    (int(step[best]), int(step[-1])),
                )
            )
    examples = record.meta.get("examples")
    parameters = record.meta.get("parameters")
    few = ""
    if examples and parameters:
        few = f" It has {parameters} parameters for {examples} examples."
    decay = max(10 * float(recipe_of(record).get("weight_decay", 0) or 0), 1e-2)
    return Finding(
        rule="GEN001",
        severity=severity,
        claim=(
            f"The model overfits: {known['metric']} {show(known['train'], known)} on "
            f"the training data, {show(known['validation'], known)} on held-out data."
        ),
        evidence=tuple(evidence),
        why=(
            "A model with capacity to spare fits what is particular to its training "
            "examples along with what is general; the gap is the share that was "
            f"particular.{few} It closes with more examples, with less capacity, or "
            "with a penalty on using it."
            + (" A simple model does better on held-out data." if worse else "")
        ),
        reference="DL §5.2, ch. 7",
        cause="Too few examples for the capacity, and no regularisation.",
        prescription=Prescription(
            f"Set weight decay to {decay:g} and stop at the best validation loss; get "
            "more data, or augment what there is; then dropout or a smaller model.",
            recipe={"weight_decay": decay, "optimizer": "adamw"}
            if recipe_of(record).get("optimizer") == "adam"
            else {"weight_decay": decay},
        ),
        confidence=0.9 if lower > medium else 0.7,
        refutation=(
            "A new held-out sample on which the gap is zero; or duplicates between the "
            "examples, which make the training score an illusion."
        ),
        chart=Chart("validation.loss"),
    )


def _by_loss(record: Record, limits: Limits) -> Finding | None:
    """The same from losses alone: the validation loss rises while the other falls."""
    if "validation.loss" not in record or "train.loss" not in record:
        return None
    step, held = finite(record, "validation.loss")
    _, train = finite(record, "train.loss")
    if len(held) < 4 or len(train) < 4:
        return None
    sem = 0.0
    if "validation.loss.sem" in record:
        sem = float(np.nan_to_num(record["validation.loss.sem"].value[-1]))
    best = int(np.argmin(held))
    rise = float(held[-1] - held[best])
    gained = abs(float(held[0] - held[best]))
    start = max(gained, 0.1 * abs(float(held[best])), 1e-12)
    if rise <= max(3 * sem, limits["rise"] * start) or train[-1] >= train[best]:
        return None
    return Finding(
        rule="GEN001",
        severity=Severity.MEDIUM
        if rise > 2 * limits["rise"] * start
        else Severity.NOTE,
        claim=(
            f"The model overfits: since step {step[best]} the validation loss has "
            f"risen from {held[best]:.3g} to {held[-1]:.3g} while the training loss "
            "fell."
        ),
        evidence=(
            Evidence(
                "rise of the validation loss ÷ its gain before",
                rise / start,
                limits["rise"],
                span(step[best:]),
                error=sem / start,
            ),
        ),
        why=(
            "From that step on the model learned what is particular to its training "
            "examples and unlearned part of what is general."
        ),
        reference="DL §5.2, §7.8",
        cause="Too few examples for the capacity, trained for too long.",
        prescription=Prescription(
            f"Stop at step {step[best]}, or regularise."
            if step[best] > 0
            else "Regularise, and get more data: held-out data never gained.",
            recipe={"steps": int(step[best])} if step[best] > 0 else {},
        ),
        confidence=0.75,
        refutation="A validation metric that goes on improving after that step.",
        chart=Chart("validation.loss"),
    )


def underfitting(record: Record, limits: Limits) -> Finding | None:
    """Worse than a simple model, on the training data or on held-out data."""
    known = scores(record)
    if "train" not in known or "linear" not in known:
        return None
    name = known["metric"]
    noise = 2 * known.get("train_sem", 0.0)
    short = known["linear"] - known["train"]
    on_train = short > limits["margin"] + noise
    nothing = known["train"] <= known["constant"] + limits["margin"] / 2
    rivals = {
        k.split("_")[0]: known[k]
        for k in ("linear_validation", "neighbours_validation")
        if k in known
    }
    rival = max(rivals, key=lambda k: rivals[k], default="")
    on_held = (
        "validation" in known
        and bool(rival)
        and rivals[rival] - known["validation"]
        > limits["held_out"] + 2 * known["validation_sem"]
    )
    useful = known["linear"] > known["constant"] + limits["margin"] or (
        bool(rival) and rivals[rival] > known["constant"] + limits["margin"]
    )
    if not useful or not (on_train or on_held or nothing):
        return None
    names = {"linear": "a linear model", "neighbours": "five nearest neighbours"}
    evidence = [
        Evidence(
            f"training {name} (limit: the linear model's)",
            known["train"],
            known["linear"],
            error=known.get("train_sem"),
        )
    ]
    if on_train or nothing:
        claim = (
            f"The model underfits: its training {name} is "
            f"{show(known['train'], known)}, a linear model's is "
            f"{show(known['linear'], known)}."
        )
    else:
        claim = (
            f"The model is not worth its cost: its validation {name} is "
            f"{show(known['validation'], known)}, that of {names[rival]} "
            f"{show(rivals[rival], known)}."
        )
    if rival and "validation" in known:
        evidence.append(
            Evidence(
                f"validation {name} (limit: {names[rival]})",
                known["validation"],
                rivals[rival],
                error=known["validation_sem"],
            )
        )
    f = fall(record)
    grave = nothing or short > 3 * limits["margin"]
    severity = Severity.HIGH if (on_train and grave) or nothing else Severity.MEDIUM
    cut = cut_short(record)
    severity = Severity.NOTE if cut else severity
    return Finding(
        rule="GEN002",
        severity=severity,
        claim=claim,
        evidence=tuple(evidence),
        why=(
            "A network contains linear models among the functions it can represent, so "
            "on the training data it should do no worse than one. If it does, it is "
            "not capacity that is missing but training: steps, signal or a right loss. "
            "On held-out data the simple model is the price to beat."
        ),
        reference="DL §5.2, §11.2",
        cause=(
            "The run was ended while its loss was still falling, by the budget of the "
            "check and not by the recipe."
            if cut
            else "The training does not get there; see the findings about loss, signal and "
            "step size."
            if on_train or nothing
            else "A model that does not suit the data, or is not regularised."
        ),
        prescription=Prescription(
            "Give the check a larger budget, so that the run can end."
            if cut
            else "Mend the causes named above it; if there are none, train longer, with "
            "Adam at 1e-3, and widen the layers."
            if f is None or on_train or nothing
            else "Use the simple model, or regularise until validation beats it."
        ),
        confidence=0.75,
        refutation=(
            "Scores of both models on a larger sample that differ by less than their "
            "errors."
        ),
        chart=Chart("train.accuracy" if name == "accuracy" else "train.loss"),
    )


def show(value: float, known: dict) -> str:
    """A score in the words of its metric."""
    if known["metric"] == "accuracy":
        return f"{value:.1%}"
    return f"{value:.2f}" if value > -10 else "far below 0"


RULES: tuple[Rule, ...] = (
    Rule(
        id="GEN001",
        title="Overfitting",
        severity=Severity.HIGH,
        judge=overfitting,
        needs=("loss", "validation.loss"),
        limits={"gap": 0.1, "r2": 0.3, "rise": 0.3},
        doc=(
            "`gap`: accuracy on training − on held-out data from which it is a fault "
            "(a note from half, grave from twice), with its two-sigma lower end above "
            "the step below. `r2`: the same for R². `rise`: without scores, the rise "
            "of the validation loss as a share of what it had gained. Look-alikes: "
            "dropout and augmentation (both sets are measured in evaluation mode), "
            "small validation sets (the interval), a validation loss that rises with "
            "the accuracy unchanged."
        ),
        explains=("OPT006",),
    ),
    Rule(
        id="GEN002",
        title="Underfitting",
        severity=Severity.HIGH,
        judge=underfitting,
        needs=("loss", "experiment.baselines"),
        limits={"margin": 0.05, "held_out": 0.1},
        doc=(
            "`margin`: training accuracy or R² below a linear model's on the same "
            "examples, by this and two standard errors. `held_out`: validation score "
            "below the best simple model's by this and two standard errors. Silent "
            "where the simple models learn nothing either, and a note where the budget "
            "of the check ended a run that was still falling."
        ),
    ),
)
