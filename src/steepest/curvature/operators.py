"""Symmetric matrices of a loss, as operators: Hessian, Gauss-Newton, Fisher.

An `Operator` is a matrix A that is only ever multiplied with vectors. Those of a loss
L = ℓ ∘ f with outputs z = f(θ) and Jacobian J are

    hessian        H = ∇²L                                                   (1)
    gauss_newton   G = Jᵀ ∇²ℓ(z) J                                           (2)
    fisher         F = (1/m) Σᵢ Σₛ wᵢₛ Jᵢᵀ gᵢₛ gᵢₛᵀ Jᵢ,   gᵢₛ = ∇_z ℓ(zᵢ, yᵢₛ)      (3)

(3) is the empirical Fisher where yᵢ are the labels, the Monte Carlo Fisher where yᵢₛ are
drawn from the model with wᵢₛ = 1/S, and the true Fisher where yᵢₛ runs over all outcomes
with wᵢₛ = p(yᵢₛ | zᵢ). For a softmax or a Gaussian with fixed variance the true Fisher is
G. The empirical one is not an estimate of it.

The derivative is linearised once, so that the part of it that does not depend on v is
paid once and each product costs one and a half gradients instead of two. Over a data
set (`data`), the matrix of the mean loss

    H = Σ_b (m_b / m) H_b                                                    (4)

is summed batch by batch, and nothing larger than a batch is held.

References
    Schraudolph (2002), Fast curvature matrix-vector products.               -- (2)
    Martens (2020), New insights and perspectives on the natural gradient method.
    Kunstner, Balles & Hennig (2019), Limitations of the empirical Fisher.   -- (3)
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh
from jaxtyping import Array, Float, PyTree

from ..core import mesh as meshes, pytree
from ..core.errors import InputError, type_name
from ..core.progress import progress
from ._refusals import (
    check,
    check_diagonal,
    check_direction,
    check_params,
    no_while_loop,
)
from .products import Params, forward_or, hvp, jacobian_product, refused


Vector = Float[Array, " n"]
DENSE = 4096  # parameters: a matrix of 128 MB in float64


@dataclass(frozen=True)
class Operator:
    """A symmetric matrix on the parameters, known by its products alone.

    `A @ v` is the product with a pytree `v` in the structure of the parameters, or with
    a vector of their length.
    """

    matvec: Callable[[Vector], Vector]  # on raveled parameters
    theta: Vector  # where it was taken, raveled
    unravel: Callable[[Vector], Params]
    name: str = "Hessian"

    @property
    def size(self) -> int:
        """The number of parameters n."""
        return self.theta.size

    def __matmul__(self, v: Any) -> Any:
        flat = self._flat(v)
        found = self.matvec(flat)
        return found if self._is_vector(v) else self.unravel(found)

    def quadratic(self, v: Params) -> Float[Array, ""]:
        """vᵀAv."""
        flat = self._flat(v)
        return flat @ self.matvec(flat)

    @cached_property
    def _like(self) -> Params:
        """Structure and shapes of the parameters."""
        return jax.eval_shape(self.unravel, self.theta)

    def _is_vector(self, v: Any) -> bool:
        return getattr(v, "shape", None) == self.theta.shape

    def _flat(self, v: Any) -> Vector:
        """`v` as a vector in the dtype of the products."""
        if not self._is_vector(v):
            if hasattr(v, "shape") and hasattr(self._like, "shape"):
                raise InputError(
                    f"The vector has the shape {v.shape}; a matrix of {self.size} × "
                    f"{self.size} takes one of {self._like.shape}."
                )
            if hasattr(v, "shape"):
                raise InputError(
                    f"The vector has the shape {v.shape}; pass one of ({self.size},), "
                    f"or arrays in the structure of `params`, "
                    f"{jax.tree.structure(self._like)}."
                )
            check_direction(self._like, v)
        for leaf in jax.tree.leaves(v):
            if jnp.iscomplexobj(leaf):
                raise InputError(
                    "The vector is complex; multiply its real and imaginary parts one "
                    "by one."
                )
        if self._is_vector(v):
            return jnp.asarray(v).astype(self.theta.dtype)
        leaves = [jnp.ravel(jnp.asarray(x)) for x in jax.tree.leaves(v)]
        return jnp.concatenate([x.astype(self.theta.dtype) for x in leaves])

    def dense(self) -> Float[Array, "n n"]:
        """The matrix itself, by n products, made symmetric.

        Raises `InputError` beyond 4096 parameters.
        """
        if self.size > DENSE:
            raise InputError(
                f"A dense matrix of {self.size} × {self.size} is too large; its "
                "products (`operator @ v`) and `eigenpairs` need no matrix."
            )
        eye = jnp.eye(self.size, dtype=self.theta.dtype)
        rows = jnp.stack([self.matvec(e) for e in eye])
        return (rows + rows.T) / 2

    def __repr__(self) -> str:
        return f"<{self.name}: {self.size} × {self.size}, {self.theta.dtype}>"


def hessian(
    loss: Callable[..., Float[Array, ""]],
    params: Params,
    *,
    data: PyTree | Iterable[PyTree] | None = None,
    batch_size: int = 512,
    mesh: Mesh | None = None,
) -> Operator:
    """The Hessian (1) of `loss(params)`, or with `data` that of `loss(params, batch)`.

    `data` is a pytree of arrays with a common first axis, cut into batches of
    `batch_size`, or a list of batches; the loss must be a mean over its batch. With
    `mesh` each batch is split over the devices of its first axis.

    Raises `InputError` for a loss that is not one floating-point number, parameters that
    are not floating-point arrays, and data without a common first axis.
    """
    if data is not None:
        return summed(
            lambda p, v, batch: hvp(lambda q: loss(q, batch), p, v),
            loss,
            params,
            batches(data, batch_size, mesh),
            mesh,
            "Hessian",
        )
    check(loss, params)
    theta, unravel = ravel_pytree(params)

    def gradient(t: Vector) -> Vector:
        return ravel_pytree(jax.grad(loss)(unravel(t)))[0]

    def reverse(v: Vector) -> Vector:
        return jax.grad(lambda t: gradient(t) @ v)(theta)

    with no_while_loop(loss):
        product = forward_or(
            lambda: linearized(gradient, theta)[1], lambda: jax.jit(reverse)
        )
    return Operator(product, theta, unravel, "Hessian")


def gauss_newton(
    outputs: Callable[..., PyTree],
    output_loss: Callable[..., Float[Array, ""]],
    params: Params,
    *,
    data: PyTree | Iterable[PyTree] | None = None,
    batch_size: int = 512,
    mesh: Mesh | None = None,
) -> Operator:
    """The generalised Gauss-Newton matrix (2) of `output_loss(outputs(params))`.

    With `data` the functions are `outputs(params, batch)` and `output_loss(z, batch)`,
    the latter a mean over the batch: see `hessian`. It is positive semidefinite where
    `output_loss` is convex in z.
    """
    if data is not None:

        def product(p: Params, v: Params, batch: PyTree) -> Params:
            with no_while_loop(outputs):
                z, pull = jax.vjp(lambda q: outputs(q, batch), p)
            u = jacobian_product(lambda q: outputs(q, batch), p, v)
            return pull(hvp(lambda s: output_loss(s, batch), z, u))[0]

        return summed(
            product,
            lambda p, batch: output_loss(outputs(p, batch), batch),
            params,
            batches(data, batch_size, mesh),
            mesh,
            "Gauss-Newton",
        )
    check(lambda p: output_loss(outputs(p)), params)
    theta, unravel = ravel_pytree(params)
    with no_while_loop(outputs):
        push, pull, z = jacobian(lambda t: outputs(unravel(t)), theta)
    with no_while_loop(output_loss):
        curve = jax.linearize(jax.jit(jax.grad(output_loss)), z)[1]
    return Operator(lambda v: pull(curve(push(v))), theta, unravel, "Gauss-Newton")


def fisher(
    outputs: Callable[[Params], Float[Array, "m ..."]],
    output_loss: Callable[..., Float[Array, ""]],
    params: Params,
    targets: Any,
    *,
    weights: Float[Array, "s m"] | None = None,
) -> Operator:
    """The Fisher matrix (3): empirical, Monte Carlo or true, by its `targets`.

    `outputs(params)` has the example as its first axis, and `output_loss(z, y)` is the
    negative log-likelihood of one example. `targets` has the axes `(s, m, ...)`: s
    outcomes for each of m examples. `weights` are the wᵢₛ of (3), `(s, m)`, 1/s where
    None. So

        fisher(f, nll, params, y[None])                                empirical
        fisher(f, nll, params, draws)                                  Monte Carlo
        fisher(f, nll, params, classes, weights=probabilities)         true

    Raises `InputError` where the axes do not fit.
    """
    check_params(params)
    theta, unravel = ravel_pytree(params)
    z = jax.eval_shape(outputs, params)
    if not jnp.shape(z):
        kind = "one number" if hasattr(z, "shape") else type_name(z)
        raise InputError(
            f"`outputs` returns {kind}; it must return an array whose first axis is the "
            "example, and `output_loss` sees one of them."
        )
    with no_while_loop(outputs):
        push, pull, z = jacobian(lambda t: outputs(unravel(t)), theta)
    shape = jnp.shape(targets)
    if len(shape) < 2 or shape[1] != len(z):
        raise InputError(
            f"`targets` has the shape {shape}; it needs the axes (outcomes, examples), "
            f"with {len(z)} examples: `targets[None]` for one label each."
        )
    if weights is None:
        weights = jnp.full(shape[:2], 1 / shape[0], z.dtype)
    if weights.shape != shape[:2]:
        raise InputError(
            f"`weights` has the shape {weights.shape}; it needs that of the first two "
            f"axes of `targets`, {shape[:2]}."
        )
    per_example = jax.vmap(jax.grad(output_loss))
    scores = jax.jit(jax.vmap(per_example, (None, 0)))(z, targets)  # (s, m, ...)
    axes = tuple(range(2, scores.ndim))

    @jax.jit
    def outer(u: Array) -> Array:
        along = jnp.sum(scores * u[None], axes) * weights / len(z)
        return jnp.sum(scores * along.reshape(along.shape + (1,) * len(axes)), 0)

    return Operator(lambda v: pull(outer(push(v))), theta, unravel, "Fisher")


def restricted(operator: Operator, keep: Callable[[str], bool]) -> Operator:
    """The diagonal block of an operator on the arrays whose path `keep` accepts.

    `restricted(H, lambda path: path.startswith("layers[0]"))`: a layer or any subtree.
    Its eigenvalues lie between those of the whole (Cauchy). Its vectors are tuples of
    the arrays kept, in their order.

    Raises `InputError` when nothing is kept.
    """
    params = operator.unravel(operator.theta)
    leaves, names = jax.tree.leaves(params), pytree.paths(params)
    ends = np.cumsum([leaf.size for leaf in leaves])
    chosen = [i for i, name in enumerate(names) if keep(name)]
    if not chosen:
        raise InputError(f"No parameter was kept; their paths are {', '.join(names)}.")
    index = jnp.concatenate(
        [jnp.arange(ends[i] - leaves[i].size, ends[i]) for i in chosen]
    )
    theta, unravel = ravel_pytree(tuple(leaves[i] for i in chosen))

    def matvec(v: Vector) -> Vector:
        whole = jnp.zeros_like(operator.theta).at[index].set(v)
        return operator.matvec(whole)[index]

    return Operator(matvec, theta, unravel, f"{operator.name}, a block")


def blocks(operator: Operator) -> dict[str, Operator]:
    """The diagonal block of every parameter array, under its path."""
    names = pytree.paths(operator.unravel(operator.theta))
    return {name: restricted(operator, name.__eq__) for name in names}


def preconditioned_operator(operator: Operator, preconditioner: Params) -> Operator:
    """P^{-1/2} A P^{-1/2} for a positive diagonal P, in the structure of `params`.

    Raises `InputError` for a P of another structure or shapes, and outside of `jit` for
    one that is not positive and finite.
    """
    check_diagonal(operator._like, preconditioner)
    scale = jax.lax.rsqrt(ravel_pytree(preconditioner)[0]).astype(operator.theta.dtype)
    return Operator(
        lambda v: scale * operator.matvec(scale * v),
        operator.theta,
        operator.unravel,
        f"{operator.name}, preconditioned",
    )


def from_matrix(matrix: Any) -> Operator:
    """A symmetric matrix that is there already, as an operator.

    `matrix` is an array, or lists of numbers; integers become floating-point numbers.

    Raises `InputError` for what is not square, complex or not finite, and for a matrix
    that is not symmetric but for rounding, √eps of its largest entry.
    """
    matrix = jnp.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise InputError(
            f"The matrix has the shape {matrix.shape}; it must be square and not empty."
        )
    if jnp.iscomplexobj(matrix):
        raise InputError(
            "The matrix is complex; a Hermitian A + iB has the eigenvalues of the real "
            "[[A, -B], [B, A]], each twice."
        )
    if not jnp.issubdtype(matrix.dtype, jnp.floating):
        matrix = matrix.astype(jnp.result_type(float))
    if not isinstance(matrix, Tracer):
        A = np.asarray(matrix, np.float64)
        if not np.isfinite(A).all():
            raise InputError("The matrix holds NaN or infinities; pass finite numbers.")
        eps = float(jnp.finfo(matrix.dtype).eps)
        if np.abs(A - A.T).max() > eps**0.5 * np.abs(A).max():
            raise InputError(
                "The matrix is not symmetric, so that its products say nothing of its "
                "eigenvalues; pass (A + A.T) / 2 if its symmetric part is meant."
            )
    theta = jnp.zeros(len(matrix), matrix.dtype)
    return Operator(jax.jit(lambda v: matrix @ v), theta, lambda v: v, "matrix")


# -- What they share -------------------------------------------------------------------


def jacobian(
    fun: Callable[[Vector], PyTree], theta: Vector
) -> tuple[Callable[[Vector], PyTree], Callable[[PyTree], Vector], Any]:
    """v ↦ Jv, u ↦ Jᵀu and the outputs; one evaluation serves all."""
    try:
        z, push = linearized(fun, theta)
    except (TypeError, NotImplementedError) as error:
        if not refused(error):
            raise
        z, back = jax.vjp(jax.jit(fun), theta)
        forward = jax.jit(lambda v: jacobian_product(fun, theta, v))
        return forward, lambda u: back(u)[0], z
    transposed = jax.linear_transpose(push, theta)
    jax.eval_shape(transposed, z)  # refuses what only goes forwards
    return push, lambda u: transposed(u)[0], z


def linearized(
    fun: Callable[[Vector], Any], theta: Vector
) -> tuple[Any, Callable[[Vector], Any]]:
    """The outputs, and the derivative as a linear function, compiled apart.

    A program that refuses forward mode does so when the derivative is first compiled.
    """
    z, push = jax.linearize(jax.jit(fun), theta)
    push(jnp.zeros_like(theta))
    return z, push


def summed(
    product: Callable[[Params, Params, PyTree], Params],
    loss: Callable[..., Float[Array, ""]],
    params: Params,
    parts: Iterable[PyTree],
    mesh: Mesh | None,
    name: str,
) -> Operator:
    """The operator (4), batch by batch, with a progress bar where that takes long."""
    parts = list(parts)
    for batch in parts[:1] + parts[-1:]:
        check(lambda p, batch=batch: loss(p, batch), params)
    theta, unravel = ravel_pytree(meshes.replicate(params, mesh))
    counts = [examples(batch) for batch in parts]

    @jax.jit
    def add(total: Vector, v: Vector, batch: PyTree, weight: Array) -> Vector:
        one = ravel_pytree(product(unravel(theta), unravel(v), batch))[0]
        return total + weight * one

    def matvec(v: Vector) -> Vector:
        total = jnp.zeros_like(theta)
        with progress(f"one product with the {name}", len(parts)) as update:
            for i, batch in enumerate(parts):
                weight = jnp.asarray(counts[i] / sum(counts), theta.dtype)
                total = add(total, v, batch, weight)
                if i % 8 == 7:
                    total.block_until_ready()
                    update(i + 1, "")
        return total

    return Operator(matvec, theta, unravel, f"{name} of {sum(counts)} examples")


def batches(
    data: PyTree | Iterable[PyTree], size: int, mesh: Mesh | None = None
) -> list[PyTree]:
    """A data set cut into batches; a list of batches stays as it is."""
    if not isinstance(size, int | np.integer) or size < 1:
        raise InputError(
            f"`batch_size` must be a whole number, at least 1, not {size}."
        )
    if isinstance(data, list):
        parts: list[PyTree] = data
    else:
        count = examples(data)
        parts = [
            jax.tree.map(lambda a, i=i: a[i : i + size], data)
            for i in range(0, count, size)
        ]
    if not parts:
        raise InputError("`data` holds no batch.")
    if mesh is None:
        return parts
    for batch in parts:
        meshes.check_batch(examples(batch), mesh)
    return [jax.device_put(batch, meshes.batch_sharding(mesh)) for batch in parts]


def examples(batch: PyTree) -> int:
    """The length of the common first axis."""
    lengths = {len(a) if np.ndim(a) else 0 for a in jax.tree.leaves(batch)}
    if len(lengths) != 1 or 0 in lengths:
        raise InputError(
            "The arrays of `data` must have a common first axis, the example, that is "
            f"not empty; theirs are {sorted(lengths)}."
        )
    return lengths.pop()
