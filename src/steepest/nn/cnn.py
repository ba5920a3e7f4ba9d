"""A small convolutional network for small pictures.

Two 3×3 convolutions with a stride of 2 after the second, and an affine layer. Stride
instead of pooling: on a CPU it costs a quarter.

Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, §9.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._initialise import initialise
from .mlp import ACTIVATIONS


class CNN(eqx.Module):
    """`(batch, height, width, channels) -> (batch, outputs)`."""

    filters: list[Float[Array, "height width inputs outputs"]]
    offsets: list[Float[Array, " outputs"]]
    weight: Float[Array, "features outputs"]
    bias: Float[Array, " outputs"]
    activation: str = eqx.field(static=True)

    @classmethod
    def init(
        cls,
        image: Sequence[int],
        channels: Sequence[int],
        outputs: int,
        activation: str = "relu",
        *,
        key: PRNGKeyArray,
    ) -> "CNN":
        """For pictures of shape `image` = (height, width, channels)."""
        height, width, depth = image
        keys = jax.random.split(key, len(channels) + 1)
        filters = []
        for k, m in zip(keys, channels, strict=False):
            filters.append(initialise(activation, (3, 3, depth, m), key=k))
            depth = m
        features = -(-height // 2) * -(-width // 2) * depth
        weight = initialise("identity", (features, outputs), key=keys[-1])
        offsets = [jnp.zeros(m) for m in channels]
        return cls(filters, offsets, weight, jnp.zeros(outputs), activation)

    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch outputs"]:
        phi = ACTIVATIONS[self.activation]
        last = len(self.filters) - 1
        for i, (F, b) in enumerate(zip(self.filters, self.offsets, strict=True)):
            stride = (2, 2) if i == last else (1, 1)
            x = jax.lax.conv_general_dilated(
                x, F, stride, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = phi(x + b[None, None, None])
        return x.reshape(len(x), -1) @ self.weight + self.bias[None]
