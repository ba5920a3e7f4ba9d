"""Bounds of elementary functions against what XLA computes, over the whole range.

The measured errors are the reason for the units by which each rule widens its bounds.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from steepest.numerics.intervals.arithmetic import Context
from steepest.numerics.intervals.formats import format_of
from steepest.numerics.intervals.functions import RULES


NAMES = sorted(set(RULES) - {"atan2", "bessel_i0e", "bessel_i1e"})
JAX = {"asin": lax.asin, "acos": lax.acos, "atan": lax.atan}


def samples(dtype) -> np.ndarray:
    """Magnitudes of all sizes, both signs, and neighbours of ±1."""
    info = jnp.finfo(dtype)
    top = float(np.log2(float(info.max))) - 1e-3
    sizes = 2.0 ** np.linspace(np.log2(float(info.tiny)), top, 4000)
    near = 1 + float(info.eps) * np.arange(-200, 200) / 2
    steps = np.linspace(0, 20, 2000)
    x = np.concatenate([sizes, near, steps, [0.0, float(info.max)]])
    x = np.unique(np.concatenate([x, -x]).astype(dtype))
    return x[np.isfinite(x.astype(np.float64))]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_bounds_hold_what_xla_computes(name, dtype):
    with jax.enable_x64(dtype == "float64"):
        kind = jnp.dtype(dtype)
        x = samples(kind)
        rule = JAX.get(name) or getattr(lax, name)
        computed = np.asarray(rule(jnp.asarray(x))).astype(np.float64)
    fmt, wide = format_of(kind), x.astype(np.float64)
    context = Context(fmt, (fmt,), {}, [np.asarray(False)])
    with np.errstate(all="ignore"):
        low, high, events = RULES[name](context, (wide, wide))
    faulty = np.zeros(len(x), bool)
    for mask in events.values():
        faulty |= np.broadcast_to(mask, len(x))
    finite = np.isfinite(computed)
    wrong = finite & ~((computed >= low) & (computed <= high))
    report = [(x[i], computed[i], low[i], high[i]) for i in np.flatnonzero(wrong)[:5]]
    assert not wrong.any(), report
    silent = ~finite & ~faulty & np.isfinite(low) & np.isfinite(high)
    assert not silent.any(), x[silent][:5]


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "logistic", "erf", "lgamma"])
def test_bounds_of_an_interval_hold_what_is_computed_in_it(name):
    fmt = format_of(jnp.dtype(jnp.float32))
    context = Context(fmt, (fmt,), {}, [np.asarray(False)])
    rng = np.random.default_rng(0)
    ends = np.sort(rng.uniform(1e-3, 20, (500, 2)).astype(np.float32), 1)
    inner = rng.uniform(*ends.T).astype(np.float32)
    computed = np.asarray(getattr(lax, name)(jnp.asarray(inner)))
    low, high, _ = RULES[name](context, tuple(ends.T.astype(np.float64)))
    assert ((low <= computed) & (computed <= high)).all()
