"""Loss and accuracy in evaluation mode, on training and on held-out data.

Both are means over at most `MOST` examples, fixed for the run; the standard error of
the mean, from the spread of the batches it is made of, goes beside it. That the two
sets are measured in the same mode and at the same moment is what makes their difference
a generalisation gap (DL §5.2) and not an effect of dropout.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..batches import examples_in
from ..problem import (
    Problem,
    Source,
    batches_of,
    evaluator,
    is_arrays,
    labels_of,
    predictor,
    split,
    task_of,
)
from ..step import Carry
from ._probe import Context, Measure, Probe, Snapshot


MOST = 2048


def prepare(context: Context) -> Measure:
    """Cut both sets into equal parts and compile one evaluation for all of them."""
    problem, taken = context.problem, context.program.taken
    evaluate, predict = evaluator(problem), predictor(problem)
    classify = (
        predict is not None and task_of(problem, context.batch) == "classification"
    )
    sets = {"train": parts(problem, problem.data, context.recipe.seed)}
    if problem.validation is not None:
        sets["validation"] = parts(problem, problem.validation, context.recipe.seed)

    @jax.jit
    def measure(carry: Carry, batch: PyTree) -> dict[str, Array]:
        model = taken.merge(carry.params, carry.rest)
        values = evaluate(model, batch, carry.state)
        if classify and predict is not None and "accuracy" not in values:
            x, y = split(problem, batch)
            values = {**values, "accuracy": accuracy(predict(model, x, carry.state), y)}
        return {k: jnp.asarray(v, jnp.float32) for k, v in values.items()}

    def run(snapshot: Snapshot) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, batches in sets.items():
            values = [measure(snapshot.carry, batch) for batch in batches]
            weights = np.array([examples_in(batch) for batch in batches], float)
            for metric in values[0] if values else ():
                each = np.array([float(v[metric]) for v in values])
                mean = float(np.average(each, weights=weights))
                result[f"{name}.{metric}"] = mean
                result[f"{name}.{metric}.sem"] = error_of(
                    metric, mean, each, int(weights.sum())
                )
        return result

    return run


def error_of(
    metric: str, mean: float, each: Float[np.ndarray, " batches"], examples: int
) -> float:
    """The standard error: binomial for an accuracy, from the batches otherwise."""
    if metric == "accuracy":
        return math.sqrt(max(mean * (1 - mean), 1 / examples) / examples)
    if len(each) < 2:
        return math.nan
    if not np.isfinite(each).all():
        return math.nan
    return float(np.std(each, ddof=1) / math.sqrt(len(each)))


def accuracy(outputs: Array, targets: Array) -> Array:
    """The share of right classes, from logits or probabilities, one or more a row."""
    labels = labels_of(targets).astype(jnp.int32)
    scores = outputs.reshape(outputs.shape[0], -1)
    if scores.shape[1] > 1:
        guess = scores.argmax(-1)
    else:
        score = scores[:, 0]
        inside = jnp.all((score >= 0) & (score <= 1))
        guess = score > jnp.where(inside, 0.5, 0.0)  # a probability, or a logit
    return jnp.mean((guess.astype(jnp.int32) == labels).astype(jnp.float32))


def parts(problem: Problem, source: Source, seed: int) -> list[PyTree]:
    """At most `MOST` examples of a source, chosen once, in batches of one or two sizes.

    Eight parts or so, so that their spread tells, and of one size where that costs
    fewer than one example in a hundred: every size is compiled anew.
    """
    if not is_arrays(source):
        batches: list[PyTree] = []
        for batch in batches_of(source, problem.model):
            batches.append(jax.tree.map(jnp.asarray, batch))
            if sum(map(examples_in, batches)) >= MOST:
                break
        return batches
    n = examples_in(source)
    # Shuffled even when it is not cut: sorted data would make unlike parts.
    chosen = np.random.default_rng((seed, 7)).permutation(n)[:MOST]
    most = len(chosen)
    count = min(range(6, 13), key=lambda k: (most % k, abs(k - 8))) if most >= 50 else 8
    if most % count <= most // 100:
        size = most // count
        chosen = chosen[: size * count]
    else:
        size = max(1, -(-most // 8))
    cut = [chosen[i : i + size] for i in range(0, len(chosen), size)]
    return [jax.tree.map(lambda a, i=i: jnp.asarray(a[i]), source) for i in cut]


EVALUATION = Probe("evaluation", prepare)
