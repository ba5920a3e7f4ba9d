"""Rules about the batches that a program is handed: their shapes, and their scale.

A batch of a new shape is a new program for the compiler, and inputs that were scaled
once by the loader and once by the program are far from the unit size that weights are
initialised for.

Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, §§8.4, 8.7.1.
"""

import numpy as np

from ...training.record import Record
from ..finding import Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule


def recompilation(record: Record, limits: Limits) -> Finding | None:
    """The step is compiled again and again, for inputs of ever new shapes."""
    steps = len(record["loss"].step) if "loss" in record else 0
    if "compilations" in record:
        counts = np.asarray(record["compilations"].value, float)
        begun, new = int(record["compilations"].step[0]), counts[-1] - counts[0]
        steps = int(record["compilations"].step[-1]) - begun
    else:
        warm = limits["warmup"]
        new = float(sum(s >= warm for s in record.facts["program.new_shapes"]))
        steps -= int(warm)
    if steps < 20:
        return None
    rate = 100 * float(new) / steps
    if rate <= limits["rate"] or new < 3:
        return None
    return Finding(
        rule="NUM007",
        severity=Severity.MEDIUM,
        claim=f"The update is compiled {rate:.1f} times in 100 steps.",
        evidence=(
            Evidence(
                "compilations per 100 steps, after the first", rate, limits["rate"]
            ),
        ),
        why=(
            "JAX compiles a function for every new shape and dtype of its arguments, "
            "which takes as long as hundreds of updates. Batches of changing length, a "
            "Python number that changes, or a new lambda at every call make it do so "
            "for the whole run."
        ),
        reference="JAX documentation, Just-in-time compilation",
        cause="The batches come in ever new shapes.",
        prescription=Prescription(
            "Pad the batches to one length, or to a few, and mask what was added.",
            snippet="length = 64 * -(-len(x) // 64)   # the next multiple of 64\n"
            "x = np.pad(x, ((0, length - len(x)), (0, 0)))",
        ),
        confidence=0.9,
        refutation="The time of an update, if it is the same at new shapes as at old.",
    )


def scaled_twice(record: Record, limits: Limits) -> Finding | None:
    """The inputs are pixels that were divided by 255 twice."""
    fact = record.facts["numerics.scaled_twice"]
    twice = fact["share"] > limits["share"] and fact["levels"] >= limits["levels"]
    if not twice or fact["largest"] >= limits["largest"]:
        return None
    return Finding(
        rule="NUM008",
        severity=Severity.MEDIUM,
        claim=(
            f"The inputs look divided by 255 twice: none is above "
            f"{fact['largest']:.2g}, and all are whole multiples of 1/255²."
        ),
        evidence=(
            Evidence("largest input", fact["largest"], limits["largest"]),
            Evidence("share of inputs that are n/255²", fact["share"], limits["share"]),
        ),
        why=(
            "Weights are initialised for inputs of about unit size. Inputs a hundred "
            "times smaller make the first layer's output, and with it every gradient "
            "of its weights, a hundred times smaller, and the biases decide alone."
        ),
        reference="DL §8.4, §8.7.1",
        cause="The loader divides pixels by 255, and so does the program.",
        prescription=Prescription(
            "Remove one of the two divisions.", treatment="normalised once"
        ),
        confidence=0.9,
        refutation="A feature whose unit makes such values natural.",
    )


RULES: tuple[Rule, ...] = (
    Rule(
        id="NUM007",
        title="Compiled again and again",
        severity=Severity.MEDIUM,
        judge=recompilation,
        needs=("program.new_shapes|compilations",),
        limits={"rate": 2.0, "warmup": 10.0},
        doc=(
            "How often a batch of a new shape or dtype came after the first `warmup` "
            "updates, or what a loop logged as `compilations` (a running count), per "
            "100 updates. `rate`: two. Look-alike: one smaller batch at the end of "
            "every epoch is one compilation in all."
        ),
    ),
    Rule(
        id="NUM008",
        title="Inputs divided by 255 twice",
        severity=Severity.MEDIUM,
        judge=scaled_twice,
        needs=("numerics.scaled_twice",),
        limits={"share": 0.99, "largest": 0.05, "levels": 8.0},
        doc=(
            "Inputs below `largest` of which a share of at least `share` are whole "
            "multiples of 1/255², at `levels` different values or more. Look-alike: "
            "small real measurements, which are no multiples of anything."
        ),
        explains=("SIG002",),
    ),
)
