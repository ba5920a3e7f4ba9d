"""Extreme eigenpairs of a symmetric operator, each with a certificate.

A Krylov space (`_krylov`) is grown until every Ritz pair (μ, v) that is asked for has

    ‖A v − μ v‖ ≤ max(tolerance · |μ|, floor),     floor = 32 eps ‖T‖,        (1)

or the products are spent. The residual r of (1) proves an eigenvalue within r of μ;
with a gap γ to the rest of the spectrum it lies within r²/γ (Parlett). So the default
tolerance √eps gives eigenvalues to about eps. Below the floor, which the rounding of the
products sets, digits mean nothing: in float32 no eigenvalue under some 1e-6 of the
largest can be told from zero.

What a residual does not prove is that no further eigenvalue lies beyond. For a random
start in n dimensions, after k products the distance of the outermost Ritz value to the
outermost eigenvalue is at most the share ε of the spread λ_max − λ_min, but for a chance of

    p = 1.648 √n exp(−√ε (2k − 1))                                           (2)

(Kuczyński & Woźniakowski 1992, theorem 4.2); `beyond` is ε · spread at p = 10⁻³, and 0
where the whole space was searched, or the Krylov space of the start was exhausted: a
random vector has a part in every eigenspace.

References
    Parlett (1998), The Symmetric Eigenvalue Problem, §§11.7, 13.
    Kuczyński & Woźniakowski (1992), Estimating the largest eigenvalue by the power and
    Lanczos algorithms with a random start.                                  -- (2)
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ..core.errors import InputError
from ..core.progress import hidden, progress
from ..core.vectors import working_dtype
from ._krylov import Krylov, Ritz, begin, grow, restart, ritz, vectors
from .operators import Operator
from .products import Params


Which = Literal["largest", "smallest", "both", "magnitude"] | float
FLOOR = 32.0  # in units of eps ‖T‖
CHANCE = 1e-3  # of (2)
BASIS = 256  # vectors held, before a restart, and more while they fit into
HELD = 2**28  # bytes
WHOLE = 1024  # products that are always allowed: small matrices are searched whole


class Eigenpairs(NamedTuple):
    """Eigenvalues, their vectors, and what is known of their errors."""

    values: Float[np.ndarray, " k"]  # in the order of `which`
    vectors: Params  # unit vectors, stacked along a first axis of length k
    residuals: Float[np.ndarray, " k"]  # ‖A v − μ v‖: an eigenvalue lies as near
    converged: Bool[np.ndarray, " k"]  # whether (1) holds
    floor: float  # the rounding of the products: no digit below it
    beyond: float  # how far out another eigenvalue may hide, by (2)
    exhausted: bool  # the Krylov space of the start was exhausted, and left
    num_products: int

    def __str__(self) -> str:
        rows = [
            f"  {value:14.7g}  ± {residual:.1e}{'' if good else '   not converged'}"
            for value, residual, good in zip(
                self.values, self.residuals, self.converged, strict=True
            )
        ]
        head = f"{len(rows)} eigenvalues, {self.num_products} products"
        return "\n".join([head + (", exhausted" * self.exhausted) + ":", *rows])


def eigenpairs(
    operator: Operator,
    num_pairs: int = 1,
    which: Which = "largest",
    *,
    key: PRNGKeyArray,
    tolerance: float | None = None,
    max_products: int | None = None,
    block: int = 1,
    start: Params | None = None,
    callback: Callable[[Ritz], None] | None = None,
) -> Eigenpairs:
    """The outermost eigenpairs of an operator, or those nearest to a number.

    **Arguments**

    - `which`: `"largest"` and `"smallest"` go by value, `"magnitude"` by size, `"both"`
      takes half from each end (the larger half from the top), and a number takes the
      pairs nearest to it, which converge slowly inside of the spectrum.
    - `tolerance`: relative residual at which a pair has converged, √eps where None.
    - `max_products`: products with the operator; where None, 10 for each pair and 300 more, and for fewer
      than 1024 parameters as many as there are, which is exact.
    - `block`: start vectors. An eigenvalue is found as often as it occurs up to this
      number; beyond, copies turn up by rounding alone.
    - `start`: the vector of an earlier pair nearby, which saves products; a random part
      as long is added.
    - `callback`: is called with the Ritz pairs at every look.

    The basis takes up to 256 vectors of memory, or 256 MB if that is more. Read `converged` before the values.

    Raises `InputError` for more pairs than parameters, and where a product is not finite.
    """
    n, dtype = operator.size, operator.theta.dtype
    working = working_dtype(dtype)
    check_counts(n, num_pairs, block, max_products)
    eps = float(jnp.finfo(working).eps)
    relative = float(eps**0.5) if tolerance is None else tolerance
    most = min(n, max_products or max(300 + 10 * num_pairs, WHOLE))
    start_key, step_key = jax.random.split(key)
    starts = jax.random.normal(start_key, (block, n), working)
    if start is not None:
        given = ravel_pytree(start)[0].astype(working)
        unit = lambda x: x / jnp.maximum(jnp.linalg.norm(x), jnp.finfo(working).tiny)
        starts = starts.at[0].set(unit(given) + unit(starts[0]))
    fit = HELD // (n * working.itemsize)
    held = min(n, max(BASIS, fit, 2 * num_pairs + 4 * block))

    def matvec(q: Float[Array, " n"]) -> Float[Array, " n"]:
        return operator.matvec(q.astype(dtype)).astype(working)

    space = begin(starts, step_key)
    with jax.default_matmul_precision("highest"), hidden():
        space, found, chosen, good, exhausted = search(
            matvec,
            space,
            step_key,
            num_pairs,
            which,
            relative,
            eps,
            most,
            held,
            callback,
        )
    steps = min(space.products, held)  # the Krylov dimension, whatever was restarted
    return result(operator, space, found, chosen, good, eps, exhausted, steps)


def search(
    matvec: Callable[[Any], Any],
    space: Krylov,
    key: PRNGKeyArray,
    num_pairs: int,
    which: Which,
    tolerance: float,
    eps: float,
    most: int,
    held: int,
    callback: Callable[[Ritz], None] | None,
) -> tuple[Krylov, Ritz, Int[np.ndarray, " k"], Bool[np.ndarray, " k"], bool]:
    """Grow the space until (1) holds for what is chosen, or the products are spent."""
    exhausted, looked = False, 0
    with progress("eigenpairs", most, None) as update:
        while True:
            space = grow(matvec, space, key)
            if not np.isfinite(space.T[: space.count, space.done - 1]).all():
                raise InputError(
                    "A product with the operator is not finite: the loss has no "
                    "curvature at these parameters. `steepest.locate_nonfinite` on its "
                    "gradient names the operation."
                )
            exhausted |= space.last_break >= 0
            spent = space.products >= most or space.done == space.size
            due = space.done - looked >= max(1, space.done // 12)
            # With as many rows as dimensions no step adds one.
            full = held < space.count + 1 <= space.size and not spent
            if space.done < num_pairs or not (due or spent or full):
                continue
            looked = space.done
            found = ritz(space)
            if callback is not None:
                callback(found)
            chosen = select(found.values, num_pairs, which)
            size = float(np.abs(found.values).max())
            floor = FLOOR * eps * size
            limit = np.maximum(tolerance * np.abs(found.values), floor)
            good = found.residuals <= limit
            update(space.products, f"{int(good[chosen].sum())} of {num_pairs} found")
            whole = space.done == space.size
            if whole or (good[chosen].all() and settled(space, found, chosen, limit)):
                return space, found, chosen, good[chosen] | whole, exhausted
            if spent:
                return space, found, chosen, good[chosen], exhausted
            if full:
                more = min(held - 2, num_pairs + (held - num_pairs) // 2)
                space = restart(space, np.sort(select(found.values, more, which)))
                looked = space.done


def settled(
    space: Krylov,
    found: Ritz,
    chosen: Int[np.ndarray, " k"],
    limit: Float[np.ndarray, " j"],
) -> bool:
    """Whether a space that was exhausted has been left for long enough.

    The rows after a break are a Krylov space of their own, whose outermost Ritz values
    may still move outwards past those chosen: one that is not converged must not lie
    among the rest until its residual says that it cannot.
    """
    if space.last_break < 0 or len(chosen) == 1:
        return True
    since = space.last_break
    if since == space.done:
        return False  # nothing of the new space is known yet
    weight = np.sum(found.S[since:] ** 2, axis=0)
    new = np.flatnonzero(weight >= min(0.5, weight.max()))  # copies may be mixed
    ends = new[[0, -1]]
    return bool((found.residuals[ends] <= limit[ends]).all())


def select(
    values: Float[np.ndarray, " j"], num: int, which: Which
) -> Int[np.ndarray, " k"]:
    """Which Ritz values are meant, best first; `values` ascend."""
    order = np.arange(len(values))
    num = min(num, len(values))
    match which:
        case "largest":
            return order[::-1][:num]
        case "smallest":
            return order[:num]
        case "magnitude":
            return np.argsort(-np.abs(values), kind="stable")[:num]
        case "both":
            top = (num + 1) // 2
            return np.r_[order[::-1][:top], order[: num - top]]
        case int() | float():
            return np.argsort(np.abs(values - which), kind="stable")[:num]
        case _:
            raise InputError(
                f"`which` is {which!r}; it must be 'largest', 'smallest', 'both', "
                "'magnitude' or a number."
            )


def result(
    operator: Operator,
    space: Krylov,
    found: Ritz,
    chosen: Int[np.ndarray, " k"],
    good: Bool[np.ndarray, " k"],
    eps: float,
    exhausted: bool,
    steps: int,
) -> Eigenpairs:
    """Put the chosen pairs into the structure of the parameters."""
    v = vectors(space, found.S[:, chosen]).astype(operator.theta.dtype)
    floor = FLOOR * eps * float(np.abs(found.values).max())
    spread = float(found.values[-1] - found.values[0])
    whole = space.done == operator.size
    return Eigenpairs(
        values=found.values[chosen],
        vectors=jax.vmap(operator.unravel)(v),
        residuals=found.residuals[chosen] + floor / FLOOR,
        converged=good,
        floor=floor,
        beyond=0.0 if whole or exhausted else hiding(operator.size, steps, spread),
        exhausted=exhausted,
        num_products=space.products,
    )


def hiding(n: int, steps: int, spread: float) -> float:
    """ε · spread of (2), where the spread itself is known only up to 2 ε."""
    root = np.log(1.648 * np.sqrt(n) / CHANCE) / (2 * steps - 1)
    epsilon = min(1.0, root**2)
    return float("inf") if epsilon >= 0.5 else epsilon * spread / (1 - 2 * epsilon)


def check_counts(n: int, pairs: int, block: int, most: int | None) -> None:
    """Refuse numbers that make no sense for n parameters."""
    for name, value in (("num_pairs", pairs), ("block", block)):
        if value < 1:
            raise InputError(f"`{name}` must be at least 1, not {value}.")
        if value > n:
            raise InputError(
                f"`{name}` is {value}, but there are only {n} parameters and as many "
                "eigenpairs; ask for at most that many."
            )
    if most is not None and most < pairs:
        raise InputError(
            f"`max_products` is {most}; {pairs} eigenpairs need at least as many."
        )
