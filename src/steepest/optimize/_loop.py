"""The loop that every method is: model, step, and when to stop and judge.

It ends where little is left to gain,

    ½ Σ cᵢ²/|λᵢ| ≤ max(8 eps |L|, eps^{3/2} min(|L₀|, 1))                      (1)

and the gradient is small beside the largest curvature; or where three steps changed
neither the loss beyond its rounding nor the gradient. A gradient alone says nothing in
a valley whose walls are 10¹² times as steep as its floor. The point is then judged; a
saddle is left along its negative curvature, and the loop goes on.

References
    Boyd & Vandenberghe (2004), Convex Optimization, §9.5.1.                 -- (1)
    Nocedal & Wright (2006), Numerical Optimization, §3.1.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..core.errors import InputError
from ..core.progress import hidden, progress
from ..core.vectors import length
from ..curvature import CriticalPoint, critical_point
from ._minimized import Minimized
from ._models import DENSE, Model, Modeller
from ._search import At, Search


ESCAPES = 10  # saddles that are left before the search gives up
STILL = 3  # steps without progress before it does
SLOW = 6  # steps over which a Gauss-Newton search must gain a tenth


def run(
    search: Search,
    theta: Float[Array, " n"],
    modeller: Modeller,
    *,
    key: PRNGKeyArray,
    max_steps: int,
    gradient_tolerance: float | None = None,
    tolerance: float | None = None,
    escape: bool = True,
    fallback: Modeller | None = None,
) -> Minimized:
    """Go on until (1), or a gradient norm, and judge the last point.

    `fallback` is the model with which the search goes on where this one gains less than
    a tenth in six steps.
    """
    here = search.at(theta)
    if not here.finite:
        raise InputError(
            f"The loss is {here.value:.4g} at the start, or its gradient is not finite; "
            "start from another point."
        )
    trace, escapes, still, products, models = [(here, 0.0)], 0, 0, 0, 0
    keep = theta.size <= DENSE
    reason, model = f"The {max_steps} steps were spent", None
    verdict: CriticalPoint | None = None
    first = min(abs(here.value), 1.0)
    told = ""

    def judged(at: At) -> CriticalPoint:
        return critical_point(search.loss, at.theta, key=key)

    with progress(f"minimize by {search.method}", max_steps) as update, hidden():
        for step in range(max_steps):
            if model is None or trace[-1][1] > 0:
                drawn = key if keep else jax.random.fold_in(key, step)
                model = modeller(here.theta, here.g, drawn, model)
                products, models = products + model.num_products, models + 1
            small = _is_small(search, model, here, first, tolerance, gradient_tolerance)
            if (
                fallback is not None
                and not small
                and (still >= STILL or _is_slow(trace))
            ):
                modeller, fallback, model, still = fallback, None, None, 0
                search.method = "trust-region"
                search.radius = 0.0
                told = "Gauss-Newton gained little and the Hessian took over. "
                continue
            if small or still >= STILL:
                verdict = judged(here)
                down = verdict.escape is not None and verdict.kind != "not critical"
                if not (down and escape and escapes < ESCAPES):
                    reason = "Little is left to gain" if small else "No step is better"
                    break
                new = search.at(here.theta + jnp.asarray(verdict.escape))
                escapes, still, verdict = escapes + 1, 0, None
            else:
                new = search.step(here, model)
                if not new.finite:
                    reason = "The step left the domain of the loss"
                    break
                better = abs(here.value - new.value) > search.noise(here) or (
                    model.length_of_gradient(new.g)
                    < 0.9 * model.length_of_gradient(here.g)
                )
                still = 0 if better else STILL if search.stuck else still + 1
            trace.append((new, float(length(np.asarray(new.theta - here.theta)))))
            here = new
            update(step + 1, f"loss {here.value:.4g}")
    verdict = judged(here) if verdict is None else verdict
    left = verdict.newton_decrease
    if left is None:
        left = float("nan") if model is None else model.decrease
    unravel, values = search.loss.unravel, np.array([at.value for at, _ in trace])
    directions = {
        name: getattr(verdict, name)._replace(
            direction=unravel(getattr(verdict, name).direction)
        )
        for name in ("lowest", "highest")
    }
    out = None if verdict.escape is None else unravel(verdict.escape)
    settled = left <= max(search.eps**0.5 * abs(here.value), search.eps * first)
    if gradient_tolerance is not None:
        settled = float(length(here.g)) <= gradient_tolerance
    return Minimized(
        unravel(here.theta),
        here.value,
        verdict._replace(**directions, escape=out),
        told + reason,
        values,
        np.array([float(length(at.g)) for at, _ in trace]),
        np.array([moved for _, moved in trace]),
        tuple(unravel(at.theta) for at, _ in trace) if keep else (),
        search.evaluations,
        products,
        models,
        escapes,
        left,
        bool(settled),
    )


def _is_small(
    search: Search,
    model: Model,
    here: At,
    first: float,
    tolerance: float | None,
    gradient_tolerance: float | None,
) -> bool:
    """(1), or what takes its place."""
    norm = float(length(here.g))
    if gradient_tolerance is not None:
        return norm <= gradient_tolerance
    if tolerance is not None:
        return model.decrease <= max(
            tolerance * abs(here.value), search.eps**1.5 * first
        )
    if norm == 0:
        return True
    limit = search.eps**0.75 * model.size * max(float(length(here.theta)), 1.0)
    gain = max(search.noise(here), search.eps**1.5 * first)
    return norm <= limit and model.decrease <= gain


def _is_slow(trace: list[tuple[At, float]]) -> bool:
    """Whether the last steps gained less than a tenth."""
    if len(trace) <= SLOW:
        return False
    return trace[-1][0].value > 0.9 * trace[-1 - SLOW][0].value
