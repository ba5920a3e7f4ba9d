"""What momentum and the adaptive optimisers do to the curvature that a step sees.

An optimiser that divides a (running mean of the) gradient by a positive diagonal P,

    θ ← θ − η P⁻¹ m,                                                             (1)

is descent in the variable P^{1/2}θ. Its steps meet not H but P^{-1/2} H P^{-1/2}, and are
stable while the largest eigenvalue λ of that obeys η λ < limit, where the limit belongs to
the rule that makes m: 2 without memory, 38 for Adam's averaging (`curvature.limits`). All
the diagonals in use are, in one formula,

    P = √(s + ε′) + ε                                                            (2)

    SGD, momentum, Nesterov     P = 1: nothing is divided, the memory moves the limit
    AdaGrad       s = Σ g²                           ε′ of Optax; ε in the book
    RMSProp       s = v,  v ← ρv + (1 − ρ)g²         ε′ of Optax and the book
    Adam, AdamW   s = v / (1 − β₂ᵗ)                  ε
    AMSGrad       s = the largest such so far        ε

so a parameter with large gradients gets a small step, and the ratio between the curvature
seen and H's own says what that has bought. Lion and sign descent divide by the size of the
very gradient they follow. No P stands for them, and no η λ: their step is η in every
parameter however near the minimum is, and lowers the quadratic model only while

    η < 2 ‖g‖₁ / (sᵀHs),     s = sign g.                                         (3)

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§8.3-8.5, algorithms 8.1-8.7.
    Cohen et al. (2022), Adaptive gradient methods at the edge of stability.  -- (1)
    Balles & Hennig (2018), Dissecting Adam.                                   -- (3)
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..core.errors import InputError
from ..curvature import Sharpness, preconditioned, sharpness
from ..curvature.products import Loss, Params, check, check_direction, curvature_along
from ._preconditioners import READERS, adaptive_parts


class SeenCurvature(NamedTuple):
    """The curvature of the loss, and what the steps of the optimiser see of it."""

    plain: Sharpness  # of H
    seen: Sharpness  # of P^{-1/2} H P^{-1/2}; its direction is P^{1/2} times that of θ
    step_size: float
    limit: float  # of η λ
    product: float  # η λ of what is seen
    ratio: float  # product / limit: the rule is stable below 1
    largest_step: float  # at which the ratio would be 1; infinite for λ ≤ 0

    def __str__(self) -> str:
        verdict = "below" if self.ratio < 1 else "beyond"
        return (
            f"λ_max is {float(self.plain.value):.4g} and the steps see "
            f"{float(self.seen.value):.4g} (residual {float(self.seen.residual):.1g}): "
            f"η λ = {self.product:.3g}, {verdict} the limit {self.limit:.3g}; the "
            f"largest stable step size is {self.largest_step:.3g}."
        )


def preconditioner(
    opt_state: PyTree,
    *,
    params: Params | None = None,
    decay: float | None = None,
    epsilon: float | None = None,
    epsilon_root: float | None = None,
) -> Params | None:
    """The diagonal P of (2) by which the last update was divided; None where P = 1.

    Finds the one adaptive part of an Optax state however it is nested. States keep s but
    not the constants: `decay` (β₂, or ρ where RMSProp corrects its bias), `epsilon` (ε)
    and `epsilon_root` (ε′) are those of `inject_hyperparams` where it is used, else
    Optax's defaults; for RMSProp and AdaGrad, `epsilon` alone says that ε is outside the
    root. `params` is needed where a part is masked (`masked`, `multi_transform`): P is 1
    in what no adaptive part covers.

    Adam, AdamW, NAdam, AMSGrad, AdaBelief, RMSProp (plain, centred, corrected), AdaGrad
    and those of `optimize.book` are read. The states of Yogi, AdaMax and RAdam cannot be
    told from Adam's, and are read as if they were.

    Raises `InputError` before the first update, for two adaptive parts on one parameter,
    and for optimisers that are not of the form (1).
    """
    given = {"decay": decay, "eps": epsilon, "eps_root": epsilon_root}
    given = {name: x for name, x in given.items() if x is not None}
    found = [
        READERS[type(s).__name__](s, h) for s, h in adaptive_parts(opt_state, given)
    ]
    if not found:
        return None
    is_hole = lambda x: isinstance(x, optax.MaskedNode)
    holes = [any(map(is_hole, jax.tree.leaves(P, is_leaf=is_hole))) for P in found]
    if len(found) == 1 and not holes[0]:
        return found[0]
    overlap = InputError(
        "Two adaptive parts of the optimiser act on the same parameters, so no one P "
        "divides their gradient; pass the state of one of them."
    )
    if not all(holes):
        raise overlap
    if params is None:
        raise InputError(
            "The adaptive part of the optimiser is masked; pass `params=`, so that P can "
            "be 1 in the rest."
        )

    def spread(P: PyTree) -> list[Array | None]:
        def fill(x: Any, part: PyTree) -> PyTree:  # x: a hole or an array
            return jax.tree.map(lambda _: x, part) if is_hole(x) else x

        full = jax.tree.map(fill, P, params, is_leaf=is_hole)
        every = jax.tree.leaves(full, is_leaf=is_hole)
        return [None if is_hole(x) else x for x in every]

    leaves, treedef = jax.tree.flatten(params)
    merged = []
    for leaf, *choices in zip(leaves, *map(spread, found), strict=True):
        some = [x for x in choices if x is not None]
        if len(some) > 1:
            raise overlap
        merged.append(some[0] if some else jnp.ones_like(leaf))
    return jax.tree.unflatten(treedef, merged)


def seen_curvature(
    loss: Loss,
    params: Params,
    P: Params | None = None,
    *,
    step_size: float,
    limit: float,
    key: PRNGKeyArray,
    num_products: int = 32,
) -> SeenCurvature:
    """λ_max of H and of what the steps (1) see of it, against the limit of their rule.

    `P` as `preconditioner` gives it (None: 1 everywhere); `limit` is the bound of η λ of
    the rule that makes the steps, `curvature.limits.stability_limit("adam")` for
    instance. `num_products` Hessian products are spent on each of the two eigenvalues.

    Raises `InputError` for a loss without curvature, a P that is not positive or not of
    the shapes of `params`, and step sizes or limits that are not positive.
    """
    check(loss, params)
    for name, number in {"step_size": step_size, "limit": limit}.items():
        if not 0 < number < math.inf:
            raise InputError(f"`{name}` must be positive and finite, not {number}.")

    def measure(P: Params | None) -> Sharpness:
        f, at = (loss, params) if P is None else preconditioned(loss, params, P)
        run = jax.jit(lambda at: sharpness(f, at, key=key, num_products=num_products))
        found = run(at)
        return found._replace(num_products=int(found.num_products))

    plain = measure(None)
    if P is not None:
        check_direction(params, P)
        if not all(bool(jnp.all(p > 0)) for p in jax.tree.leaves(P)):
            raise InputError(
                "`P` must be positive in every parameter; an optimiser that has not seen "
                "a finite gradient has none."
            )
    seen = plain if P is None else measure(P)
    value = float(seen.value)
    product = step_size * value
    return SeenCurvature(
        plain=plain,
        seen=seen,
        step_size=step_size,
        limit=limit,
        product=product,
        ratio=product / limit,
        largest_step=limit / value if value > 0 else math.inf,
    )


def largest_sign_step(loss: Loss, params: Params) -> Float[Array, ""]:
    """The step size (3) up to which a step along −sign g lowers the quadratic model.

    Infinite where the curvature along it is not positive. For Lion and sign descent,
    which have no limit of η λ. Costs a gradient and a second derivative.
    """
    check(loss, params)
    g = jax.grad(loss)(params)
    s = jax.tree.map(jnp.sign, g)
    curvature = curvature_along(loss, params, s)
    norms = [jnp.sum(jnp.abs(x)).astype(curvature.dtype) for x in jax.tree.leaves(g)]
    safe = jnp.where(curvature > 0, curvature, jnp.ones_like(curvature))
    step = 2 * sum(norms[1:], norms[0]) / safe
    return jnp.where(curvature > 0, step, jnp.full_like(step, jnp.inf))
