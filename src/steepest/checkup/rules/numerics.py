"""Rules about numbers that stop being numbers.

A NaN spreads: one in a gradient makes every weight NaN in the same update, and from
then on nothing tells where it began. So the state before the fatal update is kept, and
the first operation with finite operands and a non-finite result is looked for in it.

Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, §4.1.
"""

import numpy as np

from ...training.record import Record
from ..finding import Chart, Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule


# primitive -> (how it comes about, what to write instead)
ORIGINS = {
    "log": (
        "the logarithm of zero or of a negative number: of a probability that "
        "underflowed",
        "Compute the logarithm of a softmax or sigmoid in one stable operation, from "
        "the logits.",
        "jax.nn.log_softmax(logits)   # instead of jnp.log(jax.nn.softmax(logits))\n"
        "jax.nn.log_sigmoid(logit)    # instead of jnp.log(jax.nn.sigmoid(logit))",
    ),
    "log1p": (
        "log(1 + x) at x ≤ −1",
        "Keep the argument above −1, or use jax.nn.log_sigmoid from the logits.",
        "jax.nn.log_sigmoid(-logit)   # instead of jnp.log(1 - jax.nn.sigmoid(logit))",
    ),
    "exp": (
        "an exponential that overflows: float32 ends at exp(88.7), float16 at "
        "exp(11.1)",
        "Subtract the maximum before the exponential, or use jax.nn.logsumexp, "
        "softmax, softplus, which do.",
        "jax.nn.softmax(z)            # instead of jnp.exp(z) / jnp.exp(z).sum()",
    ),
    "div": (
        "a division by zero, or of zero by zero",
        "Guard the denominator, on both sides of a `where` if it is differentiated.",
        "safe = jnp.where(d == 0, 1, d)\njnp.where(d == 0, 0, n / safe)",
    ),
    "sqrt": (
        "the square root of a negative number, or its derivative 1/(2√x) at x = 0",
        "Keep the argument away from zero before the root.",
        "safe = jnp.where(x > 0, x, 1)\njnp.where(x > 0, jnp.sqrt(safe), 0)",
    ),
    "pow": (
        "a power of zero or of a negative number, or its derivative at zero",
        "Keep the base positive before the power.",
        "jnp.power(jnp.maximum(x, 1e-6), a)",
    ),
}
ORIGINS["rsqrt"] = ORIGINS["sqrt"]
ORIGINS["integer_pow"] = ORIGINS["div"]
GROWTH = ("dot_general", "conv_general_dilated", "add", "mul", "sub", "reduce_sum")


def nonfinite(record: Record, limits: Limits) -> Finding | None:
    """The run ended in NaN or infinity; say where it began."""
    if record.meta.get("ended") != "non-finite" and "nonfinite" not in record.meta:
        return None
    origin = record.meta.get("nonfinite", {})
    step = int(origin.get("step", record.meta.get("steps", 0)) or 0)
    primitive = str(origin.get("primitive", "") or "")
    place = str(origin.get("place", "") or "")
    where = origin.get("where", "value")
    known = ORIGINS.get(primitive)
    of = "gradient" if where == "gradient" else "loss"
    at = f" at {place}" if place else ""
    if known:
        how, text, snippet = known
        cause = f"`{primitive}`{at} meets {how}."
    elif primitive in GROWTH:
        text, snippet = (
            "Find what made the numbers grow; lower the step size first.",
            "",
        )
        cause = (
            f"`{primitive}`{at} overflows: its operands had grown beyond what the "
            "format holds."
        )
    else:
        text = f"Guard the operand of `{primitive}`{at}." if primitive else ""
        text = text or "Run the loss on the last good state to find the operation."
        snippet, cause = "", str(origin.get("sentence", "")) or "The origin is unknown."
    began = f", first in `{primitive}`{at}" if primitive else ""
    return Finding(
        rule="NUM001",
        severity=Severity.CRITICAL,
        claim=f"The {of} stopped being a number at step {step}{began}.",
        evidence=(
            Evidence(
                quantity=f"first update with a non-finite {of}",
                observed=float(step),
                steps=(step, step),
                place=place,
            ),
        ),
        why=(
            "Floating-point numbers end: what overflows becomes infinity, and ∞ − ∞, "
            "0/0 or log of a negative number becomes NaN. One NaN in the loss makes "
            "every gradient NaN, and the next update writes it into every weight, so "
            "that the run is lost from this step on. A formula that is right in real "
            "numbers can be rewritten so that its intermediate values stay in range."
        ),
        reference="DL §4.1 (Overflow and Underflow)",
        cause=cause,
        prescription=Prescription(
            text, snippet=snippet, treatment="stable loss" if known else ""
        ),
        confidence=0.95 if primitive else 0.8,
        refutation=(
            "Evaluate the operation on the last good state in float64: if it is still "
            "not finite, the formula itself has no value there and the fault lies "
            "upstream."
        ),
        chart=Chart("loss", log=True),
    )


