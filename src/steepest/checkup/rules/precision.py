"""Rules about digits: how many are left, and which updates and gradients they cost.

A format has p binary digits and ends at ±max. What leaves the ends is lost at once
(`numerics`); what these rules look at is lost quietly: results near the ends, updates
below half the spacing of the weights, gradients on the flat side of a bound.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §4.1.
    Micikevicius et al. (2018), Mixed precision training. ICLR.
"""

from typing import Any

import numpy as np

from ...training.record import Record
from ..finding import Chart, Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule


STABLE = "stable loss"


def latent(record: Record, limits: Limits) -> Finding | None:
    """The loss is finite, but near the end of its numbers or without its digits."""
    worst: tuple[float, str, dict[str, Any]] | None = None
    for when in ("numerics.initial", "numerics.final"):
        fact = record.facts.get(when)
        if fact is None:
            continue
        error, bits = fact.get("error"), fact.get("bits")
        lost = error is not None and error > limits["error"]
        lost = lost and error > limits["undue"] * fact.get("error.of_inputs", 0.0)
        near = bits is not None and bits < limits["bits"]
        gravity = (2 + np.log10(error or 1) if lost else 0) + (1 if near else 0)
        if (lost or near) and (worst is None or gravity > worst[0]):
            worst = (float(gravity), when, fact)
    if worst is None:
        return None
    _, when, fact = worst
    model = "first" if when.endswith("initial") else "trained"
    evidence = []
    undue = limits["undue"] * fact.get("error.of_inputs", 0.0)
    if fact.get("error") is not None and fact["error"] > max(limits["error"], undue):
        evidence.append(
            Evidence(
                f"relative rounding error of the loss at the {model} parameters",
                fact["error"],
                limits["error"],
                place=fact["error.place"],
            )
        )
    if fact.get("bits") is not None and fact["bits"] < limits["bits"]:
        evidence.append(
            Evidence(
                f"bits of headroom at the {model} parameters",
                fact["bits"],
                limits["bits"],
                place=fact["bits.place"],
            )
        )
    by_digits = evidence[0].quantity.startswith("relative")
    name = fact["error.primitive" if by_digits else "bits.primitive"]
    at = f" at {evidence[0].place}" if evidence[0].place else ""
    if by_digits:
        claim = (
            f"The loss carries a relative rounding error of {fact['error']:.1e}, most "
            f"of it from `{name}`{at}."
        )
        cause = (
            f"`{name}`{at} takes nearly equal numbers apart, or adds very unequal ones."
        )
    else:
        claim = (
            f"`{name}`{at} comes within {fact['bits']:.1f} bits of the largest number "
            "of its format."
        )
        cause = f"`{name}`{at} makes very large numbers of moderate ones."
    return Finding(
        rule="NUM003",
        severity=Severity.HIGH if by_digits else Severity.MEDIUM,
        claim=claim,
        evidence=tuple(evidence),
        why=(
            "The same loss was computed in float64 beside its own format. A formula "
            "that is right in real numbers may lose its digits where it subtracts what "
            "is nearly equal, or end in an overflow where an intermediate value grows "
            "beyond the format, although its result would fit."
        ),
        reference="DL §4.1 (Overflow and Underflow)",
        cause=cause,
        prescription=Prescription(
            "Rewrite the loss into its stable form with `steepest.stabilize`, or compute "
            "this operation in a wider format.",
            snippet="loss = steepest.stabilize(loss)\n"
            "print(loss.rewrites(model, batch))   # what was changed, and why",
            treatment=STABLE,
        ),
        confidence=0.85,
        refutation=(
            "The operation in float64 on the same operands, if its result agrees to six "
            "digits."
        ),
    )


