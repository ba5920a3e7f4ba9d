"""Rules about the data: what they are like before anything is trained.

Learning assumes that training and held-out examples are drawn independently from one
distribution (DL §5.2), and gradient descent that its inputs are on one scale: the
curvature of the first layer goes with the second moments of the features.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§5.2, 5.3, 8.1.3.
    LeCun, Bottou, Orr & Müller (1998), Efficient BackProp, §4.3.
"""

from ...training.record import Record
from ..finding import Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule
from .symptoms import ILL_SCALED


def nonfinite(record: Record, limits: Limits) -> Finding | None:
    """Inputs or targets hold NaN or infinity."""
    fact = record.facts["data.nonfinite"]
    if fact["count"] <= limits["count"]:
        return None
    return Finding(
        rule="DAT001",
        severity=Severity.CRITICAL,
        claim=f"{fact['count']} values of the data are NaN or infinite, in {fact['rows']} "
        f"rows; the first is row {fact['first']} of the {fact['where']}.",
        evidence=(
            Evidence("non-finite values in the data", fact["count"], limits["count"]),
        ),
        why="One NaN in a batch makes the loss NaN, and one step with a NaN gradient makes "
        "every parameter NaN: nothing that is added to or multiplied with it is a number "
        "again.",
        reference="DL §4.1",
        cause="Missing values were read as NaN, or a feature was made by log(0) or x/0.",
        prescription=Prescription(
            "Drop these rows, or impute them from the training data and add a column that "
            "says so.",
            snippet="good = np.isfinite(x).all(axis=1)\nx, y = x[good], y[good]",
        ),
        confidence=1.0,
        refutation="`np.isfinite(x).all()` is True for what the loss is fed.",
    )


def unscaled_inputs(record: Record, limits: Limits) -> Finding | None:
    """The inputs as a whole, or some features, are on another scale than one."""
    rms = float(record.facts["data.rms"])
    ratio = float(record.facts["data.scale_ratio"])
    large, small = limits["rms"], limits["tiny"]
    if small <= rms <= large and ratio <= limits["ratio"]:
        return None
    uneven = small <= rms <= large
    evidence = (
        Evidence(
            "root mean square of the inputs", rms, large if rms > large else small
        ),
        Evidence("largest scale of a feature / median scale", ratio, limits["ratio"]),
    )
    said = (
        f"one feature's scale is {ratio:.3g} times the median feature's"
        if uneven
        else f"the root mean square of the inputs is {rms:.3g}, not about 1"
    )
    return Finding(
        rule="DAT002",
        severity=Severity.HIGH,
        claim=f"The inputs are not scaled: {said}.",
        evidence=evidence,
        why="The Hessian of the first layer contains the second moments of the inputs. "
        f"Inputs of size {rms:.3g} make its largest eigenvalue about {rms**2:.2g} times "
        "what it would be for standardised ones, and features of unlike scale stretch "
        "its condition number by the square of their ratio. The step size must then suit "
        "the largest, and everything else learns slowly.",
        reference="LeCun et al. (1998), Efficient BackProp, §4.3; DL §4.3.1",
        cause="Features are fed in their units of measure, pixels as 0 to 255.",
        prescription=Prescription(
            "Standardise each feature with the mean and deviation of the training data; "
            "divide pixels by 255.",
            snippet="mean, std = x.mean(0), x.std(0)\nx = (x - mean) / np.where(std > 0, std, 1)\n"
            "x_val = (x_val - mean) / np.where(std > 0, std, 1)",
        ),
        confidence=0.85,
        refutation="The first operation of the model normalises its inputs, and the step "
        "size × sharpness stays below 2.",
    )


