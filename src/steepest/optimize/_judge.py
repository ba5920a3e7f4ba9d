"""The verdict of the critical-point test on what another optimiser has found.

Optimisers call themselves successful when a gradient, a step or a decrease has become
small,

    ‖∇L‖ < tolerance,                                                        (1)

which holds at saddles and maxima as well as at minima. So (1) is what they claim; what
is there, the second derivatives say (`critical_point`).

Nothing of the other library is imported: a result is known by what it has. SciPy's has
`x` and `success`, Optimistix's `value` and `result`, and anything else is taken for the
parameters themselves, as they come out of an Optax loop.

References
    Nocedal & Wright (2006), Numerical Optimization, §§2.1, 3.2.             -- (1)
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import PRNGKeyArray

from ..core.errors import InputError, type_name
from ..curvature import CriticalPoint, critical_point
from ..curvature.products import Loss, Params


class Judged(NamedTuple):
    """What was claimed of a point, and what is there."""

    params: Params
    source: str  # "SciPy", "Optimistix", or "the optimiser"
    claimed: bool | None  # whether it reported success; None where it makes no claim
    message: str  # its own, if any
    verdict: CriticalPoint

    @property
    def false_success(self) -> bool:
        """Whether success was reported at a saddle, a maximum or no critical point."""
        wrong = ("saddle", "maximum", "not critical")
        return bool(self.claimed) and self.verdict.kind in wrong

    def __str__(self) -> str:
        kind, low = self.verdict.kind, self.verdict.lowest
        what = {
            "minimum": "the point is a minimum",
            "saddle": "the point is a saddle",
            "maximum": "the point is a maximum",
            "inconclusive": "second derivatives do not show what the point is",
            "not critical": "the point is not critical",
        }[kind]
        if self.claimed is None:
            head = what[0].upper() + what[1:]
        elif self.claimed:
            link = "; but " if self.false_success else ", and "
            head = f"{self.source} reported success{link}{what}"
        else:
            link = "; but " if kind == "minimum" else ", and "
            why = f" ({self.message})" if self.message else ""
            head = f"{self.source} reported failure{why}{link}{what}"
        text = f"{head}: λ_min = {low.value:.4g} ± {low.error:.1g}."
        if kind in ("not critical", "inconclusive"):
            reason = self.verdict.reason
            text += f" {reason[0].upper()}{reason[1:]}"
        if self.verdict.escape is not None and kind != "not critical":
            text += (
                " A step of `verdict.escape` lowers the loss by "
                f"{self.verdict.escape_decrease:.3g}."
            )
        return text


def judge(
    loss: Loss,
    result: Any,  # of another library, or a pytree
    params: Params | None = None,
    *,
    key: PRNGKeyArray | None = None,
    gradient_tolerance: float | None = None,
) -> Judged:
    """Judge the point that another optimiser has found.

    **Arguments**

    - `loss`: what was minimised, as a function of parameters (for least squares
      ½‖r‖², not the residuals).
    - `result`: SciPy's `OptimizeResult`, Optimistix's `Solution`, or the parameters: a
      pytree of arrays, such as an Optax loop ends with.
    - `params`: parameters of the structure that `loss` takes, where the result holds
      them as one vector, as SciPy's does. Its values do not matter.
    - `gradient_tolerance`: of the critical-point test; where None it follows from the
      precision of the parameters, which is stricter than most optimisers are.

    Raises `InputError` for a result that holds no parameters, or a vector of another
    length than `params`.
    """
    source, point, claimed, message = read(result)
    leaves = jax.tree.leaves(point)
    known = all(hasattr(x, "dtype") or isinstance(x, int | float) for x in leaves)
    if not leaves or not known:
        raise InputError(
            f"A result of type {type_name(result)} holds no parameters that are known: "
            "pass SciPy's or Optimistix's result, or the parameters themselves."
        )
    kinds = {jnp.issubdtype(jnp.asarray(x).dtype, jnp.floating) for x in leaves}
    if len(kinds) > 1:
        raise InputError(
            "The parameters hold whole numbers or flags beside floating-point arrays; "
            "pass the arrays alone and let `loss` close over the rest."
        )
    point = jax.tree.map(floating, point)
    if params is not None:
        point = shaped(point, params)
    verdict = critical_point(
        loss, point, key=key, gradient_tolerance=gradient_tolerance
    )
    return Judged(point, source, claimed, message, verdict)


def read(result: Any) -> tuple[str, Any, bool | None, str]:
    """Who found it, the parameters, whether success was claimed, and a message."""
    if hasattr(result, "x") and hasattr(result, "success"):
        message = " ".join(str(getattr(result, "message", "")).split())
        return "SciPy", result.x, bool(result.success), message
    kinds = getattr(getattr(result, "result", None), "_enumeration", None)
    if kinds is not None and hasattr(result, "value") and hasattr(kinds, "successful"):
        message = " ".join(str(kinds[result.result]).split())
        claimed = bool(result.result == kinds.successful)
        return "Optimistix", result.value, claimed, message
    if hasattr(result, "params") and hasattr(result, "verdict"):
        return "`minimize`", result.params, bool(result.success), str(result.reason)
    return "The optimiser", result, None, ""


def floating(x: Any) -> Any:
    """An array of JAX; whole numbers, as SciPy may return, become floating-point."""
    x = jnp.asarray(x)
    exact = jnp.issubdtype(x.dtype, jnp.integer)
    return x.astype(jnp.result_type(float)) if exact else x


def shaped(point: Params, params: Params) -> Params:
    """The numbers of a point in the structure of `params`."""
    if jax.tree.structure(point) == jax.tree.structure(params) and all(
        jnp.shape(a) == jnp.shape(b)
        for a, b in zip(jax.tree.leaves(point), jax.tree.leaves(params), strict=True)
    ):
        return point
    vector, unravel = ravel_pytree(params)
    entries, _ = ravel_pytree(point)
    if entries.size != vector.size:
        raise InputError(
            f"The result holds {entries.size} numbers and `params` {vector.size}; they "
            "must be of one problem."
        )
    return unravel(entries.astype(vector.dtype))
