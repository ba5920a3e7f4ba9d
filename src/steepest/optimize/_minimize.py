"""Minimise a loss, and say what was found.

Every method here is the loop

    θ ← θ + p,     p from a local model of the loss at θ,                    (1)

and they differ in p (`newton_steps`) and in when they believe it: a trust region, a
cubic penalty, halving, a line search, or always. Up to 200 parameters the Hessian is
formed and every parameter measured in units of its curvature; beyond, one Krylov space
from the gradient serves every method: its Ritz pairs take the place of the eigenpairs,
and its size is the number of products.

Where little is left to gain the point is judged (`critical_point`). A saddle is left
along its direction of negative curvature, and the loop goes on; so that a saddle is
reported as a success by no method, and what cannot be told is called inconclusive.

References
    Nocedal & Wright (2006), Numerical Optimization, §§3-4.                  -- (1)
    Cartis, Gould & Toint (2011), Adaptive cubic regularisation methods, part I.
    Dauphin et al. (2014), Identifying and attacking the saddle point problem.
"""

from typing import Literal, get_args

import jax
from jaxtyping import PRNGKeyArray

from ..core._fixed import fixed
from ..core.errors import InputError
from ..core.vectors import on_vector
from ..curvature._critical_point import check_tolerance
from ..curvature.products import Loss, Params, check, check_params
from ._loop import check_steps, run
from ._minimized import Minimized
from ._models import hessian_model, slope_model
from ._search import Search


Method = Literal[
    "trust-region", "cubic", "saddle-free", "damped-newton", "newton", "steepest"
]
METHODS = get_args(Method)


def minimize(
    loss: Loss,
    params: Params,
    method: Method = "trust-region",
    *,
    key: PRNGKeyArray | None = None,
    max_steps: int = 200,
    gradient_tolerance: float | None = None,
    escape: bool = True,
) -> Minimized:
    """Minimise `loss(params)` from `params`, with the verdict of the critical-point test.

    **Arguments**

    - `method`: see the module docstring. `"trust-region"` and `"cubic"` come to a local
      minimum from anywhere; `"newton"` goes to the nearest critical point of any kind.
    - `gradient_tolerance`: stop at this gradient norm; where None, when the model
      promises no decrease that the loss could resolve.
    - `escape`: whether to go on from a saddle along negative curvature.

    The loss should be deterministic; float64 (`jax.enable_x64`) gives the verdict more
    digits. A second search with the same loss compiles nothing; one with a loss whose
    constants have changed since compiles anew.

    Raises `InputError` for an unknown method, steps or a tolerance that are no such
    numbers, or a loss that is not one finite number at the start.
    """
    if method not in METHODS:
        raise InputError(
            f"There is no method {method!r}; there are {', '.join(METHODS)}."
        )
    check_steps(max_steps)
    check_tolerance(gradient_tolerance)
    check_params(params)
    loss = fixed(loss, params)
    check(loss, params)
    flat, theta = on_vector(loss, params)
    steepest = method == "steepest"
    modeller = slope_model(flat) if steepest else hessian_model(flat, theta.size)
    return run(
        Search(flat, method),
        theta,
        modeller,
        key=jax.random.key(0) if key is None else key,
        max_steps=max_steps,
        gradient_tolerance=gradient_tolerance,
        escape=escape,
    )