def lost_updates(record: Record, limits: Limits) -> Finding | None:
    """Most entries of the updates round to nothing in the format of the weights."""
    narrow = {f["path"]: f for f in record.facts["numerics.narrow"]}
    series = record["layer.lost_updates"]
    chosen = [i for i, label in enumerate(series.labels) if label in narrow]
    if not chosen:
        return None
    sizes = np.array([narrow[series.labels[i]]["size"] for i in chosen], float)
    first_half = series.value[: max(1, (len(series.value) + 1) // 2)][:, chosen]
    share = float(np.median(first_half @ sizes / sizes.sum()))
    if not share > limits["share"]:
        return None
    worst = chosen[int(np.argmax(np.median(first_half, axis=0)))]
    path, dtype = series.labels[worst], narrow[series.labels[worst]]["dtype"]
    return Finding(
        rule="NUM004",
        severity=Severity.HIGH,
        claim=(
            f"{share:.0%} of the entries of the updates are lost: added to a weight in "
            f"{dtype} they leave it as it was."
        ),
        evidence=(
            Evidence(
                "share of updates below half the spacing of their weight (median)",
                share,
                limits["share"],
                (int(series.step[0]), int(series.step[len(first_half) - 1])),
                path,
            ),
        ),
        why=(
            "Near a weight w the numbers of a format with p digits lie |w|·2^(1−p) "
            "apart, in bfloat16 (p = 8) nearly a hundredth of w. A usual update is a "
            "thousandth of its weight: it rounds to nothing every time, however many "
            "follow. The gradient is right and the weight does not move."
        ),
        reference="Micikevicius et al. 2018, §3.1; DL §4.1",
        cause=f"The weights themselves are kept in {dtype}.",
        prescription=Prescription(
            "Keep the weights in float32 and compute the loss in the narrow format.",
            snippet='model = jax.tree.map(lambda w: w.astype("float32"), model)\n'
            f'recipe = steepest.Recipe(precision="{dtype}")',
            treatment="wide parameters",
        ),
        confidence=0.95,
        refutation="The same run with float32 weights, if its loss falls no further.",
        chart=Chart("layer.lost_updates", limit=limits["share"]),
    )


def loss_scale(record: Record, limits: Limits) -> Finding | None:
    """Too many updates are skipped because the scaled gradient overflows."""
    scale = np.asarray(record["loss_scale"].value, float)
    warm = int(min(limits["warmup"], len(scale) // 4))
    judged = scale[warm:]
    if len(judged) < 20:
        return None
    skipped = float(np.mean(np.diff(judged) < 0))
    floor = float(np.mean(judged <= 1))
    if skipped <= limits["skipped"] and floor <= limits["skipped"]:
        return None
    at_floor = floor > limits["skipped"]
    observed = floor if at_floor else skipped
    what = "at the least loss scale, 1" if at_floor else "skipped"
    return Finding(
        rule="NUM005",
        severity=Severity.MEDIUM,
        claim=f"{observed:.0%} of the updates were {what}: gradients overflow float16.",
        evidence=(
            Evidence(
                "share of updates at the least loss scale"
                if at_floor
                else "share of updates that were skipped",
                observed,
                limits["skipped"],
                (warm, len(scale) - 1),
            ),
        ),
        why=(
            "A loss in float16 is multiplied by a scale so that small gradients do not "
            "vanish; where the gradient overflows, the update is skipped and the scale "
            "halved. After the first updates that should be rare. If it is not, the "
            "gradients span more than the 40 binades of float16, and no scale fits."
        ),
        reference="Micikevicius et al. 2018, §3.2",
        cause="The range of float16, 6e-8 to 65504, is too narrow for this loss.",
        prescription=Prescription(
            "Compute in bfloat16, which has the range of float32 and needs no scale.",
            recipe={"precision": "bfloat16"},
        ),
        confidence=0.9,
        refutation="The run in float32, if its gradient norm is as irregular.",
        chart=Chart("loss_scale", log=True),
    )


def hidden_by_bound(record: Record, limits: Limits) -> Finding | None:
    """A bound under a logarithm is active, and its gradient zero."""
    found = [
        f for f in record.facts["numerics.clipped"] if f["share"] > limits["share"]
    ]
    if not found:
        return None
    worst = max(found, key=lambda f: f["share"])
    return Finding(
        rule="NUM006",
        severity=Severity.MEDIUM,
        claim=(
            f"{worst['share']:.1%} of the values under the logarithm at "
            f"{worst['place']} are clipped, so nothing is learned from them."
        ),
        evidence=(
            Evidence(
                "share of entries beyond the bound, with the trained parameters",
                worst["share"],
                limits["share"],
                place=worst["place"],
            ),
        ),
        why=(
            "max(p, ε) keeps log p finite and is constant where p < ε, so its gradient "
            "is exactly zero there. These are the examples on which the model is most "
            "sure and most wrong; of all examples, they are left out of the gradient. "
            "From the logits, the same loss is finite and its gradient is not zero."
        ),
        reference="DL §6.2.2.2, §4.1",
        cause="A zero under a logarithm was hidden by a bound.",
        prescription=Prescription(
            "Take the logarithm from the logits in one operation, without a bound.",
            snippet="jax.nn.log_softmax(logits)   # or jax.nn.log_sigmoid(logit)",
        ),
        confidence=0.85,
        refutation="The gradient of the loss by the logits of these entries, if not 0.",
    )


def vanishing_epsilon(record: Record, limits: Limits) -> Finding | None:
    """Adam's ε is zero in the format of the parameters."""
    recipe = record.meta.get("recipe", {})
    if recipe.get("optimizer") not in ("adam", "adamw"):
        return None
    epsilon = float(recipe.get("epsilon", 1e-8))
    zero = [
        f for f in record.facts["numerics.narrow"] if epsilon < least(f["dtype"]) / 2
    ]
    if not zero:
        return None
    dtype = zero[0]["dtype"]
    return Finding(
        rule="NUM009",
        severity=Severity.HIGH,
        claim=f"Adam's ε of {epsilon:g} is 0 in {dtype}, the format of the parameters.",
        evidence=(
            Evidence(
                f"ε, against half the smallest number of {dtype}",
                epsilon,
                least(dtype) / 2,
                place=zero[0]["path"],
            ),
        ),
        why=(
            "Adam divides by √v + ε, and both take the format of the parameters. Where "
            "a gradient's square underflows to 0 and ε does too, the update is 0/0 or "
            "g/0."
        ),
        reference="DL §8.5.3; §4.1",
        cause=f"The weights themselves are kept in {dtype}.",
        prescription=Prescription(
            "Keep the weights in float32; if they must stay narrow, choose ε = 1e-4.",
            recipe={"epsilon": 1e-4},
            treatment="wide parameters",
        ),
        confidence=0.95,
        refutation="Moments that are kept in float32 by the optimiser.",
    )


def least(dtype: str) -> float:
    """The smallest positive number of a format."""
    import jax.numpy as jnp

    return float(jnp.finfo(dtype).smallest_subnormal)


RULES: tuple[Rule, ...] = (
    Rule(
        id="NUM003",
        title="Latent overflow or lost digits",
        severity=Severity.HIGH,
        judge=latent,
        needs=("numerics.initial|numerics.final",),
        limits={"bits": 4.0, "error": 1e-3, "undue": 16.0},
        doc=(
            "The loss and its gradient on a batch of the data, with the first and with "
            "the trained parameters: the least headroom of an operation that makes "
            "numbers larger, in bits, and the relative error of the loss against "
            "float64. `bits`: four doublings from infinity, a few bad updates. `error`: "
            "a thousandth, where float32 has seven digits, if it is `undue` times what "
            "rounding the inputs would cost. Look-alikes: a loss near 0 after a good "
            "fit, whose error is the inputs'; a constant near the end of the format, as "
            "masks have it, which makes nothing larger."
        ),
        explains=("NUM001",),
    ),
    Rule(
        id="NUM004",
        title="Updates below the spacing of the weights",
        severity=Severity.HIGH,
        judge=lost_updates,
        needs=("numerics.narrow", "layer.lost_updates"),
        limits={"share": 0.5},
        doc=(
            "For weights in bfloat16 or float16, the share of entries whose update is "
            "lost when it is added, in the first half of the run (at its end updates "
            "may rightly be small). `share`: half of them. Look-alike: the loss alone "
            "in a narrow format, with float32 weights, which loses nothing."
        ),
        explains=("OPT004", "OPT005"),
    ),
    Rule(
        id="NUM005",
        title="Loss scale that finds no place",
        severity=Severity.MEDIUM,
        judge=loss_scale,
        needs=("loss_scale",),
        limits={"skipped": 0.05, "warmup": 50.0},
        doc=(
            "The share of updates after `warmup` that were skipped because the scaled "
            "gradient overflowed, or that ran at the least scale, 1. `skipped`: one in "
            "twenty; growing the scale every 200 updates costs one in 200. Look-alike: "
            "the halvings of the first updates, which find the scale."
        ),
        explains=("OPT005",),
    ),
    Rule(
        id="NUM006",
        title="Zeros hidden by a bound",
        severity=Severity.MEDIUM,
        judge=hidden_by_bound,
        needs=("numerics.clipped",),
        limits={"share": 0.01},
        doc=(
            "Where the loss takes the logarithm of a bounded value, the share of "
            "entries beyond the bound with the trained parameters; their gradient is "
            "zero. `share`: one in a hundred. Look-alike: a bound that is never reached."
        ),
    ),
    Rule(
        id="NUM009",
        title="ε that is zero in its format",
        severity=Severity.HIGH,
        judge=vanishing_epsilon,
        needs=("numerics.narrow",),
        doc=(
            "Adam's ε against the smallest number of the parameters' format: 1e-8 is 0 "
            "in float16. Look-alike: bfloat16, which has the range of float32."
        ),
        explains=("NUM001",),
    ),
)
