"""One update: the gradient of the loss on a batch, and the step it leads to.

    g = ∇_θ (1/A) Σₐ J(θ; batchₐ)                                             (1)
    θ ← θ + u(g, optimiser state)                                            (2)

with A accumulated batches. The loss may be computed in a narrower format; parameters,
gradients and the update stay in float32. float16 overflows above 65504 and loses what
is below 6e-8, so its loss is multiplied by a scale s and the gradient divided by it
(Micikevicius et al. 2018): an update with a non-finite gradient is skipped and s halved,
and after 200 good ones s is doubled. s does not go below 1: what overflows there is not
the scale's doing.

Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, §8.1.3.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from ..core import pytree
from .problem import Aux, Loss


PATIENCE = 200  # good updates before the loss scale is doubled
LARGEST_SCALE = 2.0**24


class Carry(NamedTuple):
    """All that changes from one update to the next."""

    params: PyTree
    rest: PyTree
    state: PyTree
    moments: PyTree  # the optimiser's state
    scale: Float[Array, ""] | None  # of the loss, when computing in float16
    good: Int[Array, ""] | None  # updates since the scale changed


class Outcome(NamedTuple):
    """What an update reports."""

    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    scale: Float[Array, ""] | None  # of the loss, in this update
    metrics: dict[str, Array]


class Program(NamedTuple):
    """The parts of a training program that steps and probes share."""

    taken: pytree.Trainable
    loss: Loss
    optimiser: optax.GradientTransformation
    precision: str


def start(program: Program, state: PyTree) -> Carry:
    """The carry before the first update."""
    params = program.taken.params
    scaled = program.precision == "float16"
    return Carry(
        params,
        program.taken.rest,
        jax.tree.map(jnp.asarray, state),
        program.optimiser.init(params),
        jnp.float32(2.0**15) if scaled else None,
        jnp.int32(0) if scaled else None,
    )


def loss_of(
    program: Program, params: PyTree, rest: PyTree, state: PyTree, batch: Any, key: Any
) -> tuple[Float[Array, ""], tuple[PyTree, PyTree, dict[str, Array]]]:
    """The loss as a function of the parameters; beside it, rest, state, metrics."""
    if program.precision != "float32":
        dtype = jnp.dtype(program.precision)
        params, batch = narrow(params, dtype), narrow(batch, dtype)
    model = program.taken.merge(params, rest)
    value, aux = program.loss(model, batch, key, state)
    aux = Aux(*aux)
    rest = like(rest, program.taken.split(model)[1])  # NNX changes it in place
    state = like(state, aux.state)
    return jnp.asarray(value).astype(jnp.float32), (rest, state, dict(aux.metrics))


def narrow(tree: PyTree, dtype: Any) -> PyTree:
    """Floating-point arrays in a narrower format."""

    def cast(x: Any) -> Any:
        return x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(cast, tree)


def like(old: PyTree, new: PyTree) -> PyTree:
    """`new` in the formats of `old`, so that a narrow loss leaves no trace in it."""

    def cast(o: Any, n: Any) -> Any:  # random keys outside of a trace know no astype
        other = hasattr(n, "astype") and n.dtype != o.dtype
        return n.astype(o.dtype) if other else n

    return jax.tree.map(cast, old, new)


def make_step(program: Program) -> Callable[[Carry, Any, Any], tuple[Carry, Outcome]]:
    """`step(carry, batches, key)`, where `batches` has a leading axis of length A."""

    def gradient(carry: Carry, rest: Any, state: Any, batch: Any, key: Any) -> Any:
        def objective(params: PyTree) -> Any:
            value, aux = loss_of(program, params, rest, state, batch, key)
            scaled = value if carry.scale is None else value * carry.scale
            return scaled, (value, aux)

        (_, (value, aux)), g = jax.value_and_grad(objective, has_aux=True)(carry.params)
        # Of a complex parameter JAX gives ∂L/∂w, whose conjugate points uphill.
        return value, aux, jax.tree.map(jnp.conj, g)

    def step(carry: Carry, batches: Any, key: Any) -> tuple[Carry, Outcome]:
        count = jax.tree.leaves(batches)[0].shape[0]
        if count == 1:
            batch = jax.tree.map(lambda a: a[0], batches)
            value, (rest, state, metrics), g = gradient(
                carry, carry.rest, carry.state, batch, key
            )
        else:
            value, (rest, state, metrics), g = accumulate(carry, batches, key, count)
        if carry.scale is not None:
            g = jax.tree.map(lambda x: x / carry.scale, g)
        norm = global_norm(g)
        updates, moments = program.optimiser.update(g, carry.moments, carry.params)
        params = optax.apply_updates(carry.params, updates)
        new = Carry(params, rest, state, moments, carry.scale, carry.good)
        if carry.scale is not None:
            new = rescale(carry, new, jnp.isfinite(norm))
        return new, Outcome(value, norm, carry.scale, metrics)

    def accumulate(carry: Carry, batches: Any, key: Any, count: int) -> Any:
        def add(total: Any, inputs: Any) -> Any:
            value, g, rest, state = total
            batch, k = inputs
            v, (rest, state, metrics), h = gradient(carry, rest, state, batch, k)
            return (value + v, jax.tree.map(jnp.add, g, h), rest, state), metrics

        zero = jax.tree.map(jnp.zeros_like, carry.params)
        first = (jnp.float32(0), zero, carry.rest, carry.state)
        keys = jax.random.split(key, count)
        (value, g, rest, state), metrics = jax.lax.scan(add, first, (batches, keys))
        mean = jax.tree.map(lambda x: x / count, g)
        last = jax.tree.map(lambda m: m[-1], metrics)
        return value / count, (rest, state, last), mean

    return step


def global_norm(g: PyTree) -> Float[Array, ""]:
    """‖g‖ over all arrays; products with themselves, which XLA does in one pass each."""
    squares = [jnp.vdot(x, x).real.astype(jnp.float32) for x in jax.tree.leaves(g)]
    return jnp.sqrt(sum(squares, start=jnp.float32(0)))


def rescale(old: Carry, new: Carry, finite: Array) -> Carry:
    """Keep the old carry if the gradient overflowed, and adapt the loss scale."""
    assert old.scale is not None and old.good is not None
    kept = jax.tree.map(lambda o, n: jnp.where(finite, n, o), old[:4], new[:4])
    good = jnp.where(finite, old.good + 1, 0)
    grow = good >= PATIENCE
    up = jnp.minimum(old.scale * 2, LARGEST_SCALE)
    down = jnp.maximum(old.scale / 2, 1.0)
    scale = jnp.where(finite, jnp.where(grow, up, old.scale), down)
    return Carry(*kept, scale=scale, good=jnp.where(grow, 0, good))
