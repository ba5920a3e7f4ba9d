"""The range test: which step sizes train, found by raising one until the loss breaks.

One update is made on each batch while the step size grows from a to b,

    η_k = a (b/a)^(k/(K−1)),     L_k = L(θ_k; batch k),  k = 0, …, K − 1,          (1)

with L_k taken before update k. Small steps change nothing; then the loss falls, ever
faster; near the limit of stability it stops falling, and beyond it diverges. A straight
line through w neighbouring points of L against log η gives the smooth value and slope

    L̄_k = mean over j of L_{k+j},    s_k = Σ_j j L_{k+j} / (Σ_j j² log(η₁/η₀)),      (2)

|j| ≤ (w − 1)/2, and the step size of the steepest fall, min s_k before the least L̄_k, is
suggested: it is where a step of this size gains most, some way below the limit.

That answer means something only if there was a fall. The batches' own scatter is measured
from second differences, which a slow change leaves alone,

    σ = 1.4826 · median |L_k − (L_{k−1} + L_{k+1})/2| / √1.5,                        (3)

and a fall counts when it is larger than 4 σ √(2/w), and than the rounding of the loss:
some six standard errors of a smooth value, since the least of many is compared. Otherwise
the answer is "none found", as it is where the loss rises from the start (the sizes are too
large) and where it still falls fastest at the end (they are too small). The test stops
when the loss is not finite, or when two losses running are above that of the start, and
above four times the best mean of w (above it by three times its magnitude, for losses of
any sign) by more than five σ: momentum swings through small losses and back, but not so
far. It diverged at the step size with which the final rise began.

Each update starts from where the last one led, so the fall at a step size is also the work
of those before; the suggestion is good to a factor of a few.

References
    Smith (2017), Cyclical learning rates for training neural networks, §3.3.  -- (1)
    Goodfellow, Bengio & Courville (2016), Deep Learning, §11.4.1.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..core.errors import InputError
from ..core.progress import progress
from ..curvature.products import Params, check


BatchLoss = Callable[[Params, PyTree], Float[Array, ""]]
FALL = 4.0  # in units of σ √(2/w)
ROUNDING = 1e-5  # of the loss
FACTOR = 4.0  # of the best loss: beyond, the run has diverged
UPHILL = (
    "The loss never fell; it rose{}: the step sizes were too large, or the updates "
    "point uphill."
)
LEAST = 10  # step sizes: fewer show no course


class RangeTest(NamedTuple):
    """The course of the loss while the step size grew, and what it suggests."""

    step_sizes: Float[np.ndarray, " steps"]
    losses: Float[np.ndarray, " steps"]  # of each batch, before its update
    smooth: Float[np.ndarray, " steps"]  # (2); NaN within half a window of the ends
    noise: float  # σ of (3)
    suggestion: float | None  # None: none found
    diverged_at: float | None  # the step size that broke it; None: it never broke
    reason: str

    def __str__(self) -> str:
        found = (
            "no step size found"
            if self.suggestion is None
            else f"step size {self.suggestion:.2g}"
        )
        return f"Range test: {found}. {self.reason}"


def range_test(
    loss: BatchLoss,
    params: Params,
    batches: Iterable[PyTree] | PyTree,
    *,
    smallest: float = 1e-7,
    largest: float = 10.0,
    num_steps: int = 100,
    optimizer: Callable[[Any], optax.GradientTransformation] = optax.sgd,
    smoothing: int = 9,
    batch_size: int | None = None,
    key: PRNGKeyArray | None = None,
) -> RangeTest:
    """Raise the step size from `smallest` to `largest`, and watch the loss.

    `loss(params, batch)`; `batches` is an iterable of batches (one that can be iterated
    again is, when it ends), or with `batch_size` a pytree of arrays, whose rows are taken
    in their order, or shuffled by `key`. `optimizer` makes a transformation from a
    schedule, as all of Optax's do. `smoothing` is w of (2), an odd number. The `params`
    stay what they are.

    Raises `InputError` for step sizes that do not grow from a positive one, too few
    steps, data without a batch, and a loss that is not finite at the start.
    """
    half = _checked(smallest, largest, num_steps, smoothing)
    params = jax.tree.map(jnp.asarray, params)
    stream = _stream(batches, batch_size, key)
    rates = np.geomspace(smallest, largest, num_steps)
    tx = optimizer(
        lambda count: jnp.asarray(smallest * (largest / smallest) ** (count / last))
    )
    last = num_steps - 1

    @jax.jit
    def step(params: Params, state: PyTree, batch: PyTree) -> tuple[Params, Any, Array]:
        value, gradient = jax.value_and_grad(loss)(params, batch)
        updates, state = tx.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    state, losses, diverged = tx.init(params), [], None
    with progress("Range test", num_steps) as update:
        for k in range(num_steps):
            batch = next(stream, None)
            if batch is None:
                break
            if k == 0:
                check(lambda p, batch=batch: loss(p, batch), params)
            params, state, value = step(params, state, batch)
            losses.append(float(value))
            update(k + 1, f"loss {losses[-1]:.3g}")
            diverged = _diverged(np.array(losses), smoothing)
            if diverged is not None or not np.isfinite(value):
                break
    return _judged(rates[: len(losses)], np.array(losses), diverged, half, largest)


def _judged(
    rates: np.ndarray,
    losses: np.ndarray,
    diverged: int | None,
    half: int,
    largest: float,
) -> RangeTest:
    """The answer, from the losses up to the first that diverged."""
    if not len(losses):
        raise InputError("`batches` holds no batch; give at least one.")
    if not np.isfinite(losses[0]):
        raise InputError(
            f"The loss is {losses[0]} before the first update, so no step size can be "
            "at fault; find the operation with `steepest.locate_nonfinite`."
        )
    window = 2 * half + 1
    sound = losses[: len(losses) if diverged is None else diverged]
    sigma = _scatter(sound)
    smooth = np.full(len(losses), np.nan)
    broke = None if diverged is None else float(rates[diverged - 1])

    def answer(suggestion: float | None, reason: str) -> RangeTest:
        return RangeTest(rates, losses, smooth, sigma, suggestion, broke, reason)

    if len(sound) < window + 2:
        if diverged is None:
            return answer(None, f"There were only {len(sound)} batches; give more.")
        if len(losses) < window + 2:
            reason = (
                f"The loss diverged within {len(losses)} updates: all step sizes were "
                "too large; lower `smallest`."
            )
        else:
            reason = UPHILL.format(f" and diverged at {broke:.2g}")
        return answer(None, reason)
    j = np.arange(-half, half + 1)
    value = np.convolve(sound, np.ones(window) / window, "valid")
    slope = np.correlate(sound, j / (j @ j), "valid")
    smooth[half : half + len(value)] = value
    start, best = float(value[0]), int(np.argmin(value))
    fall = start - float(value[best])
    threshold = max(
        FALL * sigma * np.sqrt(2 / window), ROUNDING * float(np.abs(sound).max())
    )
    if fall <= threshold:
        rise = float(value[-1]) - start
        if broke is not None or rise > threshold:
            end = "" if broke is None else f" and diverged at {broke:.2g}"
            return answer(None, UPHILL.format(end))
        return answer(
            None,
            f"The loss never fell by more than its scatter between batches ({sigma:.2g})"
            " allows: the step sizes were too small, the batches too noisy, or the loss "
            "is flat.",
        )
    steepest = int(np.argmin(slope[: best + 1]))
    if broke is None and steepest >= len(slope) - 2:
        return answer(
            None,
            f"The loss still fell fastest at the largest step size, {rates[-1]:.2g}: "
            "raise `largest`"
            + ("." if rates[-1] >= 0.99 * largest else ", or give more batches."),
        )
    return answer(
        float(rates[steepest + half]),
        f"There the loss fell fastest, and by {fall:.2g} from {start:.3g} in all"
        + (f"; it diverged at {broke:.2g}." if broke is not None else "."),
    )


def _diverged(losses: np.ndarray, window: int) -> int | None:
    """The first loss of the final rise, if the end of the series is a divergence."""
    finite = bool(np.isfinite(losses[-1]))
    before = losses[: -2 if finite else -1]
    if not len(before):
        return None
    window = min(window, len(before))
    means = np.convolve(before, np.ones(window) / window, "valid")
    best, sigma = min(losses[0], means.min()), _scatter(before)
    bound = max(best + max((FACTOR - 1) * abs(best), 5 * sigma), losses[0], means[0])
    if finite and losses[-2:].min() <= bound:
        return None
    last = int(np.flatnonzero(before <= best + sigma)[-1])
    while last and losses[last - 1] < losses[last]:  # it may have risen from far below
        last -= 1
    return last + 1


def _scatter(losses: np.ndarray) -> float:
    """σ of (3)."""
    if len(losses) < 3:
        return 0.0
    second = losses[1:-1] - (losses[:-2] + losses[2:]) / 2
    return float(1.4826 * np.median(np.abs(second)) / np.sqrt(1.5))


def _checked(smallest: float, largest: float, num_steps: int, smoothing: int) -> int:
    if not 0 < smallest < largest < np.inf:
        raise InputError(
            "The step size must grow from a positive `smallest` to a finite `largest`, "
            f"not from {smallest} to {largest}."
        )
    if smoothing < 3 or smoothing % 2 == 0:
        raise InputError(f"`smoothing` must be odd and at least 3, not {smoothing}.")
    if num_steps < max(LEAST, smoothing + 2):
        raise InputError(
            f"`num_steps` must be at least {max(LEAST, smoothing + 2)} to show a course, "
            f"not {num_steps}."
        )
    return smoothing // 2


def _stream(
    batches: Any,  # an iterable of batches, or a pytree of arrays
    batch_size: int | None,
    key: PRNGKeyArray | None,
) -> Iterator[PyTree]:
    """Batches for as long as there are any."""
    if batch_size is not None:
        yield from _rows(batches, batch_size, key)
        return
    if not isinstance(batches, Iterable) or hasattr(batches, "shape"):
        raise InputError(
            "`batches` must be an iterable of batches; for arrays, give `batch_size` too."
        )
    again = True
    while again:
        iterator = iter(batches)
        again = False
        for batch in iterator:
            again = iterator is not batches
            yield batch


def _rows(data: PyTree, batch_size: int, key: PRNGKeyArray | None) -> Iterator[PyTree]:
    lengths = {len(x) if np.ndim(x) else 0 for x in jax.tree.leaves(data)}
    if len(lengths) != 1 or not 0 < batch_size <= min(lengths):
        raise InputError(
            "`batches` must hold arrays with a common first axis of at least "
            f"`batch_size` = {batch_size} rows, not of {sorted(lengths)}."
        )
    rows, epoch = lengths.pop(), 0
    while True:
        order = np.arange(rows)
        if key is not None:
            order = np.asarray(
                jax.random.permutation(jax.random.fold_in(key, epoch), rows)
            )
        for i in range(0, rows - batch_size + 1, batch_size):
            part = order[i : i + batch_size]
            yield jax.tree.map(lambda x, part=part: jnp.asarray(x[part]), data)
        epoch += 1
