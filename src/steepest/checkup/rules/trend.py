"""What a noisy series says: where it went, which way it goes, how much of it is noise.

Every judgement about a run rests on three questions, asked here once:

- *How far did it come?* `fall`: the loss at the start, at its best and at the end, in
  evaluation mode on training data where that was measured, else means over batches.
- *Which way is it going?* `slope`: a line through the means of eight equal blocks.
  Block means mᵢ are nearly independent where single losses are not, so that the
  standard error of the slope, from the scatter rᵢ of the B blocks about the line,

      slope = Σ tᵢmᵢ / Σ tᵢ²,   sem² = Σ rᵢ² / ((B − 2) Σ tᵢ²),              (1)

  can be believed; t is the time of the blocks, centred.
- *Did the run succeed?* `succeeded` and `failed` are not each other's opposites:
  between them lies a run that did something. Rules that name a cause ask for `failed`,
  or at least for not `succeeded`: a property that did no harm is no fault.

References
    Flyvbjerg & Petersen (1989), Error estimates on averages of correlated data.  -- (1)
    Goodfellow, Bengio & Courville (2016), Deep Learning, §11.4.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ...training.record import Record


#: Optimisers that divide by the size of their gradients.
ADAPTIVE = ("adam", "adamw", "rmsprop", "adagrad", "lion")
SOLVED = 0.95  # of the initial loss gone, or of the training examples right
BLOCKS = 8
MARGIN = 0.05  # of accuracy or R²: a difference that matters to somebody


class Fall(NamedTuple):
    """Where the training loss went."""

    first: float
    best: float
    last: float
    sem: float  # of `last`
    steps: tuple[int, int]
    series: str  # which series it was read from

    @property
    def share(self) -> float:
        """The part of the initial loss that is gone; negative if it rose."""
        return (self.first - self.last) / max(abs(self.first), 1e-30)

    @property
    def range(self) -> float:
        """The way from the start to the best."""
        return max(self.first - self.best, 0.0)


class Slope(NamedTuple):
    """A straight line through a series: change over its whole length."""

    change: float
    sem: float


def fall(record: Record) -> Fall | None:
    """Where the training loss went, or None if it was not recorded or never finite."""
    for name in ("train.loss", "loss"):
        if name not in record:
            continue
        step, value = finite(record, name)
        if len(value) < 2:
            continue
        if name == "train.loss":
            sem = 0.0
            if "train.loss.sem" in record:
                sem = float(np.nan_to_num(record["train.loss.sem"].value[-1]))
            first, best, last = value[0], value.min(), value[-1]
        else:
            n = max(1, len(value) // 10)
            means = running(value, n)
            sem = float(np.std(value[-n:]) / np.sqrt(n))
            first, best, last = means[0], means.min(), means[-1]
        return Fall(float(first), float(best), float(last), sem, span(step), name)
    return None


def finite(
    record: Record, name: str
) -> tuple[Int[np.ndarray, " time"], Float[np.ndarray, " time"]]:
    """A scalar series without its non-finite values."""
    series = record[name]
    value = np.asarray(series.value, np.float64)
    good = np.isfinite(value)
    return series.step[good], value[good]


def running(value: Float[np.ndarray, " time"], n: int) -> Float[np.ndarray, " blocks"]:
    """Means over consecutive blocks of n, the last of them ending at the end."""
    start = len(value) % n
    return value[start:].reshape(-1, n).mean(axis=1)


def slope(value: Float[np.ndarray, " time"]) -> Slope:
    """The change of a series over its length, by the line (1) through block means."""
    blocks = min(BLOCKS, len(value))
    if blocks < 3:
        return Slope(0.0, float("inf"))
    means = np.array([part.mean() for part in np.array_split(value, blocks)])
    t = np.linspace(-0.5, 0.5, blocks)
    change = float(t @ means / (t @ t))
    residual = means - means.mean() - change * t
    sem = float(np.sqrt(residual @ residual / (blocks - 2) / (t @ t)))
    return Slope(change * blocks / (blocks - 1), sem * blocks / (blocks - 1))


def span(step: Int[np.ndarray, " time"]) -> tuple[int, int]:
    """The first and the last step."""
    return int(step[0]), int(step[-1])


def early(step: Int[np.ndarray, " time"]) -> Int[np.ndarray, " early"]:
    """Indices of the early phase of a probed series: its first fifth, three at least.

    The very first measurement is left out where there are others: residual branches
    that begin at zero have no gradient until the second update.
    """
    if len(step) <= 2:
        return np.arange(len(step))
    last = max(3, int(np.searchsorted(step, 0.2 * step[-1], side="right")))
    return np.arange(1, min(last, len(step)))


def scores(record: Record) -> dict[str, Any]:
    """What is known of how good the model is, as plain numbers; see the keys below.

    `train`, `train_sem`, `validation`, `validation_sem`: of the trained model;
    `linear`, `linear_validation`, `neighbours_validation`, `constant`: of the simple
    models. What is not known is absent.
    """
    known: dict[str, Any] = {}
    final = record.facts.get("experiment.final")
    if final:
        known["metric"] = final["metric"]
        for name in ("train", "validation"):
            if final.get(name) is not None and np.isfinite(final[name][0]):
                known[name], known[f"{name}_sem"] = map(float, final[name])
    elif "train.accuracy" in record:
        known["metric"] = "accuracy"
        for name in ("train", "validation"):
            if f"{name}.accuracy" in record:
                known[name] = float(record[f"{name}.accuracy"].value[-1])
                sem = f"{name}.accuracy.sem"
                known[f"{name}_sem"] = (
                    float(record[sem].value[-1]) if sem in record else 0.02
                )
    simple = record.facts.get("experiment.baselines")
    if simple and simple["metric"] == known.get("metric", simple["metric"]):
        known["metric"] = simple["metric"]
        known["constant"] = float(simple["constant"][0][0])
        known["linear"] = float(simple["linear"][0][0])
        for name in ("linear", "neighbours"):
            if simple[name][1] is not None:
                known[f"{name}_validation"] = float(simple[name][1][0])
    return {k: v for k, v in known.items() if isinstance(v, str) or np.isfinite(v)}


def succeeded(record: Record) -> bool:
    """Whether the run learned its training data about as well as can be expected."""
    if record.meta.get("ended") == "non-finite":
        return False
    s, f = scores(record), fall(record)
    if "train" in s:
        if s["metric"] == "accuracy" and s["train"] >= SOLVED:
            return True
        if s["metric"] == "R²" and s["train"] >= 0.9:
            return True
        if "linear" in s and s["linear"] - s.get("constant", 0.0) > 2 * MARGIN:
            # As good as the simple model that had the same data: nothing was broken.
            return s["train"] >= s["linear"] - MARGIN / 2
    if f is None:
        return False
    return f.first > 0 and f.share >= SOLVED


def failed(record: Record) -> bool:
    """Whether the run clearly did not learn what there is to learn."""
    if record.meta.get("ended") == "non-finite":
        return True
    s, f = scores(record), fall(record)
    if "train" in s and "constant" in s:
        noise = 2 * s.get("train_sem", 0.0)
        if s["train"] <= s["constant"] + MARGIN / 2:
            return "linear" not in s or s["linear"] > s["constant"] + MARGIN
        return bool("linear" in s and s["train"] < s["linear"] - MARGIN - noise)
    return f is not None and f.share < 0.2 and not succeeded(record)


def rising(record: Record) -> bool:
    """Whether the training loss ended above its start."""
    f = fall(record)
    return f is not None and f.last > f.first + 2 * f.sem


def cut_short(record: Record) -> bool:
    """Whether the run was ended from outside before its loss had shown where it goes.

    It has where the change over the second half is known to be small, or to be a rise.
    Of a handful of updates nothing is known.
    """
    ended = record.meta.get("ended") in ("out of time", "interrupted")
    if not ended or "loss" not in record:
        return False
    _, value = finite(record, "loss")
    late = value[len(value) // 2 :]
    if len(late) < 3:
        return True
    s = slope(late)
    flat = abs(s.change) + 2 * s.sem <= 0.05 * abs(late.mean())
    falling = s.change < -max(2 * s.sem, 0.01 * abs(late.mean()))
    return falling or not (flat or s.change > 2 * s.sem)


def recipe_of(record: Record) -> dict[str, Any]:
    """The recipe as JSON, empty where it is unknown."""
    recipe = record.meta.get("recipe")
    return dict(recipe) if isinstance(recipe, dict) else {}


def learning_rate(record: Record) -> float:
    """The typical learning rate of the run, NaN where it is unknown."""
    if "learning_rate" in record:
        value = np.asarray(record["learning_rate"].value, float)
        value = value[np.isfinite(value) & (value > 0)]
        if len(value):
            return float(np.median(value))
    rate = recipe_of(record).get("learning_rate")
    return float(rate) if isinstance(rate, int | float) else float("nan")


def layers(
    record: Record, series: str
) -> tuple[Int[np.ndarray, " time"], Float[np.ndarray, "time layer"], list[str]]:
    """A series of one value a parameter array, for weight arrays alone, by depth.

    Returns steps, values `(time, layer)` and paths. Without the fact
    `experiment.depth` the order is that of the parameters and nothing is left out.
    """
    s = record[series]
    labels = list(s.labels) or [str(i) for i in range(s.value.shape[-1])]
    depth = record.facts.get("experiment.depth")
    paths = [p for p in depth["paths"] if p in labels] if depth else labels
    columns = [labels.index(p) for p in paths]
    return s.step, np.asarray(s.value, float)[:, columns], paths


def rounded(value: float, digits: int = 1) -> float:
    """A value to prescribe: as few digits as will do, rounded down."""
    if not np.isfinite(value) or value <= 0:
        return value
    unit = 10.0 ** (np.floor(np.log10(value)) - digits + 1)
    return float(f"{np.floor(value / unit + 1e-9) * unit:.{digits + 1}g}")