def unscaled_target(record: Record, limits: Limits) -> Finding | None:
    """A regression target far from zero mean and unit deviation."""
    std = float(record.facts["data.target_std"])
    mean = float(record.facts.get("data.target_mean", 0.0))
    offset = abs(mean) / std if std > 0 else float("inf")
    if limits["least_std"] <= std <= limits["most_std"] and offset <= limits["offset"]:
        return None
    return Finding(
        rule="DAT003",
        severity=Severity.HIGH,
        claim=f"The regression target has mean {mean:.4g} and standard deviation {std:.4g}; "
        "a network starts near 0 with a spread near 1.",
        evidence=(
            Evidence("standard deviation of the target", std, limits["most_std"]),
            Evidence(
                "|mean| / standard deviation of the target", offset, limits["offset"]
            ),
        ),
        why="The first thing that training then has to do is to carry the output to the "
        "right magnitude, with weights and gradients as much too large: the curvature of "
        "a squared error does not change, but the distance to go does, and Adam covers "
        "about one step size per update.",
        reference="DL §§6.2.2.1, 8.2",
        cause="Prices, counts or physical quantities are predicted in their own units.",
        prescription=Prescription(
            f"Predict (y − {mean:.4g}) / {std:.4g} and turn predictions back; or set the "
            "last bias to the mean.",
            snippet=f"y = (y - {mean:.6g}) / {std:.6g}",
        ),
        confidence=0.9,
        refutation="The loss standardises the target itself.",
    )


def imbalance(record: Record, limits: Limits) -> Finding | None:
    """The rarest class has far fewer examples than the commonest."""
    counts = record.facts["data.class_counts"]
    if len(counts) < 2:
        return None
    most, least = max(counts.values()), min(counts.values())
    ratio = most / max(least, 1)
    # Counts are Poisson: ten classes of six examples hold one of one and one of ten.
    surely = (most - most**0.5) / (least + least**0.5)
    if surely <= limits["ratio"]:
        return None
    rare = min(counts, key=lambda c: counts[c])
    weighted = bool(record.facts.get("problem.class_weights"))
    return Finding(
        rule="DAT004",
        severity=Severity.NOTE if weighted else Severity.MEDIUM,
        claim=f"Class {rare} has {least} examples, {ratio:.3g} times fewer than the "
        "largest class.",
        evidence=(Evidence("largest / smallest class", ratio, limits["ratio"]),),
        why="The mean loss weighs each class by its share. A class of share p is worth p of "
        "the gradient, and a model that never names it loses only p of its accuracy: "
        f"accuracy of {record.facts['data.majority']:.1%} needs no learning at all.",
        reference="DL §§5.1.2, 11.1",
        cause="The data were gathered as they occur.",
        prescription=Prescription(
            "Weigh the loss by the inverse class frequency, or start the last bias at the "
            "log of the class shares; judge by the recall of each class.",
            snippet="weights = n / (classes * counts)\nloss = (weights[y] * per_example).mean()",
        ),
        confidence=0.8,
        refutation="The recall of the smallest class on held-out data is as high as the "
        "others'.",
    )


def sorted_order(record: Record, limits: Limits) -> Finding | None:
    """Batches hold one class after the other."""
    ratio = float(record.facts["data.batch_entropy"])
    if record.facts.get("data.shuffled") or ratio >= limits["entropy"]:
        return None
    return Finding(
        rule="DAT005",
        severity=Severity.HIGH,
        claim="The examples come sorted and are not shuffled: a batch holds "
        f"{ratio:.0%} of the class entropy of a random one.",
        evidence=(
            Evidence(
                "class entropy in a batch / in a shuffled batch",
                ratio,
                limits["entropy"],
            ),
        ),
        why="A minibatch gradient estimates the gradient of the whole loss only if its "
        "examples are drawn independently. Batches of one class each pull the model to "
        "that class and let it forget the others.",
        reference="DL §8.1.3",
        cause="The file is sorted by class and `shuffle` is off.",
        prescription=Prescription(
            "Shuffle the examples anew in every epoch: Recipe(shuffle=True).",
            recipe={"shuffle": True},
        ),
        confidence=0.95,
        refutation="The order is the point, as in a curriculum or a stream.",
    )


def leakage(record: Record, limits: Limits) -> Finding | None:
    """Held-out examples, or their groups, stand in the training data."""
    fact = record.facts["data.overlap"]
    excess = fact["share"] - 2 * fact["within"]
    if fact["groups"] == 0 and (
        fact["shared"] < limits["rows"] or excess <= limits["share"]
    ):
        return None
    said = (
        f"{fact['shared']} of {fact['held_out']} held-out examples ({fact['share']:.1%}) "
        "stand in the training data too"
    )
    if fact["groups"]:
        said += f", and {fact['groups']} groups are on both sides"
    return Finding(
        rule="DAT006",
        severity=Severity.CRITICAL,
        claim=f"{said[0].upper()}{said[1:]}.",
        evidence=(
            Evidence(
                "share of held-out rows seen in training",
                fact["share"],
                limits["share"],
            ),
            Evidence("share of training rows that repeat", fact["within"]),
        ),
        why="The error on held-out data estimates the generalisation error only if these "
        "data had no part in training. On a row that was trained on, a model is rewarded "
        "for memory; the score says nothing about new data.",
        reference="DL §§5.2, 5.3",
        cause="The data were split after they had been augmented, windowed or merged.",
        prescription=Prescription(
            "Remove the duplicates, then split; keep all rows of one group on one side.",
            snippet="x, first = np.unique(x, axis=0, return_index=True)\ny = y[first]",
        ),
        confidence=0.95,
        refutation="The repeated rows are independent measurements that happen to agree.",
    )


