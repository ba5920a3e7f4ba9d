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


TREATMENTS: dict[str, Treatment] = {
    "stable loss": stable_loss,
    "wide parameters": wide_parameters,
    "normalised once": normalised_once,
}
