"""Rules about the gradient on its way back through the layers.

By the chain rule the gradient at layer l is a product of the Jacobians of all the later
layers,

    ∂L/∂hₗ = J_{l+1}ᵀ ⋯ J_Lᵀ ∂L/∂h_L,                                        (1)

so that it shrinks or grows like a power of the depth unless the singular values of the
J lie around 1.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§8.2.4, 8.2.5.
    Glorot & Bengio (2010), Understanding the difficulty of training deep feedforward
    neural networks.
"""

import numpy as np
from jaxtyping import Float

from ...training.record import Record
from ..finding import Chart, Evidence, Finding, Prescription, Severity
from ..numbers import number
from ..rule import Limits, Rule
from .trend import early, failed, layers, recipe_of, rising, rounded, succeeded


def vanishing(record: Record, limits: Limits) -> Finding | None:
    """Gradients shrink towards the input by orders of magnitude, and it does harm."""
    profile = depth_profile(record)
    if profile is None or succeeded(record):
        return None
    rms, paths, steps = profile
    low = int(np.argmin(rms[: len(rms) - 1]))  # the last layer cannot have vanished
    high = low + 1 + int(np.argmax(rms[low + 1 :]))
    if rms[low] == 0 or rms[high] == 0:
        return None  # a cut, a dead layer or symmetry: not a power of the depth
    ratio = rms[low] / rms[high]
    if ratio > limits["ratio"] or high - low < 2:
        return None
    hops = high - low
    factor = ratio ** (1 / hops)
    return Finding(
        rule="SIG001",
        severity=Severity.HIGH if failed(record) else Severity.MEDIUM,
        claim=(
            f"The gradient vanishes on its way back: at `{paths[low]}` it is "
            f"{number(float(ratio))} times what it is at `{paths[high]}`, {hops} layers later."
        ),
        evidence=(
            Evidence(
                "gradient RMS, early layer ÷ late layer (median over the early phase)",
                float(ratio),
                limits["ratio"],
                steps,
                paths[low],
            ),
            Evidence("factor for each layer", float(factor), 1.0, steps),
        ),
        why=(
            "The gradient at a layer is a product of the Jacobians of all layers after "
            f"it. Here every layer multiplies it by about {factor:.2g}, so the first "
            "layers are adjusted by what is left after that many products: they stay "
            "random while the last ones make do with what random features give. A "
            "sigmoid's slope is at most 1/4, so a stack of them cannot help it."
        ),
        reference="DL §8.2.5, §6.3.2; Glorot & Bengio (2010); He et al. (2015)",
        cause="Saturating non-linearities in a deep stack, or weights drawn too small.",
        prescription=Prescription(
            "Use ReLU (or GELU, SiLU) in the hidden layers with He initialisation, "
            "variance 2/fan-in; or add skip connections x + f(x), or normalisation.",
            snippet="jax.nn.initializers.he_normal()(key, (fan_in, fan_out))",
        ),
        confidence=0.9 if ratio < limits["ratio"] / 10 else 0.75,
        refutation=(
            "Draw the same network with ReLU and He initialisation: if the ratio "
            "between the same layers stays as small, the depth is not the cause."
        ),
        chart=Chart("layer.gradient_norm", log=True),
    )


def exploding(record: Record, limits: Limits) -> Finding | None:
    """Gradients grow towards the input, or in time, and the run suffers from it."""
    if succeeded(record):
        return None
    profile = depth_profile(record)
    evidence: list[Evidence] = []
    claim = ""
    if profile is not None:
        rms, paths, steps = profile
        first, last = int(np.argmax(rms)), len(rms) - 1
        ratio = rms[first] / rms[last] if rms[last] > 0 else 0.0
        if ratio > limits["ratio"] and last - first >= 2:
            claim = (
                f"The gradient explodes on its way back: at `{paths[first]}` it is "
                f"{ratio:.3g} times what it is at `{paths[last]}`."
            )
            evidence.append(
                Evidence(
                    "gradient RMS, early layer ÷ last layer",
                    float(ratio),
                    limits["ratio"],
                    steps,
                    paths[first],
                )
            )
    growth = growth_in_time(record)
    if growth is not None and growth[0] > limits["growth"] and harmed(record):
        times, at = growth
        if not claim:
            claim = (
                f"The gradient norm grew to {number(times)} times its initial value by "
                f"step {at}, and the loss with it."
            )
        evidence.append(
            Evidence(
                "largest gradient norm ÷ its median over the first updates",
                times,
                limits["growth"],
                (0, at),
            )
        )
    if not claim:
        return None
    clip = clip_value(record)
    return Finding(
        rule="SIG002",
        severity=Severity.CRITICAL if harmed(record) else Severity.HIGH,
        claim=claim,
        evidence=tuple(evidence),
        why=(
            "A product of Jacobians with singular values above 1 grows like a power of "
            "the depth, or of the time in a recurrent net. The loss surface then has "
            "cliffs: one gradient taken there, times an ordinary step size, throws the "
            "weights far away and undoes the progress made. Weights that have grown "
            "make the next gradient larger still."
        ),
        reference="DL §8.2.4, §10.11.1; Pascanu, Mikolov & Bengio (2013)",
        cause=(
            "Weights drawn too large, inputs of large scale, or a step size that made "
            "the weights grow."
        ),
        prescription=Prescription(
            f"Clip the global gradient norm at {clip:.2g}, and draw the weights with "
            "variance 2/fan-in (ReLU) or 1/fan-in (tanh).",
            recipe={"clip_norm": clip},
        ),
        confidence=0.7,
        refutation=(
            "Train with the norm clipped: if the loss behaves no better, the gradients "
            "were large but not the cause."
        ),
        chart=Chart("gradient_norm", log=True),
    )


