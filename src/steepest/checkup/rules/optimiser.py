"""Rules about the optimiser's settings: clipping, ε and β₂, the schedule, its memory.

Each setting is a number with a scale of its own to be compared with: a clipping
threshold with the norms of the gradients, Adam's ε with the roots √v̂ that it is added
to, a schedule with the length of the run, and the count of updates that an optimiser
remembers with the count of those that were made.

References
    Pascanu, Mikolov & Bengio (2013), On the difficulty of training recurrent neural
    networks.
    Kingma & Ba (2015), Adam: a method for stochastic optimization.
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§8.3.1, 8.5, 10.11.1.
"""

import numpy as np

from ...training.record import Record
from ..finding import Chart, Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule
from .trend import (
    fall,
    finite,
    recipe_of,
    running,
    slope,
    span,
    succeeded,
)


ADAPTIVE = ("adam", "adamw", "rmsprop", "adagrad", "lion")
MODEST = 100  # updates: fewer say nothing of a schedule


def clipping(record: Record, limits: Limits) -> Finding | None:
    """The gradient norm is clipped in nearly every update, or in none."""
    bound = recipe_of(record).get("clip_norm")
    if not isinstance(bound, int | float):
        return None
    step, norm = finite(record, "gradient_norm")
    if len(norm) < 50:
        return None
    share = float(np.mean(norm > bound))
    if limits["never"] < share <= limits["often"] and share > 0:
        return None
    usual = float(np.quantile(norm, 0.9))
    new = float(f"{usual:.2g}")
    never = share <= limits["never"]
    if never and bound < 10 * float(norm.max()):
        return None  # a guard for what may come
    if (
        not never
        and float(np.quantile(norm[: max(20, len(norm) // 5)], 0.9)) < 2 * bound
    ):
        return None  # it bites by little
    scaled = recipe_of(record).get("optimizer") in ADAPTIVE  # a common factor cancels
    hurt = not (never or scaled or succeeded(record))
    return Finding(
        rule="OPT012",
        severity=Severity.MEDIUM if hurt else Severity.NOTE,
        claim=(
            f"Clipping at {bound:.3g} never acts: the largest gradient norm was "
            f"{norm.max():.3g}."
            if never
            else f"Clipping at {bound:.3g} acts on {share:.0%} of the updates; the "
            f"median gradient norm is {np.median(norm):.3g}."
        ),
        evidence=(
            Evidence(
                "share of updates that were clipped",
                share,
                limits["never"] if never else limits["often"],
                span(step),
            ),
            Evidence("90th percentile of the gradient norm", usual, bound, span(step)),
        ),
        why=(
            "Clipping is a guard against the rare cliff. A threshold below nearly every "
            "gradient makes all steps equally long, so that the learning rate no longer "
            "means what it says and the run cannot come to rest; one far above them "
            "guards nothing."
            if not scaled
            else "Clipping is a guard against the rare cliff. This optimiser divides by "
            "the size of its gradients, so that a factor common to all cancels; a "
            "threshold that always acts makes them equally long before that, so that "
            "small gradients count as much as large ones."
        ),
        reference="DL §10.11.1; Pascanu, Mikolov & Bengio (2013)",
        cause="A threshold taken from another program.",
        prescription=Prescription(
            f"Set the threshold to {new:g}, the 90th percentile of the norm.",
            recipe={"clip_norm": new},
        ),
        confidence=0.85 if hurt else 0.7,
        refutation=f"A run clipped at {new:g}, if its loss ends no lower.",
        chart=Chart("gradient_norm", limit=float(bound), log=True),
    )


def adam_constants(record: Record, limits: Limits) -> Finding | None:
    """Adam's ε decides the update, or its v̂ forgets too fast."""
    recipe = recipe_of(record)
    epsilon, beta2 = recipe.get("epsilon"), recipe.get("beta2")
    if recipe.get("optimizer") not in ("adam", "adamw"):
        return None
    if not isinstance(epsilon, int | float) or not isinstance(beta2, int | float):
        return None
    tiny = float(np.finfo(np.float32).tiny)
    if epsilon < tiny and record.meta.get("ended") == "non-finite":
        return _constant(
            record,
            Severity.HIGH,
            f"Adam's ε is {epsilon:g}, which is zero in float32, and the run ended in "
            "what is not a number.",
            Evidence("Adam's ε", float(epsilon), tiny),
            {"epsilon": 1e-8},
            0.8,
        )
    if "optimizer.small_roots" in record and not succeeded(record):
        step, share = finite(record, "optimizer.small_roots")
        middle = float(np.median(share)) if len(share) else 0.0
        typical = float(np.median(finite(record, "optimizer.root")[1]))
        if middle > limits["share"] and typical < epsilon:
            new = max(float(f"{typical / 1e3:.0e}"), 1e-8)
            return _constant(
                record,
                Severity.HIGH,
                f"Adam's ε of {epsilon:g} is above the root of nearly every second "
                f"moment, {typical:.2g} in the middle: the update is no longer scaled.",
                Evidence("share of √v̂ below 10 ε", middle, limits["share"], span(step)),
                {"epsilon": new},
                0.9,
            )
    if "optimizer.root" in record and beta2 < limits["beta2"]:
        return _spike(record, float(beta2), limits)
    return None


def _spike(record: Record, beta2: float, limits: Limits) -> Finding | None:
    """v̂ that decays to a hundredth, and then a loss that jumps."""
    step, root = finite(record, "optimizer.root")
    _, loss = finite(record, "loss")
    if len(root) < 8 or len(loss) < MODEST:
        return None
    means = running(loss, max(1, len(loss) // 50))
    low = int(np.argmin(means))
    late = means[low:]
    risen = float(late.max() - means[low]) / max(float(means[0] - means[low]), 1e-30)
    decayed = float(root[: len(root) // 4 + 1].max() / max(root.min(), 1e-30))
    if risen < limits["spike"] or decayed < limits["decay"] or succeeded(record):
        return None
    return _constant(
        record,
        Severity.MEDIUM,
        f"Adam's √v̂ decayed {decayed:.3g}-fold and then the loss leapt by {risen:.0%} of "
        f"what it had gained: β₂ = {beta2:g} forgets within {1 / (1 - beta2):.0f} updates.",
        Evidence("rise of the loss ÷ its gain", risen, limits["spike"], span(step)),
        {"beta2": 0.999},
        0.6,
    )


def _constant(
    record: Record,
    severity: Severity,
    claim: str,
    evidence: Evidence,
    change: dict[str, float],
    confidence: float,
) -> Finding:
    ((name, value),) = change.items()
    return Finding(
        rule="OPT013",
        severity=severity,
        claim=claim,
        evidence=(evidence,),
        why=(
            "Adam divides by √v̂ + ε. ε is there for entries without a gradient; above "
            "√v̂ it takes the scaling away and the update shrinks to m̂ η/ε. And v̂ is an "
            "average over 1/(1 − β₂) updates: over too few of them it shrinks with the "
            "gradients, and the next large one meets a divisor that has forgotten."
        ),
        reference="DL §8.5.3; Kingma & Ba (2015)",
        cause="A constant taken from another program, or from another format.",
        prescription=Prescription(
            f"Set {'ε' if name == 'epsilon' else 'β₂'} to {value:g}.", recipe=change
        ),
        confidence=confidence,
        refutation=f"A run with {value:g} that fares no better.",
        chart=Chart("loss"),
    )


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
        return _schedule(
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
            return _schedule(
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
    return _schedule(
        Severity.MEDIUM,
        f"The first updates threw the loss up to {leap:.3g} times its start, and it took "
        f"{late:.0%} of the run to come back.",
        Evidence("largest early loss ÷ first loss", leap, limits["leap"], (0, n)),
        f"Warm the learning rate up over {new} updates.",
        {"warmup": new},
        0.7,
    )


def _schedule(
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
        id="OPT012",
        title="Clipping that always acts, or never",
        severity=Severity.MEDIUM,
        judge=clipping,
        needs=("gradient_norm",),
        limits={"often": 0.5, "never": 0.0},
        doc=(
            "Share of updates whose gradient norm was above `clip_norm`: more than "
            "`often`, and early norms at twice the threshold, is a fault where the run "
            "did not succeed, else a note; not more than `never`, with a threshold ten "
            "times the largest norm, is a note. Look-alikes: clipping of one update in "
            "five; and Adam and its kin, of whose gradients a common factor cancels: a note."
        ),
        explains=("OPT002", "OPT003", "OPT005", "OPT006", "OPT009", "GEN002", "SIG005"),
    ),
    Rule(
        id="OPT013",
        title="Adam's constants do not suit its gradients",
        severity=Severity.HIGH,
        judge=adam_constants,
        needs=("loss",),
        limits={"share": 0.5, "beta2": 0.98, "spike": 0.5, "decay": 10.0},
        doc=(
            "`share` of the √v̂ that are not zero below 10 ε, and their middle below ε, "
            "in a run that did not succeed; an ε that is zero in float32, where the run "
            "ended in NaN; or a √v̂ that fell by a factor `decay` before the loss rose by "
            "`spike` of its gain, with a β₂ below `beta2`. Look-alikes: dead units and "
            "embedding rows without a gradient, which are left out; a large ε in a run "
            "that went well."
        ),
        explains=(
            "OPT002",
            "OPT003",
            "OPT004",
            "OPT005",
            "OPT006",
            "NUM001",
            "GEN002",
            "SIG005",
        ),
    ),
    Rule(
        id="OPT014",
        title="A schedule that does not suit the run",
        severity=Severity.HIGH,
        judge=schedule,
        needs=("loss", "learning_rate"),
        limits={"rest": 1e-3, "lost": 0.2, "leap": 5.0},
        doc=(
            "`lost`: this share of the run or more had a learning rate below `rest` of "
            "its peak, and the run did not succeed; or a rate that leapt tenfold, after "
            "which the loss rose and did not come back; or, without warm-up, a loss that "
            "rose to `leap` times its first value and needed a fifth of the run to "
            "return. Look-alikes: the end of a cosine, warm-up, restarts that recover."
        ),
        explains=("OPT002", "OPT003", "OPT004", "OPT005", "OPT006", "GEN002", "SIG005"),
    ),
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
