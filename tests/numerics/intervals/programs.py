"""Random programs: operations drawn one after another, of what was computed before."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from jax import lax

from steepest.numerics.intervals import Interval


SHAPE = (3, 4)
DTYPES = (jnp.float32, jnp.float32, jnp.float16, jnp.bfloat16)


def repeated(x):
    """A loop of unknown length; what has no reverse mode passes by the gradient."""
    step = lambda c: (c[0] + 1, c[1] * 0.9)
    return lax.while_loop(lambda c: c[0] < 4, step, (0, lax.stop_gradient(x)))[1]


UNARY: tuple[Callable, ...] = (
    *(jnp.exp, jnp.log, jnp.tanh, lax.logistic, jnp.sqrt, lax.rsqrt, jnp.expm1),
    *(jnp.log1p, jnp.abs, jnp.negative, jnp.square, jnp.sin, jnp.cos, lax.erf),
    *(lax.erfc, jnp.sinh, jnp.cosh, jnp.arctan, jnp.sign, jnp.floor, jnp.cbrt),
    *(jnp.arcsin, jnp.arccos, jnp.arctanh, jnp.arcsinh, jnp.exp2, lax.lgamma),
    *(lax.digamma, lax.erf_inv, jnp.reciprocal, jnp.tan, lax.stop_gradient),
    lambda x: x**3,
    lambda x: lax.integer_pow(x, -2),
    lambda x: lax.integer_pow(x, 4),
    lambda x: x * x,
    lambda x: x - x,
    lambda x: x / x,
    lambda x: jnp.where(x > 0, x, 1.0),
    lambda x: jnp.where(x > 0.5, jnp.log(x), 0.0),
    lambda x: jnp.where(jnp.isfinite(x), x, 0.0),
    lambda x: jnp.where(jnp.isnan(x), 0.0, x),
    lambda x: jnp.clip(x, -2.0, 3.0),
    lambda x: jnp.maximum(x, 1e-6),
    lambda x: x - 1.0,
    lambda x: 1.0 - x,
    lambda x: x * 1e20,
    lambda x: x * 1e-30,
    lambda x: x / 3.0,
    lambda x: 2.0 / x,
    lambda x: jnp.power(x, 1.5),
    lambda x: jnp.power(x, -0.3),
    jax.nn.softplus,
    jax.nn.gelu,
    jax.nn.silu,
    jax.nn.elu,
    jax.nn.relu,
    jax.nn.softmax,
    jax.nn.log_softmax,
    jax.nn.standardize,
    lambda x: jax.nn.softmax(x) + jax.nn.softmax(x)[::-1, ::-1],
    lambda x: jax.nn.softmax(x, where=jnp.arange(4) % 2 == 0),
    lambda x: jax.nn.logsumexp(jnp.where(x > 0, x, -jnp.inf), -1, keepdims=True) - x,
    lambda x: jnp.exp(x - x.max()) + jnp.exp(x - x.max()).T.reshape(SHAPE),
    lambda x: x[1:].sum(0) - x.sum(0) + x,
    lambda x: (x - x.mean(0)) / x.std(0),
    lambda x: jnp.var(x, -1, keepdims=True) - jnp.mean(x * x, -1, keepdims=True) + x,
    lambda x: jnp.linalg.norm(x, axis=0)[::-1] - x,
    lambda x: x / (1e-8 + jnp.linalg.norm(x, axis=-1, keepdims=True)),
    lambda x: x - x.mean(-1, keepdims=True),
    lambda x: x / x.sum(-1, keepdims=True),
    lambda x: x - x.max(-1, keepdims=True),
    lambda x: x / jnp.sqrt((x * x).sum(-1, keepdims=True)),
    lambda x: x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6),
    lambda x: x - jax.scipy.special.logsumexp(x, -1, keepdims=True),
    lambda x: jnp.broadcast_to(x.sum(0), SHAPE),
    lambda x: jnp.broadcast_to(x.prod(0), SHAPE),
    lambda x: jnp.broadcast_to(x.min(-1, keepdims=True), SHAPE),
    lambda x: x.astype(jnp.float16).astype(x.dtype),
    lambda x: x.astype(jnp.bfloat16).astype(x.dtype),
    lambda x: x.astype(jnp.int32).astype(x.dtype),
    lambda x: x.astype(jnp.float32).sum(-1, keepdims=True).astype(x.dtype) - x,
    lambda x: jnp.cumsum(x, -1),
    lambda x: jnp.cumprod(x, -1),
    lambda x: lax.cumlogsumexp(x, axis=1),
    lambda x: lax.cummax(x, axis=1),
    lambda x: jnp.sort(x, -1),
    lambda x: x[::-1],
    lambda x: jnp.roll(x, 1, -1),
    lambda x: x.reshape(4, 3).reshape(SHAPE),
    lambda x: x.T.reshape(SHAPE),
    lambda x: jnp.take(x, jnp.array([0, 2, 1]), axis=0),
    lambda x: jnp.zeros_like(x).at[0].add(x[1]).at[jnp.array([1, 1, 2])].add(x),
    lambda x: x.at[1:, :2].set(2.0),
    lambda x: jnp.broadcast_to(jnp.argmax(x, -1, keepdims=True), SHAPE).astype(x.dtype),
    lambda x: jnp.pad(x, ((1, 0), (0, 0)))[:3],
    lambda x: lax.top_k(x, 4)[0],
    lambda x: lax.scan(lambda c, r: (c * 0.5 + r, c), x[0], x)[1],
    lambda x: lax.fori_loop(0, 3, lambda i, c: jnp.tanh(c) + x, x),
    lambda x: lax.cond(x[0, 0] > 0, jnp.sin, lambda y: y + 1.0, x),
    repeated,
    lambda x: jax.grad(lambda y: jnp.sum(jax.nn.softplus(y) * y))(x),
    lambda x: jax.grad(lambda y: jnp.sum(jax.nn.log_softmax(y)[:, 0]))(x),
    lambda x: jax.grad(lambda y: jnp.linalg.norm(y))(x),
    lambda x: jax.grad(lambda y: jnp.sum(jax.nn.gelu(y)))(x),
    lambda x: jax.grad(lambda y: jnp.sum(jnp.sin(jax.nn.standardize(y))))(x),
    lambda x: jax.grad(lambda y: jnp.sum(jnp.sin(jax.nn.softmax(y))))(x),
    lambda x: jax.grad(lambda y: jnp.sum(jnp.sqrt(jax.nn.relu(y))))(x),
    lambda x: jax.grad(lambda y: jnp.var(y))(x),
    lambda x: jax.grad(lambda y: jnp.max(y))(x),
    lambda x: jax.grad(lambda y: jnp.prod(y))(x),
)
BINARY: tuple[Callable, ...] = (
    *(jnp.add, jnp.subtract, jnp.multiply, jnp.divide, jnp.maximum, jnp.minimum),
    *(jnp.arctan2, jnp.power, jnp.logaddexp, lax.rem, jnp.hypot),
    lambda x, y: jnp.where(x > y, x, y),
    lambda x, y: jnp.where(x > y, x - y, 0.0),
    lambda x, y: (x @ y.T) @ y,
    lambda x, y: jax.nn.softmax(x @ y.T) @ y,
    lambda x, y: x - jnp.maximum(x, y),
    lambda x, y: jnp.concatenate([x, y])[2:5],
    lambda x, y: x[:, None, :].sum(1) - y[:, None, :].sum(1),
    lambda x, y: jax.scipy.special.xlogy(jnp.abs(x), jnp.abs(y)),
    lambda x, y: x / (jnp.abs(x) + jnp.abs(y)),
    lambda x, y: x / jnp.sqrt(x * x + y * y),
    lambda x, y: x * y / (jnp.linalg.norm(x) * jnp.linalg.norm(y)),
)
ENDS = (
    0.0,
    1.0,
    -1.0,
    0.5,
    10.0,
    -10.0,
    90.0,
    -90.0,
    1e4,
    -1e4,
    1e-20,
    1e19,
    -1e30,
    3e38,
)


class Drawn(NamedTuple):
    """A program, the ranges of its two arguments, and a seed of points inside them."""

    lines: tuple[str, ...]  # as a reader would write them
    fun: Callable[..., Any]
    specs: tuple[Interval, Interval]
    seed: int


Line = tuple[Callable, tuple[int, ...]]  # an operation, of the values so numbered


def assembled(plan: Sequence[Line]) -> Callable[..., Any]:
    """The function of two arrays that computes line by line."""

    def fun(*arrays: Any) -> Any:
        values = list(arrays)
        for f, operands in plan:
            values.append(f(*(values[i] for i in operands)))
        return values[-1]

    return fun


@st.composite
def lines(draw: st.DrawFn, most: int) -> list[Line]:
    plan = []
    for i in range(draw(st.integers(1, most))):
        back = st.integers(max(0, i - 2), i + 1)
        if draw(st.integers(0, 2)):
            plan.append((draw(st.sampled_from(UNARY)), (draw(back),)))
        else:
            plan.append((draw(st.sampled_from(BINARY)), (draw(back), draw(back))))
    return plan


@st.composite
def drawn(
    draw: st.DrawFn, most: int = 7, dtypes: Sequence[Any] = DTYPES, gradient: Any = None
) -> Drawn:
    """With `gradient`, the program may be that of its gradient."""
    dtype = draw(st.sampled_from(dtypes))
    plan = draw(lines(most))
    fun = assembled(plan)
    if draw(st.booleans()) if gradient is None else gradient:
        fun = jax.grad(total(fun), (0, 1))
    specs = draw(intervals(dtype)), draw(intervals(dtype))
    return Drawn(tuple(map(written, plan)), fun, specs, draw(st.integers(0, 1000)))


def written(line: Line) -> str:
    f, operands = line
    text = getattr(f, "__name__", repr(f))
    if text == "<lambda>":
        text = inspect.getsource(f).strip().rstrip(",")
    return f"{text} of {operands}"


def total(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The sum of all outputs, in float32."""
    return lambda *arrays: fun(*arrays).astype(jnp.float32).sum()


