"""The rule about features that have collapsed before the last layer.

What the last layer sees bounds what it can answer: K classes want K − 1 directions or
so. A good classifier's features collapse too, to about that many; so the rule asks for
harm, and for less than half of the directions that the classes need.

Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, §15.
"""

from ...training.record import Record
from ..finding import Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule
from .trend import failed


def collapsed(record: Record, limits: Limits) -> Finding | None:
    """The features before the last layer have (almost) one direction."""
    fact = record.facts["features.last"]
    if not failed(record) or record.meta.get("ended") == "non-finite":
        return None
    classes = float(record.facts.get("data.classes", 2) or 2)
    rank, width = float(fact["rank"]), int(fact["width"])
    least = min(limits["rank"] * width, limits["room"] * (classes - 1))
    few = width >= limits["width"] and rank < least
    alike = float(fact["cosine"]) > limits["cosine"] and rank < limits["few"]
    if not (few or alike):
        return None
    evidence = [
        Evidence(
            "effective rank of the features before the last layer",
            rank,
            least if few else limits["few"],
            place=str(fact["site"]),
        ),
        Evidence(
            "mean cosine of the features of two examples",
            float(fact["cosine"]),
            limits["cosine"],
            place=str(fact["site"]),
        ),
    ]
    return Finding(
        rule="SIG006",
        severity=Severity.MEDIUM,
        claim=(
            f"The features before the last layer have collapsed: of {width} directions "
            f"{rank:.2g} are in use."
        ),
        evidence=tuple(evidence),
        why=(
            "The last layer can only tell apart what its inputs tell apart. Features "
            "that lie along one direction carry one number of each example, whatever "
            "the width of the layer."
        ),
        reference="DL §15",
        cause="A layer before it that is too narrow, dead, saturated or smoothed over.",
        prescription=Prescription(
            "Widen the narrowest layer before it, or mend what the findings above say "
            "of the layers before it."
        ),
        confidence=0.6,
        refutation="A linear model on these features that does as well as any.",
    )


RULES: tuple[Rule, ...] = (
    Rule(
        id="SIG006",
        title="Collapsed features",
        severity=Severity.MEDIUM,
        judge=collapsed,
        needs=("features.last",),
        limits={"rank": 0.05, "room": 0.5, "width": 16.0, "cosine": 0.95, "few": 1.5},
        doc=(
            "In a run that failed: the effective rank of the features before the last "
            "layer is below the share `rank` of their number (at least `width`) and "
            "below `room` of the directions that its classes need; or below `few` where "
            "the mean cosine of two examples is above `cosine`. Look-alikes: the "
            "collapse to K − 1 directions of a classifier that is done, and sigmoid "
            "features, which all point into one quadrant."
        ),
        explains=("GEN002", "OPT005"),
    ),
)
