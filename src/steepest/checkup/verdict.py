"""The first question: does it fail to train, or fail to generalise?

A high training error and a high test error ask for opposite cures (DL §11.4: first look
whether the training error is low), so the verdict is settled before anything else:

- *does not train*: the run ended in NaN or infinity, or what was fitted is no better on
  its own training data than the best constant answer;
- *does not generalise*: it trains, but a finding of weight says that held-out data fare
  worse, or that they cannot be trusted to tell (leakage);
- *has faults*: it does both, and something of weight was found;
- *undecided*: the run was ended from outside before it had shown anything;
- *healthy*: none of these.

Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, §§5.2, 11.4.
"""

from collections.abc import Sequence

import numpy as np

from ..training.record import Record
from .finding import Finding, Severity
from .report import Verdict
from .rules.trend import cut_short, scores


MARGIN = 0.05  # of the way from the constant answer to perfection


def verdict(record: Record, findings: Sequence[Finding]) -> Verdict:
    """Answer the first question from the record and the findings."""
    weighty = [f for f in findings if f.severity >= Severity.MEDIUM]
    facts = summary(record)
    if record.meta.get("ended") == "non-finite":
        step = record.meta.get("nonfinite", {}).get("step", "?")
        return Verdict(
            "does not train",
            f"It does not train: the loss stopped being a number at step {step}.",
        )
    if not improves(record):
        if cut_short(record):
            return Verdict(
                "undecided",
                f"It was stopped before one could tell: {facts}. Give it more time.",
            )
        return Verdict("does not train", f"It does not train: {facts}.")
    if any(f.rule == "OPT004" and f.severity >= Severity.HIGH for f in findings):
        return Verdict("does not train", f"It does not train, it diverges: {facts}.")
    if any(
        f.rule in ("GEN001", "DAT006") and f.severity >= Severity.MEDIUM
        for f in findings
    ):
        return Verdict(
            "does not generalise", f"It trains but does not generalise: {facts}."
        )
    if weighty:
        return Verdict("has faults", f"It trains, with faults: {facts}.")
    held_out = any(f"validation.{x}" in record.series for x in ("accuracy", "loss"))
    generalises = " and generalises" if held_out else "; nothing was held out"
    return Verdict("healthy", f"It trains{generalises}: {facts}.")


def improves(record: Record) -> bool:
    """Whether the run did better on its training data than a constant could."""
    known = scores(record)
    if known.get("metric") == "R²" and "train" in known:
        return known["train"] - 2 * known["train_sem"] > 0 or known["train"] > MARGIN
    if "train.accuracy" in record.series and "data.majority" in record.facts:
        majority = float(record.facts["data.majority"])
        accuracy = _last(record, "train.accuracy")
        if majority < 1:
            return (accuracy - majority) / (1 - majority) > MARGIN
    if "train.loss" in record.series:
        loss = record["train.loss"].value
        first, last = float(loss[0]), float(loss[-1])
    elif "loss" in record.series:
        loss = record["loss"].value
        tenth = max(1, len(loss) // 10)
        first, last = float(np.mean(loss[:tenth])), float(np.mean(loss[-tenth:]))
        # One batch is noisy; but a loss that leapt at once and ends at twice its first
        # value has not improved, however high it was between.
        first = min(first, 2 * float(loss[0])) if loss[0] > 0 else first
    else:
        return True  # nothing says otherwise
    return bool(np.isfinite(last) and last < first - MARGIN * abs(first))


def summary(record: Record) -> str:
    """The run in one clause, with its numbers."""
    parts = []
    if "train.loss" in record.series:
        loss = record["train.loss"]
        parts.append(
            f"the training loss went from {loss.value[0]:.3g} to {loss.value[-1]:.3g} "
            f"in {loss.step[-1]} updates"
        )
    elif "loss" in record.series:
        loss = record["loss"]
        parts.append(
            f"the batch loss went from {loss.value[0]:.3g} to {loss.value[-1]:.3g} "
            f"in {len(loss.step)} updates"
        )
    for name, what in (("accuracy", "accuracy"), ("loss", "loss")):
        if f"validation.{name}" in record.series:
            value = _last(record, f"validation.{name}")
            if name == "accuracy":
                trained = "train.accuracy" in record.series
                train = _last(record, "train.accuracy") if trained else None
                first = "" if train is None else f"{train:.1%} in training, "
                parts.append(f"accuracy {first}{value:.1%} held out")
            else:
                parts.append(f"the validation {what} is {value:.3g}")
            break
    return ", ".join(parts) or "nothing was recorded"


def _last(record: Record, name: str) -> float:
    return float(record[name].value[-1])
