"""The rule about schedules of the learning rate that do not suit the run.

A schedule is compared with the length of the run, Σ η being what bounds how far descent
gets; its restarts with the loss around them; and a start without warm-up with the first
updates.

Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, §8.3.1.
"""

import numpy as np

from ...training.record import Record
from ..finding import Chart, Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule
from .trend import fall, finite, recipe_of, running, slope, succeeded


MODEST = 100  # updates: fewer say nothing of a schedule


def schedule(record: Record, limits: Limits) -> Finding | None:
    """The learning rate is gone before the loss is, jumps up, or begins too high."""
    step, rate = finite(record, "learning_rate")
    if len(rate) < MODEST or not (rate > 0).any():
        return None
    peak = float(rate.max())
    top = int(np.argmax(rate))
    gone = np.flatnonzero(rate[top:] < limits["rest"] * peak)
    lost = float(len(gone)) / len(rate)
    if lost > limits["lost"] and not succeeded(record):
        first = int(step[top + gone[0]])
        return _finding(
            Severity.HIGH,
            f"The learning rate was gone by update {first} of {len(rate)}: the last "
            f"{lost:.0%} of the run had less than {limits['rest']:g} of its peak.",
            Evidence(
                "share of the run without a learning rate",
                lost,
                limits["lost"],
                (first, int(step[-1])),
            ),
            f"Let the schedule run over the whole run: a cosine from {peak:.3g} to its end.",
            {"learning_rate": peak, "schedule": "cosine", "warmup": 0},
            0.9,
        )
    loss = finite(record, "loss")[1]
    if len(loss) != len(rate) or succeeded(record):
        return None
    jumps = np.flatnonzero(rate[1:] > 10 * rate[:-1])
    jumps = jumps[jumps > max(recipe_of(record).get("warmup", 0) or 0, len(rate) // 10)]
    f = fall(record)
    if len(jumps) and f is not None:
        at = int(jumps[-1]) + 1
        n = max(5, len(rate) // 50)
        before, after = loss[max(0, at - n) : at], loss[at : at + n]
        end = loss[-n:]
        rise = float(after.mean() - before.mean())
        worse = float(end.mean() - before.mean())
        sem = float(before.std() / np.sqrt(len(before)))
        if rise > max(0.2 * f.range, 3 * sem) and worse > max(0.1 * f.range, 3 * sem):
            return _finding(
                Severity.MEDIUM,
                f"A restart of the schedule at update {int(step[at])} undid what had "
                f"been learned: the loss rose by {rise:.3g} and did not come back.",
                Evidence("rise of the loss at the restart", rise, 3 * sem),
                "Decay once, to the end of the run.",
                {"learning_rate": peak, "schedule": "cosine"},
                0.7,
            )
    return _no_warmup(record, loss, limits)


def _no_warmup(record: Record, loss: np.ndarray, limits: Limits) -> Finding | None:
    """A loss that leaps in the first updates and takes most of the run to come back."""
    recipe = recipe_of(record)
    if recipe.get("warmup") or not isinstance(recipe.get("optimizer"), str):
        return None
    n = max(10, len(loss) // 20)
    first = float(np.median(loss[:3]))
    leap = float(loss[:n].max()) / max(abs(first), 1e-30)
    back = np.flatnonzero(running(loss, 5) < first)
    late = 5 * int(back[0]) / len(loss) if len(back) else 1.0
    if leap < limits["leap"] or late < 0.2 or slope(loss[n:]).change >= 0:
        return None
    new = max(20, len(loss) // 20)
    return _finding(
        Severity.MEDIUM,
        f"The first updates threw the loss up to {leap:.3g} times its start, and it took "
        f"{late:.0%} of the run to come back.",
        Evidence("largest early loss ÷ first loss", leap, limits["leap"], (0, n)),
        f"Warm the learning rate up over {new} updates.",
        {"warmup": new},
        0.7,
    )


def _finding(
    severity: Severity,
    claim: str,
    evidence: Evidence,
    text: str,
    change: dict[str, float | str],
    confidence: float,
) -> Finding:
    return Finding(
        rule="OPT014",
        severity=severity,
        claim=claim,
        evidence=(evidence,),
        why=(
            "How far descent can get is bounded by the sum of its step sizes. A "
            "schedule must leave enough of them: small at first, where the curvature is "
            "large and moments know nothing yet, and down to nothing at the end of the "
            "run and not before."
        ),
        reference="DL §8.3.1",
        cause="A schedule that counts in other units than the run: epochs for updates.",
        prescription=Prescription(text, recipe=change),
        confidence=confidence,
        refutation="A run under the new schedule that ends no lower.",
        chart=Chart("learning_rate", log=True),
    )


RULES: tuple[Rule, ...] = (
    Rule(
        id="OPT014",
        title="A schedule that does not suit the run",
        severity=Severity.HIGH,
        judge=schedule,
        needs=("loss", "learning_rate"),
        limits={"rest": 1e-3, "lost": 0.2, "leap": 5.0},
        doc=(
            "More than `lost` of the run had a learning rate below `rest` of "
            "its peak, and the run did not succeed; or a rate that leapt tenfold, after "
            "which the loss rose and did not come back; or, without warm-up, a loss that "
            "rose to `leap` times its first value and needed a fifth of the run to "
            "return. Look-alikes: the end of a cosine, warm-up, restarts that recover."
        ),
        explains=("OPT002", "OPT003", "OPT004", "OPT005", "OPT006", "GEN002", "SIG005"),
    ),
)
