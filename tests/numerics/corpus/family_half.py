"""Sums, squares, masks, counters and small constants in float16 and bfloat16."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from mpmath import mp, mpf

from .case import HUGE, LOSS, ZERO, Case, bf16, dot, f16, f32, mean, softmax, span


H, B = jnp.float16, jnp.bfloat16


def total_by_scan(x):
    return lax.scan(lambda s, v: (s + v, None), jnp.zeros((), x.dtype), x)[0]


def moving_mean(x):
    def update(m, v):
        return 0.999 * m + 0.001 * v, None

    return lax.scan(update, jnp.ones((), x.dtype), x)[0]


def normed(x):
    return x / (jnp.sqrt(jnp.sum(x * x)) + 1e-8)


def additive_mask(scores, mask):
    return jax.nn.softmax(scores + (1 - mask) * -jnp.inf)


def count(start):
    return lax.fori_loop(0, 1000, lambda i, n: n + 1, start)


def attention(q, k):
    return jax.nn.softmax(q @ k.T / 8, axis=-1)


def stored_in_half(loss):
    return (loss.astype(H) * 0.5).astype(jnp.float32)


def adam_direction(g):
    return g / (jnp.sqrt(g * g) + 1e-8)


def mean_of_half(x):
    return x.sum() / x.shape[0]


def variance_in_bfloat(x):
    return jnp.mean(jnp.square(x)) - jnp.square(jnp.mean(x))


def softmax_in_half(z):
    e = jnp.exp(z)
    return e / jnp.sum(e, axis=-1, keepdims=True)


def power_mean(x):
    return jnp.mean(x**4) ** 0.25


def decayed(weight):
    """A thousand updates by a small step."""
    return lax.fori_loop(0, 1000, lambda i, w: w - 1e-3, weight)


def masked(scores, mask):
    kept = [s for s, m in zip(scores, mask, strict=True) if m]
    out = iter(softmax(kept))
    return [next(out) if m else mpf(0) for m in mask]


def averaged(x):
    """The moving mean with 0.999 and 0.001 as bfloat16 holds them."""
    keep, take = (mpf(float(bf16(c))) for c in (0.999, 0.001))
    m = mpf(1)
    for v in x:
        m = keep * m + take * v
    return m


def attended(q, k):
    return [softmax([dot(a, b) / 8 for b in k]) for a in q]


QUERY = f16(40 * np.sign(np.random.default_rng(0).normal(size=(4, 64))))

HALF = (
    Case(
        "sum-by-scan-half",
        total_by_scan,
        (span(0, 1, 4096, dtype=H),),
        (f16(np.ones(4096)),),
        sum,
        False,
        ("add", "scan"),
        LOSS,
        None,
    ),
    Case(
        "moving-mean-bfloat",
        moving_mean,
        (span(0, 8, 500, dtype=B),),
        (bf16(np.full(500, 1.5)),),
        averaged,
        False,
        ("add", "scan", "mul"),
        LOSS,
        None,
    ),
    Case(
        "eps-vanishes-half",
        normed,
        (span(-1, 1, 4, dtype=H),),
        (f16([0, 0, 0, 0]),),
        lambda x: [mpf(0)] * 4,
        False,
        ("div",),
        ZERO,
        None,
        "1e-8 is 0 in float16",
    ),
    Case(
        "mask-times-infinity",
        additive_mask,
        (span(-20, 20, 4, dtype=H), span(0, 1, 4, dtype=H)),
        (f16([1, 2, 3, 4]), f16([1, 1, 0, 1])),
        masked,
        False,
        ("mul",),
        HUGE,
        None,
        "0 times -inf is NaN where the mask is 1",
    ),
    Case(
        "counter-bfloat",
        count,
        (span(0, 1, dtype=B),),
        (bf16(0),),
        lambda n: n + 1000,
        False,
        ("add", "while", "scan"),
        LOSS,
        None,
    ),
    Case(
        "attention-scores-half",
        attention,
        (span(-60, 60, 4, 64, dtype=H), span(-60, 60, 4, 64, dtype=H)),
        (QUERY, QUERY),
        attended,
        False,
        ("dot_general", "sub"),
        HUGE,
        lambda q, k: jax.nn.softmax(q @ (k / 64).T * 8, axis=-1),
        "scaled before the product it fits",
    ),
    Case(
        "cast-to-half",
        stored_in_half,
        (span(0, 120000),),
        (f32(1e5),),
        lambda loss: loss / 2,
        False,
        ("convert_element_type",),
        ("cast", *HUGE),
        lambda loss: loss * 0.5,
    ),
    Case(
        "adam-half",
        adam_direction,
        (span(1e-6, 1e-2, 4, dtype=H),),
        (f16([1e-4, 2e-4, 1e-2, 5e-3]),),
        lambda g: [v / (v + mpf("1e-8")) for v in g],
        False,
        ("div", "mul", "sqrt"),
        ZERO,
        None,
    ),
    Case(
        "mean-overflows-half",
        mean_of_half,
        (span(0, 200, 4096, dtype=H),),
        (f16(np.full(4096, 100)),),
        mean,
        False,
        ("reduce_sum", "convert_element_type"),
        ("cast", *HUGE),
        jnp.mean,
    ),
    Case(
        "variance-bfloat",
        variance_in_bfloat,
        (span(10, 12, 8, dtype=B),),
        (bf16([10, 10.5, 11, 11.5, 10, 10.5, 11, 11.5]),),
        lambda x: mean([v * v for v in x]) - mean(x) ** 2,
        False,
        ("sub", "square", "integer_pow", "mul"),
        LOSS,
        None,
    ),
    Case(
        "softmax-half",
        softmax_in_half,
        (span(-30, 30, 2, 3, dtype=H),),
        (f16([[12, 0, -12], [1, 2, 3]]),),
        lambda z: [softmax(row) for row in z],
        False,
        ("exp", "div"),
        HUGE,
        lambda z: jax.nn.softmax(z, axis=-1),
    ),
    Case(
        "power-mean-half",
        power_mean,
        (span(0, 50, 6, dtype=H),),
        (f16([20, 20, 20, 20, 20, 20]),),
        lambda x: mp.root(mean([v**4 for v in x]), 4),
        False,
        ("integer_pow", "mul"),
        HUGE,
        None,
    ),
    Case(
        "small-steps-bfloat",
        decayed,
        (span(1, 4, dtype=B),),
        (bf16(2),),
        lambda w: w - 1000 * mpf(float(bf16(1e-3))),
        False,
        ("sub", "scan", "while"),
        LOSS,
        None,
        "the step is below half the spacing of the weight",
    ),
)
