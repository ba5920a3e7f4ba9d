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
random vector has a part in every eigenspace. Copies of an eigenvalue are looked for from
a second random vector (`_copies`); `complete` says whether that was decided.

References
    Parlett (1998), The Symmetric Eigenvalue Problem, §§11.7, 13.
    Kuczyński & Woźniakowski (1992), Estimating the largest eigenvalue by the power and
    Lanczos algorithms with a random start.                                  -- (2)
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ..core.errors import InputError
from ..core.progress import hidden, progress
from ..core.vectors import working_dtype
from ._copies import missing
from ._krylov import Krylov, Ritz, begin, grow, joined, restart, ritz, vectors
from .operators import Operator
from .products import Params


Which = Literal["largest", "smallest", "both", "magnitude"] | float
FLOOR = 32.0  # in units of eps ‖T‖
CHANCE = 1e-3  # of (2)
BASIS = 256  # vectors held, before a restart, and more while they fit into
HELD = 2**28  # bytes
LEAST = 8  # products that look for copies, at least; else an eighth of all
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
    complete: bool  # a second start found nothing missing among them
    num_products: int

    def __str__(self) -> str:
        rows = [
            f"  {value:14.7g}  ± {residual:.1e}{'' if good else '   not converged'}"
            for value, residual, good in zip(
                self.values, self.residuals, self.converged, strict=True
            )
        ]
        head = f"{len(rows)} eigenvalues, {self.num_products} products"
        head += ", exhausted" * self.exhausted
        head += ", copies of them may be missing" * (not self.complete)
        return "\n".join([head + ":", *rows])


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
      number at once; further copies are looked for when the pairs have converged.
    - `start`: the vector of an earlier pair nearby, which saves products; a random part
      as long is added.
    - `callback`: is called with the Ritz pairs at every look.

    The basis takes up to 256 vectors of memory, or 256 MB if that is more.
    Read `converged` before the values.

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

    space, complete, least, extra = begin(starts, step_key), False, 0, 0
    with jax.default_matmul_precision("highest"), hidden():
        for again in range(n):
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
                least,
                callback,
            )
            whole = space.done == n
            left = (max_products or 2 * max(n, WHOLE)) - space.products - extra
            complete = whole or single(num_pairs, which)
            if complete or left <= 0 or not good.all():
                break
            values = found.values[chosen]
            floor = FLOOR * eps * float(np.abs(found.values).max())
            more = missing(
                matvec,
                vectors(space, found.S[:, chosen]),
                values,
                partial(margin, values, which),
                slack=floor + float(found.residuals[chosen].max()),
                most=min(left, n if n <= WHOLE else max(LEAST, space.products // 8)),
                key=jax.random.fold_in(start_key, again),
            )
            extra, complete = extra + more.products, more.complete
            if more.vectors is None:
                break
            space = joined(space, more.vectors, step_key)
            least = space.count
    steps = min(space.products, held)  # the Krylov dimension, whatever was restarted
    pairs = result(operator, space, found, chosen, good, eps, exhausted, steps)
    spent = space.products + extra
    return pairs._replace(complete=complete, num_products=spent)


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
    least: int,
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
            enough = space.done >= max(num_pairs, least)
            if not (spent or (enough and due) or full) or space.done < num_pairs:
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
            if whole or (enough and good[chosen].all()):
                return space, found, chosen, good[chosen] | whole, exhausted
            if spent:
                return space, found, chosen, good[chosen], exhausted
            if full:
                more = min(held - 2, num_pairs + (held - num_pairs) // 2)
                space = restart(space, np.sort(select(found.values, more, which)))
                looked = space.done


def single(num_pairs: int, which: Which) -> bool:
    """Whether only outermost values are asked for, of which copies do not matter."""
    return num_pairs == 1 or (num_pairs == 2 and which == "both")


def margin(
    chosen: Float[np.ndarray, " k"], which: Which, values: Float[np.ndarray, " m"]
) -> Float[np.ndarray, " m"]:
    """How far each value lies outside of the innermost of those chosen."""
    match which:
        case "largest":
            return values - chosen.min()
        case "smallest":
            return chosen.max() - values
        case "magnitude":
            return np.abs(values) - np.abs(chosen).min()
        case "both":
            top = (len(chosen) + 1) // 2
            return np.maximum(values - chosen[:top].min(), chosen[top:].max() - values)
        case _:
            return np.abs(chosen - which).max() - np.abs(values - which)


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
        complete=whole,
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