def intervals(dtype: Any) -> st.SearchStrategy[Interval]:
    top = float(jnp.finfo(dtype).max)
    ends = st.sampled_from(sorted({min(max(e, -top), top) for e in ENDS}))
    pairs = st.tuples(ends, ends).map(sorted)
    return pairs.map(lambda pair: Interval(*pair, SHAPE, dtype))


def point(rng: np.random.Generator, spec: Interval) -> np.ndarray:
    """An array inside an interval: its ends, special numbers, magnitudes of all sizes."""
    low, high = float(spec.low), float(spec.high)
    way = rng.integers(5)
    if way == 0:
        x = rng.uniform(low, high, SHAPE)
    elif way == 1:
        x = rng.choice([low, high, 0.0, 1.0, -1.0], SHAPE)
    elif way == 2:
        x = rng.normal(size=SHAPE)
    elif way == 3:
        x = np.full(SHAPE, rng.choice([low, high, rng.normal()]))
    else:
        x = 10.0 ** rng.uniform(-30, 30, SHAPE) * rng.choice([-1, 1], SHAPE)
    x = np.clip(x, low, high).astype(spec.dtype)
    with np.errstate(all="ignore"):
        return np.where(abs(x) < jnp.finfo(spec.dtype).tiny, 0, x).astype(spec.dtype)
