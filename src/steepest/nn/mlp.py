"""The multilayer perceptron: layers of affine maps with a non-linearity between.

    h₀ = x,   hₗ = φ(hₗ₋₁ Wₗ + bₗ),   f(x) = h_{L−1} W_L + b_L                  (1)

Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, §6.
"""

import itertools
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._initialise import initialise


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "elu": jax.nn.elu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "identity": lambda x: x,
}


class MLP(eqx.Module):
    """Equation (1) on a batch: `(batch, inputs) -> (batch, outputs)`."""

    weights: list[Float[Array, "inputs outputs"]]
    biases: list[Float[Array, " outputs"]]
    activation: str = eqx.field(static=True)

    @classmethod
    def init(
        cls, sizes: Sequence[int], activation: str = "relu", *, key: PRNGKeyArray
    ) -> "MLP":
        """Layers of the given `sizes`, inputs first; weights to suit the activation."""
        keys = jax.random.split(key, len(sizes) - 1)
        shapes = list(itertools.pairwise(sizes))
        last = len(shapes) - 1
        weights = [
            initialise("identity" if i == last else activation, shape, key=k)
            for i, (shape, k) in enumerate(zip(shapes, keys, strict=True))
        ]
        return cls(weights, [jnp.zeros(m) for m in sizes[1:]], activation)

    def __call__(
        self, x: Float[Array, "batch inputs"]
    ) -> Float[Array, "batch outputs"]:
        phi = ACTIVATIONS[self.activation]
        for W, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = phi(x @ W + b[None])
        return x @ self.weights[-1] + self.biases[-1][None]
