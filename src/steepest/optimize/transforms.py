"""Step rules for training: the same rules as transformations of Optax.

A transformation gets the updates u of those before it in the chain and scales them,

    u ↦ t u,                                                                         (1)

with t from the rule: a line search along u (`scale_by_line_search`), Polyak's size
(`scale_by_polyak`) or the inverse of the curvature (`scale_by_inverse_curvature`). So u
must point downhill, as it does behind `optax.scale(-1.0)`, or behind `steepest_descent`,

    δ = argmin { gᵀδ + ‖δ‖²/(2η) } = η ‖g‖_* d,                                      (2)

which is gradient descent in the L2 norm, one coordinate at a time in L1, sign descent
whose length fades with the gradient in L∞, and preconditioned descent for a diagonal.

The rules ask for more than the gradient: `update` takes, by keyword, `value` (the loss at
the parameters), `grad` (its gradient) and `value_fn` (the loss as a function of the
parameters), as Optax's own line searches do; further keywords that `value_fn` names, a
batch for instance, are passed on to it.

    updates, state = tx.update(
        grad, state, params, value=value, grad=grad, value_fn=loss, batch=batch
    )

On minibatches every rule judges the loss of its batch alone: (1) then fits the step to
the noise of the batch. Large batches, or the full data, are what they are made for.

References
    Boyd & Vandenberghe (2004), Convex Optimization, §9.4.                      -- (2)
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.3, 8.1.3.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ..core.errors import InputError
from ..curvature.products import Loss, Params
from ._ray import as_known, first_size, float_leaves, is_false, ray, working_dtype
from .steepest import Norm, direction_or_zero
from .step_rules import armijo, best_of, inverse_curvature, polyak
from .wolfe import line_search


CANDIDATES = tuple(10.0 ** (k / 2) for k in range(-8, 3))  # 1e-4 to 10


class LineSearchState(NamedTuple):
    """The last search."""

    size: Float[Array, ""]  # its step size; 0 before the first and after a failure
    value: Float[Array, ""]  # the loss after it; infinite before the first
    grad: Params | None  # the gradient after it, of rule "wolfe"
    num_evaluations: Int[Array, ""]
    success: Bool[Array, ""]


class PolyakState(NamedTuple):
    """The last step size."""

    size: Float[Array, ""]


class InverseCurvatureState(NamedTuple):
    """The last estimate of λ_max, and what the next one starts from."""

    count: Int[Array, ""]  # updates so far
    size: Float[Array, ""]  # 1/λ_max of the last success; 0 before the first
    sharpness: Float[Array, ""]  # λ_max as last estimated, positive or not
    residual: Float[Array, ""]
    direction: Params  # its vector
    key: PRNGKeyArray


class SteepestDescentState(NamedTuple):
    """How many updates there were, for a schedule."""

    count: Int[Array, ""]


def scale_by_line_search(
    rule: Literal["armijo", "wolfe", "best"] = "armijo",
    *,
    initial: float = 1.0,
    growth: float = 2.0,
    candidates: Sequence[float] = CANDIDATES,
    max_evaluations: int = 30,
) -> optax.GradientTransformationExtraArgs:
    """Scale updates by a line search along them: `armijo`, `strong_wolfe` or `best_of`.

    The first search begins at `initial`, every other at `growth` times the size of the
    last, and after a failure at `initial` again; rule `"best"` tries `candidates`
    instead. A search that fails makes no update. Needs `value`, `grad` and `value_fn`
    (`"best"`: `value_fn` alone). With rule `"wolfe"`, `optax.value_and_grad_from_state`
    finds the value and the gradient of the next update in the state.

    Raises `InputError` for an unknown rule, numbers that make no search, no candidates,
    and in `update` where something is missing.
    """
    if rule not in ("armijo", "wolfe", "best"):
        raise InputError(f'`rule` must be "armijo", "wolfe" or "best", not "{rule}".')
    if not growth >= 1:
        raise InputError(f"`growth` must be at least 1, not {growth}.")
    if not 0 < initial < float("inf"):
        raise InputError(f"`initial` must be a positive step size, not {initial}.")
    if max_evaluations < 2:
        raise InputError("`max_evaluations` must be at least 2: the start and a trial.")
    if not any(0 < size < float("inf") for size in candidates):
        raise InputError(
            "`candidates` must hold one or more positive step sizes, not "
            f"{tuple(candidates)}."
        )

    def init(params: Params) -> LineSearchState:
        params = float_leaves(params, "params")
        dtype = working_dtype(params)
        grad = jax.tree.map(jnp.zeros_like, params) if rule == "wolfe" else None
        infinite, zero = jnp.asarray(jnp.inf, dtype), jnp.zeros((), dtype)
        return LineSearchState(zero, infinite, grad, jnp.int32(0), jnp.asarray(False))

    def update(
        updates: Params,
        state: LineSearchState,
        params: Params | None = None,
        *,
        value: Any = None,  # Any: an array or a Python number
        grad: Params | None = None,
        value_fn: Callable[..., Array] | None = None,
        **extra: Any,  # whatever `value_fn` takes
    ) -> tuple[Params, LineSearchState]:
        loss, params = _loss(value_fn, extra), _given(params, "params")
        f, params, direction, dtype = ray(loss, params, updates)
        if rule == "best":
            step, grad = best_of(f, params, direction, candidates), None
        else:
            known = _given(value, "value"), _given(grad, "grad")
            known = as_known(known, params, dtype)
            again = state.success & (state.size > 0)
            first = jnp.where(again, growth * state.size, first_size(initial, dtype))
            if rule == "armijo":
                step, grad = (
                    armijo(
                        f,
                        params,
                        direction,
                        initial=first,
                        max_evaluations=max_evaluations,
                        known=known,
                    ),
                    None,
                )
            else:
                step = line_search(
                    f, params, direction, known, first, 1e-4, 0.9, max_evaluations
                )
                grad = step.gradient
        state = LineSearchState(
            step.size, step.value, grad, step.num_evaluations, step.success
        )
        return _scaled(updates, step.size), state

    return _transformation(init, update)


def scale_by_polyak(lowest: float = 0.0) -> optax.GradientTransformationExtraArgs:
    """Scale updates u = −g by Polyak's size (L − `lowest`)/‖u‖².

    `lowest` is the least value that the loss can take: 0 for a model that can fit its
    data, since a value that is too low makes the steps too long. Needs `value`.

    Raises `InputError` for a `lowest` that is not finite.
    """
    if is_false(jnp.isfinite(jnp.asarray(lowest))):
        raise InputError(
            f"`lowest` must be a finite number, the least that the loss can be, not "
            f"{lowest}."
        )

    def init(params: Params) -> PolyakState:
        return PolyakState(jnp.zeros((), working_dtype(float_leaves(params, "params"))))

    def update(
        updates: Params,
        state: PolyakState,
        params: Params | None = None,
        *,
        value: Any = None,  # Any: an array or a Python number
        **extra: Any,  # for the others in the chain
    ) -> tuple[Params, PolyakState]:
        value = jnp.asarray(_given(value, "value"), state.size.dtype)
        size = polyak(value, lowest, updates)
        return _scaled(updates, size), PolyakState(size)

    return _transformation(init, update)


def scale_by_inverse_curvature(
    *, key: PRNGKeyArray, every: int = 20, num_products: int = 5
) -> optax.GradientTransformationExtraArgs:
    """Scale updates u = −g by 1/λ_max, estimated anew at every `every`-th update.

    An estimate takes `num_products` Hessian-vector products and starts from the vector
    of the last one. The size fits the curvature where it was measured: where the loss
    is much flatter than on its way down, as a saturated classifier is, it overshoots
    (a line search may follow in the chain). While λ_max is not positive the size stays
    what it was, 0 before the first success. Needs `value_fn`.

    Raises `InputError` for counts below 1, and in `update` where something is missing.
    """
    for name, number in {"every": every, "num_products": num_products}.items():
        if number < 1:
            raise InputError(f"`{name}` must be at least 1, not {number}.")

    def init(params: Params) -> InverseCurvatureState:
        params = float_leaves(params, "params")
        zero = jnp.zeros((), working_dtype(params))
        zeros = jax.tree.map(jnp.zeros_like, params)
        return InverseCurvatureState(jnp.int32(0), zero, zero, zero, zeros, key)

    def update(
        updates: Params,
        state: InverseCurvatureState,
        params: Params | None = None,
        *,
        value_fn: Callable[..., Array] | None = None,
        **extra: Any,  # whatever `value_fn` takes
    ) -> tuple[Params, InverseCurvatureState]:
        loss, params = _loss(value_fn, extra), _given(params, "params")

        def estimate() -> InverseCurvatureState:
            now, later = jax.random.split(state.key)
            found = inverse_curvature(
                loss, params, key=now, num_products=num_products, start=state.direction
            )
            return InverseCurvatureState(
                state.count,
                jnp.where(found.success, found.size, state.size),
                found.sharpness.value,
                found.sharpness.residual,
                found.sharpness.direction,
                later,
            )

        due = state.count % every == 0
        state = jax.lax.cond(due, estimate, lambda: state)
        state = state._replace(count=optax.safe_increment(state.count))
        return _scaled(updates, state.size), state

    return _transformation(init, update)


def steepest_descent(
    step_size: float | Callable[[Array], Array], norm: Norm = "l2"
) -> optax.GradientTransformationExtraArgs:
    """The update (2), η ‖g‖_* d, for a step size η or a schedule of it.

    `norm` as in `steepest_direction`. In `"l2"` this is gradient descent. Unit steps d
    are `optax.stateless(lambda g, _: steepest_direction(g, norm).direction)`.
    """

    def init(params: Params) -> SteepestDescentState:
        return SteepestDescentState(jnp.int32(0))

    def update(
        updates: Params,
        state: SteepestDescentState,
        params: Params | None = None,
        **extra: Any,  # for the others in the chain
    ) -> tuple[Params, SteepestDescentState]:
        direction, slope = direction_or_zero(updates, norm)
        eta = step_size(state.count) if callable(step_size) else step_size
        size = jnp.asarray(eta, slope.dtype) * -slope
        count = jnp.asarray(optax.safe_increment(state.count))
        return _scaled(direction, size), SteepestDescentState(count)

    return _transformation(init, update)


def _transformation(
    init: Any,  # Any: Optax's types for both leave no room for a state of one's own
    update: Any,
) -> optax.GradientTransformationExtraArgs:
    """Two functions as a transformation."""
    return optax.GradientTransformationExtraArgs(init, update)


def _scaled(updates: Params, t: Float[Array, ""]) -> Params:
    """(1), in the dtypes of the updates; exactly 0 for t = 0, whatever the updates."""

    def scaled(u: Array) -> Array:
        moved = (t * u.astype(t.dtype)).astype(u.dtype)
        return jnp.where(t == 0, jnp.zeros_like(u), moved)

    return jax.tree.map(lambda u: scaled(jnp.asarray(u)), updates)


def _loss(value_fn: Callable[..., Array] | None, extra: dict[str, Any]) -> Loss:
    """The loss as a function of the parameters alone."""
    function = _given(value_fn, "value_fn")
    wanted = inspect.signature(function).parameters
    passed = {name: extra[name] for name in wanted if name in extra}
    return lambda params: function(params, **passed)


def _given(argument: Any, name: str) -> Any:  # Any: each argument has its own type
    """The argument, if `update` got it."""
    if argument is None:
        raise InputError(
            f"`update` needs `{name}`; call `tx.update(grad, state, params, "
            "value=value, grad=grad, value_fn=loss)`."
        )
    return argument
