"""The worst mistakes on held-out data.

Looking at what a model gets most wrong finds what no statistic shows: bad labels, a
cropped image, a unit of measure (DL §11.5). Mistakes are ranked by the loss of each
example: cross-entropy of the predicted distribution for classes, squared error for
numbers.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Num, Shaped

from ..training.fitted import Fitted
from ..training.problem import Problem, is_arrays, labels_of, split, task_of
from .report import Mistake


def mistakes_of(problem: Problem, fitted: Fitted) -> tuple[Mistake, ...]:
    """The worst mistakes of a fitted model; empty where there is nothing to look at."""
    held = problem.validation
    if problem.predict is None or held is None or not is_arrays(held):
        return ()
    x, y = split(problem, held)
    task = task_of(problem, held)
    if task == "other" or not hasattr(x, "shape") or not hasattr(y, "shape"):
        return ()
    outputs = fitted.predict(x)
    if not hasattr(outputs, "shape"):  # several, of which none is the answer
        return ()
    return worst_mistakes(
        np.asarray(x),
        np.asarray(y),
        np.asarray(outputs),
        classify=task == "classification",
        image_shape=problem.notes.get("image_shape"),
    )


def worst_mistakes(
    inputs: Shaped[np.ndarray, "n ..."],
    targets: Num[np.ndarray, "n ..."],
    outputs: Num[np.ndarray, "n ..."],
    *,
    classify: bool,
    image_shape: Sequence[int] | None = None,
    count: int = 12,
) -> tuple[Mistake, ...]:
    """The `count` held-out examples with the largest loss among the wrong ones.

    `outputs` are logits or probabilities `(n, classes)`, one logit `(n,)` or `(n, 1)`
    for two classes, or predicted values for a regression.
    """
    if classify:
        p = probabilities(outputs)
        labels = labels_of(targets).astype(int)
        guess = p.argmax(-1)
        loss = -np.log(np.maximum(p[np.arange(len(p)), labels], 1e-30))
        wrong = np.flatnonzero(guess != labels)
        order = wrong[np.argsort(-loss[wrong], kind="stable")][:count]
        confidence = p.max(-1)
    else:
        n = len(targets)
        labels = targets.reshape(n, -1)[:, 0]
        guess = np.asarray(outputs, float).reshape(n, -1)[:, 0]
        loss = (guess - labels) ** 2
        order = np.argsort(-loss, kind="stable")[:count]
        confidence = None
    pictures = images(inputs, image_shape)
    return tuple(
        Mistake(
            index=int(i),
            loss=float(loss[i]),
            target=float(labels[i]),
            predicted=float(guess[i]),
            confidence=None if confidence is None else float(confidence[i]),
            image=None if pictures is None else pictures[i],
        )
        for i in order
        if np.isfinite(loss[i])
    )


def probabilities(outputs: Num[np.ndarray, "n ..."]) -> Float[np.ndarray, "n classes"]:
    """Class probabilities from whatever a classifier gives, in float64.

    The outputs as a whole decide what they are. Several columns are probabilities if
    all lie in [0, 1] and every row sums to 1. One column is, if all lie in [0, 1] and
    some are not 0: nothing but zeros is what the logits of a head are that begins at
    zero. Anything else is logits. (One column of logits that all happen to lie in
    [0, 1] cannot be told from probabilities, and is read as those.)
    """
    z = np.asarray(outputs, np.float64).reshape(len(outputs), -1)
    inside = bool(np.all((z >= 0) & (z <= 1)))
    if z.shape[1] == 1:
        p = z if inside and z.any() else 1 / (1 + np.exp(-np.clip(z, -700, 700)))
        return np.concatenate([1 - p, p], axis=1)
    if inside and np.allclose(z.sum(-1), 1, atol=1e-3):
        return z
    with np.errstate(invalid="ignore"):  # an output that is no number stays none
        e = np.exp(z - z.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)


def images(
    inputs: Shaped[np.ndarray, "n ..."], shape: Sequence[int] | None
) -> Float[np.ndarray, "n height width ..."] | None:
    """The inputs as pictures in [0, 1], if they are pictures."""
    if shape is not None:
        inputs = inputs.reshape(len(inputs), *shape)
    looks = inputs.ndim == 3 or (inputs.ndim == 4 and inputs.shape[-1] in (1, 3))
    if not looks or min(inputs.shape[1:3]) < 4:
        return None
    x = np.asarray(inputs, np.float32)
    low, high = np.nanmin(x), np.nanmax(x)
    return (x - low) / (high - low if high > low else 1)
