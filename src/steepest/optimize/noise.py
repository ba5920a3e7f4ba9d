"""The gradient of a minibatch: how far from the gradient, and what batch size that asks for.

Examples drawn at random have gradients gᵢ with the mean G = E gᵢ and the covariance Σ. The
gradient of a batch of m is an unbiased estimate of G whatever m is, at a cost that does
not depend on how many data there are, with the variance

    E ‖g_m − G‖² = tr Σ / m.                                                     (1)

From n examples both parts are estimated without bias,

    tr Σ  ≈  T = Σᵢ ‖gᵢ − ḡ‖² / (n − 1),       ‖G‖²  ≈  M = ‖ḡ‖² − T/n,             (2)

where M may come out negative: then nothing of G is seen above the noise. A step along
g_m with the best step size gains, on a quadratic whose Hessian is near a multiple of the
unit matrix, a fraction 1/(1 + B/m) of what one along G would, with the *simple noise scale*

    B = tr Σ / ‖G‖²                                                              (3)

in examples. Below B twice the batch nearly halves the number of steps; above it, it buys
little. B grows while a loss falls, since ‖G‖ shrinks and Σ does not.

How sure are T, M, B? All three depend on the examples through inner products alone:
without example i they need, beside the totals, only ‖gᵢ‖² and gᵢᵀ Σⱼgⱼ. So a second pass
that takes the slope of each loss along Σⱼgⱼ gives every leave-one-out value, and the
jackknife the variances and the covariance of (T, M) with no n × n table. An interval for
a ratio follows from Fieller's argument: it holds every B ≥ 0 with

    (T − B M)² ≤ z² var(T − B M),                                                (4)

and is unbounded above just where M does not differ from 0. To keep digits where the
examples agree, gradients are counted from c, the mean of the first few of them.

A loss that couples its examples (batch normalisation, a mean over tokens) has no gᵢ. Then
disjoint batches of m take the place of the examples, and T for them is tr Σ/m.

The examples stand for the distribution that they came from. Batches drawn without
replacement from N data vary less about the mean of these N, by 1 − m/N.

References
    McCandlish, Kaplan, Amodei et al. (2018), An empirical model of large-batch
    training.                                                           -- (2), (3)
    Efron & Stein (1981), The jackknife estimate of variance.
    Fieller (1954), Some problems in interval estimation.                    -- (4)
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§5.9, 8.1.3.      -- (1)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ..core.errors import InputError
from ..core.progress import progress
from ..core.student import student_quantile
from ..curvature.products import Params, check, jacobian_product
from ._ray import working_dtype


BatchLoss = Callable[[Params, PyTree], Float[Array, ""]]
LEAST = 4  # examples or batches: fewer say nothing of a variance
BATCHES = 32  # of a loss that couples its examples, if the data have so many
COUPLED = 1e-2  # of the gradients' size: a mean that differs by more is no mean


class GradientNoise(NamedTuple):
    """The noise of minibatch gradients, and how well it is known."""

    trace: float  # T, an estimate of tr Σ for one example
    trace_sem: float
    squared_norm: float  # M, an estimate of ‖G‖²; may be negative
    squared_norm_sem: float
    noise_scale: float  # B in examples; infinite where M ≤ 0
    interval: tuple[float, float]  # (4) for B
    level: float  # of the interval
    batch_size: int  # m
    variance: float  # (1) at m
    signal_to_noise: float  # ‖G‖² over (1); 0 where M ≤ 0
    suggested_batch_size: int | None  # the power of two next to B; None: not known
    num_samples: int  # examples, or batches of m
    per_example: bool

    def __str__(self) -> str:
        unit = "examples" if self.per_example else f"batches of {self.batch_size}"
        start = f"From {self.num_samples} {unit}: "
        low, high = self.interval
        if self.squared_norm <= 0:
            return (
                f"{start}the gradient cannot be told from its noise, so the noise scale "
                f"is infinite (at least {low:.3g} with confidence {self.level:.0%}); "
                "use more examples, larger batches or a smaller step size."
            )
        text = (
            f"{start}the gradient noise scale is {self.noise_scale:.3g} examples "
            f"({self.level:.0%} interval {low:.3g} to {high:.3g}). In a batch of "
            f"{self.batch_size} the squared gradient is {self.signal_to_noise:.3g} "
            "times its variance"
        )
        if self.suggested_batch_size is None:
            return text + "; no batch size can be suggested from so few."
        return text + (
            f"; batches beyond about {self.suggested_batch_size} bring little more."
        )


def gradient_noise(
    loss: BatchLoss,
    params: Params,
    data: PyTree,
    *,
    batch_size: int,
    key: PRNGKeyArray,
    num_examples: int = 1024,
    chunk: int = 64,
    per_example: bool | None = None,
    level: float = 0.95,
) -> GradientNoise:
    """Estimate tr Σ, ‖G‖² and the noise scale of minibatch gradients at `params`.

    `loss(params, batch)` is the mean of a loss over the examples of a batch; `data` is a
    pytree of arrays with a common first axis, of which a batch takes rows. At most
    `num_examples` rows are drawn by `key`, and `chunk` of their gradients are held at a
    time. `per_example=None` finds out whether the loss is such a mean; `False`, or a loss
    that is not, uses disjoint batches of `batch_size`. `level` is that of the interval.

    The cost is about one gradient and two forward derivatives of the rows that are used.

    Raises `InputError` for a loss that is no scalar, parameters that are not
    floating-point, data of unequal length, fewer than four examples (or batches) and
    gradients that are not finite.
    """
    rows = _rows(data, batch_size, chunk, level)
    check(lambda p: loss(p, _take(data, np.arange(min(2, rows)))), params)
    order = np.asarray(jax.random.permutation(key, rows))
    if per_example is None:
        head = _take(data, order[: min(chunk, rows)])
        per_example = _is_mean(loss, params, head)
    width = 1 if per_example else batch_size
    wanted = num_examples if per_example else max(num_examples // width, BATCHES)
    count = min(rows // width, wanted)
    if count < LEAST:
        unit = "examples" if per_example else f"disjoint batches of {batch_size}"
        raise InputError(
            f"The noise of a gradient needs at least {LEAST} {unit}, and there are "
            f"{count}; give more data"
            + ("." if per_example else " or a smaller `batch_size`.")
        )
    groups = order[: count * width].reshape(count, width)
    sums = _sums(loss, params, data, groups, max(1, chunk // width))
    T, M, var = _jackknife(sums)
    return _result(T, M, var, width, batch_size, count, rows, per_example, level)


class Deviations(NamedTuple):
    """Gradients of n examples by their deviations hᵢ from the mean ḡ of them."""

    squares: Float[Array, " n"]  # ‖hᵢ‖²
    shift: Float[Array, " n"]  # hᵢᵀ ḡ
    square: Float[Array, ""]  # ‖ḡ‖²
    coupling: Float[Array, ""]  # ‖ḡ − gradient of the batch‖ in units of the rms ‖gᵢ‖


def noise_of_deviations(
    deviations: Deviations, *, batch_size: int, level: float = 0.95
) -> GradientNoise:
    """The same estimates from gradients that were taken elsewhere.

    Raises `InputError` for fewer than four of them, and where they are not finite.
    """
    squares = _double(deviations.squares)
    _refuse_nonfinite(squares)
    n = len(squares)
    if n < LEAST:
        raise InputError(
            f"The noise of a gradient needs at least {LEAST} examples, and there are "
            f"{n}; give more data."
        )
    none = np.zeros(n)
    square = float(deviations.square)
    sums = _Sums(squares, none, _double(deviations.shift), square, 0.0, 0.0)
    return _result(*_jackknife(sums), 1, batch_size, n, n, True, level)


class _Sums(NamedTuple):
    """Of gradients counted from c: h = g − c."""

    squares: np.ndarray  # ‖h‖² of each
    along: np.ndarray  # hᵀ Σh of each
    shift: np.ndarray  # hᵀ c of each
    square: float  # ‖c‖²
    total: float  # ‖Σh‖²
    across: float  # cᵀ Σh


def _sums(
    loss: BatchLoss, params: Params, data: PyTree, groups: np.ndarray, chunk: int
) -> _Sums:
    """Two passes over the groups of examples: gradients, then slopes along their sum."""
    flat, unravel = ravel_pytree(params)
    working = working_dtype(flat)

    def values(p: Params, batches: PyTree) -> Float[Array, " chunk"]:
        return jax.vmap(lambda batch: loss(p, batch))(batches)

    def gradients(batches: PyTree) -> Float[Array, "chunk n"]:
        one = lambda batch: ravel_pytree(jax.grad(loss)(params, batch))[0]
        return jax.vmap(one)(batches).astype(working)

    @jax.jit
    def first(batches: PyTree, c: Array, valid: Array) -> tuple[Array, Array]:
        H = (gradients(batches) - c[None]) * valid.astype(c.dtype)[:, None]
        return jnp.sum(H, axis=0), jnp.sum(H * H, axis=1)

    @jax.jit
    def second(batches: PyTree, v: Array) -> Float[Array, " chunk"]:
        direction = unravel(v.astype(flat.dtype))
        return jacobian_product(lambda p: values(p, batches), params, direction)

    count = len(groups)
    chunk = min(chunk, count)
    padded = np.resize(groups, (-(-count // chunk) * chunk, groups.shape[1]))
    parts = np.split(padded, len(padded) // chunk)
    valid = np.split(np.arange(len(padded)) < count, len(parts))
    load = lambda part: _take(data, part)
    c = jax.jit(lambda b: jnp.mean(gradients(b), axis=0))(load(parts[0]))
    total, squares = jnp.zeros_like(c), []
    with progress("Gradient noise", 2 * len(parts)) as update:
        for k, part in enumerate(parts):
            h, square = first(load(part), c, jnp.asarray(valid[k]))
            total, squares = total + h, [*squares, _double(square)]
            update(k + 1, "")
        squares = np.concatenate(squares)[:count]
        _refuse_nonfinite(squares)
        along, shift = [], []
        for k, part in enumerate(parts):
            batches = load(part)
            along.append(_double(second(batches, total)))
            shift.append(_double(second(batches, c)))
            update(len(parts) + k + 1, "")
    square, across = float(jnp.vdot(c, c)), float(jnp.vdot(c, total))
    return _Sums(
        squares=squares,
        along=np.concatenate(along)[:count] - across,
        shift=np.concatenate(shift)[:count] - square,
        square=square,
        total=float(jnp.vdot(total, total)),
        across=across,
    )


def _jackknife(sums: _Sums) -> tuple[float, float, np.ndarray]:
    """T and M of (2), and the jackknife covariance of the two."""
    squares, along, shift, square, Q, R = sums
    n = len(squares)

    def estimates(k: Any, A: Any, Q: Any, R: Any) -> tuple[Any, Any]:
        """From Σ‖h‖², ‖Σh‖² and cᵀΣh of k examples: numbers, or arrays of them."""
        T = (A - Q / k) / (k - 1)
        mean_square = square + 2 * R / k + Q / k**2  # ‖c + Σh/k‖²
        return T, mean_square - T / k

    A = squares.sum()
    T, M = estimates(n, A, Q, R)
    without = estimates(n - 1, A - squares, Q - 2 * along + squares, R - shift)
    return float(T), float(M), np.cov(np.stack(without), bias=True) * (n - 1)


def _fieller(T: float, M: float, var: np.ndarray, z: float) -> tuple[float, float]:
    """The interval (4), between the roots of a B² + 2 b B + c."""
    if M < 0 and z**2 * var[1, 1] < M**2:  # no G makes M so low: as good as 0
        M = 0.0
    a = M**2 - z**2 * var[1, 1]
    b = -(T * M - z**2 * var[0, 1])
    c = T**2 - z**2 * var[0, 0]
    root = float(np.sqrt(max(b * b - a * c, 0.0)))
    if a <= 0 or M <= 0:  # M may be 0: from the positive root on
        low = (-b - root) / a if a < 0 else -c / (2 * b) if b else 0.0
        return (max(low, 0.0) if c > 0 else 0.0), float("inf")
    return max((-b - root) / a, 0.0), (-b + root) / a


def _result(
    T: float,
    M: float,
    var: np.ndarray,
    width: int,
    batch_size: int,
    count: int,
    rows: int,
    per_example: bool,
    level: float,
) -> GradientNoise:
    T, var = T * width, var * np.array([[width**2, width], [width, 1]])
    low, high = _fieller(T, M, var, student_quantile((1 + level) / 2, count - 1))
    B = T / M if M > 0 else float("inf")
    known = M > 0 and np.isfinite(high)
    power = 2 ** round(np.log2(min(max(B, 1.0), 2.0**62))) if known else 0
    return GradientNoise(
        trace=T,
        trace_sem=float(np.sqrt(var[0, 0])),
        squared_norm=M,
        squared_norm_sem=float(np.sqrt(var[1, 1])),
        noise_scale=B,
        interval=(low, high),
        level=level,
        batch_size=batch_size,
        variance=T / batch_size,
        signal_to_noise=max(M, 0.0) * batch_size / T if T > 0 else float("inf"),
        suggested_batch_size=min(power, rows) if known else None,
        num_samples=count,
        per_example=per_example,
    )


def _is_mean(loss: BatchLoss, params: Params, batch: PyTree) -> bool:
    """Whether the gradient of a batch is the mean of those of its examples."""

    @jax.jit
    def compare(batch: PyTree) -> tuple[Array, Array]:
        alone = jax.tree.map(lambda x: x[:, None], batch)
        one = lambda b: ravel_pytree(jax.grad(loss)(params, b))[0]
        G, together = jax.vmap(one)(alone), one(batch)
        size = jnp.sqrt(jnp.mean(jnp.sum(G * G, axis=1)))
        return jnp.linalg.norm(jnp.mean(G, axis=0) - together), size

    try:
        distance, size = map(float, compare(batch))
    except (TypeError, ValueError):  # batches of one are refused by the model
        return False
    if not np.isfinite(size):  # of the data, if that of the batch is not finite either
        together = jax.jit(jax.grad(loss))(params, batch)
        return not bool(jnp.all(jnp.isfinite(ravel_pytree(together)[0])))
    return distance <= COUPLED * size


def _rows(data: PyTree, batch_size: int, chunk: int, level: float) -> int:
    """The number of examples; refuses what has none, or several."""
    for name, number in {"batch_size": batch_size, "chunk": chunk}.items():
        if number < 1:
            raise InputError(f"`{name}` must be at least 1, not {number}.")
    if not 0 < level < 1:
        raise InputError(f"`level` must lie between 0 and 1, not {level}.")
    shapes = [np.shape(x) for x in jax.tree.leaves(data)]
    lengths = {s[0] if s else 0 for s in shapes}
    if len(lengths) > 1:
        raise InputError(
            f"The arrays of `data` have first axes of {sorted(lengths)}; each must have "
            "one row for every example."
        )
    rows = lengths.pop() if lengths else 0
    if not rows:
        raise InputError(
            "`data` holds no examples; give arrays with a row for each of them."
        )
    return rows


def _take(data: PyTree, indices: Int[np.ndarray, "..."]) -> PyTree:
    return jax.tree.map(lambda x: jnp.asarray(x[indices]), data)


def _refuse_nonfinite(squares: np.ndarray) -> None:
    bad = int(np.sum(~np.isfinite(squares)))
    if bad:
        raise InputError(
            f"{bad} of {len(squares)} gradients are not finite, so their noise has no "
            "size; find the operation with `steepest.locate_nonfinite`."
        )


def _double(x: Array) -> np.ndarray:
    return np.asarray(x, np.float64)
