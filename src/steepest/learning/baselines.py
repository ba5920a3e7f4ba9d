"""The simple models that a network has to beat.

Before a network is called good it is compared with three answers that cost nothing:

- the best constant (the commonest class, the mean target);
- a linear model (logistic regression, ridge regression) on standardised inputs;
- the five nearest neighbours.

A network whose *training* score is below the linear model's is not limited by its
capacity, which includes the linear model's: it has not been trained. All models see the
same examples, and are scored by accuracy or by

    R² = 1 − Σ (y − ŷ)² / Σ (y − ȳ)².                                        (1)

Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, §11.2.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Num, Shaped
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from ..core.errors import InputError
from ..training.problem import Problem, is_arrays, labels_of, split, task_of


MOST_EXAMPLES = 1000
MOST_FEATURES = 4096
NEIGHBOURS = 5


class Score(NamedTuple):
    """An accuracy or an R², with its standard error."""

    value: float
    sem: float


class Baselines(NamedTuple):
    """Scores of the simple models; validation scores are None without such data."""

    metric: str  # "accuracy" or "R²"
    constant: tuple[Score, Score | None]  # (training, validation)
    linear: tuple[Score, Score | None]
    neighbours: tuple[Score, Score | None]
    train_size: int
    validation_size: int


def simple_models(problem: Problem) -> Baselines:
    """Fit the simple models to (at most 1000 examples of) the problem's data.

    Raises `InputError` where there is nothing to compare with: data that are not arrays
    of one input and one target, non-finite values, or neither classes nor numbers.
    """
    task = task_of(problem)
    if task == "other":
        raise InputError("the task is neither a classification nor a regression")
    x, y = table(problem, "data", task)
    held = None if problem.validation is None else table(problem, "validation", task)
    mean, std = x.mean(axis=0), x.std(axis=0)
    std = np.where(std > 1e-8 * np.maximum(np.abs(mean), 1), std, 1.0)
    scale = lambda a: (a - mean[None]) / std[None]
    few = min(NEIGHBOURS, len(x))
    if task == "classification":
        models = {
            "linear": LogisticRegression(max_iter=300),
            "neighbours": KNeighborsClassifier(few),
        }
        values, counts = np.unique(y, return_counts=True)
        constant = values[counts.argmax()]
        if len(values) == 1:
            models = {}
    else:
        models = {"linear": Ridge(alpha=1.0), "neighbours": KNeighborsRegressor(few)}
        constant = y.mean(axis=0)
    results = {}
    for name in ("constant", "linear", "neighbours"):
        model = models.get(name)
        if model is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # not converged is good enough here
                model.fit(scale(x), y)
        scores = []
        for inputs, targets in [(x, y)] + ([] if held is None else [held]):
            guess = constant if model is None else model.predict(scale(inputs))
            if np.size(guess) == targets.size:
                guess = np.reshape(guess, targets.shape)
            scores.append(
                _compare(np.broadcast_to(guess, targets.shape), targets, task)
            )
        results[name] = (scores[0], scores[1] if len(scores) > 1 else None)
    return Baselines(
        "accuracy" if task == "classification" else "R²",
        **results,
        train_size=len(x),
        validation_size=0 if held is None else len(held[0]),
    )


def table(
    problem: Problem, which: str, task: str
) -> tuple[Float[np.ndarray, "n features"], Num[np.ndarray, "n ..."]]:
    """Inputs as a table and targets, at most `MOST_EXAMPLES`, always the same ones.

    `which` is `"data"` or `"validation"`. Raises `InputError` as `simple_models` does.
    """
    x, y = examples(problem, which)
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    if x.shape[1] > MOST_FEATURES:
        raise InputError(
            f"there are {x.shape[1]} inputs, too many for the simple models"
        )
    if not np.isfinite(x).all():
        raise InputError("the inputs hold NaN or infinity")
    y = np.asarray(y)
    if task == "classification":
        return x, labels_of(y).astype(np.int64)
    y = y.reshape(len(y), -1).astype(np.float64)
    if not np.isfinite(y).all():
        raise InputError("the targets hold NaN or infinity")
    return x, y


def examples(problem: Problem, which: str) -> tuple[Any, Any]:
    """The examples that every model here is scored on, inputs and targets as given."""
    source = problem.data if which == "data" else problem.validation
    if not is_arrays(source):
        raise InputError("the data are not arrays")
    x, y = split(problem, source)
    if not hasattr(x, "shape") or not hasattr(y, "shape"):
        raise InputError("the data are not one array of inputs and one of targets")
    if len(x) > MOST_EXAMPLES:
        chosen = np.random.default_rng(0).permutation(len(x))[:MOST_EXAMPLES]
        return np.asarray(x)[chosen], np.asarray(y)[chosen]
    return np.asarray(x), np.asarray(y)


def score(
    outputs: Shaped[np.ndarray, "n ..."],
    targets: Shaped[np.ndarray, "n ..."],
    task: str,
) -> Score:
    """The accuracy or the R² of a network's outputs (logits, probabilities, values)."""
    n = len(targets)
    if task == "classification":
        labels = labels_of(targets)
        z = np.asarray(outputs, np.float64).reshape(n, -1)
        if z.shape[1] > 1:
            guess = z.argmax(-1)
        else:
            inside = bool(np.all((z >= 0) & (z <= 1)))
            guess = (z[:, 0] > (0.5 if inside else 0.0)).astype(np.int64)
        return _compare(guess, labels.astype(np.int64), task)
    y = np.asarray(targets, np.float64).reshape(n, -1)
    return _compare(np.asarray(outputs, np.float64).reshape(n, -1), y, task)


def _compare(guess: Any, y: Any, task: str) -> Score:
    n = len(y)
    if task == "classification":
        p = float(np.mean(guess == y))
        return Score(p, float(np.sqrt(max(p * (1 - p), 1 / n) / n)))
    if np.shape(guess) != np.shape(y):
        return Score(float("nan"), float("nan"))
    error = np.square(guess - y).sum(axis=-1)
    spread = np.square(y - y.mean(axis=0)[None]).sum(axis=-1).mean()
    if not spread > 0:
        return Score(float("nan"), float("nan"))
    return Score(
        float(1 - error.mean() / spread), float(error.std() / spread / np.sqrt(n))
    )
