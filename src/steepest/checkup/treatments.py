"""Prescriptions as functions: (Problem, Recipe) → (Problem, Recipe).

What a finding prescribes is applied to the program itself, so that the cure can be
tested by training again, and undone by keeping the old pair. A prescription names its
treatment, since a report is also a file, and may replace fields of the recipe.

    treated_problem, treated_recipe = treat(finding.prescription, problem, recipe)
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..core import pytree
from ..core.errors import InputError
from ..training import Problem, Recipe
from ..training.problem import is_arrays, positional
from .finding import Prescription


Treatment = Callable[[Problem, Recipe], tuple[Problem, Recipe]]


def treat(
    prescription: Prescription, problem: Problem, recipe: Recipe
) -> tuple[Problem, Recipe]:
    """The program as the prescription would have it.

    Raises `InputError` where it is advice in words only.
    """
    if not prescription.treatment and not prescription.recipe:
        raise InputError(
            f"This prescription is advice for a person: {prescription.text}"
        )
    if prescription.treatment:
        problem, recipe = TREATMENTS[prescription.treatment](problem, recipe)
    return problem, replace(recipe, **prescription.recipe)


def stable_loss(problem: Problem, recipe: Recipe) -> tuple[Problem, Recipe]:
    """The loss with its unstable formulas rewritten (`steepest.stabilize`)."""
    from ..numerics import stabilize

    count, stable = positional(problem.loss, "The loss"), stabilize(problem.loss)

    def two(model: PyTree, batch: PyTree) -> Any:
        return stable(model, batch)

    def three(model: PyTree, batch: PyTree, key: Any) -> Any:
        return stable(model, batch, key)

    def four(model: PyTree, batch: PyTree, key: Any, state: PyTree) -> Any:
        return stable(model, batch, key, state)

    return replace(problem, loss={2: two, 3: three, 4: four}[count]), recipe


def wide_parameters(problem: Problem, recipe: Recipe) -> tuple[Problem, Recipe]:
    """Parameters, and with them the optimiser's moments, in float32.

    A loss that was computed in their narrow format still is, by `Recipe.precision`.
    """
    taken = pytree.trainable(problem.model)
    narrow = sorted(
        {leaf.dtype.name for leaf in jax.tree.leaves(taken.params) if is_narrow(leaf)}
    )

    def widened(leaf: Any) -> Any:
        return leaf.astype(jnp.float32) if is_narrow(leaf) else leaf

    model = taken.merge(jax.tree.map(widened, taken.params), taken.rest)
    if len(narrow) == 1 and narrow[0] in ("bfloat16", "float16"):
        recipe = replace(recipe, precision=narrow[0])
    return replace(problem, model=model), recipe


def is_narrow(leaf: Any) -> bool:
    """Whether an array's format has fewer digits than float32."""
    real = jnp.issubdtype(leaf.dtype, jnp.floating)
    return bool(real) and jnp.finfo(leaf.dtype).bits < 32


def normalised_once(problem: Problem, recipe: Recipe) -> tuple[Problem, Recipe]:
    """Inputs times 255: of two divisions by 255, one is taken back."""

    def once(source: Any) -> Any:
        if source is None or not is_arrays(source):
            return source
        if isinstance(source, tuple):
            return (source[0] * 255, *source[1:])
        raise InputError("The inputs are not the first of a pair of arrays.")

    data, held_out = once(problem.data), once(problem.validation)
    return replace(problem, data=data, validation=held_out), recipe


def whitened_inputs(problem: Problem, recipe: Recipe) -> tuple[Problem, Recipe]:
    """Inputs without what they have in common: (x − μ) C^{-1/2}, of the training data.

    C is their covariance, whose least eigenvalues are taken for 10⁻¹⁰ of the largest.
    """
    if not is_arrays(problem.data) or not isinstance(problem.data, tuple):
        raise InputError("The inputs are not the first of a pair of arrays.")
    x = np.asarray(problem.data[0], np.float64)
    if x.ndim != 2:
        raise InputError("Inputs of more than one axis an example are not whitened.")
    mean = x.mean(axis=0)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(x.T)))
    if not values[-1] > 0:
        raise InputError("The inputs do not vary, so there is nothing to whiten.")
    scale = 1 / np.sqrt(np.maximum(values, 1e-10 * values[-1]))
    whiten = (vectors * scale) @ vectors.T

    def changed(source: Any) -> Any:
        if source is None or not is_arrays(source):
            return source
        given = np.asarray(source[0])
        dtype = given.dtype if jnp.issubdtype(given.dtype, jnp.floating) else np.float32
        white = (given.astype(np.float64) - mean) @ whiten
        return (white.astype(dtype), *source[1:])

    data, held_out = changed(problem.data), changed(problem.validation)
    return replace(problem, data=data, validation=held_out), recipe


TREATMENTS: dict[str, Treatment] = {
    "stable loss": stable_loss,
    "wide parameters": wide_parameters,
    "normalised once": normalised_once,
    "whitened inputs": whitened_inputs,
}
