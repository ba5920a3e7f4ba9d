"""How large a step may be: the limits of stability of first-order methods.

On a quadratic with curvature λ each method is a linear recurrence, and converges along
that eigenvector if and only if η λ is below

    gradient descent   θ ← θ − ηg                          2                 (1)
    heavy ball         v ← βv − ηg,  θ ← θ + v             2 (1 + β)         (2)
    averaged momentum  v ← βv + (1 − β)g,  θ ← θ − ηv      2 (1 + β) / (1 − β)   (3)
    Nesterov           v ← βv − ηg(θ + βv),  θ ← θ + v     2 (1 + β) / (1 + 2β)  (4)

where g is the gradient. A method that divides the gradient by a diagonal P is gradient
descent in the variable P^{1/2}θ, so λ is then the sharpness of P^{-1/2} H P^{-1/2}:

    RMSProp, AdaGrad   no averaging of the gradient        2                 (5)
    Adam               (3) with β₁ on P = √v̂ + ε           2 (1 + β₁) / (1 − β₁)  (6)

which is 38 for β₁ = 0.9. P changes during a run, so (5) and (6) hold while it is nearly
constant; and a network's curvature changes: it may hover at the limit with a falling
loss (the edge of stability), because going past it leads where the curvature is lower.

References
    Polyak (1964), Some methods of speeding up the convergence of iteration methods. -- (2)
    Cohen et al. (2021), Gradient descent on neural networks typically occurs at the
    edge of stability.                                                  -- (1), (2), (4)
    Cohen et al. (2022), Adaptive gradient methods at the edge of stability.   -- (6)
"""

from typing import Literal

import numpy as np
from jax import Array

from ..core.errors import InputError


Method = Literal[
    "gd", "sgd", "momentum", "ema", "nesterov", "rmsprop", "adagrad", "adam", "adamw"
]


def stability_limit(method: Method, momentum: float | None = None) -> float:
    """The limit of η λ from (1)-(6); `momentum` is β, or β₁ of Adam (0.9 if left out).

    Raises `InputError` for an unknown method, a momentum outside of [0, 1), and for a
    method with memory whose momentum is not given.
    """
    adam = method in ("adam", "adamw")
    if momentum is None and method in ("momentum", "ema", "nesterov"):
        raise InputError(f"The limit of {method!r} depends on β; pass `momentum=`.")
    beta = (0.9 if adam else 0.0) if momentum is None else momentum
    if not 0 <= beta < 1:
        raise InputError(f"`momentum` must be at least 0 and below 1, not {momentum}.")
    limits = {
        "gd": 2.0,
        "sgd": 2.0,
        "momentum": 2 * (1 + beta),
        "ema": 2 * (1 + beta) / (1 - beta),
        "nesterov": 2 * (1 + beta) / (1 + 2 * beta),
        "rmsprop": 2.0,
        "adagrad": 2.0,
        "adam": 2 * (1 + beta) / (1 - beta),
        "adamw": 2 * (1 + beta) / (1 - beta),
    }
    if method not in limits:
        raise InputError(
            f"No limit is known for the method {method!r}; there are "
            f"{', '.join(limits)}."
        )
    return limits[method]


def largest_step(
    sharpness: float, method: Method = "gd", momentum: float | None = None
) -> float:
    """The largest stable step size for a curvature: (1)-(6) divided by λ.

    `sharpness` is λ_max of the Hessian, or of P^{-1/2} H P^{-1/2} for the methods with a
    preconditioner (`optimize.adaptive.seen_curvature` measures that). Infinite where it
    is not positive: the quadratic model then sets no limit.
    """
    limit = stability_limit(method, momentum)
    if np.ndim(sharpness) or not isinstance(sharpness, int | float | np.number | Array):
        raise InputError(
            "`sharpness` must be one number, such as `eigenpairs(H, key=key).values[0]`."
        )
    if np.isnan(sharpness):
        raise InputError("The sharpness is not a number, so it limits no step.")
    return limit / float(sharpness) if sharpness > 0 else float("inf")
