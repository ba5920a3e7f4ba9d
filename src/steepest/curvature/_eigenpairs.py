"""Extreme eigenpairs of a symmetric operator, each with a certificate.

A Krylov space (`_krylov`) is grown until every Ritz pair (μ, v) that is asked for has

    ‖A v − μ v‖ ≤ max(tolerance · |μ|, floor),                               (1)
    floor = max(32 eps ‖T‖, four times the rounding seen),

or the products are spent. The residual r of (1) proves an eigenvalue within r of μ; with
a gap γ to the rest of the spectrum it lies within r²/γ (Parlett). The gap is read off
the other Ritz values and their residuals, and

    error = min(r, r²/γ)                                                     (2)

is an estimate where r is proved. Without a tolerance of the caller's, r ≤ √eps |μ| and
error ≤ 10⁻⁶ |μ| are asked for. Below the floor digits mean nothing: in float32 no
eigenvalue under some 4 · 10⁻⁶ of the largest can be told from zero. The rounding seen is
what T lacks in symmetry; where parameters are of a narrower format than the basis, eps of
that format is added to r.

What a residual does not prove is that no further eigenvalue lies beyond. For a random
start in n dimensions, after k products the distance of the outermost Ritz value to the
outermost eigenvalue is at most the share ε of the spread λ_max − λ_min, but for a chance of

    p = 1.648 √n exp(−√ε (2k − 1))                                           (3)

(Kuczyński & Woźniakowski 1992, theorem 4.2); `beyond` is ε · spread at p = 10⁻³, and 0
where the whole space was searched, or the Krylov space of the start was exhausted: a
random vector has a part in every eigenspace. Copies of an eigenvalue are looked for from
a second random vector (`_copies`); `complete` says whether that was decided.

References
    Parlett (1998), The Symmetric Eigenvalue Problem, §§11.7, 13.
    Kuczyński & Woźniakowski (1992), Estimating the largest eigenvalue by the power and
    Lanczos algorithms with a random start.                                  -- (3)
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ..core.errors import InputError
from ..core.progress import hidden, progress
from ..core.vectors import working_dtype
from ._certificates import (
    Bar,
    Found,
    Which,
    bar_of,
    hiding,
    judged,
    margin,
    select,
    single,
)
from ._copies import missing
from ._krylov import Krylov, Ritz, begin, grow, joined, restart, ritz, vectors
from .operators import Operator
from .products import Params


BASIS = 256  # vectors held, before a restart, and more while they fit into
HELD = 2**28  # bytes
LEAST = 8  # products of any search, at least; of one for copies an eighth of all
WHOLE = 1024  # products that are always allowed: small matrices are searched whole


NOT_FINITE = (
    "A product with the operator is not finite: the loss has no curvature at these "
    "parameters. `steepest.locate_nonfinite` on its gradient names the operation."
)


class Eigenpairs(NamedTuple):
    """Eigenvalues, their vectors, and what is known of their errors."""

    values: Float[np.ndarray, " k"]  # in the order of `which`
    vectors: Params  # unit vectors, stacked along a first axis of length k
    residuals: Float[np.ndarray, " k"]  # ‖A v − μ v‖: an eigenvalue lies as near
    errors: Float[np.ndarray, " k"]  # (2): how near it probably lies
    converged: Bool[np.ndarray, " k"]  # whether (1) holds
    floor: float  # the rounding of the products: no digit below it
    beyond: float  # how far out another eigenvalue may hide, by (3)
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
        end = ""
        if self.beyond > max(self.residuals.max(), 1e-2 * np.abs(self.values).max()):
            end = "of what lies further out so few products tell little"
        return "\n".join([head + ":", *rows] + ["  " + end] * bool(end))


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
    - `tolerance`: relative residual at which a pair has converged; where None, √eps and
      an error of 10⁻⁶.
    - `max_products`: products with the operator, at most; where None, 1024, or 300 and
      10 for each pair if that is more. As many as there are parameters are always
      enough: then the answer is exact.
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
    check_wishes(operator, which, tolerance, start)
    bar = bar_of(operator, tolerance)
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

    def grown(space: Krylov, least: int) -> Found:
        least = max(least, num_pairs, LEAST * block)
        wanted = (num_pairs, which, bar, min(least, n), most, held)
        return search(matvec, space, step_key, *wanted, callback)

    with jax.default_matmul_precision("highest"), hidden():
        found = grown(begin(starts, step_key), 0)
        degree = min(found.space.products, held) // block  # whatever was restarted
        exhausted, extra, complete = found.exhausted, 0, False
        for again in range(n):
            left = (max_products or 2 * max(n, WHOLE)) - found.space.products - extra
            complete = found.space.done == n or single(num_pairs, which)
            if complete or left <= 0 or not found.good.all():
                break
            more = missing(
                matvec,
                vectors(found.space, found.ritz.S[:, found.chosen]),
                found.values,
                partial(margin, found.values, which),
                slack=found.floor + float(found.residuals.max()),
                least=LEAST,
                most=min(left, n if n <= WHOLE else max(LEAST, degree // 8)),
                key=jax.random.fold_in(start_key, again),
            )
            extra, complete = extra + more.products, more.complete
            if more.vectors is None:
                break
            space = joined(found.space, more.vectors, step_key)
            found = grown(space, space.count)
            exhausted |= found.exhausted
    whole, spread = found.space.done == n, float(np.ptp(found.ritz.values))
    return Eigenpairs(
        values=found.values,
        vectors=jax.vmap(operator.unravel)(
            vectors(found.space, found.ritz.S[:, found.chosen]).astype(dtype)
        ),
        residuals=found.residuals,
        errors=found.errors,
        converged=found.good,
        floor=found.floor,
        beyond=0.0 if whole or exhausted else hiding(n, degree, spread),
        exhausted=exhausted,
        complete=complete,
        num_products=found.space.products + extra,
    )


def search(
    matvec: Callable[[Any], Any],
    space: Krylov,
    key: PRNGKeyArray,
    num_pairs: int,
    which: Which,
    bar: Bar,
    least: int,
    most: int,
    held: int,
    callback: Callable[[Ritz], None] | None,
) -> Found:
    """Grow the space until (1) holds for what is chosen, or the products are spent."""
    exhausted, looked = False, 0
    with progress("eigenpairs", most, None) as update:
        while True:
            space = grow(matvec, space, key)
            if not np.isfinite(space.T[: space.count, space.done - 1]).all():
                raise InputError(NOT_FINITE)
            exhausted |= space.last_break >= 0
            whole = space.done == space.size
            spent = space.products >= most or whole
            due = space.done - looked >= max(1, space.done // 12)
            # With as many rows as dimensions no step adds one.
            full = held < space.count + 1 <= space.size and not spent
            enough = exhausted or space.done >= least
            if not (spent or (enough and due) or full) or space.done < num_pairs:
                continue
            looked = space.done
            found = judged(space, ritz(space), num_pairs, which, bar, exhausted)
            if callback is not None:
                callback(found.ritz)
            update(space.products, f"{int(found.good.sum())} of {num_pairs} found")
            if spent or (enough and found.good.all()):
                return found
            if full:
                more = min(held - 2, num_pairs + (held - num_pairs) // 2)
                keep = np.sort(select(found.ritz.values, more, which))
                space = restart(space, keep)
                looked = space.done


def check_wishes(
    operator: Operator, which: Which, tolerance: float | None, start: Params | None
) -> None:
    """Refuse a place, a tolerance or a start that cannot be meant."""
    if isinstance(which, int | float) and not np.isfinite(which):
        raise InputError(f"`which` is {which}; a place in the spectrum is finite.")
    if tolerance is not None and not tolerance > 0:
        raise InputError(f"`tolerance` must be positive, not {tolerance}.")
    if start is None:
        return
    flat = ravel_pytree(start)[0]
    if flat.size != operator.size or not jnp.issubdtype(flat.dtype, jnp.floating):
        raise InputError(
            f"`start` holds {flat.size} numbers of {flat.dtype}, the parameters "
            f"{operator.size} floating-point ones; pass one vector of earlier "
            "`vectors`, without their first axis."
        )
    if not bool(jnp.isfinite(flat).all()):
        raise InputError("`start` holds values that are not finite; leave it out.")


def check_counts(n: int, pairs: int, block: int, most: int | None) -> None:
    """Refuse numbers that make no sense for n parameters."""
    for name, value in (("num_pairs", pairs), ("block", block)):
        if not isinstance(value, int | np.integer):
            raise InputError(f"`{name}` must be a whole number, not {value!r}.")
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