def log_of_probability(record: Record, limits: Limits) -> Finding | None:
    """The logarithm is taken of a softmax or a sigmoid that can underflow to zero."""
    found = record.facts["program.log_of_softmax"]
    if not found:
        return None
    bare = [f for f in found if not f["guarded"]]
    worst = (bare or found)[0]
    of, place = worst["of"], worst["place"]
    least = float(worst["least"])
    limit = -log_of_least()
    ended = "nonfinite" in record.meta
    stable = {
        "softmax": "jax.nn.log_softmax(logits)   # instead of jnp.log(jax.nn.softmax(logits))",
        "sigmoid": "jax.nn.log_sigmoid(logit)    # instead of jnp.log(jax.nn.sigmoid(logit))\n"
        "jax.nn.log_sigmoid(-logit)   # instead of jnp.log(1 - jax.nn.sigmoid(logit))",
    }[of]
    return Finding(
        rule="NUM002",
        severity=Severity.CRITICAL
        if bare and ended
        else Severity.HIGH
        if bare
        else Severity.NOTE,
        claim=(
            f"The logarithm is taken of a {of}{' (clipped)' if not bare else ''}: "
            + (
                f"where a logit is {limit:.0f} below the largest, the loss is infinite "
                "and its gradient NaN."
                if bare
                else "where the clip is active, the gradient is zero and nothing is "
                "learned from the worst mistakes."
            )
        ),
        evidence=(
            Evidence(
                f"least value of the {of} at the start",
                least,
                0.0,
                (0, 0),
                place,
            ),
            Evidence("distance of logits at which it becomes 0", limit),
        ),
        why=(
            "exp(z) becomes exactly 0 in float32 below z ≈ −103 (−87 where subnormals "
            "are flushed), and log 0 = −∞. The gradient of log p is 1/p, which "
            "overflows before that: 0 · ∞ is NaN. Written as one operation, "
            "log softmax(z)ᵢ = zᵢ − max z − log Σ exp(z − max z) never leaves the range "
            "of the format, in the value or in the gradient."
        ),
        reference="DL §4.1, eq. 4.1; §6.2.2.3",
        cause="The probability is computed first, its logarithm afterwards.",
        prescription=Prescription(
            f"Take the log-{of} in one operation, or use a loss that takes logits.",
            snippet=stable,
            treatment="stable loss",
        ),
        confidence=0.97 if bare else 0.8,
        refutation="A bound on the logits that keeps their distance below the limit.",
    )


def log_of_least() -> float:
    """log of the smallest normal float32: below it a CPU or GPU may flush to zero."""
    return float(np.log(np.finfo(np.float32).tiny))


RULES: tuple[Rule, ...] = (
    Rule(
        id="NUM001",
        title="NaN or infinity during training",
        severity=Severity.CRITICAL,
        judge=nonfinite,
        needs=(),  # a run may end before its first loss
        doc=(
            "Reads how the run ended. A non-finite loss stops `fit`, which then looks "
            "for the first operation with finite operands and a non-finite result, in "
            "the loss and then in its gradient. Look-alike: NaN on the branch of a "
            "`where` that is not taken never reaches the loss and is not reported."
        ),
        explains=("OPT003", "OPT004", "OPT005", "OPT006", "GEN002", "SIG002"),
    ),
    Rule(
        id="NUM002",
        title="Logarithm of a softmax or a sigmoid",
        severity=Severity.CRITICAL,
        judge=log_of_probability,
        needs=("program.log_of_softmax",),
        doc=(
            "A logarithm whose operand is a softmax or a sigmoid, found in the traced "
            "loss. Grave when nothing keeps the probability from zero; a note where it "
            "is clipped or has a constant added, since then only the gradient of the "
            "worst mistakes is lost. Look-alike: log Σ exp (the stable form)."
        ),
        explains=("NUM001", "OPT004", "OPT005", "GEN002"),
    ),
)
