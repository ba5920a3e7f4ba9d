"""The loop that every method is: model, step, and when to stop and judge.

It ends where little is left to gain,

    ½ Σ cᵢ²/|λᵢ| ≤ max(8 eps |L|, eps^{3/2} min(|L₀|, 1))                      (1)

and the gradient is small beside the largest curvature and no longer halved by a step,
or as small as rounding (a constant in a loss hides the loss, not its gradient); or where
three steps changed neither the loss beyond its rounding nor the gradient. A gradient alone
says nothing in a valley whose walls are 10¹² times as steep as its floor. The point is then
judged; a saddle is left along its negative curvature, and the loop goes on.

References
    Boyd & Vandenberghe (2004), Convex Optimization, §9.5.1.                 -- (1)
    Nocedal & Wright (2006), Numerical Optimization, §3.1.
"""

from typing import Any

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
BOTTOM = 1e25  # of the loss at the start, or of 1: what falls below has no minimum
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
    falling = True  # whether the last step halved the gradient
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
            small = _is_small(
                search, model, here, first, tolerance, gradient_tolerance, falling
            )
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
                escapes, still, verdict, falling = escapes + 1, 0, None, True
            else:
                new = search.step(here, model)
                if not new.finite:
                    reason = "The step left the domain of the loss"
                    break
                if new.value < -BOTTOM * max(abs(trace[0][0].value), 1.0):
                    reason = "The loss falls without bound"
                    break
                before, after = (model.length_of_gradient(at.g) for at in (here, new))
                falling = after < 0.5 * before
                better = abs(here.value - new.value) > search.noise(here) or (
                    after < 0.9 * before
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
    enough = verdict.decrease_tolerance
    settled = enough is not None and left <= enough
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


def check_steps(max_steps: Any) -> None:
    """Refuse what is no number of steps."""
    if not isinstance(max_steps, int | np.integer) or max_steps < 1:
        raise InputError(
            f"`max_steps` must be a whole number, at least 1, not {max_steps}."
        )


def _is_small(
    search: Search,
    model: Model,
    here: At,
    first: float,
    tolerance: float | None,
    gradient_tolerance: float | None,
    falling: bool,
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
    if not (norm <= limit and model.decrease <= gain):
        return False
    reach = float(length(np.asarray(here.theta, np.float64) / model.units))
    q = float(np.abs(model.values).max()) ** 0.5 * reach + (2 * abs(here.value)) ** 0.5
    return not falling or model.decrease <= 0.5 * (4 * search.eps * q) ** 2


def _is_slow(trace: list[tuple[At, float]]) -> bool:
    """Whether the last steps gained less than a tenth."""
    if len(trace) <= SLOW:
        return False
    return trace[-1][0].value > 0.9 * trace[-1 - SLOW][0].value
