"""The rule about an optimiser whose state is made anew in every update, or thrown away.

The count of updates that it remembers is compared with that of those that were made, and
its first moment with the last gradient: of a moment that has just begun

    ‖m‖/(1 − β) = ‖g‖                                                        (1)

to the last digit (`training.probes.moments`).

Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, §§8.3.2, 8.5.3.
"""

import numpy as np

from ...training.record import Record
from ..finding import Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule
from .trend import finite, recipe_of, span


def rebuilt(record: Record, limits: Limits) -> Finding | None:
    """The optimiser begins anew in every update, or its state is never kept."""
    evidence: list[Evidence] = []
    for name in ("optimizer.count", "optimizer_count"):
        if name in record:
            step, count = finite(record, name)
            keep = step >= limits["settled"]
            if keep.sum() >= 3 and count[keep].max() <= 1:
                evidence.append(
                    Evidence(
                        "updates that the optimiser remembers, at the end",
                        float(count[-1]),
                        float(step[-1]),
                        span(step[keep]),
                    )
                )
    for name in ("optimizer.momentum_norm", "optimizer_momentum_norm"):
        if name in record and "gradient_norm" in record:
            step, size = finite(record, name)
            norms = dict(zip(*map(np.ndarray.tolist, finite(record, "gradient_norm"))))
            shift = 1 if name.startswith("optimizer.") else 0
            pairs = [
                (s, m / norms[s - shift])
                for s, m in zip(step.tolist(), size.tolist(), strict=True)
                if s >= limits["settled"] and norms.get(s - shift, 0.0) > 0
            ]
            same = [abs(ratio - 1) < limits["same"] for _, ratio in pairs]
            if len(same) >= 3 and all(same):
                worst = max((r for _, r in pairs), key=lambda r: abs(r - 1))
                evidence.append(
                    Evidence(
                        "first moment ÷ last gradient (1: nothing else is in it)",
                        worst,
                        1.0,
                        (pairs[0][0], pairs[-1][0]),
                        error=limits["same"],
                    )
                )
    if not evidence:
        return None
    beta = recipe_of(record).get(
        "beta1" if "adam" in str(recipe_of(record).get("optimizer")) else "momentum"
    )
    if len(evidence) == 1 and "moment" in evidence[0].quantity and beta == 0:
        return None
    rate = recipe_of(record).get("learning_rate")
    known = isinstance(rate, int | float)
    return Finding(
        rule="OPT015",
        severity=Severity.HIGH,
        claim=(
            "The optimiser forgets: after every update its state is that of a first "
            "one, so that it has neither momentum nor a scale."
        ),
        evidence=tuple(evidence),
        why=(
            "Momentum and Adam are averages over many gradients. A state that is made "
            "anew in every update, or returned and thrown away, turns them into the "
            "bare gradient or, for Adam, into its sign: every entry moves by η whatever "
            "its gradient, and the run cannot come to rest."
        ),
        reference="DL §8.3.2, §8.5.3",
        cause="`optimizer.init` inside of the loop, or an update whose new state is dropped.",
        prescription=Prescription(
            "Call `init` once, before the loop, and carry the state from update to "
            "update; the recipe's own Adam does so.",
            recipe={"optimizer": "adam"} | ({} if known else {"learning_rate": 1e-3}),
            snippet="state = optimizer.init(params)          # once\n"
            "for batch in batches:\n"
            "    updates, state = optimizer.update(grads, state, params)",
        ),
        confidence=0.95,
        refutation="A count of updates in the optimiser's state that grows.",
    )


RULES: tuple[Rule, ...] = (
    Rule(
        id="OPT015",
        title="An optimiser that forgets",
        severity=Severity.HIGH,
        judge=rebuilt,
        needs=(
            "optimizer.count|optimizer_count|optimizer.momentum_norm|optimizer_momentum_norm",
        ),
        limits={"settled": 10.0, "same": 1e-3},
        doc=(
            "The optimiser's own count of updates is at most one after `settled` of "
            "them, or at every look its first moment is as long as the last gradient, "
            "to a share `same`. A loop of one's own logs `optimizer_count`, or "
            "`optimizer_momentum_norm` (‖m‖/(1 − β₁) of Adam, ‖m‖ of momentum) beside "
            "`gradient_norm`. Look-alike: β₁ = 0, which has no memory on purpose."
        ),
        explains=("OPT001", "OPT003", "OPT004", "OPT005", "OPT006", "GEN002"),
    ),
)
