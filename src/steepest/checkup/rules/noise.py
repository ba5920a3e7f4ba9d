"""Rules about the size of a batch: noise that holds the loss up, or too few updates.

The gradient of a batch of m examples has the squared length ‖G‖² of the full one and a
noise of tr Σ/m beside it. Their ratio is 1 at the noise scale

    B = tr Σ/‖G‖².                                                               (1)

Below it the updates are mostly noise, above it a larger batch adds little to each and
makes them fewer. B grows while a loss falls, so that at the end of any good run batches
are small against it: that is how descent ends, and no fault. A fault it is where the run
did not get where simple models are, and the loss moves to and fro by more than it falls.

References
    McCandlish et al. (2018), An empirical model of large-batch training.       -- (1)
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§8.1.3, 8.3.1.
"""

import numpy as np

from ...training.record import Record
from ..finding import Chart, Evidence, Finding, Prescription, Severity
from ..numbers import number, share
from ..rule import Limits, Rule
from .stability import stability_of
from .step_size import SMALL, batch_size, shaken
from .trend import fall, finite, recipe_of, rising, slope, succeeded


SURE = 3.0  # times the lower end of the interval: no noise scale is believed beyond
LARGEST = 1024  # of a batch that is prescribed


def too_noisy(record: Record, limits: Limits) -> Finding | None:
    """The noise of small batches, not the slope, moves the parameters."""
    f, scale, batch = fall(record), noise_scale(record), batch_size(record)
    if f is None or batch is None or succeeded(record):
        return None
    if scale is None:
        return thrown(record, batch, limits)
    low = min(float(record.facts["noise.scale"]), SURE * scale[0])
    if batch > limits["small"] or batch >= limits["ratio"] * low:
        return None
    name = "train.loss" if "train.loss" in record else "probe.loss"
    if name not in record:
        return None
    step, value = finite(record, name)
    late = value[len(value) // 2 :]
    if len(late) < 5:
        return None
    # About a straight line, so that it does not matter how often the run was looked at.
    t = np.arange(len(late))
    line = np.polyfit(t, late, 1)
    swing = float(np.sqrt(np.mean((late - np.polyval(line, t)) ** 2)))
    fallen = -float(line[0]) * (len(late) - 1)
    height = swing / max(abs(float(np.mean(late))), 1e-30)
    if height < limits["swing"] or swing < fallen / 3:
        return None
    new, updates = suggested(low, batch), planned(record, batch)
    return Finding(
        rule="OPT010",
        severity=Severity.MEDIUM,
        claim=(
            f"Batches of {batch} are too small: the gradient noise scale is about "
            f"{low:.3g} examples, and the training loss moves to and fro by "
            f"{share(height, 'its value')} (root mean square)."
        ),
        evidence=(
            Evidence(
                "batch size ÷ gradient noise scale",
                batch / max(low, 1e-12),
                limits["ratio"],
            ),
            Evidence(
                "scatter of the training loss about a line, late in the run ÷ its value",
                height,
                limits["swing"],
                (int(step[len(value) // 2]), int(step[-1])),
            ),
        ),
        why=(
            "Around a minimum descent is held off by the noise of its gradients: the "
            "loss floor is proportional to η tr Σ/m. Below the noise scale twice the "
            "batch halves that floor and nearly halves the updates that are needed."
        ),
        reference="DL §8.1.3, §8.3.1; McCandlish et al. (2018)",
        cause="A batch size too small for the step size.",
        prescription=larger(new, updates),
        confidence=0.75,
        refutation=f"Batches of {new}, if the loss moves as much as before.",
        chart=Chart(name),
    )


def thrown(record: Record, batch: int, limits: Limits) -> Finding | None:
    """The run blew up at a step size that suits the mean of the loss, not its examples."""
    stability = stability_of(record)
    blown = record.meta.get("ended") == "non-finite" or rising(record)
    if not blown or stability is None or not shaken(record, stability):
        return None
    if batch > limits["small"]:
        return None
    start, new = float(stability.product[0]), suggested(4.0 * batch, batch)
    new = max(new, 32)
    return Finding(
        rule="OPT010",
        severity=Severity.MEDIUM,
        claim=(
            f"Batches of {batch} are too small for the step size: on many examples step "
            f"size × sharpness is {number(start)}, below its limit, and yet the loss "
            "blew up."
        ),
        evidence=(
            Evidence("examples in a batch", float(batch), limits["small"]),
            Evidence(
                "step size × sharpness of many examples at the start",
                start,
                stability.limit,
                (int(stability.steps[0]), int(stability.steps[0])),
            ),
        ),
        why=(
            "A step on m examples meets their curvature, not that of the mean. Single "
            "examples can be many times sharper, so that a step size that is stable for "
            "the loss is not for them: with their spread of curvature, tr Σ_H/m, the "
            "largest stable step grows with m up to that of the full loss."
        ),
        reference="DL §8.1.3, §8.3.1; McCandlish et al. (2018)",
        cause="A batch size too small for the step size.",
        prescription=larger(new, planned(record, batch)),
        confidence=0.75,
        refutation=f"Batches of {new}, if the loss blows up as before.",
        chart=Chart("loss", log=True),
    )


def larger(batch: int, updates: int) -> Prescription:
    """A larger batch for as many updates."""
    return Prescription(
        f"Set the batch size to {batch}, for as many updates, and let the learning "
        "rate decay to zero.",
        recipe={"batch_size": batch, "schedule": "cosine"}
        | ({"steps": updates} if updates else {}),
    )


def planned(record: Record, batch: int) -> int:
    """The updates that a run was to have; those that it had where nothing says more."""
    recipe, done = recipe_of(record), int(record.meta.get("steps", 0))
    if record.meta.get("ended") == "completed":
        return done
    if recipe.get("steps"):
        return int(recipe["steps"])
    examples = record.meta.get("examples")
    if not examples or not recipe.get("epochs"):
        return done
    return max(done, round(float(recipe["epochs"]) * int(examples) / batch))


def too_large(record: Record, limits: Limits) -> Finding | None:
    """Most of each batch is wasted, and the updates are too few."""
    f, scale, batch = fall(record), noise_scale(record), batch_size(record)
    if f is None or scale is None or batch is None or succeeded(record):
        return None
    _, high = scale
    steps = int(record.meta.get("steps", 0))
    per_epoch = float(record.meta.get("batches_per_epoch", np.inf))
    if batch <= limits["ratio"] * high or per_epoch >= limits["steps"]:
        return None
    if record.meta.get("ended") != "completed" or not still_falling(record):
        return None
    examples = int(record.meta.get("examples", batch))
    most = 2 ** int(np.log2(max(examples / 32, 16)))  # 32 updates in an epoch or more
    new = int(np.clip(suggested(high, 1), 16, max(16, most)))
    return Finding(
        rule="OPT011",
        severity=Severity.MEDIUM,
        claim=(
            f"Batches of {min(batch, examples)} are too large: the gradient noise "
            f"scale is at most {high:.3g} examples, and the run had only {steps} updates."
        ),
        evidence=(
            Evidence(
                "batch size ÷ noise scale (its upper end)",
                batch / high,
                limits["ratio"],
            ),
            Evidence("updates in an epoch", per_epoch, limits["steps"]),
        ),
        why=(
            "The error of a gradient falls as 1/√m, its price rises as m. Above the "
            "noise scale more examples in a batch hardly make an update better, and "
            "with a fixed number of epochs they make updates fewer: this loss was "
            "still falling when they ran out."
        ),
        reference="DL §8.1.3; McCandlish et al. (2018)",
        cause="A batch as large as memory allows.",
        prescription=Prescription(
            f"Set the batch size to {new}.", recipe={"batch_size": new}
        ),
        confidence=0.8,
        refutation=(
            f"Batches of {new} over as many epochs, if the loss ends no lower."
        ),
        chart=Chart("loss"),
    )


def noise_scale(record: Record) -> tuple[float, float] | None:
    """The interval of (1)."""
    interval = record.facts.get("noise.scale_interval")
    if interval is None:
        return None
    low, high = map(float, interval)
    return None if np.isnan(low) or np.isnan(high) else (low, high)


def suggested(scale: float, least: int) -> int:
    """The power of two next to a noise scale, within reason."""
    scale = min(max(scale, 4.0 * least, 16.0), float(LARGEST))
    return int(min(2 ** round(np.log2(scale)), 32 if least < 8 else LARGEST))


def still_falling(record: Record) -> bool:
    """Whether the last quarter lowered the loss by a twentieth of its value."""
    _, value = finite(record, "loss")
    late = value[-max(4, len(value) // 4) :]
    if len(late) < 4:
        return False
    s = slope(late)
    return -s.change > max(0.05 * abs(float(late.mean())), 2 * s.sem)


RULES: tuple[Rule, ...] = (
    Rule(
        id="OPT010",
        title="Batch too small",
        severity=Severity.MEDIUM,
        judge=too_noisy,
        needs=("loss", "noise.scale|sharpness"),
        limits={"ratio": 0.1, "swing": 0.1, "small": float(SMALL)},
        doc=(
            "A batch of at most `small` examples and less than `ratio` of the noise "
            "scale, in a run that did not succeed and whose loss on fixed "
            "data scatters about a line by a share `swing` of its value, and by a third "
            "of what it falls over the second half. Or such a batch in a run that blew up "
            "although step size × sharpness on many examples was below its limit. "
            "Look-alikes: the end of a good run, where the noise scale is large because "
            "the gradient is gone."
        ),
        explains=(
            "OPT003",
            "OPT004",
            "OPT005",
            "OPT006",
            "GEN002",
            "NUM001",
            "SIG002",
            "SIG003",
            "SIG005",
        ),
    ),
    Rule(
        id="OPT011",
        title="Batch too large",
        severity=Severity.MEDIUM,
        judge=too_large,
        needs=("loss", "noise.scale"),
        limits={"ratio": 1.0, "steps": 10.0},
        doc=(
            "A batch above `ratio` times the noise scale's upper end at the end of the "
            "run, where that is largest, with fewer than `steps` updates in an epoch, "
            "in a run that did not succeed and whose loss was still falling. "
            "Look-alike: full-batch descent that arrives."
        ),
        explains=("OPT002", "OPT005", "OPT006", "GEN002"),
    ),
)
