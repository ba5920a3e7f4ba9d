"""The rule about clipping that always acts, or never.

A threshold is compared with the norms of the gradients that it met: clipping is for the
rare cliff, so that it should act on few updates, and be within reach of the largest.

References
    Pascanu, Mikolov & Bengio (2013), On the difficulty of training recurrent neural
    networks.
    Goodfellow, Bengio & Courville (2016), Deep Learning, §10.11.1.
"""

import numpy as np

from ...training.record import Record
from ..finding import Chart, Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule
from .trend import ADAPTIVE, finite, recipe_of, span, succeeded


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
)
