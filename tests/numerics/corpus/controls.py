"""Negative controls: programs that are right, and look like those that are not.

None may be flagged, and none may change a bit. `gradient` says whether the gradient of
the sum of the outputs is right as well; `note` where a remark is in order, though not
an alarm.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import entr, log_ndtr, xlogy

from .case import f32, span


class Control(NamedTuple):
    name: str
    fun: Callable
    specs: tuple
    gradient: bool = True
    note: str = ""


LOGITS = span(-1e4, 1e4, 3)
WIDE = span(-1e4, 1e4)
ENORMOUS = span(-1e30, 1e30)


def shifted_exponentials(x):
    return jnp.exp(x - jnp.max(x))


def softmax_by_hand(x):
    e = jnp.exp(x - jnp.max(x, axis=-1, keepdims=True))
    return e / jnp.sum(e, axis=-1, keepdims=True)


def log_of_shifted_sum(x):
    return jnp.log(jnp.sum(jnp.exp(x - jnp.max(x))))


def logsumexp_by_hand(x):
    m = jax.lax.stop_gradient(jnp.max(x))
    return m + jnp.log(jnp.sum(jnp.exp(x - m)))


def softplus_by_hand(x):
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


def two_bounded_exponentials(x):
    return jnp.exp(-jax.nn.relu(x)) + jnp.exp(x - jax.nn.relu(x))


def root_of_relu(x):
    return jnp.sqrt(jax.nn.relu(x))


def batch_norm(x):
    centre, spread = jnp.mean(x, 0, keepdims=True), jnp.var(x, 0, keepdims=True)
    return (x - centre) * jax.lax.rsqrt(spread + 1e-5)


def double_where(x):
    positive = x > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, x, 1.0)), 0.0)


def double_where_ratio(s, n):
    some = n > 0
    return jnp.where(some, s / jnp.where(some, n, 1.0), 0.0)


def log_of_maximum(p):
    return jnp.log(jnp.maximum(p, jnp.finfo(jnp.float32).tiny))


def masked_mean(x, mask):
    return jnp.sum(x * mask) / jnp.maximum(jnp.sum(mask), 1.0)


def power_two(x):
    return jnp.power(x, 2.0)


def softmax_twice_used(x):
    p = jax.nn.softmax(x)
    return p * jax.nn.log_softmax(x)


def class_of_largest(x):
    return jnp.argmax(x, axis=-1) * 2 + 1


def counting(n):
    return (n * n + 3) // 2


def frozen(x):
    """A bad formula whose result is neither returned nor differentiated."""
    unused = jax.lax.stop_gradient(x) * 0.5
    return jnp.tanh(x) + jax.lax.stop_gradient(jax.nn.sigmoid(unused))


def passed_through(x):
    return jnp.concatenate([x, 2 * x])


def masked_logits(x):
    """−∞ on purpose: a softmax over what is left."""
    return jax.nn.softmax(x + jnp.log(np.float32([1, 0, 1])))


def attention(q, k, v):
    scores = q @ k.T / jnp.sqrt(jnp.float32(q.shape[-1]))
    causal = np.tril(np.ones((4, 4), bool))
    return jax.nn.softmax(jnp.where(causal, scores, -1e9), axis=-1) @ v


def layer_norm(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)


UNITS = (
    ("tanh", jnp.tanh),
    ("sigmoid", jax.nn.sigmoid),
    ("relu", jax.nn.relu),
    ("elu", jax.nn.elu),
    ("selu", jax.nn.selu),
    ("celu", jax.nn.celu),
    ("softplus", jax.nn.softplus),
    ("silu", jax.nn.silu),
    ("mish", jax.nn.mish),
)

CONTROLS = (
    Control(
        "log of softmax + 1e-9",
        lambda x: jnp.log(jax.nn.softmax(x) + 1e-9),
        (LOGITS,),
        note="finite and biased",
    ),
    Control("exp(x - max)", shifted_exponentials, (LOGITS,)),
    Control("softmax by hand", softmax_by_hand, (span(-1e4, 1e4, 2, 3),)),
    Control("log sum exp(x - max)", log_of_shifted_sum, (LOGITS,)),
    Control("logsumexp by hand", logsumexp_by_hand, (LOGITS,)),
    Control("log1p(exp(-|x|))", lambda x: jnp.log1p(jnp.exp(-jnp.abs(x))), (WIDE,)),
    Control("softplus by hand", softplus_by_hand, (WIDE,)),
    Control("exp(-relu x) + exp(x - relu x)", two_bounded_exponentials, (WIDE,)),
    Control("exp(-x*x)", lambda x: jnp.exp(-x * x), (WIDE,)),
    Control("x * sigmoid(x)", lambda x: x * jax.nn.sigmoid(x), (WIDE,)),
    Control("x / (1 + |x|)", lambda x: x / (1 + jnp.abs(x)), (WIDE,)),
    *(Control(f"{name} at 1e4", f, (WIDE,)) for name, f in UNITS),
    *(Control(f"{name} at 1e30", f, (ENORMOUS,)) for name, f in UNITS),
    Control("sqrt(relu x)", root_of_relu, (span(-10, -0.1, 4),)),
    Control("sqrt(x*x + 1)", lambda x: jnp.sqrt(x * x + 1), (WIDE,)),
    Control("rsqrt(var + 1e-5)", batch_norm, (span(-100, 100, 8, 3),)),
    Control("layer norm", layer_norm, (span(-100, 100, 2, 8),)),
    Control("log with a double where", double_where, (span(-10, 10, 4),)),
    Control(
        "ratio with a double where",
        double_where_ratio,
        (span(-1, 1, 3), span(0, 10, 3)),
        note="the least positive n makes an honest 1/n overflow",
        gradient=False,
    ),
    Control("log(maximum(p, tiny))", log_of_maximum, (span(0, 1, 4),), gradient=False),
    Control("xlogy", xlogy, (span(0, 1, 3), span(1e-6, 1, 3))),
    Control("entr", entr, (span(0, 1, 3),), gradient=False),
    Control("log_ndtr", log_ndtr, (span(-100, 100),)),
    Control("mean by maximum(count, 1)", masked_mean, (span(-1, 1, 5), span(0, 1, 5))),
    Control("power(x, 2.)", power_two, (span(-10, 10, 3),)),
    Control("mean of float16", jnp.mean, (span(-10, 10, 4096, dtype=jnp.float16),)),
    Control("exp(x) - 2", lambda x: jnp.exp(x) - 2, (span(-5, 5),)),
    Control("exp(x) - x", lambda x: jnp.exp(x) - x, (span(-5, 5),)),
    Control("1 + 2 exp(x)", lambda x: 1 + 2 * jnp.exp(x), (span(-5, 5),)),
    Control("2 + exp(x)", lambda x: 2 + jnp.exp(x), (span(-5, 5),)),
    Control("log(2 + x)", lambda x: jnp.log(2 + x), (span(0, 100),)),
    Control("a softmax used twice", softmax_twice_used, (span(-50, 50, 3),)),
    Control("argmax", class_of_largest, (LOGITS,), gradient=False),
    Control("integers", counting, (span(0, 1000, 3, dtype=jnp.int32),), gradient=False),
    Control("stop_gradient", frozen, (WIDE,)),
    Control("a NaN that comes in", passed_through, (f32([1.0, np.nan]),)),
    Control("log(0) as a mask", masked_logits, (span(-10, 10, 3),)),
    Control("attention", attention, tuple(span(-10, 10, 4, 8) for _ in range(3))),
)
