"""How large the first weights are, so that signals neither fade nor grow.

For a layer z = Wx of fan-in n with independent weights of variance v,

    Var(z) = n v E[x²],                                                      (1)

so that depth L multiplies the variance by (n v c)^L, with c the share of E[x²] that the
non-linearity lets through: v = 1/n for tanh (LeCun 1998), 2/n for ReLU, which lets half
through (He et al. 2015), and 2/(n + m) as a compromise between the two directions
(Glorot & Bengio 2010).
"""

from typing import Any

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from ..core.errors import InputError


GAIN = {
    "relu": jax.nn.initializers.he_normal,
    "leaky_relu": jax.nn.initializers.he_normal,
    "gelu": jax.nn.initializers.he_normal,
    "silu": jax.nn.initializers.he_normal,
    "elu": jax.nn.initializers.he_normal,
    "tanh": jax.nn.initializers.glorot_normal,
    "sigmoid": jax.nn.initializers.glorot_normal,
    "identity": jax.nn.initializers.lecun_normal,
}


def initialise(
    activation: str, shape: tuple[int, ...], *, key: PRNGKeyArray
) -> Float[Array, "..."]:
    """Weights `(..., fan_in, fan_out)` of the scale that suits an activation.

    Raises `InputError` for an activation without a known gain.
    """
    if activation not in GAIN:
        raise InputError(
            f"`activation` must be one of {', '.join(GAIN)}, not {activation!r}."
        )
    make: Any = GAIN[activation]()
    return make(key, shape)
