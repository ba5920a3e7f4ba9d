"""Pytrees of parameters as vectors of one space.

    ⟨a, b⟩ = Σ aᵢbᵢ,     ‖x‖ = M √Σ (xᵢ/M)²,  M = max |xᵢ|,     θ + t d        (1)

over all entries of all leaves. Sums are taken in the *working dtype*, the widest of the
leaves and float32 at least, so that half-precision parameters lose nothing there. With
the largest entry taken out the squares of (1) neither overflow nor vanish, which those
of the gradients far from a minimum do. θ + t d is computed in the dtype of t and rounded
once to those of θ.

NumPy's arrays are summed by NumPy, in float64 whatever JAX is told; JAX's by JAX.

References
    Blue (1978), A portable Fortran program to find the Euclidean norm of a vector.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree


def working_dtype(tree: PyTree) -> Any:  # a NumPy dtype, which has no one name
    """The widest dtype of the leaves, float32 at least; a leaf may be a dtype itself."""
    dtypes = [jnp.dtype(getattr(leaf, "dtype", leaf)) for leaf in jax.tree.leaves(tree)]
    wide = [jnp.dtype(jnp.float32), *dtypes]
    return max(wide, key=lambda dtype: jnp.finfo(dtype).bits)


def inner(a: PyTree, b: PyTree) -> Any:
    """The inner product ⟨a, b⟩ of two pytrees of one structure, in the working dtype.

    A scalar of JAX, or of NumPy where the leaves are NumPy's.
    """
    pairs = list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    numpy = np.ndarray | np.generic  # an array of no axes becomes a scalar in passing
    if pairs and all(isinstance(x, numpy) for pair in pairs for x in pair):
        return sum(np.vdot(x, y) for x, y in pairs)
    dtype = working_dtype((a, b))
    products = [jnp.vdot(x.astype(dtype), y.astype(dtype)) for x, y in pairs]
    return reduce(jnp.add, products) if products else jnp.zeros((), dtype)


def length(x: Float[Array, " n"] | Float[np.ndarray, " n"]) -> Any:
    """‖x‖ of (1), whatever its size; a scalar of the library that x is of."""
    if isinstance(x, np.ndarray):
        most = float(np.abs(x).max(initial=0.0))
        return most * float(np.linalg.norm(x / most)) if most > 0 else 0.0
    return _length(x)


@jax.jit
def _length(x: Float[Array, " n"]) -> Float[Array, ""]:
    most = jnp.max(jnp.abs(x), initial=0)
    return most * jnp.linalg.norm(x / jnp.where(most > 0, most, 1))


def moved(params: PyTree, direction: PyTree, t: Float[Array, ""]) -> PyTree:
    """θ + t d, rounded once to the dtypes of `params`."""
    return jax.tree.map(
        lambda p, d: (p.astype(t.dtype) + t * d.astype(t.dtype)).astype(p.dtype),
        params,
        direction,
    )


@dataclass(frozen=True)
class OnVector:
    """A function of a pytree as one of a vector.

    Equal for equal functions and structures, so that what is compiled for one call
    serves the next: `ravel_pytree` makes a new function each time.
    """

    fun: Callable[[PyTree], Any]
    structure: Any  # a PyTreeDef
    leaves: tuple[tuple[tuple[int, ...], Any], ...]  # shape and dtype of each

    def __call__(self, theta: Float[Array, " n"]) -> Any:
        return self.fun(self.unravel(theta))

    def unravel(self, theta: Float[Array, " n"]) -> PyTree:
        """The pytree with these entries."""
        if self.leaves == ((theta.shape, theta.dtype),):
            return jax.tree.unflatten(self.structure, [theta])
        parts, at = [], 0
        for shape, dtype in self.leaves:
            size = int(np.prod(shape))
            parts.append(theta[at : at + size].reshape(shape).astype(dtype))
            at += size
        return jax.tree.unflatten(self.structure, parts)


def on_vector(
    fun: Callable[[PyTree], Any], params: PyTree
) -> tuple[OnVector, Float[Array, " n"]]:
    """The function on vectors, and the vector of `params`."""
    leaves, structure = jax.tree.flatten(params)
    shapes = tuple((tuple(jnp.shape(x)), jnp.dtype(x.dtype)) for x in leaves)
    try:
        hash(fun)
    except TypeError:
        unhashable = fun
        fun = lambda params: unhashable(params)
    return OnVector(fun, structure, shapes), ravel_pytree(params)[0]