# -- What the rules above share --------------------------------------------------------


def depth_profile(
    record: Record,
) -> tuple[Float[np.ndarray, " layer"], list[str], tuple[int, int]] | None:
    """The early gradient of every weight array by depth: RMS, paths, steps."""
    step, gradient, paths = layers(record, "layer.gradient_norm")
    depth = record.facts.get("experiment.depth")
    if len(paths) < 3 or not len(step):
        return None
    chosen = early(step)
    good = chosen[np.isfinite(gradient[chosen]).all(axis=1)]
    if not len(good):
        return None
    norm = np.median(gradient[good], axis=0)
    size = np.ones(len(paths))
    if depth:
        size = np.array([depth["sizes"][depth["paths"].index(p)] for p in paths], float)
    return norm / np.sqrt(size), paths, (int(step[good[0]]), int(step[good[-1]]))


def growth_in_time(record: Record) -> tuple[float, int] | None:
    """The largest gradient norm relative to the first tenth's median, and its step."""
    if "gradient_norm" not in record:
        return None
    series = record["gradient_norm"]
    value = np.asarray(series.value, float)
    good = np.isfinite(value)
    if good.sum() < 5:
        return None
    n = min(max(3, len(value) // 10), 20)
    base = float(np.median(value[good][:n]))
    if not base > 0:
        return None
    top = int(np.argmax(np.where(good, value, -np.inf)))
    return float(value[top] / base), int(series.step[top])


def harmed(record: Record) -> bool:
    """Whether the loss went up over the run, or stopped being a number."""
    if record.meta.get("ended") == "non-finite":
        return True
    return rising(record)


def clip_value(record: Record) -> float:
    """The 90th percentile of the gradient norms of the first part of the run."""
    if recipe_of(record).get("clip_norm"):
        return float(recipe_of(record)["clip_norm"]) / 2
    if "gradient_norm" in record:
        value = np.asarray(record["gradient_norm"].value, float)
        value = value[np.isfinite(value)][: max(10, len(value) // 5)]
        if len(value):
            return rounded(float(np.percentile(value, 90)), 2) or 1.0
    return 1.0


RULES: tuple[Rule, ...] = (
    Rule(
        id="SIG001",
        title="Vanishing gradient",
        severity=Severity.HIGH,
        judge=vanishing,
        needs=("layer.gradient_norm",),
        limits={"ratio": 1e-2},
        doc=(
            "Root-mean-square gradient of the weight arrays in the order of their use, "
            "median over the early phase without the first measurement. `ratio`: "
            "earlier ÷ later layer, at least two layers apart; 10⁻² is a factor 0.2 "
            "for each of three layers, which no well-drawn ReLU net reaches. Silent "
            "when the run learned its data: gradients that vanish at the end of a "
            "successful run are success. Look-alikes: zero-initialised residual "
            "branches (first measurement left out), exact zeros (dead units, symmetry, "
            "no gradient path)."
        ),
        explains=(
            "SIG005",
            "OPT002",
            "OPT005",
            "OPT006",
            "OPT007",
            "GEN002",
            "OPT008",
            "OPT009",
            "SIG006",
        ),
    ),
    Rule(
        id="SIG002",
        title="Exploding gradient",
        severity=Severity.CRITICAL,
        judge=exploding,
        needs=("layer.gradient_norm", "loss"),
        limits={"ratio": 70.0, "growth": 100.0},
        doc=(
            "`ratio`: RMS gradient of an early weight array ÷ that of the last one "
            "(70: the limit of Zhang et al. 2021). `growth`: largest gradient norm ÷ "
            "median of the first updates, counted only if the loss rose as well. "
            "Silent when the run learned its data."
        ),
        explains=(
            "NUM001",
            "SIG003",
            "SIG004",
            "OPT001",
            "OPT003",
            "OPT004",
            "OPT005",
            "OPT007",
            "GEN002",
            "OPT008",
            "OPT009",
            "OPT010",
            "SIG006",
        ),
    ),
)