RULES: tuple[Rule, ...] = (
    Rule(
        id="DAT001",
        title="Values that are not numbers",
        severity=Severity.CRITICAL,
        judge=nonfinite,
        needs=("data.nonfinite",),
        limits={"count": 0.0},
        doc=(
            "Counts NaN and infinities in inputs and targets, training and held-out; `count` "
            "of them are let pass."
        ),
        explains=("NUM001", "OPT004", "OPT005", "OPT007", "GEN002", "INI001"),
    ),
    Rule(
        id="DAT002",
        title="Inputs that are not scaled",
        severity=Severity.HIGH,
        judge=unscaled_inputs,
        needs=("data.rms", "data.scale_ratio"),
        limits={"rms": 5.0, "tiny": 0.01, "ratio": 100.0},
        doc=(
            "The root mean square over all inputs should be near 1: at most `rms`, which "
            "allows counts and wide tails, and at least `tiny`; pixels in [0, 1] have about "
            "0.4, one-hot vectors 1/√K. `ratio`: the scale of a feature ÷ the median one's. "
            "Look-alikes: integer inputs (indices of an embedding) are not judged."
        ),
        explains=("INI003", *ILL_SCALED),
    ),
    Rule(
        id="DAT003",
        title="A regression target that is not scaled",
        severity=Severity.HIGH,
        judge=unscaled_target,
        needs=("data.target_std",),
        limits={"least_std": 0.05, "most_std": 20.0, "offset": 10.0},
        doc=(
            "A standard deviation below `least_std` or above `most_std`, or a mean more than "
            "`offset` deviations from 0."
        ),
        explains=(
            "INI001",
            "OPT001",
            "OPT002",
            "OPT003",
            "OPT004",
            "OPT005",
            "OPT006",
            "OPT007",
            "SIG002",
            "SIG003",
            "SIG005",
            "GEN002",
            "NUM001",
            "OPT008",
            "OPT009",
            "OPT010",
        ),
    ),
    Rule(
        id="DAT004",
        title="Classes of very unlike size",
        severity=Severity.MEDIUM,
        judge=imbalance,
        needs=("data.class_counts", "data.majority"),
        limits={"ratio": 10.0},
        doc=(
            "The largest class against the smallest, beyond the scatter √n of both counts "
            "(`ratio`). A loss that weighs its classes says so by "
            "`Problem(notes={'class_weights': True})` and gets a note only."
        ),
        explains=("GEN001", "GEN002", "OPT003"),
    ),
    Rule(
        id="DAT005",
        title="Sorted examples, not shuffled",
        severity=Severity.HIGH,
        judge=sorted_order,
        needs=("data.batch_entropy",),
        limits={"entropy": 0.8},
        doc=(
            "The `entropy` of the classes in a batch ÷ that in a shuffled batch, when the "
            "recipe does not shuffle or the data are an iterable."
        ),
        explains=(
            "OPT003",
            "OPT004",
            "OPT005",
            "OPT001",
            "OPT006",
            "GEN001",
            "GEN002",
            "SIG002",
            "SIG003",
            "SIG005",
            "OPT010",
            "OPT008",
        ),
    ),
    Rule(
        id="DAT006",
        title="Held-out examples that were trained on",
        severity=Severity.CRITICAL,
        judge=leakage,
        needs=("data.overlap",),
        limits={"share": 0.02, "rows": 2.0},
        doc=(
            "Rows of the held-out data found bit for bit in the training data: at least "
            "`rows` of them and more than `share` of the held-out data, beyond twice the rate "
            "at which the training data repeat themselves. Or groups on both sides."
        ),
        explains=("GEN001",),
    ),
)
